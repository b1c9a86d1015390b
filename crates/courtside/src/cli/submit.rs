//! `courtside submit`.

use std::fmt;
use std::path::PathBuf;
use std::sync::Mutex;

use clap::ValueEnum;
use jobs::manifest::{DEFAULT_CONFIDENCE, DEFAULT_MAX_ATTEMPTS, Parameters, Target};
use serde::Serialize;
use store::Library;

use super::Context;
use client::estimate::{self, Estimate};
use client::failure::{Failure, Kind, Outcome};
use client::progress::Progress;
use client::submit::{Submission, Submitted, prepare, send};
use client::videos;

/// Puts a video into the bucket as a job for a worker.
///
/// Interrupted, the same command goes on with what has arrived.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A video file, which is added to the library first.
    #[arg(required_unless_present = "video_id", conflicts_with = "video_id")]
    file: Option<PathBuf>,
    /// A video of the library.
    #[arg(long, value_name = "ID")]
    video_id: Option<i64>,
    /// Where it shall be tracked; `cloud` if a server is set up (R2_...), else `local`.
    #[arg(long, value_enum)]
    target: Option<TargetArg>,
    /// What to track. The worker's default is "basketball player".
    #[arg(long, value_name = "PHRASE")]
    prompt: Option<String>,
    /// Tracks every N-th frame only.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    sample_interval: u64,
    /// Leaves detections below this out of the results; 0.25 if not given.
    #[arg(long, value_name = "0..1")]
    confidence_threshold: Option<f64>,
    /// Tracks only so many seconds from the beginning.
    #[arg(long, value_name = "SECONDS")]
    max_seconds: Option<f64>,
    /// Attempts that may die or fail before the job is given up.
    #[arg(long, value_name = "N", default_value_t = DEFAULT_MAX_ATTEMPTS, value_parser = clap::value_parser!(u32).range(1..))]
    max_attempts: u32,
    /// Uploads nothing; says how large the job is, how long a GPU would take, and what that costs.
    #[arg(long)]
    dry_run: bool,
    /// Price of the GPU in dollars per hour, for --dry-run; remembered.
    #[arg(long, value_name = "DOLLARS")]
    price_per_hour: Option<f64>,
    /// Frames per second that the GPU tracks, for --dry-run; without it, what the last completed job did.
    #[arg(long, value_name = "FPS")]
    fps: Option<f64>,
}

/// Where a job runs.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum TargetArg {
    /// This machine.
    Local,
    /// A rented one.
    Cloud,
}

impl From<TargetArg> for Target {
    fn from(arg: TargetArg) -> Self {
        match arg {
            TargetArg::Local => Self::Local,
            TargetArg::Cloud => Self::Cloud,
        }
    }
}

/// Runs the command.
pub(super) fn run(args: Args, context: &Context) -> Outcome<()> {
    let client = &context.client;
    let mut library = client.library()?;
    let video_id = match (&args.file, args.video_id) {
        (Some(file), _) => videos::add(&mut library, file)?.id,
        (None, Some(id)) => id,
        (None, None) => return Err(Failure::msg(Kind::Failed, "name a file or a --video-id")),
    };
    let confidence = args.confidence_threshold.or(client.settings.confidence_threshold);
    let parameters = Parameters {
        sample_interval: args.sample_interval,
        confidence_threshold: confidence.unwrap_or(DEFAULT_CONFIDENCE),
        prompt: args.prompt.clone().or_else(|| client.settings.prompt.clone()),
        max_seconds: args.max_seconds,
        ..Parameters::default()
    };
    if args.dry_run {
        let given = estimate::Given { price_per_hour: args.price_per_hour, fps: args.fps };
        return context.print(&Estimate::of(&mut library, video_id, &parameters, given)?);
    }
    let target = args.target.map(Target::from);
    let submission = Submission { video_id, target, parameters, max_attempts: args.max_attempts };
    context.print(&Shown(upload(context, &mut library, submission)?))
}

/// Uploads a video, with a bar, and puts its job in the queue.
pub(super) fn upload(context: &Context, library: &mut Library, submission: Submission) -> Outcome<Submitted> {
    let prepared = prepare(&context.client, library, submission)?;
    let bar = Mutex::new(Progress::transfer("uploading"));
    let progress = |done, total| bar.lock().unwrap_or_else(|e| e.into_inner()).transferred(done, total);
    let submitted = context.block_on(send(&context.client, library, &prepared, &progress))?;
    bar.lock().unwrap_or_else(|e| e.into_inner()).finish();
    Ok(submitted)
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Shown(Submitted);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Submitted { job_id, video_id, bucket, n_frames, target, .. } = &self.0;
        writeln!(f, "submitted job {job_id}: video {video_id}, {n_frames} frames, in {bucket}")?;
        let target = target.as_str();
        writeln!(f, "next: `courtside worker --{target}` tracks it, `courtside status` shows how far it is")
    }
}
