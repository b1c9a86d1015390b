//! One attempt at one job: download, track, publish, while signs of life go out and checkpoints go up.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use jobs::bucket::BulkTransfer;
use jobs::lease::LeaseError;
use jobs::manifest::{Heartbeat, Manifest, Stage, Status, Target, Timestamp};
use jobs::results::{ResultsHead, ResultsSummary};
use jobs::transfer::{self, DownloadProgress};
use jobs::{Error, Lease};
use sam3::{Compat, DEFAULT_RETIRE_AFTER};

use super::checkpoints;
use super::ended::{End, Ended};
use super::log::Log;
use super::models::Models;
use super::tracking::{Tracking, in_background, joined};
use super::workspace::Workspace;
use super::{Options, lost_or};
use crate::track::{IncomingVideo, Request, Tracked, extra_fields, spool_path, write_results};
use client::Client;
use client::failure::{Failure, Outcome};
use client::stop::Stop;

/// How long a bucket that does not answer is waited for.
const PATIENCE: Duration = Duration::from_secs(3600);
/// The same once the worker was told to stop: a machine that is to go does not wait.
const LAST_PATIENCE: Duration = Duration::from_secs(30);
/// How soon it is noticed that a video will not come.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A claimed job and whoever works on it.
pub(super) struct Attempt<'a> {
    pub lease: Box<Lease>,
    pub client: &'a Client,
    pub options: &'a Options,
}

/// What the attempt is doing, for heartbeats and the watchdog.
#[derive(Clone, Default)]
pub(super) struct AttemptProgress(Arc<Mutex<Heartbeat>>);

impl AttemptProgress {
    /// So many bytes of so many are there. Where the tracking has begun, it counts, and not this.
    fn downloading(&self, n_bytes: u64, of: u64) {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if now.stage == Stage::Downloading {
            (now.current, now.total) = (n_bytes, Some(of));
        }
    }

    /// The download is over. Where the tracking has begun, it counts, and not this.
    fn downloaded(&self) {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if now.stage == Stage::Downloading {
            *now = Heartbeat { stage: Stage::Starting, ..Heartbeat::default() };
        }
    }

    /// Another stage, or progress in it.
    pub(super) fn set(&self, stage: Stage, current: u64, total: Option<u64>, fps: Option<f64>) {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *now = Heartbeat { seq: 0, stage, current, total, fps };
    }

    /// What it was set to last.
    pub(super) fn get(&self) -> Heartbeat {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Attempt<'_> {
    /// Whether the job was submitted for a GPU.
    pub(super) async fn is_for_gpu(&self) -> bool {
        self.lease.manifest().await.target == Some(Target::Cloud) && !self.options.allow_cpu
    }

    /// Works on the job to whatever end, and tells the register.
    pub(super) async fn run(self, models: &Models, time_left: Option<Duration>, stop: &Stop) -> Outcome<End> {
        let Self { lease, client, options } = self;
        let log = Arc::new(Log::default());
        log.line(lease.id(), format!("attempt {} by {}", lease.attempt(), options.worker_id));
        let workspace = match Workspace::open(&options.work_folder, lease.id(), lease.attempt()) {
            Ok(workspace) => workspace,
            Err(failure) => return conclude(&lease, Err(failure.into()), &log, false).await,
        };
        let (doing, stop) = (AttemptProgress::default(), stop.child());
        doing.set(Stage::Downloading, 0, None, None);
        let work =
            Work { lease: &lease, client, options, workspace: &workspace, doing, log: &log, stop: &stop };
        let worked = work.while_alive(models, time_left).await;
        let end = conclude(&lease, worked, &log, stop.requested()).await;
        log.upload(&lease).await;
        if is_over_here(&lease, &end).await {
            workspace.remove();
        }
        end
    }
}

/// Whether nobody on this machine will go on with the job's files.
async fn is_over_here(lease: &Lease, end: &Outcome<End>) -> bool {
    match end {
        // Its thread may still be at them.
        Ok(End::Stuck(_)) | Err(_) => false,
        Ok(_) => lease.manifest().await.status != Status::Pending,
    }
}

/// Tells the register how it ended.
async fn conclude(lease: &Lease, worked: Result<(), Ended>, log: &Log, stopped: bool) -> Outcome<End> {
    let id = lease.id();
    // What failed because everything was ending did not fail.
    let worked = worked.map_err(|ended| match ended {
        Ended::Failed { retryable: true, .. } if stopped => Ended::Stopped,
        other => other,
    });
    let told = match &worked {
        Ok(()) => {
            log.line(id, "completed");
            return Ok(End::Completed);
        }
        Err(Ended::Lost(refusal)) => {
            log.line(id, format!("lost: {refusal}"));
            return Ok(End::Lost);
        }
        Err(Ended::Stopped) => lease.release("its worker was stopped").await,
        Err(Ended::Unfit(failure)) => {
            log.line(id, format!("given back: {}", failure.message()));
            lease.release("its worker is not fit for it").await
        }
        Err(Ended::Failed { reason, retryable }) => {
            log.line(id, format!("failed: {reason}"));
            lease.fail(reason, *retryable).await
        }
        Err(Ended::Stuck(reason)) => {
            log.line(id, format!("failed: {reason}"));
            lease.fail(reason, true).await
        }
        Err(Ended::Broken(failure)) => {
            log.line(id, format!("failed: {}", failure.message()));
            lease.fail(&failure.message(), true).await
        }
    };
    let end = match worked {
        Err(Ended::Failed { reason, .. }) => Ok(End::Failed(reason)),
        Err(Ended::Stuck(reason)) => Ok(End::Stuck(reason)),
        Err(Ended::Unfit(failure) | Ended::Broken(failure)) => Err(failure),
        _ => Ok(End::Released),
    };
    match (told, end) {
        // Whatever became of the job: this worker cannot go on.
        (_, end @ (Ok(End::Stuck(_)) | Err(_))) | (Ok(()), end) => end,
        (Err(LeaseError::Lost { refusal, .. }), _) => {
            log.line(id, format!("lost: {refusal}"));
            Ok(End::Lost)
        }
        // Whoever takes the job over will find it as the lease left it.
        (Err(LeaseError::Bucket(error)), _) if error.is_transient() => {
            log.line(id, format!("the job could not be given back: {error}"));
            Ok(End::Lost)
        }
        (Err(error), _) => Err(lost_or(error)),
    }
}

/// The work itself, and all that it needs.
struct Work<'a> {
    lease: &'a Lease,
    client: &'a Client,
    options: &'a Options,
    workspace: &'a Workspace,
    doing: AttemptProgress,
    log: &'a Arc<Log>,
    stop: &'a Stop,
}

impl Work<'_> {
    fn log_line(&self, text: impl std::fmt::Display) {
        self.log.line(self.lease.id(), text);
    }

    /// Works while signs of life go out, until the work ends, the job is lost or the time is over.
    async fn while_alive(&self, models: &Models, time_left: Option<Duration>) -> Result<(), Ended> {
        let mut work = std::pin::pin!(self.work(models));
        let mut alive = std::pin::pin!(self.lease.keep_alive(|| self.doing.get()));
        let mut time_over = std::pin::pin!(until(time_left));
        let mut in_time = true;
        loop {
            tokio::select! {
                worked = &mut work => return worked,
                refusal = &mut alive => {
                    self.stop.request();
                    // The frame under way ends first; its thread cannot be ended.
                    return match tokio::time::timeout(self.options.stall_timeout, &mut work).await {
                        Ok(Err(stuck @ Ended::Stuck(_))) => Err(stuck),
                        Ok(_) => Err(Ended::Lost(refusal)),
                        Err(_) => Err(Ended::Stuck(format!("lost ({refusal}), and its tracking does not end"))),
                    };
                }
                () = &mut time_over, if in_time => {
                    in_time = false;
                    self.stop.request();
                    self.log_line("stopping, this worker's time is over");
                }
            }
        }
    }

    async fn work(&self, models: &Models) -> Result<(), Ended> {
        let manifest = self.lease.manifest().await;
        let video = Arc::new(IncomingVideo::new(manifest.video.as_ref().and_then(|facts| facts.n_frames)));
        let request = self.request(&manifest);
        let mut download = std::pin::pin!(self.download(&manifest, &request.video, &video));
        let mut tracking = std::pin::pin!(self.track(models, &request, &video));
        let tracked = tokio::select! {
            downloaded = &mut download => match downloaded {
                Ok(()) => {
                    self.doing.downloaded();
                    video.complete();
                    tracking.await?
                }
                Err(ended) => {
                    video.give_up();
                    // What it says now is of no interest, but its thread must end.
                    return match tracking.await {
                        Err(stuck @ Ended::Stuck(_)) => Err(stuck),
                        _ => Err(ended),
                    };
                }
            },
            // Not before the video is whole, unless it failed or was stopped.
            tracked = &mut tracking => tracked?,
        };
        let Some(tracked) = tracked else { return Err(Ended::Stopped) };
        self.doing.set(Stage::Publishing, tracked.n_frames, Some(tracked.n_frames), None);
        tracked.warnings.iter().for_each(|warning| self.log_line(format!("warning: {warning}")));
        self.publish(&manifest, &request, tracked).await
    }

    /// Does what is of use only if the video comes and nobody stops the worker.
    async fn while_wanted<T>(
        &self,
        video: &IncomingVideo,
        work: impl Future<Output = Result<T, Ended>>,
    ) -> Result<T, Ended> {
        let unwanted = async {
            while !video.is_given_up() {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        tokio::select! {
            done = work => done,
            () = self.stop.wait() => Err(Ended::Stopped),
            () = unwanted => Err(Ended::Stopped),
        }
    }

    /// Tracks, beginning while the video arrives where that can be. `None` if it was stopped, or no more of the
    /// video came.
    async fn track(
        &self,
        models: &Models,
        request: &Request,
        video: &Arc<IncomingVideo>,
    ) -> Result<Option<Tracked>, Ended> {
        let loading = in_background("load", {
            let models = models.clone();
            move || models.get()
        });
        let model = self.while_wanted(video, joined(loading)).await??;
        let at = self.while_wanted(video, self.restore(request)).await?;
        if let Some(frame) = at {
            self.log_line(format!("going on at frame {frame}"));
        }
        let tracking = Tracking {
            lease: self.lease,
            doing: &self.doing,
            log: self.log,
            stop: self.stop,
            stall_timeout: self.options.stall_timeout,
        };
        tracking.run(request, model, video).await
    }

    async fn download(&self, manifest: &Manifest, to: &Path, video: &IncomingVideo) -> Result<(), Ended> {
        let facts = manifest.video.clone().unwrap_or_default();
        let reading_along = ReadingAlong::new(to);
        let arrival = |arrived: DownloadProgress<'_>| {
            self.doing.downloading(arrived.n_bytes, arrived.size_bytes);
            video.progress(reading_along.file(arrived), arrived.prefix);
        };
        let (bucket, key) = (&**self.lease.bucket(), manifest.video_key());
        let sha256 = facts.sha256.as_deref();
        let download = || transfer::download(bucket, &key, facts.size_bytes, sha256, to, &arrival);
        match self.patiently(Error::is_transient, download).await {
            // Of so many bytes some may have been spoiled on the way here: the next attempt fetches them anew.
            Err(error @ Error::Mismatch { .. })
                if matches!(bucket.bulk_transfer(), BulkTransfer::Parts(_)) =>
            {
                Err(Ended::Failed { reason: Failure::from(error).message(), retryable: true })
            }
            other => Ok(other.map(|_| ())?),
        }
    }

    /// Brings the checkpoint back; the frame that it goes on with, if there is one.
    async fn restore(&self, request: &Request) -> Result<Option<u64>, Ended> {
        let Some(checkpoint) = &request.checkpoint else { return Ok(None) };
        let spool = spool_path(checkpoint);
        let restore = || checkpoints::restore(self.lease, self.workspace, checkpoint, &spool);
        let restored = self.patiently(Error::is_transient, restore).await?;
        Ok(restored.unwrap_or_else(|why| {
            self.log_line(format!("starting from the beginning: {why}"));
            None
        }))
    }

    /// Tries again while the bucket does not answer: what was done so far is worth more than a rented hour.
    async fn patiently<T, E: std::fmt::Display, F: Future<Output = Result<T, E>>>(
        &self,
        is_transient: impl Fn(&E) -> bool,
        mut request: impl FnMut() -> F,
    ) -> Result<T, E> {
        let started = Instant::now();
        let mut pause = Duration::from_secs(2);
        loop {
            let patience = if self.stop.requested() { LAST_PATIENCE } else { PATIENCE };
            match request().await {
                Err(error) if is_transient(&error) && started.elapsed() < patience => {
                    self.log_line(format!("{error}; trying again"));
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(60));
                }
                other => return other,
            }
        }
    }

    fn request(&self, manifest: &Manifest) -> Request {
        let key = manifest.video_key();
        let extension = Path::new(&key).extension().and_then(|e| e.to_str()).unwrap_or("mp4");
        let parameters = &manifest.parameters;
        let prompt = match (&parameters.prompt, &self.client.settings.prompt) {
            (None, Some(ours)) => ours.clone(),
            _ => manifest.prompt().to_owned(),
        };
        Request {
            video: self.workspace.file(&format!("video.{extension}")),
            prompts: vec![prompt],
            out: self.workspace.file("results.json"),
            annotated: None,
            mot: None,
            dump: None,
            checkpoint: Some(self.workspace.file("run.checkpoint")),
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

    async fn publish(
        &self,
        manifest: &Manifest,
        request: &Request,
        mut tracked: Tracked,
    ) -> Result<(), Ended> {
        let mut extra = extra_fields(&request.prompts, &tracked.concessions);
        extra.insert("attempt".to_owned(), self.lease.attempt().into());
        extra.insert("claim_id".to_owned(), self.lease.claim_id().into());
        let head = ResultsHead {
            job_id: manifest.job_id.to_string(),
            video_id: manifest.video_id,
            completed_at: Some(Timestamp::of(self.client.env.utc()).as_str().to_owned()),
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
        let progress = self.doing.get();
        let publish = || self.lease.publish(&out, &summary, n_frames, &progress);
        self.patiently(transient, publish).await?;
        self.log_line(format!("{} detections on {n_frames} frames", summary.n_detections));
        // Whatever stays is removed by the importer.
        for entry in self.lease.bucket().list(&self.lease.id().checkpoints_prefix()).await.unwrap_or_default()
        {
            if self.lease.bucket().delete(&entry.key).await.is_err() {
                break;
            }
        }
        Ok(())
    }
}

/// A second name for a file that is still arriving, which stays when the file gets its own.
struct ReadingAlong {
    name: PathBuf,
    has_it: OnceLock<bool>,
}

impl ReadingAlong {
    fn new(video: &Path) -> Self {
        let extension = video.extension().unwrap_or_default();
        let name = video.with_file_name("arriving").with_extension(extension);
        // Of an earlier attempt.
        let _ = std::fs::remove_file(&name);
        Self { name, has_it: OnceLock::new() }
    }

    /// The file, as soon as it can be made sense of. Where the disk knows no links, it is waited for.
    fn file(&self, arrived: DownloadProgress<'_>) -> Option<PathBuf> {
        if !arrived.has_end || arrived.prefix == 0 {
            return None;
        }
        let has_it = self.has_it.get_or_init(|| std::fs::hard_link(arrived.partial, &self.name).is_ok());
        has_it.then(|| self.name.clone())
    }
}

/// Waits so long; for ever if there is no limit.
async fn until(limit: Option<Duration>) {
    match limit {
        Some(limit) => tokio::time::sleep(limit).await,
        None => std::future::pending().await,
    }
}
