//! `courtside worker`.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use jobs::Timing;
use jobs::manifest::Target;
use serde::Serialize;

use super::Context;
use super::model_args::{EngineArgs, ModelArgs};
use super::track::DEFAULT_MAX_TRACKS;
use super::values::seconds;
use crate::limits;
use crate::when_done::{Place, WhenOver, is_lasting, record};
use client::failure::{Failure, Kind, Outcome};
use client::stop::Stop;
use client::terminal::{counted, notify};
use providers::{LAUNCHED, MachineInfo};
use worker::{WorkerOptions, WorkerSummary};

/// Run a worker that tracks submitted jobs
///
/// On Ctrl-C or SIGTERM, the worker saves a checkpoint, releases its job and exits. The next worker, on any machine,
/// resumes from that checkpoint, with the same results. A second Ctrl-C exits immediately; the job is then taken over
/// when its lease expires, after at most four minutes.
#[derive(Debug, Clone, clap::Args)]
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
    /// What to do then: auto, exit, terminate or a command [default: WORKER_WHEN_DONE or auto]
    ///
    /// `terminate` ends the rented machine that the worker runs on, on RunPod and Vast; `auto` does so there, and exits
    /// elsewhere. Both also do so if the worker cannot work there at all (no usable GPU, model, ffmpeg or settings), but not
    /// after Ctrl-C or SIGTERM. If the provider refuses, the worker says so and waits. A command is run with `sh -c`; the
    /// reason is in COURTSIDE_REASON.
    #[arg(long, value_name = "ACTION", help_heading = "When to exit")]
    when_done: Option<String>,
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
/// Pause before the worker is started again on a rented machine.
const PAUSE: Duration = Duration::from_secs(30);
/// How long it is started again before the machine counts as useless.
const GIVE_UP_AFTER: Duration = Duration::from_secs(30 * 60);
/// A worker that ran this long has worked.
const USEFUL_AFTER: Duration = Duration::from_secs(10 * 60);

impl Args {
    pub(super) fn run(self, json: bool) -> Outcome<()> {
        let stop = Stop::on_signal("saving and releasing the current job")?;
        let over = WhenOver::new(self.when_done.as_deref(), self.speed_up)?;
        over.announce();
        let mut place = None;
        let (reason, result) = match self.work_on_machine(json, &over, &mut place, &stop) {
            Ok((summary, once)) => conclude(summary, once, &stop),
            // On a rented machine, what may pass has not passed.
            Err(failure) if is_lasting(&failure) || over.is_machine_ended() => {
                (Some(failure.message()), Err(failure))
            }
            Err(failure) => (None, Err(failure)),
        };
        over.finish(reason, result, place.as_ref(), &stop)
    }

    /// Runs the worker. On a rented machine, a failure that may pass, such as a bucket that does not respond, is not the end:
    /// its provider would only start the container again, for as long as it is paid. The worker is started again here, for
    /// half an hour.
    fn work_on_machine(
        &self,
        json: bool,
        over: &WhenOver,
        place: &mut Option<Place>,
        stop: &Stop,
    ) -> Outcome<(WorkerSummary, bool)> {
        let mut failing = Duration::ZERO;
        loop {
            let started = Instant::now();
            let work = AssertUnwindSafe(|| self.clone().work(json, over, place, stop));
            let failure = match std::panic::catch_unwind(work) {
                Ok(Err(failure)) => failure,
                Ok(done) => return done,
                Err(panic) if !over.is_machine_ended() => std::panic::resume_unwind(panic),
                Err(panic) => limits::shortage(&*panic)
                    .unwrap_or_else(|| Failure::msg(Kind::Internal, "internal error; please report it")),
            };
            let took = started.elapsed();
            failing = if took > USEFUL_AFTER { Duration::ZERO } else { failing + took * self.speed_up };
            if is_lasting(&failure)
                || !over.is_machine_ended()
                || stop.requested()
                || failing >= GIVE_UP_AFTER
            {
                return Err(failure);
            }
            notify(format!("{failure}\n  starting again in {} s", PAUSE.as_secs()));
            failing += PAUSE;
            stop.wait_at_most(PAUSE / self.speed_up)?;
            if stop.requested() {
                return Err(Failure::msg(Kind::Interrupted, "no job was in progress"));
            }
        }
    }

    /// Runs the worker and prints its summary. Also returns whether it was to process one job only. Sets `place` once the
    /// bucket is open.
    fn work(
        self,
        json: bool,
        over: &WhenOver,
        place: &mut Option<Place>,
        stop: &Stop,
    ) -> Outcome<(WorkerSummary, bool)> {
        let context = Context::new(json)?;
        let mut options = self.into_options(&context);
        let bucket = context.client.bucket(options.target)?;
        let env = context.client.env.clone();
        let info = context.block_on(async { Ok(over.describe().await) })?;
        options.machine = info.as_ref().map(record);
        options.max_runtime = options.max_runtime.map(|limit| limit.saturating_sub(used(info.as_ref())));
        let (worker_id, machine) = (options.worker_id.clone(), options.machine.clone());
        *place = Some(Place { bucket: bucket.clone(), env: env.clone(), worker_id, machine });
        let summary = context.block_on(worker::run(bucket, env, &options, stop))?;
        context.print(&Report(&summary))?;
        Ok((summary, options.once))
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
            machine: None,
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

/// Why the worker ended, unless it was told to, and the result of the command.
fn conclude(summary: WorkerSummary, once: bool, stop: &Stop) -> (Option<String>, Outcome<()>) {
    if stop.requested() {
        let message = match summary.released.is_empty() {
            true => "no job was in progress",
            false => "released the unfinished jobs; other workers can resume them",
        };
        return (None, Err(Failure::msg(Kind::Interrupted, message)));
    }
    let result = match summary.failed.last() {
        // The log and the summary have the reason.
        Some((id, _)) if once => {
            let failure = Failure::msg(Kind::Job, format!("job {id} failed"));
            Err(failure.hint(format!("run `courtside logs {id}` for details")))
        }
        _ => Ok(()),
    };
    (Some(summary.ended), result)
}

/// How much of `--max-runtime` has passed on a machine that `courtside launch` rented: also what was before its container
/// was started again.
fn used(machine: Option<&MachineInfo>) -> Duration {
    let launched = machine.filter(|info| info.name.as_ref().is_some_and(|name| name.starts_with(LAUNCHED)));
    launched.and_then(|info| info.age).unwrap_or_default()
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
        writeln!(f, "{} completed; {ended}", counted(completed.len(), "job"))
    }
}
