//! An annotated copy of a video: one child decodes, boxes are drawn into the planes here, and a
//! second child encodes and copies the sound. Every frame keeps its timestamp.

mod draw;
mod encoder;
mod font;
mod matroska;
mod partial;
mod sound;

use std::ops::{ControlFlow, Range};
use std::path::Path;

pub use draw::Overlay;

use crate::annotate::draw::Canvas;
use crate::annotate::encoder::Encoder;
use crate::annotate::partial::PartialFile;
use crate::decode::plan::{DecodePlan, PixelLayout};
use crate::decode::stream::FrameStream;
use crate::error::VideoError;
use crate::options::DecodeOptions;
use crate::tools::Tools;
use crate::video::Video;

/// Frames decoded ahead of the drawing.
const READ_AHEAD: usize = 2;

/// Writes the frames `range` of `video` to `out` as an MP4 (H.264), with the boxes that `overlays`
/// returns for each frame drawn into it, in source pixels. Timestamps are those of the source,
/// shifted so that a range from the middle begins at zero, and the shape of its pixels is kept. Sound
/// is copied, or converted to AAC where MP4 cannot hold it. Frames lost to damage are left out. Returns
/// what the copy lacks, as messages for the user.
///
/// `progress` is called after each frame with the number of frames done and expected; breaking
/// cancels. `out` is written atomically and replaces an existing file of that name.
///
/// # Errors
///
/// [`VideoError::Cancelled`] when `progress` breaks, [`VideoError::Encode`] when `out` cannot be
/// written, and all errors of decoding. No temporary file is left behind.
pub fn annotate(
    tools: &Tools,
    video: &Video,
    out: &Path,
    range: Range<u64>,
    overlays: &mut dyn FnMut(u64) -> Vec<Overlay>,
    progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
) -> Result<Vec<String>, VideoError> {
    let options = DecodeOptions { range, ..DecodeOptions::default() };
    let plan = DecodePlan::new(video, PixelLayout::I420, &options);
    let total = plan.n_requested();
    if total == 0 {
        return Err(VideoError::encode(out, "the range contains no frames"));
    }
    let partial = PartialFile::create(out).map_err(|source| VideoError::io(out, "cannot create", source))?;
    if partial.target() == video.path() {
        return Err(VideoError::encode(out, "it is the source video; choose another name"));
    }
    let mut warnings = Vec::new();
    let sound = sound::streams(tools, video, partial.path(), &mut warnings)?;
    let (width, height) = plan.frame_size();
    let mut encoder = Encoder::start(tools, video, &plan, &sound, &partial)?;
    let mut done = 0;
    for frame in FrameStream::start(plan, READ_AHEAD)? {
        let mut frame = frame?;
        let mut canvas = Canvas::new(&mut frame.bytes, width as usize, height as usize);
        canvas.overlays(&overlays(frame.frame_idx));
        encoder.write(frame)?;
        done += 1;
        if progress(done, total).is_break() {
            return Err(VideoError::Cancelled);
        }
    }
    if done == 0 {
        return Err(VideoError::decode(video.path(), "none of the requested frames could be decoded"));
    }
    encoder.finish()?;
    if done < total {
        warnings.push(format!("{} frames that could not be decoded are left out", total - done));
    }
    partial.keep().map_err(|source| VideoError::io(out, "cannot write", source))?;
    Ok(warnings)
}
