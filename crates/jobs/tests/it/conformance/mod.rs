//! One suite for every kind of bucket: a map in memory, a folder, a server with R2's rules, one that requires
//! unquoted entity tags like Ceph, a real Ceph gateway, and moto. The protocol relies only on what holds for
//! all of them.

mod foreign;
mod objects;
mod parts;
mod protocol;
mod races;
mod takeover;

/// Runs every test on every kind of bucket.
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
    objects::objects_are_read_as_written,
    objects::conditions_are_honoured,
    objects::reads_are_limited_in_size,
    objects::files_are_written_as_single_objects,
    objects::removing_a_missing_object_succeeds,
    objects::a_listing_shows_exactly_the_keys_below_its_prefix,
    objects::a_listing_spans_several_pages,
    objects::a_listing_shows_changes,
    objects::keys_may_contain_dots_spaces_and_unicode,
    objects::the_probe_passes,
    parts::multipart_uploads_become_one_object,
    parts::an_aborted_upload_creates_no_object,
    parts::files_survive_upload_and_download,
    races::one_of_sixteen_concurrent_creates_succeeds,
    races::one_of_sixteen_concurrent_replacements_succeeds,
    races::concurrent_replacements_of_different_keys_all_succeed,
    races::no_concurrent_increment_is_lost,
    races::one_of_eight_workers_claims_the_job,
    races::each_job_is_claimed_by_one_worker,
    races::concurrent_cancel_and_heartbeats_are_both_kept,
    races::concurrent_submissions_create_one_job,
    objects::a_file_that_was_damaged_after_it_was_hashed_is_not_taken,
    protocol::a_job_is_submitted_processed_and_imported,
    protocol::the_next_attempt_gets_the_checkpoint,
    protocol::the_owner_of_a_cancelled_job_loses_its_lease,
    protocol::the_owner_of_a_removed_job_loses_its_lease,
    protocol::completing_a_job_does_not_lose_the_lease,
    protocol::a_cancelled_job_can_be_retried,
    protocol::a_release_does_not_count_as_a_failure,
    protocol::the_third_failure_fails_the_job,
    protocol::transitions_that_the_state_forbids_are_refused,
    protocol::submitting_twice_creates_one_job,
    protocol::removing_a_job_removes_all_its_objects,
    protocol::logs_are_ordered_by_attempt,
    takeover::a_job_without_heartbeats_is_taken_over,
    takeover::an_owner_with_heartbeats_keeps_its_job,
    takeover::a_stale_owner_cannot_publish,
    takeover::a_stale_owner_cannot_replace_results,
    takeover::a_job_fails_when_all_its_owners_died,
    foreign::an_older_submitters_job_is_processed_and_its_fields_are_kept,
    foreign::an_older_workers_results_can_be_imported,
    foreign::an_older_worker_that_reports_progress_keeps_its_job,
    foreign::an_older_worker_without_progress_loses_its_job,
    foreign::invalid_manifests_are_reported_and_do_not_affect_other_jobs,
    foreign::a_manifest_with_a_newer_schema_is_not_changed,
    foreign::a_manifest_that_became_invalid_is_not_claimed,
);
