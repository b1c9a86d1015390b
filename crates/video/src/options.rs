//! What a caller can choose when decoding frames.

use std::ops::Range;

/// Which frames to decode, and how far ahead of the consumer.
#[derive(Clone, Debug)]
pub struct DecodeOptions {
    /// Source frame numbers, half open. Frames past the end of the video are ignored. Default: all.
    pub range: Range<u64>,
    /// Distance between decoded frames: `range.start`, `range.start + every`, and so on. 0 is
    /// treated as 1. Default 1.
    pub every: u64,
    /// Decoder threads. Default 2; use more on machines with many cores and few videos.
    pub threads: usize,
    /// Decoded frames that may wait for the consumer. Up to three more are in flight between the
    /// decoder and that queue. Default 8.
    pub read_ahead: usize,
}

impl Default for DecodeOptions {
    fn default() -> Self {
        DecodeOptions { range: 0..u64::MAX, every: 1, threads: 2, read_ahead: 8 }
    }
}
