//! Running ffprobe on an untrusted file, and turning its failures into errors.

use std::ops::ControlFlow;
use std::path::Path;

use crate::args::{self, SUPPORTED};
use crate::container::{self, Refused};
use crate::error::VideoError;
use crate::limits::Limits;
use crate::process::{self, FinishedChild};
use crate::tools::Tools;

/// Maximum size of output that is held in memory, in bytes.
const MAX_ANSWER: usize = 1 << 20;

/// Runs ffprobe on a file with `options` and returns its output, which must be short.
pub(crate) fn ffprobe(
    tools: &Tools,
    path: &Path,
    limits: &Limits,
    options: &[&str],
) -> Result<String, VideoError> {
    let mut answer = Vec::new();
    ffprobe_streaming(tools, path, limits, options, &mut |chunk| {
        answer.extend_from_slice(chunk);
        if answer.len() > MAX_ANSWER { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Runs ffprobe on a file with `options` and passes its output to `on_chunk` piece by piece.
pub(crate) fn ffprobe_streaming(
    tools: &Tools,
    path: &Path,
    limits: &Limits,
    options: &[&str],
    on_chunk: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
) -> Result<FinishedChild, VideoError> {
    let mut command = Tools::command(tools.ffprobe());
    args::quiet(&mut command);
    // ffprobe applies the pixel limit to every stream that it probes.
    args::whitelist(&mut command, limits.max_pixels).args(options).arg("-i").arg(path);
    let sandbox = tools.sandbox(Some(path), limits, 8);
    let finished = process::run(command, &sandbox, limits.stall_timeout, on_chunk)
        .map_err(|error| error.on_video(path, limits, "cannot run ffprobe on", "was being read"))?;
    match finished.status {
        Some(status) if !status.success() => {
            Err(refusal(path, limits, &finished.log.summary("ffprobe failed")))
        }
        _ => Ok(finished),
    }
}

/// The error for a message of ffprobe.
fn refusal(path: &Path, limits: &Limits, message: &str) -> VideoError {
    let message = message.replace(&format!("{}: ", path.display()), "");
    if message.contains("not on whitelist") {
        return match container::identify(path) {
            Refused::Container(name) => {
                VideoError::UnsupportedContainer { path: path.to_owned(), container: name.to_owned() }
            }
            Refused::Playlist => VideoError::not_video(
                path,
                "it is a playlist, which refers to other files; use the video file itself",
            ),
            Refused::Unknown => VideoError::not_video(path, format!("its format is not one of {SUPPORTED}")),
        };
    }
    if message.contains("max_pixels") || message.contains("Picture size") {
        return VideoError::too_large(path, format!("{message}; the limit is {} pixels", limits.max_pixels));
    }
    VideoError::not_video(path, format!("{message}; it is damaged, truncated, or not a video"))
}
