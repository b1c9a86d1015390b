//! The encoding child. It reads frames with their timestamps as Matroska from its standard input and
//! sound from the source file, and writes to a temporary file.

use std::io::Write;
use std::ops::Range;
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread::{self, JoinHandle};

use crate::annotate::matroska;
use crate::annotate::partial::PartialFile;
use crate::annotate::sound::SoundStream;
use crate::args;
use crate::child_log::ChildLog;
use crate::decode::plan::{DecodePlan, RawFrame};
use crate::error::VideoError;
use crate::process::{self, ChildGuard};
use crate::tools::Tools;
use crate::video::Video;

/// Maximum number of encoder threads; more threads cost memory and are hardly faster.
const MAX_THREADS: usize = 16;
/// Longest time that a frame is shown at 90,000 ticks per second, with a margin, in microseconds.
const MAX_STEP_AT_90_KHZ_US: i64 = 20_000_000_000;
/// Maximum number of chunks waiting to be written. A frame is two chunks: header and pixels.
const MAX_PENDING: usize = 4;

/// A running encoder. Dropping it kills the child.
pub(crate) struct Encoder<'a> {
    video: Video,
    partial: &'a PartialFile,
    child: ChildGuard,
    /// `None` after the last frame.
    chunks: Option<SyncSender<Vec<u8>>>,
    /// One message for each chunk that was written.
    written: Receiver<()>,
    n_pending: usize,
    log: Option<JoinHandle<ChildLog>>,
    /// Time of the first frame, which is zero in the Matroska stream.
    zero_us: i64,
}

impl<'a> Encoder<'a> {
    /// Starts the child. The calling thread must live as long as the encoder.
    pub(crate) fn start(
        tools: &Tools,
        video: &Video,
        plan: &DecodePlan,
        sound: &[SoundStream],
        partial: &'a PartialFile,
    ) -> Result<Encoder<'a>, VideoError> {
        let inner = &video.inner;
        let failed = |source| VideoError::io(partial.target(), "cannot run ffmpeg for", source);
        let threads = thread::available_parallelism().map_or(2, |n| n.get()).min(MAX_THREADS);
        let zero_us = inner.clock.frame_us(&inner.index, plan.range.start);
        let mut command = command(tools, video, plan, sound, threads, partial.path());
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut sandbox = tools.sandbox(Some(&inner.path), &inner.limits, 2 * threads);
        sandbox.write = Some(partial.path().to_owned());
        let mut child = ChildGuard(process::spawn(command, &sandbox).map_err(failed)?);
        let (Some(stdin), Some(stderr)) = (child.0.stdin.take(), child.0.stderr.take()) else {
            return Err(failed(std::io::Error::other("the child has no pipes")));
        };
        let log = thread::spawn(move || ChildLog::read(stderr, &[") not on whitelist"]));
        let (chunks, to_write) = mpsc::sync_channel(MAX_PENDING);
        let (acknowledge, written) = mpsc::channel();
        thread::spawn(move || write_all(stdin, &to_write, &acknowledge));
        let (width, height) = plan.frame_size();
        let mut encoder = Encoder {
            video: video.clone(),
            partial,
            child,
            chunks: Some(chunks),
            written,
            n_pending: 0,
            log: Some(log),
            zero_us,
        };
        let duration_ns = (1e9 / inner.clock.fps()) as u64;
        let colour = matroska::colour_codes(&inner.header.colour);
        encoder.send(matroska::header(width, height, duration_ns.max(1), colour))?;
        Ok(encoder)
    }

    /// Writes the next frame. Blocks while the encoder is behind.
    pub(crate) fn write(&mut self, frame: RawFrame) -> Result<(), VideoError> {
        let inner = &self.video.inner;
        let time_us = inner.clock.frame_us(&inner.index, frame.frame_idx).saturating_sub(self.zero_us);
        let header = matroska::frame_header(u64::try_from(time_us).unwrap_or(0), frame.bytes.len());
        self.send(header)?;
        self.send(frame.bytes)
    }

    /// Waits for the child to finish the file.
    pub(crate) fn finish(mut self) -> Result<(), VideoError> {
        while self.n_pending > 0 {
            self.wait_for_chunk()?;
        }
        self.chunks = None;
        let stall = self.video.inner.limits.stall_timeout;
        let path = self.partial.path();
        // ffmpeg moves the tables to the front of the file at the end; and keeps changing it.
        let progress = || path.metadata().ok().map(|file| (file.len(), file.modified().ok()));
        let child = &mut self.child.0;
        match process::wait_for_exit(&mut || child.try_wait(), stall, &progress) {
            Ok(Some(status)) if status.success() => Ok(()),
            Ok(Some(_)) => Err(self.failure()),
            Ok(None) => Err(self.stalled()),
            Err(source) => Err(VideoError::io(self.partial.target(), "cannot wait for ffmpeg for", source)),
        }
    }

    fn send(&mut self, bytes: Vec<u8>) -> Result<(), VideoError> {
        while self.n_pending >= MAX_PENDING {
            self.wait_for_chunk()?;
        }
        // Does not block, because fewer chunks are pending than the channel holds.
        if self.chunks.as_ref().is_none_or(|chunks| chunks.send(bytes).is_err()) {
            return Err(self.failure());
        }
        self.n_pending += 1;
        Ok(())
    }

    fn wait_for_chunk(&mut self) -> Result<(), VideoError> {
        match self.written.recv_timeout(self.video.inner.limits.stall_timeout) {
            Ok(()) => {
                self.n_pending -= 1;
                Ok(())
            }
            Err(RecvTimeoutError::Timeout) => Err(self.stalled()),
            Err(RecvTimeoutError::Disconnected) => Err(self.failure()),
        }
    }

    fn stalled(&self) -> VideoError {
        VideoError::stalled(self.partial.target(), "was being written", self.video.inner.limits.stall_timeout)
    }

    /// The error with the child's messages. Kills the child if it still runs.
    fn failure(&mut self) -> VideoError {
        let _ = self.child.0.kill();
        let log = self.log.take().and_then(|log| log.join().ok()).unwrap_or_default();
        VideoError::encode(self.partial.target(), log.summary("ffmpeg exited without a message"))
    }
}

fn write_all(mut stdin: ChildStdin, to_write: &Receiver<Vec<u8>>, acknowledge: &mpsc::Sender<()>) {
    for bytes in to_write {
        if stdin.write_all(&bytes).is_err() || acknowledge.send(()).is_err() {
            return;
        }
    }
}

fn command(
    tools: &Tools,
    video: &Video,
    plan: &DecodePlan,
    sound: &[SoundStream],
    threads: usize,
    out: &Path,
) -> Command {
    let inner = &video.inner;
    let time_us = |frame_idx| inner.clock.frame_us(&inner.index, frame_idx);
    let from_start = plan.range.start == 0;
    let mut command = Tools::command(tools.ffmpeg());
    args::quiet(command.arg("-nostdin")).arg("-y");
    // A complete video keeps the delay between the start of its sound and its first frame.
    let offset_us = if from_start { time_us(0) } else { 0 };
    command.args(["-protocol_whitelist", "pipe", "-itsoffset", &format!("{offset_us}us")]);
    command.args(["-f", "matroska", "-i", "pipe:0"]);
    if !sound.is_empty() {
        if !from_start {
            command.args(["-ss", &format!("{}us", time_us(plan.range.start).max(0))]);
        }
        if plan.range.end < video.n_frames() {
            let end_us = time_us(plan.range.end) - if from_start { 0 } else { time_us(plan.range.start) };
            command.args(["-t", &format!("{}us", end_us.max(0))]);
        }
        command.args(["-codec_whitelist", args::AUDIO_DECODERS]);
        args::input(&mut command, inner.limits.max_pixels, &inner.path);
    }
    let (pixel_width, pixel_height) = video.pixel_aspect();
    command.args(["-vf", &format!("setsar={pixel_width}/{pixel_height}")]);
    command.args([
        "-map", "0:v:0", "-c:v", "libx264", "-preset", "veryfast", "-crf", "23", "-pix_fmt", "yuv420p",
    ]);
    command.args(["-threads", &threads.to_string(), "-fps_mode", "passthrough"]);
    let timescale = timescale(video, &plan.range);
    command.args(["-enc_time_base", &format!("1:{timescale}"), "-video_track_timescale", &timescale]);
    map_sound(&mut command, sound, from_start);
    command.args(["-movie_timescale", &timescale, "-movflags", "+faststart"]);
    command.args(["-map_metadata", "-1", "-f", "mp4"]).arg(out);
    command
}

/// Adds the sound streams of the second input. `from_start`: whether the copy begins at the start of the source.
fn map_sound(command: &mut Command, sound: &[SoundStream], from_start: bool) {
    for (i, sound) in sound.iter().enumerate() {
        command.args(["-map", &format!("1:a:{}", sound.index), &format!("-c:a:{i}"), sound.encoder()]);
        if !from_start {
            // Seeking lands before the requested range; packets before the range are not copied.
            command.args([&format!("-copypriorss:a:{i}"), "0"]);
        }
    }
}

/// Ticks per second of the copy. A frame is shown for at most 2^31 ticks (ISO/IEC 14496-12 §8.6.1.2 and
/// ffmpeg's own limit), which is 6 hours at the usual 90,000.
fn timescale(video: &Video, range: &Range<u64>) -> String {
    let inner = &video.inner;
    let time_us = |frame_idx| inner.clock.frame_us(&inner.index, frame_idx);
    let is_long = |frame_idx| time_us(frame_idx + 1) - time_us(frame_idx) > MAX_STEP_AT_90_KHZ_US;
    let is_any_long = (range.start..range.end.saturating_sub(1)).any(is_long);
    String::from(if is_any_long { "1000" } else { "90000" })
}
