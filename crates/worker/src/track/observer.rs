//! What a run reports while it tracks: the worker sends progress in heartbeats and uploads checkpoints.

use std::path::Path;

use client::failure::Outcome;
use client::terminal::notify;

/// How far a run is.
#[derive(Debug, Clone, Copy)]
pub struct RunProgress {
    /// Frames tracked, including those before the run was resumed.
    pub n_frames: u64,
    /// Frames to track in all.
    pub total: u64,
    /// Frames per second of this process.
    pub fps: f64,
}

/// A checkpoint that is on disk.
#[derive(Debug, Clone, Copy)]
pub struct SavedCheckpoint<'a> {
    /// The tracker's state. The next checkpoint replaces the file; its content does not change.
    pub checkpoint: &'a Path,
    /// The detections. The file grows: only the first [`Self::spool_bytes`] belong to this checkpoint.
    pub spool: &'a Path,
    /// Length of the checkpoint's part of the spool.
    pub spool_bytes: u64,
    /// Source frame to resume at.
    pub next_frame: u64,
    /// Frames tracked up to this checkpoint.
    pub n_frames: u64,
}

/// Receives the reports of a run, on the thread that tracks.
pub trait RunObserver {
    /// What is tracked, in lines of progress; `None` if there is only one video.
    fn subject(&self) -> Option<&str> {
        None
    }

    /// Another frame was tracked.
    fn on_progress(&self, _progress: &RunProgress) {}

    /// Something that the user should know while the run can still be stopped.
    fn on_notice(&self, notice: &str) {
        notify(format!("warning: {notice}; Ctrl-C stops"));
    }

    /// A checkpoint was written.
    ///
    /// # Errors
    /// An error ends the run.
    fn on_checkpoint(&self, _saved: &SavedCheckpoint<'_>) -> Outcome<()> {
        Ok(())
    }
}

/// Ignores all reports, for runs without an observer.
impl RunObserver for () {}
