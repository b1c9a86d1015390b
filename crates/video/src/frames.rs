//! The frames of a video as an iterator of RGB images.

use std::sync::Arc;

use crate::damage::Damage;
use crate::decode::plan::{DecodePlan, PixelLayout};
use crate::decode::state::DecodeState;
use crate::decode::stream::FrameStream;
use crate::error::VideoError;
use crate::options::DecodeOptions;
use crate::video::Video;

/// One decoded frame as an RGB image.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    /// 0-based ordinal in the source video.
    pub frame_idx: u64,
    /// Presentation time in seconds: [`Video::time_s`] of `frame_idx`.
    pub time_s: f64,
    /// Width in pixels, after rotation.
    pub width: u32,
    /// Height in pixels, after rotation.
    pub height: u32,
    /// Pixels as `height * width * 3` bytes: rows from the top, pixels from the left, red, green, blue.
    pub rgb: Vec<u8>,
}

/// Decoded frames in order. Ends after the first error. Dropping it kills the decoder.
#[derive(Debug)]
pub struct Frames {
    stream: FrameStream,
    video: Video,
}

impl Video {
    /// Starts decoding. Separate threads decode ahead of the iterator, by at most
    /// [`DecodeOptions::read_ahead`] frames.
    ///
    /// # Errors
    ///
    /// When the threads cannot be started. The iterator returns all later errors.
    pub fn frames(&self, options: &DecodeOptions) -> Result<Frames, VideoError> {
        let plan = DecodePlan::new(self, PixelLayout::Rgb24, options);
        Ok(Frames { stream: FrameStream::start(plan, options.read_ahead)?, video: self.clone() })
    }
}

/// Stops a decoder from another thread than the one that waits for its frames. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Canceller(Arc<DecodeState>);

impl Canceller {
    /// Kills the decoder. The iterator then ends without an error.
    pub fn cancel(&self) {
        self.0.cancel();
    }
}

impl Frames {
    /// A handle that stops the decoder while another thread waits for the next frame.
    pub fn canceller(&self) -> Canceller {
        Canceller(self.stream.state())
    }

    /// The frames decoded and lost so far; final once the iterator has ended.
    pub fn damage(&self) -> Damage {
        self.stream.damage()
    }
}

impl Iterator for Frames {
    type Item = Result<Frame, VideoError>;

    fn next(&mut self) -> Option<Self::Item> {
        let decoded = self.stream.next()?;
        Some(decoded.map(|decoded| Frame {
            frame_idx: decoded.frame_idx,
            time_s: self.video.time_s(decoded.frame_idx),
            width: self.video.width(),
            height: self.video.height(),
            rgb: decoded.bytes,
        }))
    }
}
