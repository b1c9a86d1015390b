//! `courtside submit`.

use std::fmt;
use std::path::PathBuf;
use std::sync::Mutex;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use jobs::manifest::{DEFAULT_MAX_ATTEMPTS, Target};
use serde::Serialize;
use store::Library;

use super::Context;
use super::values::fraction;
use client::estimate::{self, Estimate};
use client::failure::{Failure, Kind, Outcome};
use client::parameters::RequestedParameters;
use client::parse_job_id;
use client::progress::Progress;
use client::submit::{Prepared, Submission, Submitted, check_not_submitted, prepare, prepare_again, send};
use client::videos;

/// Submit a video for tracking
///
/// Uploads the video to the bucket and queues a job for a worker. A video that is in the bucket already is not uploaded
/// again. If the upload is interrupted, --resume resumes it.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Video file; it is added to the library first
    #[arg(required_unless_present_any = ["video_id", "resume"], conflicts_with = "video_id")]
    file: Option<PathBuf>,
    /// Video in the library, instead of a file
    #[arg(long, value_name = "ID")]
    video_id: Option<i64>,
    /// Resume the unfinished upload of this job, with the parameters that it was submitted with
    #[arg(long, value_name = "JOB", conflicts_with_all = [
        "file", "video_id", "again", "target", "max_attempts", "prompt", "sample_interval", "max_seconds",
        "confidence_threshold", "max_missing", "dry_run",
    ])]
    resume: Option<String>,
    /// Submit the job even if the same one exists
    #[arg(long)]
    again: bool,
    /// Where to run the job [default: cloud if R2 is configured]
    #[arg(long, value_parser = target_parser())]
    target: Option<Target>,
    /// Fail the job after this many failed attempts
    #[arg(long, value_name = "N", default_value_t = DEFAULT_MAX_ATTEMPTS, value_parser = clap::value_parser!(u32).range(1..))]
    max_attempts: u32,
    /// Phrase that describes what to track [default: SAM3_PROMPT or "basketball player"]
    #[arg(long, value_name = "PHRASE", help_heading = "Tracking")]
    prompt: Option<String>,
    /// Track only every Nth frame
    #[arg(
        long, alias = "every", value_name = "N", default_value_t = 1, help_heading = "Tracking",
        value_parser = clap::value_parser!(u64).range(1..)
    )]
    sample_interval: u64,
    /// Track only this much of the video, from its start [default: all of it]
    #[arg(long, value_name = "SECONDS", help_heading = "Tracking")]
    max_seconds: Option<f64>,
    /// Leave out detections below this confidence [default: SAM3_CONFIDENCE_THRESHOLD or 0.25]
    #[arg(long, value_name = "0..1", help_heading = "Tracking")]
    confidence_threshold: Option<f64>,
    /// Fail the job if a larger share of the frames cannot be decoded [default: 0.1]
    #[arg(long, value_name = "0..1", value_parser = fraction, help_heading = "Tracking")]
    max_missing: Option<f64>,
    /// Print the job's size and the estimated time and cost, and upload nothing
    #[arg(long, help_heading = "Estimate")]
    dry_run: bool,
    /// Price of the GPU in dollars per hour [default: as in the last estimate]
    #[arg(long, value_name = "DOLLARS", help_heading = "Estimate")]
    price_per_hour: Option<f64>,
    /// Frames that the GPU tracks per second [default: as in the last completed job]
    #[arg(long, value_name = "FPS", help_heading = "Estimate")]
    fps: Option<f64>,
}

/// Parses `--target`.
fn target_parser() -> impl TypedValueParser<Value = Target> {
    let values = [
        PossibleValue::new("local").help("On this machine (`courtside worker --local`)"),
        PossibleValue::new("cloud")
            .help("On a machine that serves the R2 bucket (`courtside worker --cloud`)"),
    ];
    PossibleValuesParser::new(values).try_map(|name| name.parse::<Target>())
}

impl Args {
    pub(super) fn run(self, json: bool) -> Outcome<()> {
        let context = Context::new(json)?;
        let client = &context.client;
        let mut library = client.library()?;
        if let Some(id) = &self.resume {
            let prepared = prepare_again(client, &mut library, &parse_job_id(id)?)?;
            return context.print(&Report(upload(&context, &mut library, &prepared)?));
        }
        let video_id = match (&self.file, self.video_id) {
            (Some(file), _) => videos::add(&client.settings, &mut library, file)?.id,
            (None, Some(id)) => id,
            (None, None) => {
                return Err(Failure::msg(Kind::Failed, "no video given").hint("name a file or --video-id"));
            }
        };
        let requested = RequestedParameters {
            sample_interval: Some(self.sample_interval),
            confidence_threshold: self.confidence_threshold,
            prompt: self.prompt,
            max_seconds: self.max_seconds,
            max_missing: self.max_missing,
        };
        let parameters = requested.resolve(&client.settings);
        if self.dry_run {
            let given = estimate::EstimateInputs { price_per_hour: self.price_per_hour, fps: self.fps };
            return context.print(&Estimate::new(
                &client.settings,
                &mut library,
                video_id,
                &parameters,
                given,
            )?);
        }
        let submission =
            Submission { video_id, target: self.target, parameters, max_attempts: self.max_attempts };
        if !self.again {
            context.block_on(check_not_submitted(client, &library, &submission))?;
        }
        let prepared = prepare(client, &mut library, submission)?;
        context.print(&Report(upload(&context, &mut library, &prepared)?))
    }
}

/// Uploads a video, with a progress bar, and queues its job.
pub(super) fn upload(context: &Context, library: &mut Library, prepared: &Prepared) -> Outcome<Submitted> {
    let bar = Mutex::new(Progress::transfer("uploading"));
    let progress = |done, total| bar.lock().unwrap_or_else(|e| e.into_inner()).transferred(done, total);
    let submitted = context.block_on(send(&context.client, library, prepared, &progress))?;
    bar.lock().unwrap_or_else(|e| e.into_inner()).finish();
    Ok(submitted)
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Report(Submitted);

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Submitted { job_id, video_id, bucket, n_frames, target, .. } = &self.0;
        let worker = match target {
            Target::Cloud => "`courtside worker --cloud`",
            Target::Local => "`courtside worker --local`",
        };
        writeln!(f, "submitted job {job_id}: video {video_id}, {n_frames} frames, to {bucket}")?;
        writeln!(f, "next: run {worker} to track it, and `courtside status` to see its progress")
    }
}
