//! The tracking thread of an attempt, and what runs in parallel with it: uploads of checkpoints, and a watchdog that
//! fails the attempt when no frame is tracked for too long.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jobs::lease::LeaseError;
use jobs::manifest::Stage;
use jobs::{JobId, Lease};
use sam3::Model;

use client::failure::Outcome;
use client::stop::Stop;
use client::terminal::counted;

use super::background::{in_thread, joined};
use super::checkpoints;
use super::log::AttemptLog;
use super::outbox::{Outbox, Snapshot};
use super::outcome::AttemptError;
use super::progress::AttemptProgress;
use crate::track::{
    IncomingVideo, RunObserver, RunProgress, SavedCheckpoint, Source, TrackRequest, TrackedVideo, detect,
    saved_max_objects,
};

/// What tracking a job needs.
pub(super) struct TrackingStep<'a> {
    pub(super) lease: &'a Lease,
    pub(super) progress: &'a AttemptProgress,
    pub(super) log: &'a Arc<AttemptLog>,
    pub(super) stop: &'a Stop,
    pub(super) stall_timeout: Duration,
    /// Number of checkpoints that the attempt has saved.
    pub(super) n_saved: &'a Arc<AtomicU64>,
}

impl TrackingStep<'_> {
    /// Tracks the video on a separate thread. `None` if the run was stopped.
    pub(super) async fn run(
        &self,
        request: &TrackRequest,
        model: Arc<Model>,
        video: &Arc<IncomingVideo>,
    ) -> Result<Option<TrackedVideo>, AttemptError> {
        let outbox = Arc::new(Outbox::default());
        let observer = AttemptObserver {
            subject: subject(self.lease.id().as_str()),
            id: self.lease.id().clone(),
            log: self.log.clone(),
            progress: self.progress.clone(),
            outbox: outbox.clone(),
            n_saved: self.n_saved.clone(),
        };
        let (request, stop, log, id) =
            (request.clone(), self.stop.clone(), self.log.clone(), self.lease.id().clone());
        let incoming = video.clone();
        let thread = in_thread("track", move || {
            track_on_thread(request, &incoming, model, &stop, &observer, |line| log.line(&id, line))
        });
        let tracking = async {
            tokio::select! {
                tracked = joined(thread) => tracked?.map_err(AttemptError::of_tracking),
                reason = self.watchdog(video) => {
                    // If the thread returns later, it ends.
                    self.stop.request();
                    outbox.close();
                    Err(AttemptError::Hung(reason))
                }
            }
        };
        let uploads = async {
            // Until the video is verified, the tracked bytes may be wrong, and so may the checkpoint.
            tokio::select! {
                biased;
                () = video.verified() => self.upload_checkpoints(&outbox).await,
                () = outbox.closed() => Ok(()),
            }
        };
        let (tracked, uploaded) = tokio::join!(tracking, uploads);
        let tracked = tracked?;
        uploaded?;
        Ok(tracked)
    }

    /// Uploads checkpoints until the run ends.
    async fn upload_checkpoints(&self, outbox: &Outbox) -> Result<(), AttemptError> {
        while let Some(snapshot) = outbox.next().await {
            match checkpoints::store(self.lease, snapshot).await {
                Ok(()) => self.log.upload(self.lease).await,
                Err(LeaseError::Lost { refusal, .. }) => {
                    self.stop.request();
                    return Err(AttemptError::LeaseLost(refusal));
                }
                // The previous checkpoint is still valid, and the next one may succeed.
                Err(LeaseError::Bucket(error)) => {
                    self.log.line(self.lease.id(), format!("cannot store a checkpoint: {error}"));
                }
            }
        }
        Ok(())
    }

    /// Returns a reason when no frame was tracked for `stall_timeout` although the video is complete or abandoned.
    async fn watchdog(&self, video: &IncomingVideo) -> String {
        video.ended().await;
        loop {
            let current = self.progress.get().current;
            let changed = self.progress.changed_from(current);
            if tokio::time::timeout(self.stall_timeout, changed).await.is_err() {
                let silence = counted(self.stall_timeout.as_secs(), "second");
                return format!("no frame for {silence} after {}", counted(current, "frame"));
            }
        }
    }
}

/// The job in lines of progress: the beginning of its id, which any command accepts.
fn subject(id: &str) -> String {
    format!("job {}", id.get(..8).unwrap_or(id))
}

/// Tracks from the checkpoint, if there is one, with the object limit that the run began with: another limit would give
/// other tracks.
fn track_on_thread(
    mut request: TrackRequest,
    video: &Arc<IncomingVideo>,
    model: Arc<Model>,
    stop: &Stop,
    observer: &AttemptObserver,
    log: impl Fn(String),
) -> Outcome<Option<TrackedVideo>> {
    let saved = request.checkpoint.as_deref().and_then(saved_max_objects);
    if let Some(saved) = saved.filter(|saved| *saved != request.max_objects) {
        let text = saved.map_or_else(|| "unlimited".to_owned(), |n| n.to_string());
        log(format!("--max-tracks is {text} for this job: its first worker set it"));
        request.max_objects = saved;
    }
    let Some(source) = Source::open_incoming(&request, video, stop)? else { return Ok(None) };
    if source.is_incoming() {
        log("tracking while the video is downloaded".to_owned());
    }
    detect(&request, source, model, stop, observer)
}

/// Passes the run's progress to heartbeats and its checkpoints to the outbox. Closes the outbox when the run ends.
struct AttemptObserver {
    subject: String,
    id: JobId,
    log: Arc<AttemptLog>,
    progress: AttemptProgress,
    outbox: Arc<Outbox>,
    n_saved: Arc<AtomicU64>,
}

impl RunObserver for AttemptObserver {
    fn subject(&self) -> Option<&str> {
        Some(&self.subject)
    }

    fn on_progress(&self, progress: &RunProgress) {
        self.progress.set(Stage::Tracking, progress.n_frames, Some(progress.total), Some(progress.fps));
    }

    fn on_notice(&self, notice: &str) {
        self.log.line(&self.id, format!("warning: {notice}"));
        self.progress.set_notice(notice);
    }

    fn on_checkpoint(&self, saved: &SavedCheckpoint<'_>) -> Outcome<()> {
        let seq = self.n_saved.fetch_add(1, Ordering::Relaxed) + 1;
        self.outbox.put(Snapshot::take(saved, seq)?);
        Ok(())
    }
}

impl Drop for AttemptObserver {
    fn drop(&mut self) {
        self.outbox.close();
    }
}
