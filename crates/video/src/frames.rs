//! The frames of a video as an iterator, and the account of what could not be decoded.

use std::ops::Range;

use crate::decode::{Layout, Plan, Stream};
use crate::error::VideoError;
use crate::video::Video;

/// Which frames to decode, and how far ahead.
#[derive(Clone, Debug)]
pub struct DecodeOptions {
    /// Source frame numbers, half open; what lies beyond the video is ignored. Default: all.
    pub range: Range<u64>,
    /// Distance between frames: `range.start`, `range.start + every`, and so on. Default 1, and 0
    /// counts as 1.
    pub every: u64,
    /// Threads of the decoder. Default 2; more help where many cores wait for few videos.
    pub threads: usize,
    /// Pictures that may wait for the consumer. Three more are under way between the decoder and
    /// there. Default 8.
    pub read_ahead: usize,
}

impl Default for DecodeOptions {
    fn default() -> Self {
        DecodeOptions { range: 0..u64::MAX, every: 1, threads: 2, read_ahead: 8 }
    }
}

/// One picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    /// 0-based ordinal in the source video.
    pub frame_idx: u64,
    /// When it is shown, in seconds: [`Video::time_s`] of `frame_idx`.
    pub time_s: f64,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// `height * width * 3` bytes: rows from the top, pixels from the left, red, green, blue.
    pub rgb: Vec<u8>,
}

/// How much of what was asked for came out. Damage in the middle of a file does not end the
/// decoding: the frames that are lost are skipped, and those that come keep their numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Damage {
    /// Frames that the file holds within the range, at the distance asked for.
    pub expected: u64,
    /// Frames handed out.
    pub decoded: u64,
    /// What the decoder complained about: the first and the last few lines.
    pub messages: Vec<String>,
    /// How many lines there were.
    pub n_messages: u64,
}

impl Damage {
    /// Frames that could not be decoded.
    pub fn missing(&self) -> u64 {
        self.expected.saturating_sub(self.decoded)
    }

    /// Whether frames are missing or the decoder complained, in which case pictures near the
    /// damage may show what was there before.
    pub fn is_damaged(&self) -> bool {
        self.missing() > 0 || self.n_messages > 0
    }
}

/// Decoded frames in order. Ends after the first error. Dropping it kills the decoder.
#[derive(Debug)]
pub struct Frames {
    stream: Stream,
    video: Video,
}

impl Frames {
    pub(crate) fn start(video: &Video, options: &DecodeOptions) -> Result<Frames, VideoError> {
        let plan = Plan::new(video, Layout::Rgb24, options);
        Ok(Frames { stream: Stream::start(plan, options.read_ahead)?, video: video.clone() })
    }

    /// The account so far; complete once the iterator has ended.
    pub fn damage(&self) -> Damage {
        self.stream.damage()
    }
}

impl Iterator for Frames {
    type Item = Result<Frame, VideoError>;

    fn next(&mut self) -> Option<Self::Item> {
        let picture = self.stream.next()?;
        Some(picture.map(|picture| Frame {
            frame_idx: picture.frame_idx,
            time_s: self.video.time_s(picture.frame_idx),
            width: self.video.width(),
            height: self.video.height(),
            rgb: picture.bytes,
        }))
    }
}
