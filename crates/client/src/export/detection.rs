//! The record that every format writes.

use crate::failure::Outcome;

/// One box of one track on one frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ExportDetection {
    /// Frame number in the source video, from 0.
    pub frame: i64,
    /// Id of the track.
    pub track_id: i64,
    /// Index of its prompt in [`ExportInfo::prompts`](super::ExportInfo::prompts).
    pub prompt: u32,
    /// Left, top, width and height in source pixels.
    pub bbox: [f64; 4],
    /// Confidence of the model, 0 to 1.
    pub confidence: f64,
}

/// Detections ordered by frame, then track. Ends after the first error.
pub type Detections<'a> = dyn Iterator<Item = Outcome<ExportDetection>> + 'a;
