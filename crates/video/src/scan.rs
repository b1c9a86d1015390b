//! Asking the decoder which frames it delivers, in order and with their timestamps.
//!
//! Costs a decoding pass without loop filters and inverse transforms, which change pixels only.

use std::ops::ControlFlow;
use std::path::Path;
use std::process::Command;

use crate::args;
use crate::decode::side_channel::AnnouncedFrame;
use crate::error::VideoError;
use crate::header::Header;
use crate::limits::Limits;
use crate::process::{self, RunError};
use crate::tools::Tools;

/// Maximum number of decoder threads.
const MAX_THREADS: usize = 16;

/// How much of the file to decode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ScanLength {
    All,
    /// At least this many frames from the start, if the file has them.
    Frames(u64),
}

/// The frames that the decoder delivered.
pub(crate) struct Scan {
    /// Timestamps in ticks of the stream's time base, in the decoder's order.
    pub(crate) pts: Vec<Option<i64>>,
}

impl Scan {
    /// Decodes the file from its start. Blocks for the time that takes; `on_progress` gets the number of frames so far.
    ///
    /// # Errors
    ///
    /// When no frame can be decoded, when there are more than `limits.max_frames`, and when ffmpeg
    /// cannot be run or stalls.
    pub(crate) fn run(
        tools: &Tools,
        path: &Path,
        header: &Header,
        limits: &Limits,
        length: ScanLength,
        on_progress: &mut dyn FnMut(u64),
    ) -> Result<Scan, VideoError> {
        let threads = std::thread::available_parallelism().map_or(2, |n| n.get()).min(MAX_THREADS);
        let command = command(tools, path, header, limits, length, threads);
        let mut lines = FrameLines { max_frames: limits.max_frames, ..FrameLines::default() };
        let sandbox = tools.sandbox(Some(path), limits, threads);
        let mut on_chunk = |chunk: &[u8]| {
            let flow = lines.push(chunk);
            on_progress(lines.pts.len() as u64);
            flow
        };
        let finished = process::run(command, &sandbox, limits.stall_timeout, &mut on_chunk).map_err(
            |error| match error {
                RunError::Io(source) => VideoError::io(path, "cannot run ffmpeg on", source),
                RunError::Stalled => VideoError::stalled(path, "was being decoded", limits.stall_timeout),
            },
        )?;
        if lines.pts.len() as u64 > limits.max_frames {
            let detail = format!("it has more than {} frames, the limit", limits.max_frames);
            return Err(VideoError::too_large(path, detail));
        }
        if lines.pts.is_empty() {
            let summary = finished.log.summary("ffmpeg exited without a message");
            return Err(VideoError::not_video(
                path,
                format!("none of its frames can be decoded; it is encrypted or damaged ({summary})"),
            ));
        }
        Ok(Scan { pts: lines.pts })
    }
}

fn command(
    tools: &Tools,
    path: &Path,
    header: &Header,
    limits: &Limits,
    length: ScanLength,
    threads: usize,
) -> Command {
    let mut command = Tools::command(tools.ffmpeg());
    args::quiet(command.arg("-nostdin"));
    command.args(["-threads", &threads.to_string(), "-max_error_rate", "1", "-copyts"]);
    command.args(["-skip_loop_filter", "all", "-skip_idct", "all"]);
    args::video_decoders(&mut command);
    args::input(&mut command, limits.max_pixels, path);
    command.args(["-map", &format!("0:{}", header.stream), "-an", "-sn", "-dn"]);
    command.args(["-vf", &args::announce_frames("1"), "-fps_mode", "passthrough"]);
    command.args(["-enc_time_base", "1:1000000"]);
    if let ScanLength::Frames(n) = length {
        command.args(["-frames:v", &n.to_string()]);
    }
    command.args(["-f", "null", "-"]);
    command
}

/// Parses the lines of the `metadata` filter, which arrive in arbitrary chunks.
#[derive(Default)]
struct FrameLines {
    pts: Vec<Option<i64>>,
    rest: Vec<u8>,
    max_frames: u64,
}

impl FrameLines {
    fn push(&mut self, chunk: &[u8]) -> ControlFlow<()> {
        for &byte in chunk {
            if byte == b'\n' {
                let line = String::from_utf8_lossy(&self.rest);
                self.pts.extend(AnnouncedFrame::parse(&line).map(|frame| frame.pts));
                self.rest.clear();
            } else if self.rest.len() < 256 {
                self.rest.push(byte);
            }
        }
        if self.pts.len() as u64 > self.max_frames {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }
}
