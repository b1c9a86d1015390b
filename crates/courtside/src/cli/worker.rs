//! `courtside worker`.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use jobs::Timing;
use jobs::manifest::Target;
use serde::Serialize;

use super::Context;
use super::model_args::{EngineArgs, ModelArgs};
use super::track::DEFAULT_MAX_TRACKS;
use super::values::seconds;
use client::failure::{Failure, Kind, Outcome};
use client::stop::Stop;
use worker::{WorkerOptions, WorkerSummary};

/// Run a worker that tracks submitted jobs
///
/// On Ctrl-C or SIGTERM, the worker saves a checkpoint, releases its job and exits. The next worker, on any machine,
/// resumes from that checkpoint, with the same results. A second Ctrl-C exits immediately; the job is then taken over
/// when its lease expires, after at most four minutes.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Serve the R2 bucket (without R2 settings: the folder next to the database)
    #[arg(long, conflicts_with = "local")]
    cloud: bool,
    /// Serve the jobs submitted with `--target local`
    #[arg(long)]
    local: bool,
    /// Name of this worker in job status and logs [default: WORKER_ID or host name and random suffix]
    #[arg(long, value_name = "NAME")]
    worker_id: Option<String>,
    /// Folder for temporary videos and checkpoints [default: in VIDEO_STORAGE_PATH]
    #[arg(long, value_name = "DIR")]
    work_dir: Option<PathBuf>,
    /// Exit after one job, or when no job is available
    ///
    /// If other workers are tracking jobs, the worker waits a few minutes before it exits without a job: if one of the
    /// others has died, its job becomes available. Use `--once=false` to override SINGLE_JOB.
    #[arg(
        long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL",
        hide_possible_values = true, help_heading = "When to exit"
    )]
    once: Option<bool>,
    /// Exit after being idle this long (0: never) [default: WORKER_IDLE_SHUTDOWN or 0]
    #[arg(long, value_name = "SECONDS", help_heading = "When to exit")]
    idle_exit: Option<u64>,
    /// Release the current job and exit after this long
    #[arg(long, value_name = "SECONDS", help_heading = "When to exit")]
    max_runtime: Option<u64>,
    /// Jobs to track at the same time
    ///
    /// Several jobs share one GPU. This increases the total number of frames per second if one job does not keep the
    /// GPU busy.
    #[arg(
        long, value_name = "N", default_value_t = 1, help_heading = TRACKING,
        value_parser = clap::value_parser!(u8).range(1..=16)
    )]
    streams: u8,
    /// Largest number of tracks at the same time, to limit memory and time
    #[arg(
        long, alias = "max-objects", value_name = "N", default_value_t = DEFAULT_MAX_TRACKS as u32,
        help_heading = TRACKING, value_parser = clap::value_parser!(u32).range(1..)
    )]
    max_tracks: u32,
    /// Time between checkpoints
    #[arg(long, value_name = "SECONDS", default_value_t = 180.0, value_parser = seconds, help_heading = TRACKING)]
    checkpoint_interval: f64,
    /// Fail the attempt if no frame was tracked for this long
    #[arg(long, value_name = "SECONDS", default_value_t = 300.0, value_parser = seconds, help_heading = TRACKING)]
    stall_timeout: f64,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    engine: EngineArgs,
    /// Track cloud jobs on the CPU if no GPU can be used (slow)
    #[arg(long, help_heading = super::model_args::HEADING)]
    allow_cpu: bool,
    /// Divide every duration of the protocol by this factor, in tests. All workers of a bucket must use the same.
    #[arg(
        long, alias = "faster", value_name = "FACTOR", default_value_t = 1, hide = true,
        value_parser = clap::value_parser!(u32).range(1..=1000)
    )]
    speed_up: u32,
}

const TRACKING: &str = "Tracking";

impl Args {
    pub(super) fn run(self, json: bool) -> Outcome<()> {
        let context = Context::new(json)?;
        let options = self.into_options(&context);
        let stop = Stop::on_signal("saving and releasing the current job")?;
        let bucket = context.client.bucket(options.target)?;
        let env = context.client.env.clone();
        let summary = context.block_on(worker::run(bucket, env, &options, &stop))?;
        context.print(&Report(&summary))?;
        if stop.requested() {
            let message = match summary.released.is_empty() {
                true => "no job was in progress",
                false => "released the unfinished jobs; other workers can resume them",
            };
            return Err(Failure::msg(Kind::Interrupted, message));
        }
        match summary.failed.last() {
            // The log and the summary have the reason.
            Some((id, _)) if options.once => {
                let failure = Failure::msg(Kind::Job, format!("job {id} failed"));
                Err(failure.hint(format!("run `courtside logs {id}` for details")))
            }
            _ => Ok(()),
        }
    }

    /// Combines flags, settings and defaults, in this order of precedence.
    fn into_options(self, context: &Context) -> WorkerOptions {
        let settings = &context.client.settings;
        let chosen = match (self.cloud, self.local) {
            (true, _) => Some(Target::Cloud),
            (_, true) => Some(Target::Local),
            _ => settings.worker_mode,
        };
        let idle_exit = match self.idle_exit {
            Some(0) => None,
            Some(seconds) => Some(Duration::from_secs(seconds)),
            None => settings.idle_exit,
        };
        let unique = context.client.env.unique_id();
        let target = chosen.unwrap_or_else(|| context.client.default_target());
        WorkerOptions {
            target,
            is_remote: target == Target::Cloud && settings.cloud.is_remote(),
            worker_id: self
                .worker_id
                .or_else(|| settings.worker_id.clone())
                .unwrap_or_else(|| worker::default_worker_id(&unique)),
            once: self.once.unwrap_or(settings.single_job),
            idle_exit,
            streams: usize::from(self.streams),
            max_runtime: self.max_runtime.map(Duration::from_secs),
            allow_cpu: self.allow_cpu,
            model: self.model.model,
            engine: self.engine.into(),
            max_objects: self.max_tracks as usize,
            default_prompt: settings.prompt.clone(),
            work_folder: self.work_dir.unwrap_or_else(|| settings.scratch().join("work")),
            checkpoint_interval: Duration::from_secs_f64(self.checkpoint_interval),
            stall_timeout: Duration::from_secs_f64(self.stall_timeout.max(1.0)),
            timing: Timing { poll: settings.poll, ..Timing::default() }.faster(self.speed_up),
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Report<'a>(&'a WorkerSummary);

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let WorkerSummary { completed, failed, released, lost, ended } = self.0;
        completed.iter().try_for_each(|id| writeln!(f, "completed {id}"))?;
        failed.iter().try_for_each(|(id, reason)| writeln!(f, "failed {id}: {reason}"))?;
        released.iter().try_for_each(|id| writeln!(f, "released {id}"))?;
        lost.iter()
            .try_for_each(|id| writeln!(f, "lost {id}; for its state, run `courtside status {id}`"))?;
        let n = completed.len();
        writeln!(f, "{n} {} completed; {ended}", if n == 1 { "job" } else { "jobs" })
    }
}
