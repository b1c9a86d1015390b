//! Decoding on a separate thread, in as many runs of ffmpeg as it takes to produce exactly the
//! requested frames. One is nearly always enough. A second one is needed when
//!
//! * seeking does not reach the first requested frame (open GOPs): it seeks further back;
//! * frames are lost to damage while ffmpeg selects every n-th frame: it decodes the rest of the
//!   frames, and this side selects among them.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread::{self, JoinHandle};

use crate::damage::Damage;
use crate::decode::pairing::{PassOutcome, PassSetup};
use crate::decode::pass;
use crate::decode::plan::{DecodePlan, RawFrame};
use crate::decode::state::DecodeState;
use crate::error::VideoError;

/// Raw frames in order, decoded ahead by a bounded number. Dropping it kills the decoder.
#[derive(Debug)]
pub(crate) struct FrameStream {
    frames: Option<Receiver<Result<RawFrame, VideoError>>>,
    state: Arc<DecodeState>,
    thread: Option<JoinHandle<()>>,
    path: PathBuf,
}

impl FrameStream {
    /// Starts decoding; at most `read_ahead` frames wait for the consumer.
    pub(crate) fn start(plan: DecodePlan, read_ahead: usize) -> Result<FrameStream, VideoError> {
        let state = Arc::new(DecodeState::default());
        state.damage().expected = plan.n_requested();
        let (sender, frames) = mpsc::sync_channel(read_ahead);
        let (thread_state, path) = (Arc::clone(&state), plan.video.path().to_owned());
        // The child dies with the thread that starts it, so the thread that starts it also waits for it.
        let thread = thread::Builder::new()
            .name(String::from("video-decode"))
            .spawn(move || decode(&plan, &thread_state, &sender))
            .map_err(|source| VideoError::io(&path, "cannot start a thread to decode", source))?;
        Ok(FrameStream { frames: Some(frames), state, thread: Some(thread), path })
    }

    /// The state through which the decoder can be cancelled.
    pub(crate) fn state(&self) -> Arc<DecodeState> {
        Arc::clone(&self.state)
    }

    /// The frames decoded and lost so far.
    pub(crate) fn damage(&self) -> Damage {
        self.state.damage().clone()
    }
}

impl Iterator for FrameStream {
    type Item = Result<RawFrame, VideoError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.frames.as_ref()?.recv().ok();
        if matches!(next, Some(Ok(_))) {
            return next;
        }
        self.frames = None;
        // A thread that panicked must not look like the end of the video.
        match self.thread.take().map(JoinHandle::join) {
            Some(Err(_)) => {
                Some(Err(VideoError::decode(&self.path, "internal error: the decoding thread panicked")))
            }
            _ => next,
        }
    }
}

impl Drop for FrameStream {
    fn drop(&mut self) {
        // The thread waits either for the channel or for the child; these two wake it in both cases.
        self.frames = None;
        self.state.cancel();
        if let Some(thread) = self.thread.take() {
            // It never joins itself, and a panic was already printed by that thread.
            let _ = thread.join();
        }
    }
}

fn decode(plan: &DecodePlan, state: &DecodeState, out: &SyncSender<Result<RawFrame, VideoError>>) {
    if plan.n_requested() == 0 {
        return;
    }
    if let Err(error) = run_passes(plan, state, out)
        && !state.is_cancelled()
    {
        // Fails only if the stream was dropped.
        let _ = out.send(Err(error));
    }
}

fn run_passes(
    plan: &DecodePlan,
    state: &DecodeState,
    out: &SyncSender<Result<RawFrame, VideoError>>,
) -> Result<(), VideoError> {
    let mut setup =
        PassSetup { first_frame: plan.range.start, keyframes_back: 0, ffmpeg_selects: plan.every > 1 };
    loop {
        match pass::run(plan, setup, state, out)? {
            PassOutcome::Complete | PassOutcome::ReceiverDropped => return Ok(()),
            PassOutcome::Misaligned => {
                setup.keyframes_back = match setup.keyframes_back {
                    0 => 1,
                    1 => 4,
                    _ => usize::MAX,
                };
                tracing::debug!(
                    frame = setup.first_frame,
                    back = setup.keyframes_back,
                    "seeking missed the first frame; seeking further back"
                );
            }
            PassOutcome::OffGrid { next } if next >= plan.range.end => return Ok(()),
            PassOutcome::OffGrid { next } => {
                tracing::debug!(
                    frame = next,
                    "frames are missing; selecting every {}th frame here",
                    plan.every
                );
                setup = PassSetup { first_frame: next, keyframes_back: 0, ffmpeg_selects: false };
            }
        }
    }
}
