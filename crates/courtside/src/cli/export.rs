//! `courtside export`.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::{Arg, Command};
use serde::Serialize;
use store::{Library, Video};

use super::Context;
use super::selection::select_imported;
use super::values::fraction;
use client::Client;
use client::export::{
    Annotation, ExportInfo, Format, LibraryDetections, Output, UnknownFormat, Wanted, check_target,
    check_video_name,
};
use client::failure::{Failure, Kind, Outcome};
use client::progress::Progress;
use client::stop::Stop;
use client::terminal::{counted, notify, printable};
use client::videos::{self, Fetched};

/// Export the detections of a job or video
///
/// Reads the detections in the library. A job that is completed but not imported yet is imported first, if it is named. An
/// existing file of the same name is replaced, but only once the export is complete.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Job (its ID or the beginning of it, @latest), or video (its number or file name)
    #[arg(value_name = "JOB|VIDEO")]
    what: String,
    /// Format to write
    #[arg(long, value_parser = FormatParser)]
    format: Format,
    /// File to write (-: standard output) [default: name of the video with another extension]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Leave out detections below this confidence
    #[arg(long, value_name = "0..1", default_value_t = 0.0, value_parser = fraction)]
    min_confidence: f64,
    /// Job of the video to export [default: the job that was imported last]
    #[arg(long, value_name = "JOB")]
    job: Option<String>,
    /// Export the tracks as they were imported, without the edits that were made to them
    #[arg(long)]
    raw: bool,
}

/// Parses `--format`. The possible values are the formats of this build.
#[derive(Debug, Clone)]
struct FormatParser;

impl TypedValueParser for FormatParser {
    type Value = Format;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<Format, clap::Error> {
        let parsed = value.to_string_lossy().parse::<Format>();
        if let Err(error @ UnknownFormat::NotInThisBuild(_)) = &parsed {
            return Err(clap::Error::raw(ErrorKind::InvalidValue, format!("{error}\n")).with_cmd(command));
        }
        // Its error lists the possible values.
        let names = PossibleValuesParser::new(Format::ALL.iter().map(|format| format.name()));
        names.parse_ref(command, arg, value)?;
        parsed.map_err(|error| clap::Error::raw(ErrorKind::InvalidValue, error))
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let value = |format: &Format| PossibleValue::new(format.name()).help(format.description());
        Some(Box::new(Format::ALL.iter().map(value)))
    }
}

impl Args {
    pub(super) fn run(self, json: bool) -> Outcome<()> {
        let context = Context::new(json)?;
        let client = &context.client;
        let (mut library, selected) = select_imported(&context, &self.what, self.job.as_deref())?;
        let (selection, video, mut info) = selected;
        let out = self.out.unwrap_or_else(|| default_name(self.format, &info));
        let is_stdout = out == Path::new("-");
        check_output(
            self.format,
            &out,
            &videos::locate(&client.settings, &video).unwrap_or_default(),
            &library,
        )?;
        let stop = Stop::on_signal("stopping the export")?;
        let wanted = Wanted { selection, min_confidence: self.min_confidence, is_raw: self.raw };
        let mut detections = LibraryDetections::start(reader_of(client)?, wanted, &stop);
        let mut warnings = Vec::new();
        match self.format {
            Format::Video => {
                warnings = draw(&context, &mut library, &video, &info, &out, &mut detections, &stop)?
            }
            format => {
                if format.has_times() {
                    warnings.extend(read_times(client, &mut library, &video, &mut info));
                }
                write(format, &out, &info, &mut detections)?;
            }
        }
        warnings.iter().for_each(|warning| notify(format!("warning: {warning}")));
        let exported = Exported {
            format: self.format,
            file: out,
            video_id: video.id,
            job_id: info.job_id,
            detections: detections.n_read(),
            warnings,
        };
        if is_stdout {
            notify(counted(exported.detections, "detection"));
            return Ok(());
        }
        context.print(&exported)
    }
}

/// Another connection to the library, for the thread that reads detections.
fn reader_of(client: &Client) -> Outcome<Library> {
    match client.existing_library()? {
        Some(library) => Ok(library),
        None => Ok(Library::absent(&client.settings.database_url)?),
    }
}

/// Rejects an output that this format cannot be written to, or that the export reads.
fn check_output(format: Format, out: &Path, video: &Path, library: &Library) -> Outcome<()> {
    if out == Path::new("-") && !format.is_text() {
        return Err(Failure::msg(Kind::Failed, "this format cannot be written to standard output")
            .hint("name a file with --out FILE"));
    }
    let sources = [(video, "the video"), (library.path(), "the library")];
    check_target(out, &sources)?;
    if format == Format::Video { check_video_name(out) } else { Ok(()) }
}

/// Writes the detections to a file, or to standard output for `-`.
fn write(
    format: Format,
    target: &Path,
    info: &ExportInfo,
    detections: &mut LibraryDetections,
) -> Outcome<()> {
    let mut out = Output::create(target)?;
    let written = format.write(&mut out, info, detections, &Output::scratch_of(target));
    written.and_then(|()| out.commit()).map_err(|failure| match failure.kind {
        Kind::Interrupted => failure,
        _ => failure.context(format!("cannot write {}", target.display())),
    })
}

/// Reads the times of the frames from the video file. Returns a warning if that is not possible.
fn read_times(client: &Client, library: &mut Library, row: &Video, info: &mut ExportInfo) -> Option<String> {
    match videos::open_unchanged(&client.settings, library, row) {
        Ok((_, video)) => {
            info.frame_times_s = (0..video.n_frames()).map(|frame| video.time_s(frame)).collect();
            None
        }
        Err(failure) => Some(format!(
            "the times of frames are computed from the average frame rate, because the video cannot be read ({})",
            failure.message()
        )),
    }
}

/// Writes the annotated video. Downloads the bucket's copy of the video if there is no other. Returns what it lacks.
fn draw(
    context: &Context,
    library: &mut Library,
    row: &Video,
    info: &ExportInfo,
    out: &Path,
    detections: &mut LibraryDetections,
    stop: &Stop,
) -> Outcome<Vec<String>> {
    let settings = &context.client.settings;
    let fetched = videos::is_only_in_bucket(settings, row).then(|| fetch(context, row, stop)).transpose()?;
    let video = match &fetched {
        Some(fetched) => videos::open_video(videos::tools()?, &fetched.path, row.stream)?,
        None => videos::open_unchanged(settings, library, row)?.1,
    };
    let annotation = Annotation {
        tools: videos::tools()?,
        video: &video,
        range: 0..info.tracked_until.unwrap_or(u64::MAX).min(video.n_frames()),
        every: info.sample_interval as u64,
        prompts: &info.prompts,
    };
    let written = annotation.write(out, detections, stop);
    // After an interruption, the file is kept for the next time.
    if let Some(fetched) = fetched.filter(|_| !stop.requested()) {
        fetched.remove();
    }
    written
}

/// Downloads the bucket's copy of a video, with a progress bar.
fn fetch(context: &Context, row: &Video, stop: &Stop) -> Outcome<Fetched> {
    let bar = Mutex::new(Progress::transfer("downloading the video"));
    let progress = |done, total| bar.lock().unwrap_or_else(PoisonError::into_inner).transferred(done, total);
    let fetched = context.block_on(async {
        tokio::select! {
            fetched = videos::fetch(&context.client, row, &progress) => fetched.map(Some),
            () = stop.wait() => Ok(None),
        }
    });
    bar.into_inner().unwrap_or_else(PoisonError::into_inner).finish();
    fetched?.ok_or_else(|| {
        let hint = "run the same command again to resume";
        Failure::msg(Kind::Interrupted, "the download of the video is kept").hint(hint)
    })
}

/// The video's name with the format's extension; the file is in the working folder.
fn default_name(format: Format, info: &ExportInfo) -> PathBuf {
    let stem = Path::new(&info.video_name).file_stem().unwrap_or_default().to_string_lossy();
    PathBuf::from(format!("{stem}.{}", format.extension()))
}

/// Summary of a finished export.
#[derive(Debug, Serialize)]
struct Exported {
    format: Format,
    file: PathBuf,
    video_id: i64,
    job_id: Option<String>,
    detections: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

impl fmt::Display for Exported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "wrote {}: {}",
            printable(&self.file.display().to_string()),
            counted(self.detections, "detection")
        )
    }
}
