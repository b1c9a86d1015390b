//! Matching raw frames with timestamps and numbering them, and judging how a pass ended.

use std::collections::VecDeque;
use std::process::ExitStatus;
use std::sync::mpsc::SyncSender;

use crate::child_log::ChildLog;
use crate::decode::plan::{DecodePlan, RawFrame};
use crate::decode::side_channel::{AnnouncedFrame, Selection, SelectionReplay};
use crate::decode::state::DecodeState;
use crate::error::VideoError;
use crate::keyframe::KeyframeCheck;

/// Where a pass begins, and whether ffmpeg selects the frames.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PassSetup {
    /// The first requested frame.
    pub(crate) first_frame: u64,
    /// Number of keyframes to seek back beyond the last one before `first_frame`.
    pub(crate) keyframes_back: usize,
    /// Whether ffmpeg drops the frames between the requested ones.
    pub(crate) ffmpeg_selects: bool,
}

/// How a pass ended without an error.
pub(crate) enum PassOutcome {
    /// All requested frames that the file has were sent.
    Complete,
    /// The receiver of the frames was dropped.
    ReceiverDropped,
    /// Seeking did not reach the first frame; no frame was sent.
    Misaligned,
    /// ffmpeg's selection no longer matches the requested frames; `next` is the first of them that
    /// was not sent.
    OffGrid { next: u64 },
}

/// Why reading the pipes of a pass stopped.
pub(crate) enum PipesEnd {
    /// The child closed its pipes. `None` if it did not exit afterwards.
    ChildExited(Option<ExitStatus>),
    /// The pass was decided before the child ended.
    Decided(PassOutcome),
}

/// Matches raw frames with timestamps, numbers them and sends them on.
pub(crate) struct FramePairing<'a> {
    pub(crate) plan: &'a DecodePlan,
    setup: PassSetup,
    /// Which decoded frames ffmpeg writes.
    pub(crate) selection: Selection,
    /// Where ffmpeg seeks to, in microseconds since the file's start; `None` reads from the start.
    pub(crate) seek_us: Option<i64>,
    replay: SelectionReplay,
    /// Timestamps of selected frames whose pixels have not been read yet.
    timestamps: VecDeque<Option<i64>>,
    /// Pixels of frames whose timestamps have not been read yet.
    images: VecDeque<Vec<u8>>,
    /// Frames that the decoder produced.
    n_announced: u64,
    /// Frames matched with a timestamp.
    n_paired: u64,
    /// The lowest frame number that may still be sent.
    next: u64,
}

impl<'a> FramePairing<'a> {
    pub(crate) fn new(plan: &'a DecodePlan, setup: PassSetup) -> Self {
        let index = &plan.video.inner.index;
        let every = if setup.ffmpeg_selects && !index.is_counted() { plan.every } else { 1 };
        // Also from frame 0: a decoder may deliver frames that an edit list hides.
        let from_pts = index.pts(setup.first_frame);
        let selection = Selection { from_pts, every };
        FramePairing {
            plan,
            setup,
            selection,
            seek_us: seek_us(plan, setup),
            replay: SelectionReplay::new(selection),
            timestamps: VecDeque::new(),
            images: VecDeque::new(),
            n_announced: 0,
            n_paired: 0,
            next: setup.first_frame,
        }
    }

    /// Adds a frame that the side channel announced.
    pub(crate) fn add_announced(&mut self, frame: AnnouncedFrame) {
        self.n_announced += 1;
        if self.replay.selects(frame) {
            self.timestamps.push_back(frame.pts);
        }
    }

    /// Adds the pixels of a frame.
    pub(crate) fn add_image(&mut self, bytes: Vec<u8>) {
        self.images.push_back(bytes);
    }

    /// The next frame of which both timestamp and pixels are present.
    pub(crate) fn next_pair(&mut self) -> Option<(Option<i64>, Vec<u8>)> {
        if self.timestamps.is_empty() {
            return None;
        }
        let bytes = self.images.pop_front()?;
        Some((self.timestamps.pop_front()?, bytes))
    }

    /// Numbers a frame and sends it if it is requested. Returns an outcome if the pass should stop.
    pub(crate) fn send(
        &mut self,
        pts: Option<i64>,
        bytes: Vec<u8>,
        state: &DecodeState,
        out: &SyncSender<Result<RawFrame, VideoError>>,
    ) -> Option<PassOutcome> {
        let index = &self.plan.video.inner.index;
        let is_first = self.n_paired == 0;
        let frame_idx =
            if index.is_counted() { Some(self.n_paired) } else { pts.and_then(|pts| index.rank(pts)) };
        self.n_paired += 1;
        if is_first && self.seek_us.is_some() && frame_idx != Some(self.setup.first_frame) {
            return Some(PassOutcome::Misaligned);
        }
        let Some(frame_idx) = frame_idx else {
            // In damaged files the decoder invents timestamps that no packet has.
            state.damage().n_unnumbered += 1;
            return None;
        };
        if frame_idx < self.next {
            return None;
        }
        if frame_idx >= self.plan.range.end {
            return Some(PassOutcome::Complete);
        }
        if !self.plan.requests(frame_idx) {
            let next = self.plan.next_requested(frame_idx);
            return (self.selection.every > 1).then_some(PassOutcome::OffGrid { next });
        }
        if out.send(Ok(RawFrame { frame_idx, bytes })).is_err() {
            return Some(PassOutcome::ReceiverDropped);
        }
        state.damage().decoded += 1;
        self.next = frame_idx + 1;
        let last = self.plan.next_requested(self.next) >= self.plan.range.end;
        // At the end of the file, the child runs to its end, because its log may report damage.
        (last && self.plan.range.end < index.n_frames()).then_some(PassOutcome::Complete)
    }

    /// Decides the outcome of a pass from the end of its pipes, the exit status and the log. The
    /// exit status alone is not enough: ffmpeg reports success for files with half of their frames
    /// missing.
    pub(crate) fn conclude(
        &self,
        end: Result<PipesEnd, VideoError>,
        log: &ChildLog,
        state: &DecodeState,
    ) -> Result<PassOutcome, VideoError> {
        let status = match end? {
            PipesEnd::Decided(PassOutcome::Misaligned) => return Ok(PassOutcome::Misaligned),
            PipesEnd::Decided(outcome) => {
                record_messages(log, state);
                return Ok(outcome);
            }
            PipesEnd::ChildExited(_) if self.n_paired == 0 && self.seek_us.is_some() => {
                return Ok(PassOutcome::Misaligned);
            }
            PipesEnd::ChildExited(status) => status,
        };
        record_messages(log, state);
        let path = self.plan.video.path();
        let summary = log.summary("ffmpeg exited without a message");
        if self.n_announced == 0 {
            return Err(VideoError::decode(path, format!("the decoder produced no frames: {summary}")));
        }
        let missing = state.damage().missing();
        match status {
            Some(status) if status.success() => {}
            Some(status) if missing > 0 => {
                return Err(VideoError::decode(path, format!("ffmpeg failed ({status}): {summary}")));
            }
            _ => tracing::debug!("ffmpeg did not exit cleanly: {summary}"),
        }
        if !self.timestamps.is_empty() || !self.images.is_empty() {
            return Err(VideoError::decode(
                path,
                "ffmpeg wrote different numbers of frames and timestamps; try another build of ffmpeg",
            ));
        }
        if missing > 0 {
            tracing::warn!(path = %path.display(), "{missing} frames could not be decoded: {summary}");
        }
        Ok(PassOutcome::Complete)
    }
}

fn record_messages(log: &ChildLog, state: &DecodeState) {
    let mut damage = state.damage();
    damage.messages = log.lines().cloned().collect();
    damage.n_messages = log.n_lines;
}

fn seek_us(plan: &DecodePlan, setup: PassSetup) -> Option<i64> {
    let inner = &plan.video.inner;
    if setup.first_frame == 0 {
        return None;
    }
    let pts = inner.index.pts(setup.first_frame)?;
    let check = KeyframeCheck::new(&inner.header, &inner.path);
    inner.index.keyframe_before(pts, setup.keyframes_back, &check).map(|key| inner.clock.seek_us(key))
}
