//! A simulation of the protocol: workers, submitters, importers and users run in one thread under a virtual
//! clock. The bucket loses, delays and duplicates requests, and processes crash and pause at any moment. One
//! number, the seed, determines everything that happens.
//!
//! `world` holds the true state: the objects, and the one place where each write takes effect at a single
//! instant. `invariants` checks it there, by what `job_record` knows of the job and `transitions` allows.
//! `network` delivers each `request` between a process and the world, `process` crashes and pauses processes,
//! and `process_context` is what each process is given. `worker`, `clients` and `legacy_worker` are the
//! programs, and `tracking` is the simulated work. `scenario` defines who takes part and what fails, and
//! `runner` runs many seeds.
//!
//! `COURTSIDE_SIM_SEED=7` runs a single seed, `COURTSIDE_SIM_SEEDS=100000` more of them.

mod clients;
mod invariants;
mod job_record;
mod legacy_worker;
mod network;
mod process;
mod process_context;
mod request;
mod rng;
mod runner;
mod scenario;
mod tracking;
mod transitions;
mod worker;
mod world;

use std::time::Duration;

use request::ConditionSupport;
use rng::Rng;
use runner::{SeedTest, assert_detected};
use scenario::{Scenario, simulate};
use tracking::Signature;

#[test]
fn invariants_hold_under_all_faults() {
    let test = "invariants_hold_under_all_faults";
    SeedTest { test, n_seeds: 2000, draw: Scenario::chaos }.run(&[
        "a job was claimed",
        "a job was taken over",
        "the last attempt died",
        "an attempt failed",
        "a job was released",
        "a job was completed",
        "a job was cancelled",
        "a job was retried",
        "a job was imported",
        "an attempt resumed from a checkpoint",
        "a worker noticed that it lost its lease",
        "a stale owner's manifest was refused",
        "a stale owner's results were refused",
        "results were in the database already",
    ]);
}

#[test]
fn a_stale_owner_overwrites_nothing() {
    let test = "a_stale_owner_overwrites_nothing";
    SeedTest { test, n_seeds: 500, draw: Scenario::stale_owners }
        .run(&["a stale owner's results were refused"]);
}

#[test]
fn a_live_owner_keeps_its_job() {
    let test = "a_live_owner_keeps_its_job";
    SeedTest { test, n_seeds: 300, draw: Scenario::fault_free }.run(&["a job was imported"]);
}

#[test]
fn a_dead_workers_job_is_taken_over_within_four_minutes() {
    let test = "a_dead_workers_job_is_taken_over_within_four_minutes";
    SeedTest { test, n_seeds: 500, draw: Scenario::crashes }
        .run(&["a job was taken over", "the last attempt died"]);
}

#[test]
fn a_live_legacy_worker_keeps_its_job() {
    let test = "a_live_legacy_worker_keeps_its_job";
    SeedTest { test, n_seeds: 500, draw: Scenario::with_legacy_worker }.run(&[
        "a legacy worker took a job",
        "a job was taken over",
        "a job was imported",
    ]);
}

#[test]
fn open_jobs_are_found_among_many_finished_ones() {
    let test = "open_jobs_are_found_among_many_finished_ones";
    SeedTest { test, n_seeds: 40, draw: Scenario::many_finished_jobs }.run(&[
        "the index was written",
        "a job was retried",
        "a job was imported",
    ]);
}

#[test]
fn a_seed_is_reproducible() {
    for draw in [Scenario::chaos, Scenario::stale_owners, Scenario::crashes, Scenario::many_finished_jobs] {
        for seed in 0..5 {
            let (first, second) = (simulate(seed, draw), simulate(seed, draw));
            assert_eq!((first.fingerprint, first.counts), (second.fingerprint, second.counts), "seed {seed}");
        }
    }
}

#[test]
fn detects_a_bucket_that_ignores_conditions() {
    let draw = |rng: &mut Rng| Scenario { conditions: ConditionSupport::None, ..Scenario::chaos(rng) };
    assert_detected(50, draw, "changes the number of writes");
}

#[test]
fn detects_results_written_without_confirming_ownership() {
    let draw = |rng: &mut Rng| {
        let conditions = ConditionSupport::AllButResults;
        Scenario { conditions, ..Scenario::stale_owners(rng) }
    };
    assert_detected(500, draw, "is overwritten");
}

/// If two attempts can produce equal bytes, an entity tag can recur and the condition on it holds again.
/// Results must therefore contain something unique to their attempt.
#[test]
fn detects_results_that_are_not_unique_to_their_attempt() {
    let draw = |rng: &mut Rng| {
        let mut scenario = Scenario::stale_owners(rng);
        scenario.behaviour.signature = Signature::Machine;
        scenario
    };
    assert_detected(3000, draw, "is overwritten");
}

#[test]
fn detects_a_lease_shorter_than_the_heartbeat() {
    let draw = |rng: &mut Rng| {
        let mut scenario = Scenario::fault_free(rng);
        scenario.timing.lease = Duration::from_secs(25);
        scenario
    };
    assert_detected(100, draw, "its owner sent a heartbeat recently");
}
