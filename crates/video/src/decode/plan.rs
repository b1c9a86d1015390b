//! What to decode, and how the raw frames are laid out in memory.

use std::ops::Range;

use crate::options::DecodeOptions;
use crate::video::Video;

/// Memory layout of a raw frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PixelLayout {
    /// Three bytes per pixel.
    Rgb24,
    /// Planes Y, U and V, the latter two at half size; width and height padded to even numbers.
    I420,
}

/// The frames to decode and their layout.
#[derive(Clone, Debug)]
pub(crate) struct DecodePlan {
    pub(crate) video: Video,
    pub(crate) layout: PixelLayout,
    /// Source frame numbers, clamped to the video.
    pub(crate) range: Range<u64>,
    /// Distance between requested frames, at least 1.
    pub(crate) every: u64,
    /// Decoder threads, 1 to 64.
    pub(crate) threads: usize,
}

impl DecodePlan {
    pub(crate) fn new(video: &Video, layout: PixelLayout, options: &DecodeOptions) -> DecodePlan {
        let end = options.range.end.min(video.n_frames());
        let range = options.range.start.min(end)..end;
        let threads = options.threads.clamp(1, 64);
        DecodePlan { video: video.clone(), layout, range, every: options.every.max(1), threads }
    }

    /// Number of requested frames.
    pub(crate) fn n_requested(&self) -> u64 {
        (self.range.end - self.range.start).div_ceil(self.every)
    }

    /// The first requested frame at or after `frame_idx`. May be past the end of the range.
    pub(crate) fn next_requested(&self, frame_idx: u64) -> u64 {
        let done = frame_idx.saturating_sub(self.range.start).div_ceil(self.every);
        self.range.start.saturating_add(done.saturating_mul(self.every))
    }

    /// Whether this frame is requested.
    pub(crate) fn requests(&self, frame_idx: u64) -> bool {
        self.range.contains(&frame_idx) && (frame_idx - self.range.start).is_multiple_of(self.every)
    }

    /// Width and height of a raw frame, with padding.
    pub(crate) fn frame_size(&self) -> (u32, u32) {
        let (width, height) = (self.video.width(), self.video.height());
        match self.layout {
            PixelLayout::Rgb24 => (width, height),
            PixelLayout::I420 => (width.next_multiple_of(2), height.next_multiple_of(2)),
        }
    }

    /// Size of a raw frame in bytes.
    pub(crate) fn frame_bytes(&self) -> usize {
        let (width, height) = self.frame_size();
        let pixels = width as usize * height as usize;
        match self.layout {
            PixelLayout::Rgb24 => pixels * 3,
            PixelLayout::I420 => pixels + pixels / 2,
        }
    }
}

/// One decoded frame in the plan's layout.
#[derive(Debug)]
pub(crate) struct RawFrame {
    /// 0-based ordinal in the source video.
    pub(crate) frame_idx: u64,
    pub(crate) bytes: Vec<u8>,
}
