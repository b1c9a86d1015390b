//! The protocol, simulated: whole worlds of workers, submitters, importers and people in one thread, under a
//! virtual clock, with a bucket whose requests are lost, late, doubled and unanswered, and processes that
//! die and stop at any moment. One number, the seed, decides everything that happens.
//!
//! `world` is the truth: the objects, and one place where every write happens at one instant. There
//! `invariants` judges it, by what `record` knows of the job and `transitions` allows. `network` lies between
//! a process and the world and carries each `request`, `process` kills and stops processes, `desk` is what one is born with. `worker`,
//! `people` and `older` are the programs, `tracking` their work. `scenario` says who takes part and what goes
//! wrong, `runner` runs many seeds.
//!
//! `COURTSIDE_SIM_SEED=7` runs one seed, `COURTSIDE_SIM_SEEDS=100000` more of them.

mod desk;
mod dice;
mod invariants;
mod network;
mod older;
mod people;
mod process;
mod record;
mod request;
mod runner;
mod scenario;
mod tracking;
mod transitions;
mod worker;
mod world;

use std::time::Duration;

use request::Honours;
use runner::{Worlds, is_caught};
use scenario::{Knobs, simulate};
use tracking::Signature;

#[test]
fn nothing_breaks_a_promise() {
    let worlds = Worlds { test: "nothing_breaks_a_promise", n_seeds: 2000, draw: Knobs::chaos };
    worlds.hold(&[
        "a job was claimed",
        "a job was taken over",
        "the last attempt was lost",
        "an attempt failed",
        "a job was given back",
        "a job was completed",
        "a job was cancelled",
        "a job was retried",
        "a job was imported",
        "an attempt went on from a checkpoint",
        "a worker noticed that its lease is lost",
        "a register of a loser's was refused",
        "results of a lost attempt were refused",
        "results were found in the database",
    ]);
}

#[test]
fn a_stale_owner_overwrites_nothing() {
    let worlds = Worlds { test: "a_stale_owner_overwrites_nothing", n_seeds: 500, draw: Knobs::zombies };
    worlds.hold(&["results of a lost attempt were refused"]);
}

#[test]
fn whoever_lives_is_never_robbed() {
    let worlds = Worlds { test: "whoever_lives_is_never_robbed", n_seeds: 300, draw: Knobs::calm };
    worlds.hold(&["a job was imported"]);
}

#[test]
fn a_dead_workers_job_goes_on_within_four_minutes() {
    let test = "a_dead_workers_job_goes_on_within_four_minutes";
    let worlds = Worlds { test, n_seeds: 500, draw: Knobs::deaths };
    worlds.hold(&["a job was taken over", "the last attempt was lost"]);
}

#[test]
fn an_older_program_is_left_in_peace_while_it_lives() {
    let test = "an_older_program_is_left_in_peace_while_it_lives";
    let worlds = Worlds { test, n_seeds: 500, draw: Knobs::mixed };
    worlds.hold(&["an older program took a job", "a job was taken over", "a job was imported"]);
}

#[test]
fn many_finished_jobs_hide_none_that_is_not() {
    let worlds =
        Worlds { test: "many_finished_jobs_hide_none_that_is_not", n_seeds: 40, draw: Knobs::crowded };
    worlds.hold(&["the index was written", "a job was retried", "a job was imported"]);
}

#[test]
fn a_seed_always_tells_the_same_story() {
    for draw in [Knobs::chaos, Knobs::zombies, Knobs::deaths, Knobs::crowded] {
        for seed in 0..5 {
            let (once, again) = (simulate(seed, draw), simulate(seed, draw));
            assert_eq!((once.fingerprint, once.counts), (again.fingerprint, again.counts), "seed {seed}");
        }
    }
}

#[test]
fn a_bucket_that_ignores_conditions_is_caught() {
    is_caught(
        50,
        |dice| Knobs { honours: Honours::None, ..Knobs::chaos(dice) },
        "changes the count of writes",
    );
}

#[test]
fn results_written_without_proof_of_ownership_are_caught() {
    let draw = |dice: &mut _| Knobs { honours: Honours::AllButResults, ..Knobs::zombies(dice) };
    is_caught(500, draw, "is overwritten");
}

/// The last proof of ownership fails where an earlier attempt left the very bytes that the last one writes:
/// so results must name their attempt, or something else that no other attempt's have.
#[test]
fn results_that_only_sometimes_differ_are_caught() {
    let draw = |dice: &mut _| {
        let mut knobs = Knobs::zombies(dice);
        knobs.habits.signature = Signature::Machine;
        knobs
    };
    is_caught(3000, draw, "is overwritten");
}

#[test]
fn a_lease_shorter_than_the_heartbeat_is_caught() {
    let draw = |dice: &mut _| {
        let mut knobs = Knobs::calm(dice);
        knobs.timing.lease = Duration::from_secs(25);
        knobs
    };
    is_caught(100, draw, "its owner spoke a while ago");
}
