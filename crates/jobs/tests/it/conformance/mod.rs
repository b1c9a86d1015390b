//! One suite for every kind of bucket: a map in memory, a folder, a server with R2's rules, one that wants entity tags
//! as Ceph does, a real Ceph gateway, and moto. Whatever holds here is what the protocol may rest on.

mod foreign;
mod objects;
mod parts;
mod protocol;
mod races;
mod takeover;

/// Every test on every kind.
macro_rules! suite {
    ($($module:ident::$test:ident),* $(,)?) => {
        suite!(@kinds [memory folder fake_r2 fake_ceph radosgw moto] [$($module::$test)*]);
    };
    (@kinds [$($kind:ident)*] $tests:tt) => {
        $(suite!(@kind $kind $tests);)*
    };
    (@kind $kind:ident [$($module:ident::$test:ident)*]) => {
        mod $kind {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    let fresh = tokio::task::spawn_blocking(crate::support::Fresh::$kind).await.unwrap();
                    super::$module::$test(&fresh).await;
                }
            )*
        }
    };
}

suite!(
    objects::an_object_comes_back_as_it_was_written,
    objects::every_condition_holds,
    objects::a_read_has_a_limit,
    objects::a_file_is_one_object,
    objects::removing_what_is_not_there_is_no_error,
    objects::a_listing_shows_what_lies_below_its_prefix,
    objects::a_listing_has_as_many_pages_as_it_takes,
    objects::a_listing_shows_what_changed,
    objects::keys_may_have_dots_spaces_and_letters_of_all_kinds,
    objects::the_probe_passes,
    parts::parts_become_one_object,
    parts::an_upload_that_was_given_up_becomes_no_object,
    parts::a_file_goes_up_and_comes_down,
    races::of_sixteen_who_create_one_does,
    races::of_sixteen_who_replace_one_does,
    races::sixteen_who_replace_one_each_all_do,
    races::no_increment_of_a_counter_is_lost,
    races::of_eight_workers_one_gets_the_job,
    races::each_job_goes_to_one_worker,
    races::cancelling_while_the_owner_writes_loses_neither,
    races::two_submitters_of_one_job_make_one,
    protocol::a_job_goes_from_submission_to_import,
    protocol::a_checkpoint_reaches_the_next_attempt,
    protocol::the_owner_of_a_cancelled_job_finds_out,
    protocol::the_owner_of_a_removed_job_finds_out,
    protocol::a_job_that_its_owner_completed_is_not_lost,
    protocol::a_cancelled_job_can_be_retried,
    protocol::a_released_job_is_claimed_again_and_nothing_is_counted,
    protocol::the_third_failure_is_the_last,
    protocol::what_a_state_forbids_is_refused,
    protocol::submitting_twice_makes_one_job,
    protocol::removing_leaves_nothing,
    protocol::logs_come_in_the_order_of_attempts,
    takeover::a_silent_owners_job_is_taken_over_and_it_learns_that,
    takeover::an_owner_that_speaks_keeps_its_job,
    takeover::a_stale_owner_publishes_nothing,
    takeover::a_stale_owner_replaces_no_results,
    takeover::a_job_whose_owners_all_die_fails,
    foreign::an_older_submitters_job_is_done_and_its_fields_kept,
    foreign::an_older_workers_results_are_imported,
    foreign::an_older_worker_that_reports_keeps_its_job,
    foreign::an_older_worker_that_is_silent_loses_its_job,
    foreign::what_is_no_register_is_named_and_harms_nobody,
    foreign::a_register_of_a_newer_layout_is_left_alone,
    foreign::a_register_that_became_nonsense_is_not_claimed,
);
