//! The worker: claims a job, downloads, tracks, publishes, and looks for the next one. One code path for the
//! bucket of a rented machine and for the folder of this one.
//!
//! Whatever ends it, nothing is lost: its checkpoints are in the bucket, its job is released or its lease runs
//! out, and the next worker goes on to the same bytes.

mod attempt;
mod checkpoints;
mod ended;
pub mod engine;
pub mod failure;
pub mod kernel_trial;
mod log;
pub mod model_folder;
mod models;
pub mod track;
mod tracking;
mod workspace;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use jobs::manifest::{Manifest, Target};
use jobs::queue::{PollOutcome, Queue, Worker as Name};
use jobs::{Lease, Timing, probe};
use sam3::device::{DeviceChoice, gpu_backend};
use serde::Serialize;

use crate::engine::{Engine, EngineOptions};
use client::Client;
use client::failure::{Failure, Kind, Outcome};
use client::stop::Stop;
use client::terminal::{notify, printable};

use attempt::Attempt;
use ended::End;
use models::Models;

/// How a worker works.
#[derive(Debug, Clone)]
pub struct Options {
    /// Which jobs.
    pub target: Target,
    /// Its name in registers.
    pub worker_id: String,
    /// End after one job, or when there is none.
    pub once: bool,
    /// End when there was nothing to do for so long.
    pub idle_exit: Option<Duration>,
    /// Jobs at the same time.
    pub streams: usize,
    /// Release what it holds and end after so long.
    pub max_runtime: Option<Duration>,
    /// Track cloud jobs without a GPU.
    pub allow_cpu: bool,
    /// Folder of the checkpoint.
    pub model: Option<PathBuf>,
    /// What to track on.
    pub engine: EngineOptions,
    /// Most objects at a time.
    pub max_objects: usize,
    /// Where videos and checkpoints lie while they are needed.
    pub work_folder: PathBuf,
    /// Time between checkpoints.
    pub checkpoint_interval: Duration,
    /// Time without a frame after which an attempt has failed.
    pub stall_timeout: Duration,
    /// The protocol's durations.
    pub timing: Timing,
}

/// What a worker did.
#[derive(Debug, Default, Serialize)]
pub struct Served {
    /// Jobs completed.
    pub completed: Vec<String>,
    /// Jobs whose attempt failed, with the reason.
    pub failed: Vec<(String, String)>,
    /// Jobs given back.
    pub released: Vec<String>,
    /// Jobs that are somebody else's now.
    pub lost: Vec<String>,
    /// Why it ended.
    pub ended: String,
}

impl Served {
    /// What another stream did beside it.
    fn add(&mut self, other: Self) {
        self.completed.extend(other.completed);
        self.failed.extend(other.failed);
        self.released.extend(other.released);
        self.lost.extend(other.lost);
        self.ended = other.ended;
    }
}

/// Works until told to stop, or until there is a reason to.
///
/// # Errors
/// When the bucket, the checkpoint or the machine will not do; before anything is claimed.
pub async fn run(client: &Client, options: &Options, stop: &Stop) -> Outcome<Served> {
    let started = Instant::now();
    let bucket = client.bucket(options.target)?;
    probe::conditional_writes(&*bucket, &*client.env).await?;
    let is_remote = options.target == Target::Cloud && client.settings.cloud.is_remote();
    let engine = open_engine(options)?;
    if is_remote {
        check_device(&engine, options)?;
    }
    let models = Models::find(options.model.as_deref(), engine)?;
    models.announce(options.max_objects * options.streams);
    workspace::check(&options.work_folder)?;
    let target = options.target;
    let accept =
        move |job: &Manifest| is_remote || target == Target::Cloud || job.target != Some(Target::Cloud);
    notify(format!("{}: looking for jobs in {}", options.worker_id, bucket.location()));
    let stream = |i: usize| {
        let worker_id = match options.streams {
            1 => options.worker_id.clone(),
            _ => format!("{}-{}", options.worker_id, i + 1),
        };
        let options = Options { worker_id: worker_id.clone(), ..options.clone() };
        let name = Name { worker_id, host: host_name() };
        let queue = Queue::new(bucket.clone(), client.env.clone(), options.timing, name, accept);
        Worker { client, options, models: models.clone(), queue, served: Served::default(), started }
    };
    all_streams((0..options.streams).map(stream), stop).await
}

/// Streams side by side until the last one ends. When one fails, the others give back what they have.
async fn all_streams(streams: impl Iterator<Item = Worker<'_>>, stop: &Stop) -> Outcome<Served> {
    let stop = stop.child();
    let works = streams.map(async |mut worker| {
        let ended = worker.work(&stop).await;
        if ended.is_err() {
            stop.request();
        }
        ended.map(|()| worker.served)
    });
    let mut served = Served::default();
    for one in futures::future::join_all(works).await {
        served.add(one?);
    }
    Ok(served)
}

/// The device that was asked for; with --allow-cpu, the processor where `auto` finds no GPU that will do.
fn open_engine(options: &Options) -> Outcome<Engine> {
    let is_auto = options.engine.device == DeviceChoice::Auto;
    match Engine::open(options.engine) {
        Err(failure) if options.allow_cpu && is_auto => {
            notify(format!("{failure}"));
            Ok(Engine::on_cpu(options.engine))
        }
        opened => opened,
    }
}

/// A machine that was rented for its GPU must not spend hours without it.
fn check_device(engine: &Engine, options: &Options) -> Outcome<()> {
    if engine.is_gpu() {
        return Ok(());
    }
    let why = match gpu_backend() {
        None => "this build of courtside tracks on the CPU only",
        Some(_) => "it is to track on the CPU",
    };
    if options.allow_cpu {
        notify(format!("no GPU: {why}, as --allow-cpu allows"));
        return Ok(());
    }
    let message = format!("no GPU: {why}, and cloud jobs are for GPUs");
    Err(Failure::msg(Kind::Config, message).hint("--allow-cpu tracks on the CPU all the same, slowly"))
}

struct Worker<'a> {
    client: &'a Client,
    options: Options,
    models: Models,
    queue: Queue,
    served: Served,
    started: Instant,
}

impl Worker<'_> {
    async fn work(&mut self, stop: &Stop) -> Outcome<()> {
        let mut idle_since = Instant::now();
        let mut trouble = Trouble::default();
        loop {
            if stop.requested() {
                return self.end("it was told to stop");
            }
            if self.remaining().is_some_and(|left| left.is_zero()) {
                return self.end("its time is over (--max-runtime)");
            }
            let pause = match self.queue.poll().await {
                Ok(PollOutcome::Claimed(lease)) => {
                    let n_failed = self.served.failed.len();
                    self.serve(lease, stop).await?;
                    if self.options.once {
                        return self.end("it served one job (--once)");
                    }
                    idle_since = Instant::now();
                    if self.served.failed.len() == n_failed {
                        continue;
                    }
                    // The next attempt may be another worker's, on a machine that is better for it.
                    self.options.timing.poll
                }
                Ok(PollOutcome::Idle { pause, n_processing }) => {
                    trouble = Trouble::default();
                    self.report_unreadable();
                    // A job that another worker has is none, once that worker gave a sign of life.
                    let is_watched = idle_since.elapsed() > self.options.timing.lease.mul_f64(1.25);
                    if self.options.once && (n_processing == 0 || is_watched) {
                        return self.end("there is no job (--once)");
                    }
                    pause
                }
                Err(error) if error.is_transient() => trouble.pause(error)?,
                Err(error) => return Err(error.into()),
            };
            let idle = idle_since.elapsed();
            if self.options.idle_exit.is_some_and(|limit| idle >= limit) {
                return self.end("there was nothing to do (--idle-exit)");
            }
            let until_idle = self.options.idle_exit.map_or(pause, |limit| limit.saturating_sub(idle));
            let pause = pause.min(until_idle).min(self.remaining().unwrap_or(pause));
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.wait() => {}
            }
        }
    }

    /// Serves one job to whatever end.
    async fn serve(&mut self, lease: Box<Lease>, stop: &Stop) -> Outcome<()> {
        let attempt = Attempt { lease, client: self.client, options: &self.options };
        workspace::sweep(&self.options.work_folder);
        let id = attempt.lease.id().to_string();
        if attempt.is_for_gpu().await
            && let Err(failure) = check_device(self.models.engine(), &self.options)
        {
            attempt.lease.release("its worker has no GPU").await.map_err(lost_or)?;
            return Err(failure);
        }
        match attempt.run(&self.models, self.remaining(), stop).await? {
            End::Completed => self.served.completed.push(id),
            End::Failed(reason) => self.served.failed.push((id, reason)),
            End::Released => self.served.released.push(id),
            End::Lost => self.served.lost.push(id),
            End::Stuck(reason) => {
                let message = format!("job {id}: {reason}; this worker cannot go on");
                return Err(Failure::msg(Kind::Job, message)
                    .hint(format!("start it again; `courtside status {id}` says how the job stands")));
            }
        }
        Ok(())
    }

    /// Time that is left of the longest allowed.
    fn remaining(&self) -> Option<Duration> {
        self.options.max_runtime.map(|limit| limit.saturating_sub(self.started.elapsed()))
    }

    fn report_unreadable(&self) {
        for unreadable in self.queue.unreadable() {
            tracing::warn!("{}", printable(&format!("skipping {unreadable}")));
        }
    }

    fn end(&mut self, why: &str) -> Outcome<()> {
        notify(format!("{}: ending, {why}", self.options.worker_id));
        why.clone_into(&mut self.served.ended);
        Ok(())
    }
}

/// A bucket that does not answer: patience, with growing pauses.
#[derive(Default)]
struct Trouble {
    n_failures: u32,
}

impl Trouble {
    /// Looks in a row that may fail.
    const MAX: u32 = 60;

    fn pause(&mut self, error: jobs::Error) -> Outcome<Duration> {
        self.n_failures += 1;
        if self.n_failures > Self::MAX {
            return Err(error.into());
        }
        notify(format!("{error}; trying again"));
        Ok(Duration::from_secs(u64::from(self.n_failures.min(6)) * 5))
    }
}

/// A lease that is lost is no error; a bucket that does not answer is.
fn lost_or(error: jobs::lease::LeaseError) -> Failure {
    match error {
        jobs::lease::LeaseError::Bucket(error) => error.into(),
        lost @ jobs::lease::LeaseError::Lost { .. } => Failure::new(Kind::Failed, lost),
    }
}

/// Name of this machine, for people.
fn host_name() -> Option<String> {
    let from_file = || std::fs::read_to_string("/etc/hostname").ok();
    std::env::var("HOSTNAME").ok().or_else(from_file).map(|n| n.trim().to_owned()).filter(|n| !n.is_empty())
}

/// A name for a worker that was given none: the machine's and something random.
pub fn default_worker_id(unique: &str) -> String {
    let host = host_name().unwrap_or_else(|| "worker".to_owned());
    format!("{host}-{}", unique.get(..6).unwrap_or(unique))
}
