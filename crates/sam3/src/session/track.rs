//! The state of one tracked object between frames.

use serde::{Deserialize, Serialize};

use crate::tracker::bank::Bank;

/// Everything that is remembered of an object: numbers here, tensors in its bank.
#[derive(Debug, Clone)]
pub(crate) struct Track {
    pub facts: Facts,
    pub bank: Bank,
}

/// The numbers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Facts {
    pub id: u64,
    /// Which prompt found it.
    pub prompt: usize,
    /// Frame of its birth.
    pub first_frame: usize,
    /// Probability of the detection that it was born of.
    pub birth_score: f32,
    /// Frames it may stay unmatched before it is hidden; matches earn it back.
    pub keep_alive: i64,
    /// Frames on which its mask was there and no detection matched.
    pub n_unmatched: usize,
    /// Last frame on which a detection confirmed it.
    pub last_matched: usize,
    /// Last frame on which it was empty or hidden by another, or [`NEVER_OCCLUDED`]; `None` on its first
    /// frame.
    pub last_occluded: Option<i64>,
}

/// No occlusion yet.
pub(crate) const NEVER_OCCLUDED: i64 = -1;
/// Later than any frame: withdrawn objects lose against every other.
pub(crate) const ALWAYS_OCCLUDED: i64 = i64::MAX;
