//! `courtside submit`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use jobs::manifest::{DEFAULT_MAX_ATTEMPTS, Parameters, Target};
use serde::Serialize;
use store::Library;
use video::Video;

use super::Context;
use super::values::{above_zero, fraction};
use client::atomic_file::cannot;
use client::estimate::{Estimate, EstimateInputs, EstimatedVideo};
use client::failure::{Failure, Kind, Outcome};
use client::parameters::RequestedParameters;
use client::progress::Progress;
use client::stop::Stop;
use client::submit::{Prepared, Submission, Submitted, check_not_submitted, prepare, prepare_again, send};
use client::terminal::{Wrapped, counted, notify};
use client::videos;

/// Submit videos for tracking
///
/// Uploads each video to the bucket and queues a job for a worker. A video that is in the bucket already is not uploaded
/// again. If an upload is interrupted, --resume resumes it.
///
/// With --json, the result of one video is a JSON object. Those of several are one object per line.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("video").required(true))]
pub(super) struct Args {
    /// Video files, such as the halves of a game; each is added to the library first and becomes a job
    #[arg(value_name = "FILE", group = "video")]
    files: Vec<PathBuf>,
    /// Video in the library, instead of a file
    #[arg(long, value_name = "ID", group = "video")]
    video_id: Option<i64>,
    /// Resume the unfinished upload of this job, with the parameters that it was submitted with
    #[arg(long, value_name = "JOB", group = "video", conflicts_with_all = [
        "files", "video_id", "again", "target", "max_attempts", "prompt", "sample_interval", "max_seconds",
        "confidence_threshold", "max_missing", "dry_run", "stream",
    ])]
    resume: Option<String>,
    /// Submit the job even if the same one exists
    #[arg(long)]
    again: bool,
    /// Then rent a machine for the jobs that wait, as `courtside launch` does
    #[arg(long, conflicts_with_all = ["resume", "dry_run"])]
    launch: bool,
    /// With --launch: rent without asking
    #[arg(long, requires = "launch")]
    yes: bool,
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
    #[arg(long, value_name = "SECONDS", value_parser = above_zero, allow_negative_numbers = true, help_heading = "Tracking")]
    max_seconds: Option<f64>,
    /// Video stream to track, of a file with several, as ffmpeg numbers them [default: the one that players show]
    #[arg(long, value_name = "N", conflicts_with = "video_id", help_heading = "Tracking")]
    stream: Option<u32>,
    /// Leave out detections below this confidence [default: SAM3_CONFIDENCE_THRESHOLD or 0.25]
    #[arg(long, value_name = "0..1", value_parser = fraction, allow_negative_numbers = true, help_heading = "Tracking")]
    confidence_threshold: Option<f64>,
    /// Fail the job if a larger share of the frames cannot be decoded [default: 0.1]
    #[arg(long, value_name = "0..1", value_parser = fraction, allow_negative_numbers = true, help_heading = "Tracking")]
    max_missing: Option<f64>,
    /// Print the job's size and the estimated time and cost, and neither add nor upload the video
    #[arg(long, help_heading = "Estimate")]
    dry_run: bool,
    /// Price of the GPU in dollars per hour [default: as in the last estimate]
    #[arg(long, value_name = "DOLLARS", value_parser = above_zero, allow_negative_numbers = true, help_heading = "Estimate")]
    price_per_hour: Option<f64>,
    /// Frames tracked per second [default: as in the last completed job with this target, or published figures]
    #[arg(long, value_name = "FPS", value_parser = above_zero, allow_negative_numbers = true, help_heading = "Estimate")]
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

/// A video that the command line names.
enum Source {
    File(PathBuf),
    Video(i64),
}

impl Source {
    fn file(&self) -> Option<&Path> {
        match self {
            Self::File(file) => Some(file),
            Self::Video(_) => None,
        }
    }
}

impl Args {
    pub(super) fn run(self, json: bool) -> Outcome<()> {
        let context = Context::new(json)?;
        if let Some(name) = &self.resume {
            let mut library = context.library()?;
            let id = context.job(&library, name)?;
            let prepared = prepare_again(&context.client, &mut library, &id)?;
            let stop = Stop::on_signal("stopping the upload, which is kept")?;
            return context.print(&Report(upload(&context, &mut library, &prepared, &stop)?));
        }
        let requested = RequestedParameters {
            sample_interval: Some(self.sample_interval),
            confidence_threshold: self.confidence_threshold,
            prompt: self.prompt,
            max_seconds: self.max_seconds,
            max_missing: self.max_missing,
        };
        let parameters = requested.resolve(&context.client.settings);
        let files = self.files.into_iter().map(Source::File);
        let sources: Vec<Source> = files.chain(self.video_id.map(Source::Video)).collect();
        if self.dry_run {
            let inputs = EstimateInputs { price_per_hour: self.price_per_hour, fps: self.fps };
            let target = self.target.unwrap_or_else(|| context.client.default_target());
            return estimate(&context, &sources, self.stream, target, &parameters, inputs);
        }
        // A misspelt name creates no library.
        for file in sources.iter().filter_map(Source::file) {
            std::fs::metadata(file).map_err(|e| cannot("open", file, e))?;
        }
        let (target, max_attempts) = (self.target, self.max_attempts);
        let stream = self.stream;
        let submission = |video_id| {
            let parameters = parameters.clone();
            Submission { video_id, target, parameters, max_attempts }
        };
        let stop = Stop::on_signal("stopping; an upload is kept")?;
        submit_all(&context, &sources, stream, submission, self.again, &stop)?;
        if self.launch {
            return super::launch::Args::after_submit(self.yes).run_in(
                &context,
                &context.library()?,
                Some(stop),
            );
        }
        Ok(())
    }
}

/// Submits videos one after the other. Of several, those that were submitted before are skipped, so an interrupted command
/// can be repeated; so are files that are no videos, which make the command fail at its end.
fn submit_all(
    context: &Context,
    sources: &[Source],
    stream: Option<u32>,
    submission: impl Fn(i64) -> Submission,
    again: bool,
    stop: &Stop,
) -> Outcome<()> {
    let client = &context.client;
    let mut library = context.library()?;
    let (mut n_submitted, mut last_repeated, mut last_unusable) = (0, None, None);
    for source in sources {
        let video_id = match source {
            Source::File(file) => match videos::add(&client.settings, &mut library, file, stream) {
                Ok(video) => video.id,
                Err(failure) if failure.kind == Kind::Failed && sources.len() > 1 => {
                    notify(format!("skipped: {}", failure.message()));
                    last_unusable = Some(failure);
                    continue;
                }
                Err(failure) => return Err(failure),
            },
            Source::Video(id) => *id,
        };
        let submission = submission(video_id);
        let check =
            async { if again { Ok(()) } else { check_not_submitted(client, &library, &submission).await } };
        match context.block_on(check) {
            Ok(()) => {}
            Err(failure) if failure.kind == Kind::Failed && sources.len() > 1 => {
                notify(format!("skipped: {}", failure.message()));
                last_repeated = Some(failure);
                continue;
            }
            Err(failure) => return Err(failure),
        }
        let prepared = prepare(client, &mut library, submission)?;
        let submitted = upload(context, &mut library, &prepared, stop)?;
        print_each(context, &Report(submitted), sources.len())?;
        n_submitted += 1;
    }
    match (last_unusable, last_repeated) {
        (Some(failure), _) => Err(failure),
        (None, Some(failure)) if n_submitted == 0 => Err(failure),
        _ => Ok(()),
    }
}

/// Prints one of several results: with `--json`, one object if it is the only one, and otherwise an object per line.
fn print_each(context: &Context, result: &(impl Serialize + fmt::Display), n_results: usize) -> Outcome<()> {
    match n_results {
        1 => context.print(result),
        _ => context.print_line_while_open(result).map(|_| ()),
    }
}

/// Prints the estimate of each video. Adds nothing to the library but a price that the user gave.
fn estimate(
    context: &Context,
    sources: &[Source],
    stream: Option<u32>,
    target: Target,
    parameters: &Parameters,
    inputs: EstimateInputs,
) -> Outcome<()> {
    let settings = &context.client.settings;
    let stores_price = inputs.price_per_hour.is_some();
    let mut library = if stores_price { context.library()? } else { context.library_to_read()? };
    for source in sources {
        let video = match source {
            Source::File(file) => {
                let (known, video) = videos::find_and_open(settings, &library, file, stream)?;
                video_to_estimate(known.map(|row| row.id), file, &video)?
            }
            Source::Video(id) => {
                let row = videos::find(&library, *id)?;
                match videos::is_only_in_bucket(settings, &row) {
                    true => EstimatedVideo::of_row(&row),
                    false => {
                        let file = videos::find_file(settings, &row)?;
                        let video = videos::open_video(videos::tools()?, &file, row.stream)?;
                        video_to_estimate(Some(*id), &file, &video)?
                    }
                }
            }
        };
        let estimate = Estimate::new(&mut library, video, target, parameters, inputs)?;
        print_each(context, &estimate, sources.len())?;
    }
    Ok(())
}

fn video_to_estimate(video_id: Option<i64>, file: &Path, video: &Video) -> Outcome<EstimatedVideo> {
    let size = std::fs::metadata(file).map_err(|e| cannot("open", file, e))?.len();
    Ok(EstimatedVideo {
        video_id,
        file: file.display().to_string(),
        size_bytes: Some(size),
        n_frames: video.n_frames(),
        fps: video.fps(),
    })
}

/// Uploads a video, with a progress bar, and queues its job.
///
/// # Errors
/// Of kind [`Kind::Interrupted`] after a stop; what is uploaded is kept.
pub(super) fn upload(
    context: &Context,
    library: &mut Library,
    prepared: &Prepared,
    stop: &Stop,
) -> Outcome<Submitted> {
    let id = prepared.job_id.clone();
    let bar = Mutex::new((Progress::transfer("uploading"), 0, 0));
    let progress = |done, total| {
        let mut bar = bar.lock().unwrap_or_else(PoisonError::into_inner);
        bar.0.transferred(done, total);
        (bar.1, bar.2) = (done, total);
    };
    let submitted = context.block_on(async {
        tokio::select! {
            submitted = send(&context.client, library, prepared, &progress) => submitted.map(Some),
            () = stop.wait() => Ok(None),
        }
    });
    let bar = bar.into_inner().unwrap_or_else(PoisonError::into_inner);
    bar.0.finish();
    submitted?.ok_or_else(|| {
        let (done, total) = (bar.1 / 1_000_000, bar.2 / 1_000_000);
        let message = match bar.2 {
            0 => format!("the upload of job {id} had not begun"),
            _ => format!("the upload of job {id} is kept: {done} of {total} MB"),
        };
        let hint = format!(
            "resume it with `courtside submit --resume {id}`, or discard it with `courtside cancel {id}`"
        );
        Failure::msg(Kind::Interrupted, message).hint(hint)
    })
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
        writeln!(f, "submitted job {job_id}")?;
        write!(
            f,
            "{}",
            Wrapped::new(&format!("video {video_id}, {}, to {bucket}", counted(n_frames, "frame")), 2)
        )?;
        writeln!(f, "next: run {worker} to track it,")?;
        writeln!(f, "and `courtside status` to see its progress")
    }
}
