//! Runs many seeds on all cores, and says of a seed that failed how to see just it again.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::dice::Dice;
use super::scenario::{Knobs, simulate};
use super::world::Story;

/// A set of worlds.
pub(super) struct Worlds {
    /// The test that runs them.
    pub(super) test: &'static str,
    /// How many seeds, if nobody says otherwise.
    pub(super) n_seeds: u64,
    /// What is in them.
    pub(super) draw: fn(&mut Dice) -> Knobs,
}

/// What came of many seeds.
#[derive(Default)]
struct Outcome {
    /// The smallest seed that was looked for, of those that ran.
    found: Option<(u64, Story)>,
    /// How often what happened in all of them.
    counts: BTreeMap<&'static str, u64>,
}

fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// Runs seeds until one tells such a story.
fn search(seeds: Range<u64>, draw: fn(&mut Dice) -> Knobs, is_it: impl Fn(&Story) -> bool + Sync) -> Outcome {
    let next = AtomicU64::new(seeds.start);
    let outcome = Mutex::new(Outcome::default());
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end || outcome.lock().unwrap().found.is_some() {
                return;
            }
            let story = simulate(seed, draw);
            let mut outcome = outcome.lock().unwrap();
            for (what, n) in &story.counts {
                *outcome.counts.entry(what).or_insert(0) += n;
            }
            let is_first = outcome.found.as_ref().is_none_or(|(first, _)| seed < *first);
            if is_first && is_it(&story) {
                outcome.found = Some((seed, story));
            }
        }
    };
    std::thread::scope(|scope| {
        let n_threads = std::thread::available_parallelism().map_or(1, usize::from);
        (0..n_threads).for_each(|_| drop(scope.spawn(work)));
    });
    outcome.into_inner().unwrap()
}

impl Worlds {
    /// No seed breaks a rule, and everything in `must_happen` happened in some.
    pub(super) fn hold(&self, must_happen: &[&str]) {
        let only = setting("COURTSIDE_SIM_SEED");
        let n_seeds = setting("COURTSIDE_SIM_SEEDS").unwrap_or(self.n_seeds);
        let seeds = only.map_or(0..n_seeds, |seed| seed..seed + 1);
        let outcome = search(seeds, self.draw, |story| story.violation.is_some());
        if let Some((seed, story)) = outcome.found {
            let trace = story.trace.join("\n");
            let (test, what) = (self.test, story.violation.unwrap_or_default());
            panic!(
                "seed {seed}: {what}\n\nThe last events:\n{trace}\n\nTo see just it again:\n    \
                 COURTSIDE_SIM_SEED={seed} cargo test -p jobs --test it simulation::{test}\n"
            );
        }
        if only.is_none() {
            let counts = outcome.counts;
            let never: Vec<_> = must_happen.iter().filter(|what| !counts.contains_key(*what)).collect();
            assert!(never.is_empty(), "in no world it happened that {never:?}; it did that {counts:#?}");
        }
    }
}

/// The law is worth something only if it catches who breaks it: in one of so many worlds it says `what`.
pub(super) fn is_caught(n_seeds: u64, draw: fn(&mut Dice) -> Knobs, what: &str) {
    let is_it = |story: &Story| story.violation.as_ref().is_some_and(|said| said.contains(what));
    let outcome = search(0..n_seeds, draw, is_it);
    assert!(outcome.found.is_some(), "in none of {n_seeds} worlds the law said that something {what}");
}
