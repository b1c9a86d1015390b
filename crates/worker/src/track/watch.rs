//! Who looks over a run's shoulder: the worker, which reports progress and takes checkpoints away.

use std::path::Path;

use client::failure::Outcome;

/// How far a run is.
#[derive(Debug, Clone, Copy)]
pub struct Progressed {
    /// Frames tracked, also by the processes that this one goes on from.
    pub n_frames: u64,
    /// Frames that there are.
    pub total: u64,
    /// Frames per second of this process.
    pub fps: f64,
}

/// A checkpoint that is on disk.
#[derive(Debug, Clone, Copy)]
pub struct Saved<'a> {
    /// The state. Replaced by the next checkpoint, never changed.
    pub checkpoint: &'a Path,
    /// The detections. Appended to: only the first [`Self::spool_bytes`] belong to this checkpoint.
    pub spool: &'a Path,
    /// Length of the part that counts.
    pub spool_bytes: u64,
    /// Next source frame.
    pub next_frame: u64,
    /// Frames tracked.
    pub n_frames: u64,
}

/// Hears of a run's progress, on the thread that tracks.
pub trait Watch {
    /// Another frame is tracked.
    fn progressed(&self, _at: &Progressed) {}

    /// A checkpoint was written. An error ends the run.
    fn saved(&self, _saved: &Saved<'_>) -> Outcome<()> {
        Ok(())
    }
}

/// Nobody.
impl Watch for () {}
