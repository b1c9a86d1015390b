//! The thread that tracks, and what goes on beside it: checkpoints on their way to the bucket, and a watchdog.

use crate::failure::is_about_checkpoint;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use jobs::Lease;
use jobs::lease::LeaseError;
use jobs::manifest::Stage;
use sam3::Model;
use tokio::sync::oneshot;

use super::attempt::AttemptProgress;
use super::checkpoints::{self, Outbox, Snapshot};
use super::ended::Ended;
use super::log::Log;
use crate::track::{
    IncomingVideo, Progressed, Request, Saved, Source, Tracked, Watch, detect, saved_max_objects, spool_path,
};
use client::failure::Outcome;
use client::stop::Stop;

/// How soon it is noticed that a video is what it should be.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What tracking one job needs.
pub(super) struct Tracking<'a> {
    pub(super) lease: &'a Lease,
    pub(super) doing: &'a AttemptProgress,
    pub(super) log: &'a Arc<Log>,
    pub(super) stop: &'a Stop,
    pub(super) stall_timeout: Duration,
}

impl Tracking<'_> {
    /// Tracks on a thread of its own, while checkpoints go up and a watchdog looks on. `None` if it was stopped.
    pub(super) async fn run(
        &self,
        request: &Request,
        model: Arc<Model>,
        video: &Arc<IncomingVideo>,
    ) -> Result<Option<Tracked>, Ended> {
        let outbox = Arc::new(Outbox::default());
        let watcher =
            Watcher { doing: self.doing.clone(), outbox: outbox.clone(), n_saved: AtomicU64::new(0) };
        let (request, stop, log, id) =
            (request.clone(), self.stop.clone(), self.log.clone(), self.lease.id().clone());
        let arrival = video.clone();
        let tracking = in_background("track", move || {
            detect_from(request, &arrival, model, &stop, &watcher, |line| log.line(&id, line))
        });
        let watched = async {
            tokio::select! {
                tracked = joined(tracking) => tracked?.map_err(Ended::of_tracking),
                reason = self.watchdog(video) => {
                    // Should it come back after all, it ends.
                    self.stop.request();
                    outbox.close();
                    Err(Ended::Stuck(reason))
                }
            }
        };
        let upload = async {
            // What was tracked in bytes that turn out to be wrong is no checkpoint.
            while !video.is_verified() && !outbox.is_closed() {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            if video.is_verified() { self.upload(&outbox).await } else { Ok(()) }
        };
        let (tracked, uploaded) = tokio::join!(watched, upload);
        let tracked = tracked?;
        uploaded?;
        Ok(tracked)
    }

    /// Brings checkpoints to the bucket until the run is over.
    async fn upload(&self, outbox: &Outbox) -> Result<(), Ended> {
        while let Some(snapshot) = outbox.next().await {
            match checkpoints::store(self.lease, snapshot).await {
                Ok(()) => self.log.upload(self.lease).await,
                Err(LeaseError::Lost { refusal, .. }) => {
                    self.stop.request();
                    return Err(Ended::Lost(refusal));
                }
                // The next one may get through; until then the one before is good.
                Err(LeaseError::Bucket(error)) => {
                    self.log.line(self.lease.id(), format!("a checkpoint was not stored: {error}"));
                }
            }
        }
        Ok(())
    }

    /// Returns when no frame came for too long, though the video is there.
    async fn watchdog(&self, video: &IncomingVideo) -> String {
        let limit = self.stall_timeout;
        let mut last = (0, Instant::now());
        loop {
            tokio::time::sleep((limit / 10).min(Duration::from_secs(5))).await;
            let current = self.doing.get().current;
            if current != last.0 || !(video.is_whole() || video.is_given_up()) {
                last = (current, Instant::now());
            } else if last.1.elapsed() >= limit {
                return format!("no frame for {} seconds after {current} frames", limit.as_secs());
            }
        }
    }
}

/// Tracks from the checkpoint, if there is one: with the limit of objects that it was begun with, whatever this
/// worker's own is, since another would give other tracks. One that cannot be continued (of another model,
/// another version) is started anew.
fn detect_from(
    mut request: Request,
    video: &Arc<IncomingVideo>,
    model: Arc<Model>,
    stop: &Stop,
    watcher: &Watcher,
    tell: impl Fn(String),
) -> Outcome<Option<Tracked>> {
    let checkpoint = request.checkpoint.clone().unwrap_or_default();
    let ours = request.max_objects;
    if let Some(theirs) = saved_max_objects(&checkpoint).filter(|theirs| *theirs != ours) {
        let words = |limit: Option<usize>| limit.map_or_else(|| "no".to_owned(), |n| n.to_string());
        tell(format!("--max-objects is {} for this job, as its first worker set it", words(theirs)));
        request.max_objects = theirs;
    }
    let Some(source) = Source::open_arriving(&request, video, stop)? else { return Ok(None) };
    if source.is_arriving() {
        tell("tracking while the video arrives".to_owned());
    }
    match detect(&request, source, model.clone(), stop, watcher) {
        Err(failure) if is_about_checkpoint(&failure) => {
            tell(format!("starting from the beginning: {}", failure.message()));
            watcher.outbox.clear();
            for stale in [spool_path(&checkpoint), checkpoint] {
                let _ = std::fs::remove_file(stale);
            }
            request.max_objects = ours;
            match Source::open_arriving(&request, video, stop)? {
                Some(source) => detect(&request, source, model, stop, watcher),
                None => Ok(None),
            }
        }
        other => other,
    }
}

/// Looks over the run's shoulder.
struct Watcher {
    doing: AttemptProgress,
    outbox: Arc<Outbox>,
    n_saved: AtomicU64,
}

impl Watch for Watcher {
    fn progressed(&self, at: &Progressed) {
        self.doing.set(Stage::Tracking, at.n_frames, Some(at.total), Some(at.fps));
    }

    fn saved(&self, saved: &Saved<'_>) -> Outcome<()> {
        let seq = self.n_saved.fetch_add(1, Ordering::Relaxed) + 1;
        self.outbox.put(Snapshot::take(saved, seq)?);
        Ok(())
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.outbox.close();
    }
}

/// A thread that may never come back: the runtime does not wait for it at the end.
pub(super) fn in_background<T: Send + 'static>(
    what: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> oneshot::Receiver<std::thread::Result<T>> {
    let (done, result) = oneshot::channel();
    let run = move || {
        let _ = done.send(std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)));
    };
    // Where no thread can be started, the receiver finds the sender gone.
    let _ = std::thread::Builder::new().name(what.to_owned()).spawn(run);
    result
}

/// What a thread of [`in_background`] brought.
pub(super) async fn joined<T>(result: oneshot::Receiver<std::thread::Result<T>>) -> Result<T, Ended> {
    let failed = |reason: &str| Ended::Failed { reason: reason.to_owned(), retryable: true };
    match result.await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(_)) => Err(failed("a bug in courtside: the thread panicked; its log has more")),
        Err(_) => Err(failed("no thread could be started")),
    }
}
