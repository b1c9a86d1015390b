//! A copy of a video with boxes drawn into it: one child decodes, the planes are drawn on here, a
//! second child encodes and copies the sound. Every picture keeps the time it had.

use std::ops::{ControlFlow, Range};
use std::path::Path;

use crate::decode::{Layout, Plan, Stream};
use crate::draw::{Canvas, Overlay};
use crate::encoder::Encoder;
use crate::error::VideoError;
use crate::frames::DecodeOptions;
use crate::partial::Partial;
use crate::sound;
use crate::tools::Tools;
use crate::video::Video;

/// Pictures decoded ahead of the drawing.
const READ_AHEAD: usize = 2;

/// Writes the frames `range` of `video` to `out` as an mp4 (H.264) with what `overlays` returns for
/// each frame drawn into it, in source pixels. Timestamps are the source's, shifted so that a part
/// from the middle begins at zero; sound is copied, or converted to AAC where mp4 cannot hold it.
/// Frames lost to damage are absent.
///
/// `progress` is called after each frame with the number done and the number expected; breaking
/// cancels. `out` appears whole or not at all, and replaces a file of that name.
///
/// # Errors
///
/// [`VideoError::Cancelled`] when `progress` broke, [`VideoError::Encode`] when `out` cannot be
/// written, and what decoding can meet. No temporary file remains.
pub fn annotate(
    tools: &Tools,
    video: &Video,
    out: &Path,
    range: Range<u64>,
    overlays: &mut dyn FnMut(u64) -> Vec<Overlay>,
    progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
) -> Result<(), VideoError> {
    let options = DecodeOptions { range, ..DecodeOptions::default() };
    let plan = Plan::new(video, Layout::I420, &options);
    let total = plan.expected();
    if total == 0 {
        return Err(VideoError::encode(out, "the range holds no frames"));
    }
    let partial = Partial::create(out).map_err(|source| VideoError::io(out, "cannot create", source))?;
    if partial.target() == video.path() {
        return Err(VideoError::encode(out, "it is the video itself; choose another name"));
    }
    let sound = sound::streams(tools, video)?;
    let (width, height) = plan.size();
    let mut encoder = Encoder::start(tools, video, &plan, &sound, &partial)?;
    let mut done = 0;
    for picture in Stream::start(plan, READ_AHEAD)? {
        let mut picture = picture?;
        let mut canvas = Canvas::new(&mut picture.bytes, width as usize, height as usize);
        for overlay in overlays(picture.frame_idx) {
            canvas.overlay(&overlay);
        }
        encoder.write(picture)?;
        done += 1;
        if progress(done, total).is_break() {
            return Err(VideoError::Cancelled);
        }
    }
    if done == 0 {
        return Err(VideoError::decode(video.path(), "none of the frames asked for could be decoded"));
    }
    encoder.finish()?;
    partial.keep().map_err(|source| VideoError::io(out, "cannot write", source))
}
