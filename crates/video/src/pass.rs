//! One run of ffmpeg: its command line, the threads that read its pipes, and the pairing of
//! pictures with timestamps.
//!
//! The child's standard output carries pictures, its *standard input* carries the side channel out
//! (see [`crate::side`]; ffmpeg reads nothing with `-nostdin`, and a descriptor of its own would
//! have to be smuggled through the fork). Pictures are read only against credit, so that a
//! stopped consumer stops ffmpeg; the side channel and the log are always drained, so that nothing
//! can lock up.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, PipeReader, Read};
use std::process::{ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::thread;

use crate::args;
use crate::decode::{Layout, Picture, Plan, Shared};
use crate::error::VideoError;
use crate::process::{self, Log};
use crate::side::{Announced, Mirror, Selection};
use crate::tools::Tools;

/// Pictures read from the pipe and not yet handed on.
const CREDIT: usize = 2;

/// Complaints that mean nothing: sound is left alone on purpose, and raw pictures have no times
/// that could be out of order.
const REMARKS: [&str; 2] =
    [") not on whitelist", "[rawvideo] Application provided invalid, non monotonically"];

/// Complaints about references to pictures before the keyframe that was sought, which are to be
/// expected there. Real damage has others to show besides.
const REMARKS_AFTER_SEEK: [&str; 8] = [
    REMARKS[0],
    REMARKS[1],
    "co located POCs unavailable",
    "mmco: unref short failure",
    "number of reference frames",
    "reference picture missing during reorder",
    "Missing reference picture",
    "Could not find ref with POC",
];

/// Where a pass begins and what it leaves to ffmpeg.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    /// The first frame wanted.
    pub(crate) at: u64,
    /// Keyframes to go back beyond the last one before it.
    pub(crate) back: usize,
    /// Whether ffmpeg leaves out the frames between those wanted.
    pub(crate) thinned: bool,
}

/// Why a pass ended without error.
pub(crate) enum End {
    /// All frames wanted that the file has were handed out.
    Complete,
    /// Nobody wants the rest.
    Abandoned,
    /// Seeking did not reach the first frame; nothing was handed out.
    Misaligned,
    /// ffmpeg's choice no longer falls on the frames wanted, of which `next` is the first not
    /// handed out.
    OffGrid { next: u64 },
}

enum Event {
    Announced(Announced),
    Picture(Vec<u8>),
    Closed,
}

/// Runs ffmpeg once and hands pictures to `out`.
pub(crate) fn run(
    plan: &Plan,
    setup: Setup,
    shared: &Shared,
    out: &SyncSender<Result<Picture, VideoError>>,
) -> Result<End, VideoError> {
    let inner = &plan.video.inner;
    let failed = |source| VideoError::io(&inner.path, "cannot run ffmpeg on", source);
    let (side, theirs) = std::io::pipe().map_err(failed)?;
    let mut pairing = Pairing::new(plan, setup);
    let mut command = command(plan, setup, pairing.selection);
    command.stdin(theirs).stdout(Stdio::piped()).stderr(Stdio::piped());
    let sandbox = inner.tools.sandbox(Some(&inner.path), &inner.limits, plan.threads);
    let outputs = shared.spawn(command, &sandbox, |child| child.stdout.take().zip(child.stderr.take()));
    let Some(outputs) = outputs.map_err(failed)? else { return Ok(End::Abandoned) };
    let Some((stdout, stderr)) = outputs else {
        return Err(failed(std::io::Error::other("it has no output")));
    };
    attend(&mut pairing, shared, (side, stdout, stderr), out)
}

type Pipes = (PipeReader, ChildStdout, ChildStderr);

fn attend(
    pairing: &mut Pairing,
    shared: &Shared,
    (side, stdout, stderr): Pipes,
    out: &SyncSender<Result<Picture, VideoError>>,
) -> Result<End, VideoError> {
    let size = pairing.plan.picture_bytes();
    let sought = seek(pairing.plan, pairing.setup).is_some();
    let ignored: &[&str] = if sought { &REMARKS_AFTER_SEEK } else { &REMARKS };
    thread::scope(|scope| {
        let (events, received) = mpsc::channel();
        let (credit, credits) = mpsc::channel();
        let side_events = events.clone();
        scope.spawn(move || read_side(side, &side_events));
        scope.spawn(move || read_pictures(stdout, size, &credits, &events));
        let log = scope.spawn(move || Log::read(stderr, ignored));
        for _ in 0..CREDIT {
            // The receiver lives as long as its thread, which has not ended yet or sees nothing.
            let _ = credit.send(());
        }
        let end = pump(pairing, shared, &received, &credit, out);
        // Whatever happened, the readers now reach the end of their pipes and the scope joins them.
        shared.kill();
        drop(credit);
        let log = log.join().unwrap_or_default();
        pairing.settle(end, log, shared)
    })
}

/// How the pipes ended.
enum Ended {
    /// With the child, by itself.
    Exited(Option<ExitStatus>),
    /// Before the child, on our side.
    Early(End),
}

fn pump(
    pairing: &mut Pairing,
    shared: &Shared,
    received: &Receiver<Event>,
    credit: &Sender<()>,
    out: &SyncSender<Result<Picture, VideoError>>,
) -> Result<Ended, VideoError> {
    let inner = &pairing.plan.video.inner;
    let stall = inner.limits.stall_timeout;
    let stalled = || VideoError::stalled(&inner.path, "was being decoded", stall);
    let mut open = 2;
    while open > 0 {
        match received.recv_timeout(stall).map_err(|_| stalled())? {
            Event::Announced(frame) => pairing.announced(frame),
            Event::Picture(bytes) => pairing.pictures.push_back(bytes),
            Event::Closed => open -= 1,
        }
        while let Some((pts, bytes)) = pairing.pair() {
            // Fails when the reader has met the end of its pipe, which needs no credit.
            let _ = credit.send(());
            if let Some(end) = pairing.hand_out(pts, bytes, shared, out) {
                return Ok(Ended::Early(end));
            }
        }
    }
    let status = process::wait_for_exit(&mut || shared.try_wait(), stall, &|| ())
        .map_err(|source| VideoError::io(&inner.path, "cannot wait for ffmpeg on", source))?;
    Ok(Ended::Exited(status))
}

fn read_side(side: PipeReader, events: &Sender<Event>) {
    for line in BufReader::new(side).lines().map_while(Result::ok) {
        if let Some(frame) = Announced::parse(&line)
            && events.send(Event::Announced(frame)).is_err()
        {
            return;
        }
    }
    let _ = events.send(Event::Closed);
}

fn read_pictures(mut stdout: ChildStdout, size: usize, credits: &Receiver<()>, events: &Sender<Event>) {
    while credits.recv().is_ok() {
        let mut bytes = Vec::with_capacity(size);
        let read = stdout.by_ref().take(size as u64).read_to_end(&mut bytes);
        if read.is_err() || bytes.len() < size {
            break;
        }
        if events.send(Event::Picture(bytes)).is_err() {
            return;
        }
    }
    let _ = events.send(Event::Closed);
}

/// Brings pictures and timestamps together and numbers them.
struct Pairing<'a> {
    plan: &'a Plan,
    setup: Setup,
    selection: Selection,
    mirror: Mirror,
    /// Timestamps of selected frames whose pictures have not come yet.
    timestamps: VecDeque<Option<i64>>,
    pictures: VecDeque<Vec<u8>>,
    /// Frames that came out of the decoder.
    n_announced: u64,
    /// Pictures paired.
    n_paired: u64,
    /// The next frame number that may be handed out.
    next: u64,
}

impl<'a> Pairing<'a> {
    fn new(plan: &'a Plan, setup: Setup) -> Self {
        let index = &plan.video.inner.index;
        let every = if setup.thinned && !index.ordinal { plan.every } else { 1 };
        let from_pts = if setup.at == 0 { None } else { index.pts(setup.at) };
        let selection = Selection { from_pts, every };
        Pairing {
            plan,
            setup,
            selection,
            mirror: Mirror::new(selection),
            timestamps: VecDeque::new(),
            pictures: VecDeque::new(),
            n_announced: 0,
            n_paired: 0,
            next: setup.at,
        }
    }

    fn announced(&mut self, frame: Announced) {
        self.n_announced += 1;
        if self.mirror.selects(frame) {
            self.timestamps.push_back(frame.pts);
        }
    }

    fn pair(&mut self) -> Option<(Option<i64>, Vec<u8>)> {
        if self.timestamps.is_empty() {
            return None;
        }
        let bytes = self.pictures.pop_front()?;
        Some((self.timestamps.pop_front()?, bytes))
    }

    /// Numbers a picture and hands it out if it is wanted. Answers why to stop, if there is reason.
    fn hand_out(
        &mut self,
        pts: Option<i64>,
        bytes: Vec<u8>,
        shared: &Shared,
        out: &SyncSender<Result<Picture, VideoError>>,
    ) -> Option<End> {
        let index = &self.plan.video.inner.index;
        let is_first = self.n_paired == 0;
        let frame_idx = if index.ordinal { Some(self.n_paired) } else { pts.and_then(|pts| index.rank(pts)) };
        self.n_paired += 1;
        if is_first && seek(self.plan, self.setup).is_some() && frame_idx != Some(self.setup.at) {
            return Some(End::Misaligned);
        }
        // A timestamp that no packet has is an invention of the decoder, out of damage.
        let frame_idx = frame_idx.filter(|&frame_idx| frame_idx >= self.next)?;
        if frame_idx >= self.plan.range.end {
            return Some(End::Complete);
        }
        if !self.plan.wants(frame_idx) {
            let next = self.plan.next_wanted(frame_idx);
            return (self.selection.every > 1).then_some(End::OffGrid { next });
        }
        if out.send(Ok(Picture { frame_idx, bytes })).is_err() {
            return Some(End::Abandoned);
        }
        shared.damage().decoded += 1;
        self.next = frame_idx + 1;
        let last = self.plan.next_wanted(self.next) >= self.plan.range.end;
        // At the end of the file the child is left to finish, for the sake of its last words.
        (last && self.plan.range.end < index.n_frames()).then_some(End::Complete)
    }

    /// Judges a pass by its end, its exit status and its log. The exit status alone says little:
    /// ffmpeg reports success for files with half of their frames missing.
    fn settle(&self, end: Result<Ended, VideoError>, log: Log, shared: &Shared) -> Result<End, VideoError> {
        let status = match end? {
            Ended::Early(End::Misaligned) => return Ok(End::Misaligned),
            Ended::Early(end) => {
                self.note(&log, shared);
                return Ok(end);
            }
            Ended::Exited(_) if self.n_paired == 0 && seek(self.plan, self.setup).is_some() => {
                return Ok(End::Misaligned);
            }
            Ended::Exited(status) => status,
        };
        self.note(&log, shared);
        let path = self.plan.video.path();
        let words = log.words("ffmpeg ended without a word");
        if self.n_announced == 0 {
            return Err(VideoError::decode(path, format!("no frame came out of the decoder: {words}")));
        }
        let missing = shared.damage().missing();
        match status {
            Some(status) if status.success() => {}
            Some(status) if missing > 0 => {
                return Err(VideoError::decode(path, format!("ffmpeg failed ({status}): {words}")));
            }
            _ => tracing::debug!("ffmpeg had trouble ending: {words}"),
        }
        if !self.timestamps.is_empty() || !self.pictures.is_empty() {
            return Err(VideoError::decode(
                path,
                "pictures and timestamps do not match; is this build of ffmpeg sound?",
            ));
        }
        if missing > 0 {
            tracing::warn!(path = %path.display(), "{missing} frames could not be decoded: {words}");
        }
        Ok(End::Complete)
    }

    fn note(&self, log: &Log, shared: &Shared) {
        let mut damage = shared.damage();
        damage.messages = log.lines().cloned().collect();
        damage.n_messages = log.n_lines;
    }
}

/// Where to seek to, in microseconds since the file's start; `None` is to read from the start.
fn seek(plan: &Plan, setup: Setup) -> Option<i64> {
    let inner = &plan.video.inner;
    if setup.at == 0 {
        return None;
    }
    let pts = inner.index.pts(setup.at)?;
    inner.index.key_before(pts, setup.back).map(|key| inner.clock.seek_us(key))
}

fn command(plan: &Plan, setup: Setup, selection: Selection) -> Command {
    let inner = &plan.video.inner;
    let mut command = Tools::command(inner.tools.ffmpeg());
    args::quiet(command.arg("-nostdin"));
    command.args(["-threads", &plan.threads.to_string(), "-max_error_rate", "1", "-copyts"]);
    if let Some(seek_us) = seek(plan, setup) {
        command.args(["-noaccurate_seek", "-ss", &format!("{}us", seek_us)]);
    }
    args::video_decoders(&mut command);
    args::input(&mut command, inner.limits.max_pixels, &inner.path);
    command.args(["-map", "0:V:0", "-an", "-sn", "-dn", "-vf", &filters(plan, selection)]);
    // Each frame once, with the timestamp it has, never doubled or dropped to fit a rate.
    command.args(["-fps_mode", "passthrough", "-enc_time_base", "1:1000000", "-f", "rawvideo", "pipe:1"]);
    command
}

fn filters(plan: &Plan, selection: Selection) -> String {
    let announce = "metadata=mode=add:key=f:value=1,metadata=mode=print:key=f:file='pipe\\:0':direct=1";
    // The size is pinned: a stream may change it on the way.
    let (width, height) = (plan.video.width(), plan.video.height());
    let (padded_width, padded_height) = plan.size();
    let layout = match plan.layout {
        Layout::Rgb24 => format!("scale={width}:{height},format=rgb24"),
        Layout::I420 if (padded_width, padded_height) == (width, height) => {
            format!("scale={width}:{height}:out_range=tv,format=yuv420p")
        }
        Layout::I420 => {
            format!(
                "scale={width}:{height}:out_range=tv,format=yuv444p,pad={padded_width}:{padded_height},format=yuv420p"
            )
        }
    };
    format!("{announce},{}{layout}", selection.filters())
}
