//! One attempt at one job: download, track, publish, while heartbeats and checkpoints are written to the bucket.
//!
//! Each step is a file: [`download`], `restore` in [`checkpoints`], [`tracking`], [`publish`]. [`resume`] decides where
//! tracking starts, and [`conclude`] writes the outcome to the manifest.

mod background;
mod checkpoints;
mod conclude;
mod download;
mod heartbeat;
mod log;
mod outbox;
mod outcome;
mod progress;
mod publish;
mod resume;
mod retry;
mod track_request;
mod tracking;
pub(crate) mod workspace;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::time::Duration;

use client::failure::Outcome;
use client::stop::Stop;
use jobs::Lease;
use jobs::env::Env;
use jobs::manifest::{Manifest, Stage, Status, Target};
use jobs::transfer::FileDigest;

use crate::WorkerOptions;
use crate::shared_model::SharedModel;
use crate::track::{IncomingVideo, TrackRequest, TrackedVideo};

use background::caught;
use conclude::conclude;
use log::AttemptLog;
use outcome::{AttemptError, OnDisk};
use progress::AttemptProgress;
use resume::StartFrom;
use workspace::Workspace;

pub(crate) use conclude::lease_failure;
pub(crate) use outcome::AttemptOutcome;

/// A claimed job and what the worker needs to process it.
pub(crate) struct Attempt<'a> {
    pub(crate) lease: Box<Lease>,
    pub(crate) env: &'a dyn Env,
    pub(crate) options: &'a WorkerOptions,
}

impl Attempt<'_> {
    /// Whether the job must not be tracked on a CPU: it was submitted to the cloud, and `--allow-cpu` is not given.
    pub(crate) async fn requires_gpu(&self) -> bool {
        self.lease.manifest().await.target == Some(Target::Cloud) && !self.options.allow_cpu
    }

    /// Processes the job and writes the outcome to its manifest. Stops early when `stop` is requested or `time_left`
    /// has passed; the job is then released.
    ///
    /// # Errors
    /// If this worker or its machine cannot process any job.
    pub(crate) async fn run(
        self,
        model: &SharedModel,
        time_left: Option<Duration>,
        stop: &Stop,
    ) -> Outcome<AttemptOutcome> {
        let Self { lease, env, options } = self;
        let log = Arc::new(AttemptLog::default());
        log.line(lease.id(), format!("attempt {} by {}", lease.attempt(), options.worker_id));
        let workspace = match Workspace::open(&options.work_folder, lease.id(), lease.attempt()) {
            Ok(workspace) => workspace,
            Err(failure) => {
                let error = AttemptError::from(failure).attributed(&options.work_folder);
                return conclude(&lease, Err(error), &log, false).await;
            }
        };
        let (progress, stop) = (AttemptProgress::default(), stop.child());
        let device = model.engine().describe();
        log.line(lease.id(), format!("tracking on {device}"));
        progress.set_device(device);
        progress.start_download();
        let running = RunningAttempt {
            lease: &lease,
            env,
            options,
            workspace: &workspace,
            progress,
            log: &log,
            stop: &stop,
            n_saved: Arc::default(),
            n_losses: AtomicU32::new(0),
        };
        let result = caught(running.process_with_heartbeat(model, time_left)).await;
        let result = result.map_err(|error| error.attributed(&options.work_folder));
        let was_stopped = stop.requested();
        // After a panic, the tracking thread is still running.
        stop.request();
        let outcome = conclude(&lease, result, &log, was_stopped).await;
        log.upload(&lease).await;
        if is_finished_here(&lease, &outcome).await {
            workspace.remove();
        }
        outcome
    }
}

/// Whether this machine no longer needs the job's files. A released job may be claimed here again.
async fn is_finished_here(lease: &Lease, outcome: &Outcome<AttemptOutcome>) -> bool {
    match outcome {
        // The thread that hangs may still use them.
        Ok(AttemptOutcome::Hung(_)) | Err(_) => false,
        Ok(_) => lease.manifest().await.status != Status::Pending,
    }
}

/// An attempt while it runs.
struct RunningAttempt<'a> {
    lease: &'a Lease,
    env: &'a dyn Env,
    options: &'a WorkerOptions,
    workspace: &'a Workspace,
    progress: AttemptProgress,
    log: &'a Arc<AttemptLog>,
    stop: &'a Stop,
    /// Number of checkpoints so far: each has its own keys.
    n_saved: Arc<AtomicU64>,
    /// How often what was written was lost or changed on disk.
    n_losses: AtomicU32,
}

impl RunningAttempt<'_> {
    fn log_line(&self, text: impl std::fmt::Display) {
        self.log.line(self.lease.id(), text);
    }

    /// Downloads and tracks in parallel, then publishes.
    async fn process(&self, model: &SharedModel) -> Result<(), AttemptError> {
        let manifest = self.lease.manifest().await;
        let video = Arc::new(IncomingVideo::new(manifest.video.as_ref().and_then(|facts| facts.n_frames)));
        let request = self.track_request(&manifest);
        let (mut tracked, content) = self.download_and_track(model, &manifest, &request, &video).await?;
        loop {
            let done = match tracked {
                Ok(Some(done)) => done,
                Ok(None) => return Err(AttemptError::Stopped),
                Err(error) => {
                    if error.is_about_video() {
                        self.check_video(&request.video, &content).await?;
                    }
                    return Err(error);
                }
            };
            self.progress.set(Stage::Publishing, done.n_frames, Some(done.n_frames), None);
            done.warnings.iter().for_each(|warning| self.log_line(format!("warning: {warning}")));
            self.check_video(&request.video, &content).await?;
            let start = match self.publish(&manifest, &request, done).await {
                Err(AttemptError::OnDisk(OnDisk::Damaged(why))) => self.after_loss(why)?,
                published => return published,
            };
            tracked = self.track(model, &request, &video, start).await;
        }
    }

    /// Returns what was tracked, `None` if it was stopped, and the content of the complete video.
    async fn download_and_track(
        &self,
        model: &SharedModel,
        manifest: &Manifest,
        request: &TrackRequest,
        video: &Arc<IncomingVideo>,
    ) -> Result<(Result<Option<TrackedVideo>, AttemptError>, FileDigest), AttemptError> {
        let mut download = std::pin::pin!(self.download(manifest, &request.video, video));
        let mut tracking = std::pin::pin!(self.track(model, request, video, StartFrom::Bucket));
        tokio::select! {
            downloaded = &mut download => match downloaded {
                Ok(content) => {
                    self.progress.end_download();
                    video.complete();
                    Ok((tracking.await, content))
                }
                Err(error) => {
                    video.abandon();
                    // The download's error is the reason. The tracking thread must still end.
                    match tracking.await {
                        Err(hung @ AttemptError::Hung(_)) => Err(hung),
                        _ => Err(error),
                    }
                }
            },
            // Ends before the download only if it failed or was stopped.
            tracked = &mut tracking => match tracked {
                // The complete file shows whether the video is at fault, or its copy here.
                Err(error) if error.is_about_video() => {
                    Ok((Err(error), self.unless_stopped(video, download).await?))
                }
                other => other.and(Err(AttemptError::Stopped)),
            },
        }
    }

    /// Runs `work` unless a stop is requested or the download is abandoned first.
    async fn unless_stopped<T>(
        &self,
        video: &IncomingVideo,
        work: impl Future<Output = Result<T, AttemptError>>,
    ) -> Result<T, AttemptError> {
        tokio::select! {
            done = work => done,
            () = self.stop.wait() => Err(AttemptError::Stopped),
            () = video.abandoned() => Err(AttemptError::Stopped),
        }
    }
}
