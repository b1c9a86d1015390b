//! What a session reports.

use serde::{Deserialize, Serialize};

/// The tracks of one frame.
#[derive(Debug, Clone, PartialEq)]
pub struct FrameOutput {
    /// Index of the frame within the session, from 0.
    pub frame_idx: usize,
    /// Tracks that are visible on this frame, by id.
    pub objects: Vec<TrackedObject>,
    /// The masks of all tracks of the frame, hidden and removed ones included, by id.
    pub low_res: Vec<LowResMask>,
    /// Ids removed on this frame; they are in the `objects` of no frame.
    pub removed: Vec<u64>,
    /// Ids hidden on this frame because nothing has confirmed them recently.
    pub hidden: Vec<u64>,
}

/// A visible track on one frame.
#[derive(Debug, Clone, PartialEq)]
pub struct TrackedObject {
    /// Id of the track, unique within the session.
    pub id: u64,
    /// Index of the prompt that found it, in [`crate::Session::prompts`].
    pub prompt: usize,
    /// Confidence from 0 to 1; see [`crate::Compat`] for what it is.
    pub score: f32,
    /// Left, top, right and bottom edge, in source pixels.
    pub bbox: [f32; 4],
    /// The track's pixels. A pixel where tracks of a prompt overlap belongs to the most confident one.
    pub mask: Mask,
}

/// A mask of logits at the model's resolution.
#[derive(Debug, Clone, PartialEq)]
pub struct LowResMask {
    /// Id of the track, as in [`TrackedObject::id`].
    pub id: u64,
    /// Index of the prompt that found it.
    pub prompt: usize,
    /// `low_res_mask_size`² logits, row by row.
    pub logits: Vec<f32>,
    /// Confidence, as in [`TrackedObject::score`].
    pub score: f32,
    /// The tracker's confidence on this frame; on the frame of its birth, that of the detection.
    pub tracker_score: f32,
}

/// A binary mask in source pixels, stored as the smallest rectangle that contains it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mask {
    /// Left edge of the rectangle in the frame, in pixels.
    pub x: usize,
    /// Top edge of the rectangle in the frame, in pixels.
    pub y: usize,
    /// Width of the rectangle, in pixels.
    pub width: usize,
    /// Height of the rectangle, in pixels.
    pub height: usize,
    /// `width · height` pixels, row by row.
    pub pixels: Vec<bool>,
}

impl Mask {
    /// The number of pixels that are set.
    pub fn area(&self) -> usize {
        self.pixels.iter().filter(|&&p| p).count()
    }

    /// Whether the pixel at `x`, `y` of the frame is set.
    pub fn contains(&self, x: usize, y: usize) -> bool {
        let (Some(dx), Some(dy)) = (x.checked_sub(self.x), y.checked_sub(self.y)) else { return false };
        dx < self.width && dy < self.height && self.pixels[dy * self.width + dx]
    }
}

/// A restriction that the device's memory made necessary, in force from a frame on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemoryFallback {
    /// At most `n` objects are computed together. Slower, with the same results.
    ObjectsAtOnce {
        /// Index of the first frame that it applies to.
        frame_idx: usize,
        /// Number of objects that are computed together.
        n: usize,
    },
    /// At most `n` tracks are followed. The tracks that had been unconfirmed for longest were dropped.
    MaxObjects {
        /// Index of the first frame that it applies to.
        frame_idx: usize,
        /// Maximum number of simultaneous tracks.
        n: usize,
    },
}
