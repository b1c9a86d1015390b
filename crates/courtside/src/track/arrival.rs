//! A video file that is still arriving, between who writes it and who tracks it: how much is there, and whether it
//! is what it should be.

use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::stop::Stop;

/// How soon one who waits notices that it was told to stop.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How much of a video file is there.
#[derive(Debug)]
pub struct Arrival {
    n_frames: Option<u64>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Clone, Default)]
struct State {
    partial: Option<PathBuf>,
    prefix: u64,
    end: Option<End>,
    is_verified: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Whole,
    GivenUp,
}

/// What came of waiting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Waited {
    /// Enough is there: so many bytes from the beginning.
    Enough(u64),
    /// All is there, and is what it should be.
    Whole,
    /// No more will come, or nobody wants it.
    Over,
}

impl Arrival {
    /// Nothing is there yet. `n_frames` is what it holds, where that is known; without it, it is waited for.
    pub fn new(n_frames: Option<u64>) -> Self {
        Self { n_frames, state: Mutex::default(), changed: Condvar::new() }
    }

    /// How many frames it must hold.
    pub(super) fn n_frames(&self) -> Option<u64> {
        self.n_frames
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// More is there. `partial` is the file as it can be read now, once beginning and end are in it.
    pub fn progress(&self, partial: Option<PathBuf>, prefix: u64) {
        let mut state = self.state();
        state.prefix = prefix;
        if state.partial.is_none() {
            state.partial = partial;
        }
        drop(state);
        self.changed.notify_all();
    }

    /// All is there, and is what it should be.
    pub fn complete(&self) {
        self.finish(End::Whole);
    }

    /// No more will come.
    pub fn give_up(&self) {
        self.finish(End::GivenUp);
    }

    fn finish(&self, end: End) {
        self.state().end.get_or_insert(end);
        self.changed.notify_all();
    }

    /// Whether all is there, and is what it should be.
    pub fn is_whole(&self) -> bool {
        self.state().end == Some(End::Whole)
    }

    /// All is there, and holds the frames that it was taken to hold while it arrived.
    pub(super) fn verify(&self) {
        self.state().is_verified = true;
    }

    /// Whether what was tracked while it arrived is good.
    pub fn is_verified(&self) -> bool {
        self.state().is_verified
    }

    /// Whether no more will come.
    pub fn is_given_up(&self) -> bool {
        self.state().end == Some(End::GivenUp)
    }

    /// Waits for the beginning and the end; the file that has them.
    pub(super) fn wait_for_ends(&self, stop: &Stop) -> Option<PathBuf> {
        self.wait(stop, |state| state.partial.is_some());
        let state = self.state();
        state.partial.clone().filter(|_| state.end.is_none())
    }

    /// Waits until as many bytes from the beginning are there as it takes.
    pub(super) fn wait_for(&self, stop: &Stop, is_enough: impl Fn(u64) -> bool) -> Waited {
        self.wait(stop, |state| is_enough(state.prefix))
    }

    /// Waits for all of it.
    pub(super) fn wait_for_all(&self, stop: &Stop) -> Waited {
        self.wait(stop, |_| false)
    }

    fn wait(&self, stop: &Stop, is_enough: impl Fn(&State) -> bool) -> Waited {
        let mut state = self.state();
        loop {
            match state.end {
                Some(End::Whole) => return Waited::Whole,
                Some(End::GivenUp) => return Waited::Over,
                None if stop.requested() => return Waited::Over,
                None if is_enough(&state) => return Waited::Enough(state.prefix),
                None => {}
            }
            let waited = self.changed.wait_timeout(state, LOOK_EVERY);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
