//! One run of ffmpeg: starting it and reading its pipes.
//!
//! The child writes raw frames to its standard output and the
//! [side channel](crate::decode::side_channel) to its *standard input*, which is the write end of a
//! pipe: with `-nostdin` ffmpeg reads nothing from it, and passing an extra descriptor through the
//! fork would need unsafe code. Raw frames are read only against credit, so a stopped consumer
//! stops ffmpeg. The side channel and the log are always drained, so nothing can deadlock.

use std::io::{BufRead, BufReader, PipeReader, Read};
use std::process::{ChildStderr, ChildStdout, Stdio};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::thread;

use crate::child_log::ChildLog;
use crate::decode::command::decode_command;
use crate::decode::pairing::{FramePairing, PassOutcome, PassSetup, PipesEnd};
use crate::decode::plan::{DecodePlan, RawFrame};
use crate::decode::side_channel::AnnouncedFrame;
use crate::decode::state::DecodeState;
use crate::error::VideoError;
use crate::process;

/// Frames read from the pipe and not yet paired.
const CREDIT: usize = 2;

/// Error lines to ignore: audio decoders are disabled on purpose, and timestamps have no meaning
/// in raw video.
const IGNORED: [&str; 2] =
    [") not on whitelist", "[rawvideo] Application provided invalid, non monotonically"];

/// Error lines to ignore after a seek: frames at the target keyframe refer to earlier frames that
/// were not decoded. Real damage causes other lines as well.
const IGNORED_AFTER_SEEK: [&str; 7] = [
    IGNORED[0],
    IGNORED[1],
    "co located POCs unavailable",
    "mmco: unref short failure",
    "number of reference frames",
    "reference picture missing during reorder",
    "Missing reference picture",
];

enum PipeEvent {
    Announced(AnnouncedFrame),
    Image(Vec<u8>),
    Closed,
}

/// Runs ffmpeg once and sends the requested frames to `out`.
pub(crate) fn run(
    plan: &DecodePlan,
    setup: PassSetup,
    state: &DecodeState,
    out: &SyncSender<Result<RawFrame, VideoError>>,
) -> Result<PassOutcome, VideoError> {
    let inner = &plan.video.inner;
    let failed = |source| VideoError::io(&inner.path, "cannot run ffmpeg on", source);
    let (side, side_writer) = std::io::pipe().map_err(failed)?;
    let mut pairing = FramePairing::new(plan, setup);
    let mut command = decode_command(plan, pairing.seek_us, pairing.selection);
    command.stdin(side_writer).stdout(Stdio::piped()).stderr(Stdio::piped());
    let sandbox = inner.tools.sandbox(Some(&inner.path), &inner.limits, plan.threads);
    let outputs = state.spawn(command, &sandbox, |child| child.stdout.take().zip(child.stderr.take()));
    let Some(outputs) = outputs.map_err(failed)? else { return Ok(PassOutcome::ReceiverDropped) };
    let Some((stdout, stderr)) = outputs else {
        return Err(failed(std::io::Error::other("the child has no output pipes")));
    };
    read_pipes(&mut pairing, state, (side, stdout, stderr), out)
}

type Pipes = (PipeReader, ChildStdout, ChildStderr);

fn read_pipes(
    pairing: &mut FramePairing<'_>,
    state: &DecodeState,
    (side, stdout, stderr): Pipes,
    out: &SyncSender<Result<RawFrame, VideoError>>,
) -> Result<PassOutcome, VideoError> {
    let frame_bytes = pairing.plan.frame_bytes();
    let ignored: &[&str] = if pairing.seek_us.is_some() { &IGNORED_AFTER_SEEK } else { &IGNORED };
    thread::scope(|scope| {
        let (events, received) = mpsc::channel();
        let (credit, credits) = mpsc::channel();
        let side_events = events.clone();
        scope.spawn(move || read_side_channel(side, &side_events));
        scope.spawn(move || read_images(stdout, frame_bytes, &credits, &events));
        let log = scope.spawn(move || ChildLog::read(stderr, ignored));
        for _ in 0..CREDIT {
            // Fails only if the reader thread has already ended.
            let _ = credit.send(());
        }
        let end = pump(pairing, state, &received, &credit, out);
        // In every case the readers now reach the end of their pipes, and the scope joins them.
        state.kill();
        drop(credit);
        let log = log.join().unwrap_or_default();
        pairing.conclude(end, &log, state)
    })
}

fn pump(
    pairing: &mut FramePairing<'_>,
    state: &DecodeState,
    received: &Receiver<PipeEvent>,
    credit: &Sender<()>,
    out: &SyncSender<Result<RawFrame, VideoError>>,
) -> Result<PipesEnd, VideoError> {
    let inner = &pairing.plan.video.inner;
    let stall = inner.limits.stall_timeout;
    let stalled = || VideoError::stalled(&inner.path, "was being decoded", stall);
    let mut n_open = 2;
    while n_open > 0 {
        match received.recv_timeout(stall).map_err(|_| stalled())? {
            PipeEvent::Announced(frame) => pairing.add_announced(frame),
            PipeEvent::Image(bytes) => pairing.add_image(bytes),
            PipeEvent::Closed => n_open -= 1,
        }
        while let Some((pts, bytes)) = pairing.next_pair() {
            // Fails if the reader has reached the end of its pipe and needs no more credit.
            let _ = credit.send(());
            if let Some(outcome) = pairing.send(pts, bytes, state, out) {
                return Ok(PipesEnd::Decided(outcome));
            }
        }
    }
    let status = process::wait_for_exit(&mut || state.try_wait(), stall, &|| ())
        .map_err(|source| VideoError::io(&inner.path, "cannot wait for ffmpeg on", source))?;
    Ok(PipesEnd::ChildExited(status))
}

fn read_side_channel(side: PipeReader, events: &Sender<PipeEvent>) {
    for line in BufReader::new(side).lines().map_while(Result::ok) {
        if let Some(frame) = AnnouncedFrame::parse(&line)
            && events.send(PipeEvent::Announced(frame)).is_err()
        {
            return;
        }
    }
    let _ = events.send(PipeEvent::Closed);
}

fn read_images(
    mut stdout: ChildStdout,
    frame_bytes: usize,
    credits: &Receiver<()>,
    events: &Sender<PipeEvent>,
) {
    while credits.recv().is_ok() {
        let mut bytes = Vec::with_capacity(frame_bytes);
        let read = stdout.by_ref().take(frame_bytes as u64).read_to_end(&mut bytes);
        if read.is_err() || bytes.len() < frame_bytes {
            break;
        }
        if events.send(PipeEvent::Image(bytes)).is_err() {
            return;
        }
    }
    let _ = events.send(PipeEvent::Closed);
}
