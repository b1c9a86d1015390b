//! `courtside export`.

use std::fmt;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde::Serialize;
use store::{Library, Video};
use video::Tools;

use super::Context;
use client::export::{Annotation, Feed, Format, Out, Subject, check_target, select};
use client::failure::{Failure, Kind, Outcome};
use client::stop::Stop;
use client::terminal::notify;
use client::videos;

/// Extension of an annotated video, so that it never is the video's own name.
const ANNOTATED: &str = "annotated.mp4";

/// Writes a job's detections in the format of another program.
///
/// They are read from the library, where `courtside import` brings them. A file appears whole or not at all, and
/// replaces one of the same name.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// An imported job, or a video's number: then the job of it that was imported last.
    #[arg(value_name = "JOB|VIDEO")]
    what: String,
    /// The format.
    #[arg(long, value_enum)]
    format: FormatArg,
    /// The file; `-` is standard output. Without it, the video's name with the format's extension, in this folder.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Leaves out detections that are less sure than this, 0 to 1.
    #[arg(long, value_name = "C", default_value_t = 0.0, value_parser = confidence)]
    min_confidence: f64,
    /// Which of the video's imported jobs.
    #[arg(long, value_name = "ID")]
    job: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum FormatArg {
    /// MOT Challenge text, frames from 1.
    Mot,
    /// COCO detection JSON with track ids.
    Coco,
    /// Comma-separated values with a header. Times are by the video's average frame rate.
    Csv,
    /// One JSON object to a line.
    Jsonl,
    /// Apache Parquet, for DuckDB, pandas and Polars.
    Parquet,
    /// CVAT for video 1.1, XML.
    Cvat,
    /// A copy of the video (mp4) with boxes and track numbers drawn into it. Needs the video's file.
    Video,
}

impl FormatArg {
    /// The format, unless it is the annotated video.
    fn data(self) -> Option<Format> {
        match self {
            Self::Mot => Some(Format::Mot),
            Self::Coco => Some(Format::Coco),
            Self::Csv => Some(Format::Csv),
            Self::Jsonl => Some(Format::Jsonl),
            Self::Parquet => Some(Format::Parquet),
            Self::Cvat => Some(Format::Cvat),
            Self::Video => None,
        }
    }
}

fn confidence(text: &str) -> Result<f64, String> {
    let fits = |c: &f64| (0.0..=1.0).contains(c);
    text.parse().ok().filter(fits).ok_or_else(|| "must be a number from 0 to 1".to_owned())
}

/// Runs the command.
pub(super) fn run(args: &Args, context: &Context) -> Outcome<()> {
    let client = &context.client;
    let mut library = client.library()?;
    let (selected, video, subject) = select(&library, &args.what, args.job.as_deref())?;
    let out = args.out.clone().unwrap_or_else(|| default_name(args.format, &subject));
    let is_pipe = out == Path::new("-");
    if is_pipe && !args.format.data().is_some_and(Format::is_text) {
        return Err(Failure::msg(Kind::Failed, "this format is not text; name a file with --out"));
    }
    let sources = [(Path::new(&video.file_path), "the video"), (library.path(), "the library")];
    check_target(&out, &sources)?;
    let stop = Stop::on_signal()?;
    let mut feed = Feed::start(client.library()?, selected, args.min_confidence, &stop);
    match args.format.data() {
        Some(format) => write(format, &out, &subject, &mut feed)?,
        None => draw(&mut library, &video, &subject, &out, &mut feed, &stop)?,
    }
    let exported = Exported {
        format: args.format,
        file: out,
        video_id: video.id,
        job_id: subject.job_id,
        detections: feed.n_read(),
    };
    match is_pipe {
        true => {
            notify(format!("{} detections", exported.detections));
            Ok(())
        }
        false => context.print(&exported),
    }
}

fn write(format: Format, target: &Path, subject: &Subject, feed: &mut Feed) -> Outcome<()> {
    let mut out = Out::create(target)?;
    let written = format.write(&mut out, subject, feed, &Out::scratch_of(target));
    written.and_then(|()| out.keep()).map_err(|failure| match failure.kind {
        Kind::Interrupted => failure,
        _ => failure.context(format!("{} is not written", target.display())),
    })
}

fn draw(
    library: &mut Library,
    row: &Video,
    subject: &Subject,
    out: &Path,
    feed: &mut Feed,
    stop: &Stop,
) -> Outcome<()> {
    let (_, video) = videos::open_unchanged(library, row)?;
    let annotation = Annotation {
        tools: &Tools::find()?,
        video: &video,
        range: 0..subject.tracked_until.unwrap_or(u64::MAX).min(video.n_frames()),
        every: subject.every as u64,
        prompts: &subject.prompts,
    };
    annotation.write(out, feed, stop)
}

/// The video's name with the format's extension, in the working folder.
fn default_name(format: FormatArg, subject: &Subject) -> PathBuf {
    let stem = Path::new(&subject.video_name).file_stem().unwrap_or_default().to_string_lossy();
    let extension = format.data().map_or(ANNOTATED, Format::extension);
    PathBuf::from(format!("{stem}.{extension}"))
}

/// An export that was done.
#[derive(Debug, Serialize)]
struct Exported {
    format: FormatArg,
    file: PathBuf,
    video_id: i64,
    job_id: Option<String>,
    detections: u64,
}

impl fmt::Display for Exported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "wrote {}: {} detections", self.file.display(), self.detections)
    }
}
