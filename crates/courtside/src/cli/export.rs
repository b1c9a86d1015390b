//! `courtside export`.

use std::fmt;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde::Serialize;
use store::{Library, Video};
use video::Tools;

use super::Context;
use super::values::fraction;
use client::export::{Annotation, Feed, Format, Out, Subject, check_target, select};
use client::failure::{Failure, Kind, Outcome};
use client::stop::Stop;
use client::terminal::notify;
use client::videos;

/// Extension of the annotated video. It differs from `mp4` so that the default name is not that of the video itself.
const ANNOTATED: &str = "annotated.mp4";

/// Export the detections of a job or video
///
/// Reads detections that `courtside import` has written to the library. An existing file of the same name is replaced,
/// but only once the export is complete.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// ID of an imported job or of a video
    #[arg(value_name = "JOB|VIDEO")]
    what: String,
    /// Format to write
    #[arg(long, value_enum)]
    format: FormatArg,
    /// File to write (-: standard output) [default: name of the video with another extension]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Leave out detections below this confidence
    #[arg(long, value_name = "0..1", default_value_t = 0.0, value_parser = fraction)]
    min_confidence: f64,
    /// Job of the video to export [default: the job that was imported last]
    #[arg(long, value_name = "ID")]
    job: Option<String>,
}

/// Values of `--format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum FormatArg {
    /// MOT Challenge text, with frames counted from 1
    Mot,
    /// COCO detection JSON with track IDs
    Coco,
    /// Comma-separated values with a header; times are computed from the average frame rate
    Csv,
    /// JSON Lines: one object per detection
    Jsonl,
    /// Apache Parquet, for DuckDB, pandas and Polars
    Parquet,
    /// CVAT for video 1.1 (XML)
    Cvat,
    /// A copy of the video (mp4) with boxes and track numbers; requires the video file
    Video,
}

impl FormatArg {
    /// The data format; `None` for the annotated video.
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

impl Args {
    pub(super) fn run(self, json: bool) -> Outcome<()> {
        let context = Context::new(json)?;
        let client = &context.client;
        let mut library = client.library()?;
        let (selected, video, subject) = select(&library, &self.what, self.job.as_deref())?;
        let out = self.out.unwrap_or_else(|| default_name(self.format, &subject));
        let is_stdout = out == Path::new("-");
        if is_stdout && !self.format.data().is_some_and(Format::is_text) {
            return Err(Failure::msg(Kind::Failed, "this format cannot be written to standard output")
                .hint("name a file with --out FILE"));
        }
        let sources = [(Path::new(&video.file_path), "the video"), (library.path(), "the library")];
        check_target(&out, &sources)?;
        let stop = Stop::on_signal()?;
        let mut feed = Feed::start(client.library()?, selected, self.min_confidence, &stop);
        match self.format.data() {
            Some(format) => write(format, &out, &subject, &mut feed)?,
            None => draw(&mut library, &video, &subject, &out, &mut feed, &stop)?,
        }
        let exported = Exported {
            format: self.format,
            file: out,
            video_id: video.id,
            job_id: subject.job_id,
            detections: feed.n_read(),
        };
        if is_stdout {
            notify(format!("{} detections", exported.detections));
            return Ok(());
        }
        context.print(&exported)
    }
}

/// Writes the detections to a file, or to standard output for `-`.
fn write(format: Format, target: &Path, subject: &Subject, feed: &mut Feed) -> Outcome<()> {
    let mut out = Out::create(target)?;
    let written = format.write(&mut out, subject, feed, &Out::scratch_of(target));
    written.and_then(|()| out.keep()).map_err(|failure| match failure.kind {
        Kind::Interrupted => failure,
        _ => failure.context(format!("cannot write {}", target.display())),
    })
}

/// Writes the annotated video.
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

/// The video's name with the format's extension; the file is in the working folder.
fn default_name(format: FormatArg, subject: &Subject) -> PathBuf {
    let stem = Path::new(&subject.video_name).file_stem().unwrap_or_default().to_string_lossy();
    let extension = format.data().map_or(ANNOTATED, Format::extension);
    PathBuf::from(format!("{stem}.{extension}"))
}

/// Summary of a finished export.
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
