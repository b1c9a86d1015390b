//! `courtside worker`.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use jobs::Timing;
use jobs::manifest::Target;
use serde::Serialize;

use super::Context;
use super::engine_args::EngineArgs;
use client::failure::{Failure, Kind, Outcome};
use client::stop::Stop;
use worker::{self, Options, Served};

/// Tracks the videos of submitted jobs, one after the other.
///
/// Ctrl-C or SIGTERM writes a checkpoint, gives the job back and ends; the next worker, on this machine or
/// another, goes on from there to the same results. A second Ctrl-C ends at once: then the job is taken over
/// when its lease has run out, after four minutes at most.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Serves the bucket (R2_...; without that, the folder beside the database).
    #[arg(long, conflicts_with = "local")]
    cloud: bool,
    /// Serves the jobs of this machine, submitted with target `local`.
    #[arg(long)]
    local: bool,
    /// Ends after one job, or when there is none to claim; `--once=false` takes SINGLE_JOB back. Where others are at
    /// work it looks on for some minutes first, since a dead worker's job is one to claim.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    once: Option<bool>,
    /// Ends when there was nothing to do for so long; 0 never does.
    #[arg(long, value_name = "SECONDS")]
    idle_exit: Option<u64>,
    /// Jobs that are tracked at the same time, on one GPU: more frames in all where one video does not fill it.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=16))]
    streams: u8,
    /// After so long, gives back what it is working on and ends.
    #[arg(long, value_name = "SECONDS")]
    max_runtime: Option<u64>,
    /// Tracks cloud jobs on a machine without a GPU.
    #[arg(long)]
    allow_cpu: bool,
    /// Folder of a SAM3 checkpoint. Without it: CLOUD_MODEL_PATH, /models/sam3, the Hugging Face cache, and
    /// at last a download of facebook/sam3 with HF_TOKEN.
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    #[command(flatten)]
    engine: EngineArgs,
    /// Most objects at a time, which bounds memory and time in a crowd.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    max_objects: u32,
    /// Name of this worker in status and logs; WORKER_ID, or the machine's name and something random.
    #[arg(long, value_name = "NAME")]
    worker_id: Option<String>,
    /// Where videos and checkpoints lie while they are needed; in VIDEO_STORAGE_PATH if not given.
    #[arg(long, value_name = "DIR")]
    work_dir: Option<PathBuf>,
    /// Seconds between checkpoints.
    #[arg(long, value_name = "SECONDS", default_value_t = 180.0, value_parser = super::track::seconds)]
    checkpoint_interval: f64,
    /// Seconds without a frame after which an attempt has failed.
    #[arg(long, value_name = "SECONDS", default_value_t = 300.0, value_parser = super::track::seconds)]
    stall_timeout: f64,
    /// Shortens every duration of the protocol by this factor, for tests. All workers of a bucket must agree.
    #[arg(long, value_name = "FACTOR", default_value_t = 1, hide = true, value_parser = clap::value_parser!(u32).range(1..=1000))]
    faster: u32,
}

/// Runs the command.
pub(super) fn run(args: Args, context: &Context) -> Outcome<()> {
    let options = options(args, context);
    let stop = Stop::on_signal()?;
    let served = context.block_on(worker::run(&context.client, &options, &stop))?;
    context.print(&Shown(&served))?;
    if stop.requested() {
        return Err(Failure::msg(Kind::Interrupted, "nothing is lost: other workers go on with its jobs"));
    }
    match served.failed.last() {
        Some((id, reason)) if options.once => {
            let failure = Failure::msg(Kind::Job, format!("job {id}: {reason}"));
            Err(failure.hint(format!("`courtside logs {id}` shows more")))
        }
        _ => Ok(()),
    }
}

fn options(args: Args, context: &Context) -> Options {
    let settings = &context.client.settings;
    let given = match (args.cloud, args.local) {
        (true, _) => Some(Target::Cloud),
        (_, true) => Some(Target::Local),
        _ => settings.worker_mode,
    };
    let idle_exit = match args.idle_exit {
        Some(0) => None,
        Some(seconds) => Some(Duration::from_secs(seconds)),
        None => settings.idle_exit,
    };
    let unique = context.client.env.unique_id();
    Options {
        target: given.unwrap_or_else(|| context.client.default_target()),
        worker_id: args
            .worker_id
            .or_else(|| settings.worker_id.clone())
            .unwrap_or_else(|| worker::default_worker_id(&unique)),
        once: args.once.unwrap_or(settings.single_job),
        idle_exit,
        streams: usize::from(args.streams),
        max_runtime: args.max_runtime.map(Duration::from_secs),
        allow_cpu: args.allow_cpu,
        model: args.model,
        engine: args.engine.into(),
        max_objects: args.max_objects as usize,
        work_folder: args.work_dir.unwrap_or_else(|| settings.scratch().join("work")),
        checkpoint_interval: Duration::from_secs_f64(args.checkpoint_interval),
        stall_timeout: Duration::from_secs_f64(args.stall_timeout.max(1.0)),
        timing: Timing { poll: settings.poll, ..Timing::default() }.faster(args.faster),
    }
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Shown<'a>(&'a Served);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Served { completed, failed, released, lost, ended } = self.0;
        completed.iter().try_for_each(|id| writeln!(f, "completed {id}"))?;
        failed.iter().try_for_each(|(id, reason)| writeln!(f, "failed {id}: {reason}"))?;
        released.iter().try_for_each(|id| writeln!(f, "released {id}"))?;
        lost.iter().try_for_each(|id| writeln!(f, "lost {id}: see `courtside status {id}`"))?;
        writeln!(f, "{} completed; {ended}", completed.len())
    }
}
