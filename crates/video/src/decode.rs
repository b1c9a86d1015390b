//! Decoding on a thread of its own, in as many passes of ffmpeg as it takes to hand out exactly
//! the frames asked for. Nearly always that is one. A second is needed when
//!
//! * seeking did not land on the first frame wanted (open groups of pictures): seek further back;
//! * frames were lost to damage while ffmpeg picked every n-th: the rest is picked here instead.

use std::ops::Range;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use crate::error::VideoError;
use crate::frames::{Damage, DecodeOptions};
use crate::pass::{self, End, Setup};
use crate::process;
use crate::sandbox::Sandbox;
use crate::video::Video;

/// How pictures are laid out in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Three bytes per pixel.
    Rgb24,
    /// Planes Y, U and V, the latter two at half size; sides padded to even lengths.
    I420,
}

/// What to decode, and how.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) video: Video,
    pub(crate) layout: Layout,
    /// Within the video.
    pub(crate) range: Range<u64>,
    pub(crate) every: u64,
    pub(crate) threads: usize,
}

impl Plan {
    pub(crate) fn new(video: &Video, layout: Layout, options: &DecodeOptions) -> Plan {
        let end = options.range.end.min(video.n_frames());
        let range = options.range.start.min(end)..end;
        let threads = options.threads.clamp(1, 64);
        Plan { video: video.clone(), layout, range, every: options.every.max(1), threads }
    }

    /// How many frames the plan asks for.
    pub(crate) fn expected(&self) -> u64 {
        (self.range.end - self.range.start).div_ceil(self.every)
    }

    /// The first frame asked for at or after `frame_idx`.
    pub(crate) fn next_wanted(&self, frame_idx: u64) -> u64 {
        let done = frame_idx.saturating_sub(self.range.start).div_ceil(self.every);
        self.range.start.saturating_add(done.saturating_mul(self.every))
    }

    /// Whether a frame is asked for.
    pub(crate) fn wants(&self, frame_idx: u64) -> bool {
        self.range.contains(&frame_idx) && (frame_idx - self.range.start).is_multiple_of(self.every)
    }

    /// Width and height of the pictures handed out.
    pub(crate) fn size(&self) -> (u32, u32) {
        let (width, height) = (self.video.width(), self.video.height());
        match self.layout {
            Layout::Rgb24 => (width, height),
            Layout::I420 => (width.next_multiple_of(2), height.next_multiple_of(2)),
        }
    }

    /// Bytes of one picture.
    pub(crate) fn picture_bytes(&self) -> usize {
        let (width, height) = self.size();
        let pixels = width as usize * height as usize;
        match self.layout {
            Layout::Rgb24 => pixels * 3,
            Layout::I420 => pixels + pixels / 2,
        }
    }
}

/// One decoded picture in the plan's layout.
#[derive(Debug)]
pub(crate) struct Picture {
    pub(crate) frame_idx: u64,
    pub(crate) bytes: Vec<u8>,
}

/// What the decoding thread and its owner share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    slot: Mutex<Slot>,
    damage: Mutex<Damage>,
}

#[derive(Debug, Default)]
struct Slot {
    child: Option<Child>,
    cancelled: bool,
}

impl Shared {
    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn damage(&self) -> MutexGuard<'_, Damage> {
        self.damage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a child that [`Self::cancel`] will find; `None` if that was called already. The
    /// child's outputs are left for `take`.
    pub(crate) fn spawn<T>(
        &self,
        command: Command,
        sandbox: &Sandbox,
        take: impl FnOnce(&mut Child) -> T,
    ) -> std::io::Result<Option<T>> {
        let mut slot = self.slot();
        if slot.cancelled {
            return Ok(None);
        }
        let mut child = process::spawn(command, sandbox)?;
        let outputs = take(&mut child);
        slot.child = Some(child);
        Ok(Some(outputs))
    }

    pub(crate) fn try_wait(&self) -> std::io::Result<Option<ExitStatus>> {
        self.slot().child.as_mut().map_or(Ok(None), Child::try_wait)
    }

    /// Ends the child, if there is one. It stays in its place: whoever waits for it learns of its end.
    pub(crate) fn kill(&self) {
        if let Some(child) = &mut self.slot().child {
            // Both fail only if the child has already been waited for.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn cancel(&self) {
        self.slot().cancelled = true;
        self.kill();
    }

    fn is_cancelled(&self) -> bool {
        self.slot().cancelled
    }
}

/// Pictures in order, decoded ahead by a bounded number.
#[derive(Debug)]
pub(crate) struct Stream {
    pictures: Option<Receiver<Result<Picture, VideoError>>>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    path: PathBuf,
}

impl Stream {
    pub(crate) fn start(plan: Plan, read_ahead: usize) -> Result<Stream, VideoError> {
        let shared = Arc::new(Shared::default());
        shared.damage().expected = plan.expected();
        let (sender, pictures) = mpsc::sync_channel(read_ahead);
        let (theirs, path) = (Arc::clone(&shared), plan.video.path().to_owned());
        // The child dies with the thread that starts it, so that thread is the one that waits.
        let thread = thread::Builder::new()
            .name(String::from("video-decode"))
            .spawn(move || decode(&plan, &theirs, &sender))
            .map_err(|source| VideoError::io(&path, "cannot start a thread to decode", source))?;
        Ok(Stream { pictures: Some(pictures), shared, thread: Some(thread), path })
    }

    pub(crate) fn damage(&self) -> Damage {
        self.shared.damage().clone()
    }
}

impl Iterator for Stream {
    type Item = Result<Picture, VideoError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.pictures.as_ref()?.recv().ok();
        if matches!(next, Some(Ok(_))) {
            return next;
        }
        self.pictures = None;
        // A thread that panicked must not look like the end of the video.
        match self.thread.take().map(JoinHandle::join) {
            Some(Err(_)) => {
                Some(Err(VideoError::decode(&self.path, "the decoding thread panicked; this is a bug")))
            }
            _ => next,
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // Either of the two wakes the thread, wherever it waits.
        self.pictures = None;
        self.shared.cancel();
        if let Some(thread) = self.thread.take() {
            // It cannot be waited for by itself, and a panic there was reported there.
            let _ = thread.join();
        }
    }
}

fn decode(plan: &Plan, shared: &Shared, out: &SyncSender<Result<Picture, VideoError>>) {
    if plan.expected() == 0 {
        return;
    }
    if let Err(error) = passes(plan, shared, out)
        && !shared.is_cancelled()
    {
        // Nobody is left to hear it if this fails.
        let _ = out.send(Err(error));
    }
}

fn passes(
    plan: &Plan,
    shared: &Shared,
    out: &SyncSender<Result<Picture, VideoError>>,
) -> Result<(), VideoError> {
    let mut setup = Setup { at: plan.range.start, back: 0, thinned: plan.every > 1 };
    loop {
        match pass::run(plan, setup, shared, out)? {
            End::Complete | End::Abandoned => return Ok(()),
            End::Misaligned => {
                setup.back = match setup.back {
                    0 => 1,
                    1 => 4,
                    _ => usize::MAX,
                };
                tracing::debug!(
                    frame = setup.at,
                    back = setup.back,
                    "seeking landed elsewhere; trying further back"
                );
            }
            End::OffGrid { next } if next >= plan.range.end => return Ok(()),
            End::OffGrid { next } => {
                tracing::debug!(frame = next, "frames are missing; picking every {}th here", plan.every);
                setup = Setup { at: next, back: 0, thinned: false };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropping_a_cancelled_slot_starts_nothing() {
        let shared = Shared::default();
        shared.cancel();
        let sandbox = Sandbox { read: Vec::new(), write: None, memory_bytes: 1 << 30, landlock: false };
        let started = shared.spawn(Command::new("/nonexistent"), &sandbox, |_| ()).unwrap();
        assert!(started.is_none());
    }
}
