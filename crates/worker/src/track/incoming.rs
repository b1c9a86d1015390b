//! A video file that is still arriving, between who writes it and who tracks it: how much is there, and whether it
//! is what it should be.

use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use client::stop::Stop;

/// How soon one who waits notices that it was told to stop.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How much of a video file is there.
#[derive(Debug)]
pub struct IncomingVideo {
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
    /// What was there once was not all there later: another file arrives now.
    began_anew: bool,
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

impl IncomingVideo {
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
        state.began_anew |= prefix < state.prefix;
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

    /// Whether the file began anew while it arrived.
    pub(super) fn began_anew(&self) -> bool {
        self.state().began_anew
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_can_be_waited_for() {
        let (arrival, stop) = (IncomingVideo::new(Some(7)), Stop::default());
        std::thread::scope(|scope| {
            let waiting =
                scope.spawn(|| (arrival.wait_for_ends(&stop), arrival.wait_for(&stop, |n| n >= 20)));
            arrival.progress(None, 10);
            arrival.progress(Some("partial".into()), 10);
            arrival.progress(None, 25);
            assert_eq!(waiting.join().unwrap(), (Some("partial".into()), Waited::Enough(25)));
        });
        arrival.complete();
        assert_eq!(arrival.wait_for(&stop, |_| false), Waited::Whole);
        // One that is whole is read under its own name.
        assert_eq!(arrival.wait_for_ends(&stop), None);
        assert!(!arrival.began_anew() && !arrival.is_verified());
        arrival.give_up();
        assert!(arrival.is_whole());
    }

    #[test]
    fn nobody_waits_for_what_will_not_come() {
        let (arrival, stop) = (IncomingVideo::new(None), Stop::default());
        stop.request();
        assert_eq!(arrival.wait_for_all(&stop), Waited::Over);
        let stop = Stop::default();
        arrival.give_up();
        assert_eq!(arrival.wait_for(&stop, |_| true), Waited::Over);
    }

    #[test]
    fn a_file_that_begins_anew_is_noticed() {
        let arrival = IncomingVideo::new(None);
        arrival.progress(None, 10);
        arrival.progress(None, 10);
        assert!(!arrival.began_anew());
        arrival.progress(None, 0);
        arrival.progress(None, 20);
        assert!(arrival.began_anew());
    }
}
