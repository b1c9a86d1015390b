//! What a session knows of one track between frames. The track's tensors are in the tracker's memory.

use serde::{Deserialize, Serialize};

/// The numbers of a track. Field names are part of the format of saved sessions.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Track {
    pub id: u64,
    /// Index of the prompt that found it.
    pub prompt: usize,
    /// Index of the frame on which it was born.
    pub first_frame: usize,
    /// Probability of the detection that started it.
    pub birth_score: f32,
    /// Falls on unmatched frames and rises on matched ones; at 0 or less the track may be hidden.
    pub keep_alive: i64,
    /// Number of frames on which it had a mask that no detection confirmed.
    pub n_unmatched: usize,
    /// Last frame on which a detection confirmed it.
    pub last_matched: usize,
    /// Last frame on which it was empty or hidden behind another track, or [`NEVER_OCCLUDED`]; `None` on its first
    /// frame.
    pub last_occluded: Option<i64>,
}

/// Value of [`Track::last_occluded`] before any occlusion.
pub(crate) const NEVER_OCCLUDED: i64 = -1;

/// Later than any frame, so that a removed track loses against every other.
pub(crate) const ALWAYS_OCCLUDED: i64 = i64::MAX;
