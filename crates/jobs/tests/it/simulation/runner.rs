//! Runs many seeds on all cores. For a seed that fails, prints how to run only that seed again.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::rng::Rng;
use super::scenario::{Scenario, simulate};
use super::world::Report;

/// A test that runs one kind of scenario with many seeds.
pub(super) struct SeedTest {
    /// Name of the test function, for the message.
    pub(super) test: &'static str,
    /// Number of seeds, unless the environment specifies it.
    pub(super) n_seeds: u64,
    /// Draws a scenario.
    pub(super) draw: fn(&mut Rng) -> Scenario,
}

/// The combined outcome of many seeds.
#[derive(Default)]
struct Outcome {
    /// The smallest seed that matched, and its report.
    found: Option<(u64, Report)>,
    /// How often each event happened in all runs.
    counts: BTreeMap<&'static str, u64>,
}

fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

/// Runs seeds until one gives a report that matches.
fn search(
    seeds: Range<u64>,
    draw: fn(&mut Rng) -> Scenario,
    is_it: impl Fn(&Report) -> bool + Sync,
) -> Outcome {
    let next = AtomicU64::new(seeds.start);
    let outcome = Mutex::new(Outcome::default());
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end || outcome.lock().unwrap().found.is_some() {
                return;
            }
            let report = simulate(seed, draw);
            let mut outcome = outcome.lock().unwrap();
            for (what, n) in &report.counts {
                *outcome.counts.entry(what).or_insert(0) += n;
            }
            let is_first = outcome.found.as_ref().is_none_or(|(first, _)| seed < *first);
            if is_first && is_it(&report) {
                outcome.found = Some((seed, report));
            }
        }
    };
    std::thread::scope(|scope| {
        let n_threads = std::thread::available_parallelism().map_or(1, usize::from);
        (0..n_threads).for_each(|_| drop(scope.spawn(work)));
    });
    outcome.into_inner().unwrap()
}

impl SeedTest {
    /// Asserts that no seed violates an invariant, and that each event in `must_happen` happened in some run.
    pub(super) fn run(&self, must_happen: &[&str]) {
        let only = setting("COURTSIDE_SIM_SEED");
        let n_seeds = setting("COURTSIDE_SIM_SEEDS").unwrap_or(self.n_seeds);
        let seeds = only.map_or(0..n_seeds, |seed| seed..seed + 1);
        let outcome = search(seeds, self.draw, |report| report.violation.is_some());
        if let Some((seed, report)) = outcome.found {
            let trace = report.trace.join("\n");
            let (test, what) = (self.test, report.violation.unwrap_or_default());
            panic!(
                "seed {seed}: {what}\n\nThe last events:\n{trace}\n\nTo run only this seed:\n    \
                 COURTSIDE_SIM_SEED={seed} cargo test -p jobs --test it simulation::{test}\n"
            );
        }
        if only.is_none() {
            let counts = outcome.counts;
            let never: Vec<_> = must_happen.iter().filter(|what| !counts.contains_key(*what)).collect();
            assert!(never.is_empty(), "never happened: {never:?}; did happen: {counts:#?}");
        }
    }
}

/// Asserts that the checker detects a broken protocol: a violation containing `what` within `n_seeds` runs.
pub(super) fn assert_detected(n_seeds: u64, draw: fn(&mut Rng) -> Scenario, what: &str) {
    let is_it = |report: &Report| report.violation.as_ref().is_some_and(|said| said.contains(what));
    let outcome = search(0..n_seeds, draw, is_it);
    assert!(outcome.found.is_some(), "no violation containing {what:?} in {n_seeds} runs");
}
