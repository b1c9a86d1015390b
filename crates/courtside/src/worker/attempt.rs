//! One attempt at one job: download, track, publish, while signs of life go out and checkpoints go up.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jobs::lease::LeaseError;
use jobs::manifest::{Heartbeat, Manifest, Target};
use jobs::results::{ResultsHead, ResultsSummary};
use jobs::{Error, Lease, transfer};
use sam3::{Compat, DEFAULT_RETIRE_AFTER, Model};
use tokio::sync::{mpsc, oneshot};

use super::checkpoints::{self, Snapshot};
use super::log::Log;
use super::models::Models;
use super::workspace::Workspace;
use super::{Options, lost_or};
use crate::desk::Desk;
use crate::failure::{Failure, Kind, Outcome};
use crate::stop::Stop;
use crate::track::{
    Progressed, Request, Saved, Source, Tracked, Watch, detect, extra_fields, spool_path, write_results,
};

/// How long a bucket that does not answer is waited for.
const PATIENCE: Duration = Duration::from_secs(3600);

/// How an attempt ended.
#[derive(Debug)]
pub(super) enum End {
    /// Results are in the bucket.
    Completed,
    /// Badly; the register says why.
    Failed(String),
    /// Given back.
    Released,
    /// The job is somebody else's, or nobody's.
    Lost,
    /// Badly, with a thread that does not come back.
    Stuck(String),
}

/// A claimed job and whoever works on it.
pub(super) struct Attempt<'a> {
    pub lease: Box<Lease>,
    pub desk: &'a Desk,
    pub options: &'a Options,
}

/// What the attempt is doing, for heartbeats and the watchdog.
#[derive(Clone, Default)]
struct Doing(Arc<Mutex<Heartbeat>>);

impl Doing {
    fn set(&self, stage: &str, current: u64, total: Option<u64>, fps: Option<f64>) {
        let mut now = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *now = Heartbeat { seq: 0, stage: stage.to_owned(), current, total, fps };
    }

    fn get(&self) -> Heartbeat {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}

/// Why the work on a job ended before its end.
enum Ended {
    Stopped,
    Lost(String),
    Failed {
        reason: String,
        no_hope: bool,
    },
    Stuck(String),
    /// The machine or its settings, not the job.
    Unfit(Failure),
}

impl From<LeaseError> for Ended {
    fn from(error: LeaseError) -> Self {
        match error {
            LeaseError::Lost { why, .. } => Self::Lost(why),
            LeaseError::Bucket(error) => error.into(),
        }
    }
}

impl From<Error> for Ended {
    fn from(error: Error) -> Self {
        // What is wrong with the bucket's content stays wrong.
        let no_hope = matches!(error, Error::Missing { .. } | Error::Mismatch { .. } | Error::Name(_));
        Self::Failed { reason: Failure::from(error).in_words(), no_hope }
    }
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Self {
        match failure.kind {
            Kind::Config => Self::Unfit(failure),
            _ => Self::Failed { reason: failure.in_words(), no_hope: false },
        }
    }
}

impl Attempt<'_> {
    /// Whether the job was submitted for a GPU.
    pub(super) async fn is_for_gpu(&self) -> bool {
        self.lease.manifest().await.target == Some(Target::Cloud) && !self.options.allow_cpu
    }

    /// Works on the job to whatever end, and tells the register.
    pub(super) async fn run(self, models: &Models, time_left: Option<Duration>, stop: &Stop) -> Outcome<End> {
        let log = Log::default();
        let stop = stop.child();
        let doing = Doing::default();
        doing.set("downloading", 0, None, None);
        let attempt = self.lease.attempt();
        log.line(&self.lease, format!("attempt {attempt} by {}", self.options.worker_id));
        let worked = self.work_while_alive(models, time_left, &doing, &log, &stop).await;
        let end = self.conclude(worked, &log, stop.requested()).await;
        log.upload(&self.lease).await;
        end
    }

    /// Works while signs of life go out, until the work ends, the job is lost or the time is over.
    async fn work_while_alive(
        &self,
        models: &Models,
        time_left: Option<Duration>,
        doing: &Doing,
        log: &Log,
        stop: &Stop,
    ) -> Result<(), Ended> {
        let mut work = std::pin::pin!(self.work(models, doing, log, stop));
        let mut alive = std::pin::pin!(self.lease.keep_alive(|| doing.get()));
        let mut time_over = std::pin::pin!(until(time_left));
        let mut in_time = true;
        loop {
            tokio::select! {
                worked = &mut work => return worked,
                why = &mut alive => {
                    stop.request();
                    // The frame under way ends first; its thread cannot be ended.
                    let _ = tokio::time::timeout(self.options.stall_timeout, &mut work).await;
                    return Err(Ended::Lost(why));
                }
                () = &mut time_over, if in_time => {
                    in_time = false;
                    stop.request();
                    log.line(&self.lease, "stopping, this worker's time is over");
                }
            }
        }
    }

    /// Tells the register how it ended.
    async fn conclude(&self, worked: Result<(), Ended>, log: &Log, stopped: bool) -> Outcome<End> {
        let lease = &self.lease;
        let told = match &worked {
            Ok(()) => {
                log.line(lease, "completed");
                return Ok(End::Completed);
            }
            Err(Ended::Lost(why)) => {
                log.line(lease, format!("given up: it {why}"));
                return Ok(End::Lost);
            }
            Err(Ended::Stopped) => lease.release("its worker was stopped").await,
            // What failed because everything was ending did not fail.
            Err(Ended::Failed { no_hope: false, .. }) if stopped => {
                lease.release("its worker was stopped").await
            }
            Err(Ended::Failed { reason, no_hope }) => {
                log.line(lease, format!("failed: {reason}"));
                lease.fail(reason, *no_hope).await
            }
            Err(Ended::Stuck(reason)) => {
                log.line(lease, format!("failed: {reason}"));
                lease.fail(reason, false).await
            }
            Err(Ended::Unfit(_)) => lease.release("its worker is not fit for it").await,
        };
        match told {
            Ok(()) => {}
            Err(LeaseError::Lost { why, .. }) => {
                log.line(lease, format!("given up: it {why}"));
                return Ok(End::Lost);
            }
            // Whoever takes the job over will find it as the lease left it.
            Err(LeaseError::Bucket(error)) if error.is_transient() => {
                log.line(lease, format!("the job could not be given back: {error}"));
                return Ok(End::Lost);
            }
            Err(error) => return Err(lost_or(error)),
        }
        match worked {
            Err(Ended::Failed { .. }) if stopped => Ok(End::Released),
            Err(Ended::Failed { reason, .. }) => Ok(End::Failed(reason)),
            Err(Ended::Stuck(reason)) => Ok(End::Stuck(reason)),
            Err(Ended::Unfit(failure)) => Err(failure),
            _ => Ok(End::Released),
        }
    }

    async fn work(&self, models: &Models, doing: &Doing, log: &Log, stop: &Stop) -> Result<(), Ended> {
        let manifest = self.lease.manifest().await;
        let workspace = Workspace::open(self.options, self.lease.id(), self.lease.attempt())?;
        // The model is loaded while the video arrives.
        let loading = in_background("load", {
            let models = models.clone();
            move || models.get()
        });
        let video = tokio::select! {
            video = self.download(&manifest, &workspace, doing, log) => video?,
            () = stop.wait() => return Err(Ended::Stopped),
        };
        let model = joined(loading).await??;
        let request = self.request(&manifest, &workspace, video);
        let checkpoint = workspace.file("run.checkpoint");
        let spool = spool_path(&checkpoint);
        let restore = || checkpoints::restore(&self.lease, &workspace, &checkpoint, &spool);
        let at = self.patiently(log, Error::is_transient, restore).await?;
        if let Some(frame) = at {
            log.line(&self.lease, format!("going on at frame {frame}"));
        }
        let Some(tracked) = self.track(&request, model, doing, log, stop).await? else {
            return Err(Ended::Stopped);
        };
        doing.set("publishing", tracked.n_frames, Some(tracked.n_frames), None);
        for warning in &tracked.warnings {
            log.line(&self.lease, format!("warning: {warning}"));
        }
        self.publish(&manifest, &request, tracked, doing, log).await?;
        workspace.remove();
        Ok(())
    }

    async fn download(
        &self,
        manifest: &Manifest,
        workspace: &Workspace,
        doing: &Doing,
        log: &Log,
    ) -> Result<PathBuf, Ended> {
        let key = manifest.video_key();
        let extension = Path::new(&key).extension().and_then(|e| e.to_str()).unwrap_or("mp4");
        let to = workspace.file(&format!("video.{extension}"));
        let facts = manifest.video.clone().unwrap_or_default();
        let progress = |done: u64, total: u64| doing.set("downloading", done, Some(total), None);
        let (bucket, sha256) = (&**self.lease.bucket(), facts.sha256.as_deref());
        let download = || transfer::download(bucket, &key, facts.size_bytes, sha256, &to, &progress);
        self.patiently(log, Error::is_transient, download).await?;
        Ok(to)
    }

    /// Tries again while the bucket does not answer: what was done so far is worth more than a rented hour.
    async fn patiently<T, E: std::fmt::Display, F: Future<Output = Result<T, E>>>(
        &self,
        log: &Log,
        is_transient: impl Fn(&E) -> bool,
        mut request: impl FnMut() -> F,
    ) -> Result<T, E> {
        let started = Instant::now();
        let mut pause = Duration::from_secs(2);
        loop {
            match request().await {
                Err(error) if is_transient(&error) && started.elapsed() < PATIENCE => {
                    log.line(&self.lease, format!("{error}; trying again"));
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(60));
                }
                other => return other,
            }
        }
    }

    fn request(&self, manifest: &Manifest, workspace: &Workspace, video: PathBuf) -> Request {
        let parameters = &manifest.parameters;
        let prompt = match (&parameters.prompt, &self.desk.settings.prompt) {
            (None, Some(ours)) => ours.clone(),
            _ => manifest.prompt().to_owned(),
        };
        Request {
            video,
            prompts: vec![prompt],
            out: workspace.file("results.json"),
            annotated: None,
            mot: None,
            dump: None,
            checkpoint: Some(workspace.file("run.checkpoint")),
            checkpoint_interval: self.options.checkpoint_interval,
            from: 0,
            to: None,
            max_seconds: parameters.max_seconds,
            every: parameters.sample_interval,
            streaming: false,
            compat: Compat::Fixed,
            max_objects: Some(self.options.max_objects),
            retire_after: Some(DEFAULT_RETIRE_AFTER),
        }
    }

    /// Tracks on a thread of its own, while checkpoints go up and a watchdog looks on.
    async fn track(
        &self,
        request: &Request,
        model: Arc<Model>,
        doing: &Doing,
        log: &Log,
        stop: &Stop,
    ) -> Result<Option<Tracked>, Ended> {
        let (snapshots, taken) = mpsc::unbounded_channel();
        let watcher = Watcher { doing: doing.clone(), snapshots, seq: AtomicU64::new(0) };
        let (request, tracking_stop) = (request.clone(), stop.clone());
        let tracking = in_background("track", move || detect_from(&request, model, &tracking_stop, &watcher));
        let (tracked, uploaded) = tokio::join!(
            async {
                tokio::select! {
                    tracked = joined(tracking) => tracked?.map_err(hopeless_or),
                    reason = self.watchdog(doing) => Err(Ended::Stuck(reason)),
                }
            },
            self.upload(taken, log, stop),
        );
        let tracked = tracked?;
        uploaded?;
        Ok(tracked)
    }

    /// Brings checkpoints to the bucket until the run is over. Only the latest matters.
    async fn upload(
        &self,
        mut taken: mpsc::UnboundedReceiver<Snapshot>,
        log: &Log,
        stop: &Stop,
    ) -> Result<(), Ended> {
        while let Some(snapshot) = taken.recv().await {
            match checkpoints::store(&self.lease, &snapshot).await {
                Ok(()) => log.upload(&self.lease).await,
                Err(LeaseError::Lost { why, .. }) => {
                    stop.request();
                    return Err(Ended::Lost(why));
                }
                // The next one may get through; until then the one before is good.
                Err(LeaseError::Bucket(error)) => {
                    log.line(&self.lease, format!("a checkpoint was not stored: {error}"));
                }
            }
        }
        Ok(())
    }

    /// Returns when no frame came for too long.
    async fn watchdog(&self, doing: &Doing) -> String {
        let limit = self.options.stall_timeout;
        let mut last = (0, Instant::now());
        loop {
            tokio::time::sleep((limit / 10).min(Duration::from_secs(5))).await;
            let current = doing.get().current;
            if current != last.0 {
                last = (current, Instant::now());
            } else if last.1.elapsed() >= limit {
                return format!("no frame for {} seconds after {current} frames", limit.as_secs());
            }
        }
    }

    async fn publish(
        &self,
        manifest: &Manifest,
        request: &Request,
        mut tracked: Tracked,
        doing: &Doing,
        log: &Log,
    ) -> Result<(), Ended> {
        let mut extra = extra_fields(&request.prompts);
        extra.insert("attempt".to_owned(), self.lease.attempt().into());
        extra.insert("claim_id".to_owned(), self.lease.claim_id().into());
        let head = ResultsHead {
            job_id: manifest.job_id.to_string(),
            video_id: manifest.video_id,
            completed_at: Some(jobs::manifest::Timestamp::of(self.desk.host.utc()).as_str().to_owned()),
            frames_processed: Some(tracked.n_frames),
            extra,
        };
        let (out, min_confidence) = (request.out.clone(), manifest.parameters.confidence_threshold);
        let n_frames = tracked.n_frames;
        let summary: ResultsSummary = joined(in_background("write", {
            let out = out.clone();
            move || write_results(&out, &head, false, min_confidence, &mut tracked.spool)
        }))
        .await??;
        let transient = |e: &LeaseError| matches!(e, LeaseError::Bucket(e) if e.is_transient());
        let progress = doing.get();
        let publish = || self.lease.publish(&out, &summary, n_frames, &progress);
        self.patiently(log, transient, publish).await?;
        log.line(&self.lease, format!("{} detections on {n_frames} frames", summary.n_detections));
        // Whatever stays is removed by the importer.
        for entry in self.lease.bucket().list(&self.lease.id().checkpoints()).await.unwrap_or_default() {
            if self.lease.bucket().delete(&entry.key).await.is_err() {
                break;
            }
        }
        Ok(())
    }
}

/// Tracks; a checkpoint that cannot be continued (of another model, another version) is started anew.
fn detect_from(
    request: &Request,
    model: Arc<Model>,
    stop: &Stop,
    watcher: &Watcher,
) -> Outcome<Option<Tracked>> {
    let run = || detect(request, Source::open(request)?, model.clone(), stop, watcher);
    match run() {
        Err(failure) if failure.is_about_checkpoint() => {
            tracing::warn!("starting from the beginning: {}", failure.in_words());
            let checkpoint = request.checkpoint.as_deref().unwrap_or(Path::new(""));
            for stale in [checkpoint.to_owned(), spool_path(checkpoint)] {
                let _ = std::fs::remove_file(stale);
            }
            run()
        }
        other => other,
    }
}

/// What is wrong with the video or the parameters stays wrong.
fn hopeless_or(failure: Failure) -> Ended {
    match failure.kind {
        Kind::Failed => Ended::Failed { reason: failure.in_words(), no_hope: true },
        _ => failure.into(),
    }
}

/// Looks over the run's shoulder.
struct Watcher {
    doing: Doing,
    snapshots: mpsc::UnboundedSender<Snapshot>,
    seq: AtomicU64,
}

impl Watch for Watcher {
    fn progressed(&self, at: &Progressed) {
        self.doing.set("tracking", at.n_frames, Some(at.total), Some(at.fps));
    }

    fn saved(&self, saved: &Saved<'_>) -> Outcome<()> {
        let seq = self.seq.fetch_add(1, Ordering::Relaxed) + 1;
        // A closed channel means that the attempt is over; the run hears of it by its stop flag.
        let _ = self.snapshots.send(Snapshot::take(saved, seq)?);
        Ok(())
    }
}

/// A thread that may never come back: the runtime does not wait for it at the end.
fn in_background<T: Send + 'static>(
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

async fn joined<T>(result: oneshot::Receiver<std::thread::Result<T>>) -> Result<T, Ended> {
    let failed = |reason: &str| Ended::Failed { reason: reason.to_owned(), no_hope: false };
    match result.await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(_)) => Err(failed("a bug in courtside: the thread panicked; its log has more")),
        Err(_) => Err(failed("no thread could be started")),
    }
}

/// Waits so long; for ever if there is no limit.
async fn until(limit: Option<Duration>) {
    match limit {
        Some(limit) => tokio::time::sleep(limit).await,
        None => std::future::pending().await,
    }
}
