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
use crate::lines::Lines;
use crate::process;
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
        let (mut lines, mut pts) = (Lines::default(), Vec::new());
        let sandbox = tools.sandbox(Some(path), limits, threads);
        let mut on_chunk = |chunk: &[u8]| {
            lines.push(chunk, &mut |line| pts.extend(AnnouncedFrame::parse(line).map(|frame| frame.pts)));
            let n_frames = pts.len() as u64;
            on_progress(n_frames);
            if n_frames > limits.max_frames { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let finished = process::run(command, &sandbox, limits.stall_timeout, &mut on_chunk)
            .map_err(|error| error.on_video(path, limits, "cannot run ffmpeg on", "was being decoded"))?;
        if pts.len() as u64 > limits.max_frames {
            let detail = format!("it has more than {} frames, the limit", limits.max_frames);
            return Err(VideoError::too_large(path, detail));
        }
        if pts.is_empty() {
            let summary = finished.log.summary("ffmpeg exited without a message");
            return Err(VideoError::not_video(
                path,
                format!("none of its frames can be decoded; it is encrypted or damaged ({summary})"),
            ));
        }
        Ok(Scan { pts })
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
    let mut command = args::decoder(tools, threads);
    command.args(["-skip_loop_filter", "all", "-skip_idct", "all"]);
    args::decoder_input(&mut command, header, limits, path);
    args::frames(command.args(["-vf", &args::announce_frames("1")]));
    if let ScanLength::Frames(n) = length {
        command.args(["-frames:v", &n.to_string()]);
    }
    command.args(["-f", "null", "-"]);
    command
}
