//! A video file while it is downloaded, shared by the download (async) and the tracking thread (blocking): how much of
//! it is on disk, and whether its frames turned out to be those that were tracked.

use std::path::PathBuf;

use client::stop::Stop;
use futures::executor::block_on;
use tokio::sync::watch;

/// Progress of a video file's download.
#[derive(Debug)]
pub struct IncomingVideo {
    n_frames: Option<u64>,
    state: watch::Sender<State>,
}

#[derive(Debug, Clone, Default)]
struct State {
    partial: Option<PathBuf>,
    prefix: u64,
    end: Option<DownloadEnd>,
    is_verified: bool,
    restarted: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DownloadEnd {
    Complete,
    Abandoned,
}

/// Result of waiting for a part of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum WaitOutcome {
    /// Enough is on disk: this many bytes from the beginning.
    Enough(u64),
    /// The file is complete and its size and hash are correct.
    Complete,
    /// The download was abandoned, or a stop was requested.
    Ended,
}

impl IncomingVideo {
    /// A file of which nothing is on disk. `n_frames`: its number of frames. If it is `None`, tracking begins when the
    /// file is complete.
    pub fn new(n_frames: Option<u64>) -> Self {
        Self { n_frames, state: watch::Sender::default() }
    }

    /// Number of frames that the complete file has, if known.
    pub(super) fn n_frames(&self) -> Option<u64> {
        self.n_frames
    }

    /// Reports the progress of the download. `prefix`: bytes from the beginning without a gap. `partial`: the file, once
    /// its beginning and its end are readable.
    pub fn progress(&self, partial: Option<PathBuf>, prefix: u64) {
        self.state.send_modify(|state| {
            state.restarted |= prefix < state.prefix;
            state.prefix = prefix;
            if state.partial.is_none() {
                state.partial = partial;
            }
        });
    }

    /// Reports that the file is complete and its size and hash are correct.
    pub fn complete(&self) {
        self.end(DownloadEnd::Complete);
    }

    /// Reports that no more of the file will be downloaded. Ignored for a complete file.
    pub fn abandon(&self) {
        self.end(DownloadEnd::Abandoned);
    }

    fn end(&self, end: DownloadEnd) {
        self.state.send_modify(|state| {
            state.end.get_or_insert(end);
        });
    }

    /// Waits until the file is complete or abandoned.
    pub async fn ended(&self) {
        self.until(|state| state.end.is_some()).await;
    }

    /// Waits until the file is abandoned.
    pub async fn abandoned(&self) {
        self.until(|state| state.end == Some(DownloadEnd::Abandoned)).await;
    }

    /// Waits until the frames that were tracked during the download are known to be those of the complete file.
    pub async fn verified(&self) {
        self.until(|state| state.is_verified).await;
    }

    async fn until(&self, condition: impl FnMut(&State) -> bool) {
        // The sender is part of `self`: there is no error.
        let _ = self.state.subscribe().wait_for(condition).await;
    }

    /// Records that the complete file has the frames that were tracked during the download.
    pub(super) fn set_verified(&self) {
        self.state.send_modify(|state| state.is_verified = true);
    }

    /// Whether the download started over: what was read before may be of another file.
    pub(super) fn restarted(&self) -> bool {
        self.state.borrow().restarted
    }

    /// Whether no more of the file will be downloaded.
    pub(super) fn is_abandoned(&self) -> bool {
        self.state.borrow().end == Some(DownloadEnd::Abandoned)
    }

    /// Blocks until the beginning and the end of the file are readable. Returns the partial file; `None` if the download
    /// ended before.
    pub(super) fn wait_for_ends(&self, stop: &Stop) -> Option<PathBuf> {
        self.wait(stop, |state| state.partial.is_some());
        let state = self.state.borrow();
        state.partial.clone().filter(|_| state.end.is_none())
    }

    /// Blocks until enough bytes from the beginning are on disk.
    pub(super) fn wait_for_prefix(&self, stop: &Stop, is_enough: impl Fn(u64) -> bool) -> WaitOutcome {
        self.wait(stop, |state| is_enough(state.prefix))
    }

    /// Blocks until the file is complete.
    pub(super) fn wait_for_all(&self, stop: &Stop) -> WaitOutcome {
        self.wait(stop, |_| false)
    }

    fn wait(&self, stop: &Stop, is_enough: impl Fn(&State) -> bool) -> WaitOutcome {
        let mut changes = self.state.subscribe();
        let outcome = |state: &State| match state.end {
            Some(DownloadEnd::Complete) => WaitOutcome::Complete,
            Some(DownloadEnd::Abandoned) => WaitOutcome::Ended,
            None if stop.requested() => WaitOutcome::Ended,
            None => WaitOutcome::Enough(state.prefix),
        };
        block_on(async {
            tokio::select! {
                biased;
                state = changes.wait_for(|state| state.end.is_some() || is_enough(state)) => {
                    state.map_or(WaitOutcome::Ended, |state| outcome(&state))
                }
                () = stop.wait() => WaitOutcome::Ended,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_for_what_is_needed() {
        let (video, stop) = (IncomingVideo::new(Some(7)), Stop::default());
        std::thread::scope(|scope| {
            let waiting =
                scope.spawn(|| (video.wait_for_ends(&stop), video.wait_for_prefix(&stop, |n| n >= 20)));
            video.progress(None, 10);
            video.progress(Some("partial".into()), 10);
            video.progress(None, 25);
            assert_eq!(waiting.join().unwrap(), (Some("partial".into()), WaitOutcome::Enough(25)));
        });
        video.complete();
        assert_eq!(video.wait_for_prefix(&stop, |_| false), WaitOutcome::Complete);
        // A complete file is read under its own name.
        assert_eq!(video.wait_for_ends(&stop), None);
        assert!(!video.restarted() && !video.state.borrow().is_verified);
        video.abandon();
        assert!(!video.is_abandoned());
    }

    #[test]
    fn waiting_ends_with_the_download_or_a_stop() {
        let (video, stop) = (IncomingVideo::new(None), Stop::default());
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| video.wait_for_all(&stop));
            stop.request();
            assert_eq!(waiting.join().unwrap(), WaitOutcome::Ended);
        });
        assert_eq!(video.wait_for_prefix(&stop, |_| true), WaitOutcome::Ended);
        let stop = Stop::default();
        video.abandon();
        assert_eq!(video.wait_for_prefix(&stop, |_| true), WaitOutcome::Ended);
    }

    #[test]
    fn notices_a_restarted_download() {
        let video = IncomingVideo::new(None);
        video.progress(None, 10);
        video.progress(None, 10);
        assert!(!video.restarted());
        video.progress(None, 0);
        video.progress(None, 20);
        assert!(video.restarted());
    }
}
