//! `courtside videos`.

use std::fmt;
use std::io::IsTerminal;
use std::path::PathBuf;

use clap::Subcommand;
use serde::Serialize;
use store::{Library, Video, VideoFilter};

use super::Context;
use client::atomic_file::cannot;
use client::failure::{Failure, Kind, Outcome};
use client::terminal::{counted, notify, printable, width};
use client::videos;

/// Manage the videos in the library
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Add video files, which stay where they are
    ///
    /// Adding a file again changes nothing. If its content has changed since, it is added as another video.
    Add {
        /// Video files
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Video stream to track, of files with several, as ffmpeg numbers them [default: the one that players show]
        #[arg(long, value_name = "N")]
        stream: Option<u32>,
    },
    /// List the videos
    List {
        /// Page to show, counted from 1
        #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(i64).range(1..))]
        page: i64,
        /// Videos per page
        #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..=1000))]
        page_size: i64,
    },
    /// Show a video
    Show {
        /// ID of the video
        id: i64,
    },
    /// Remove a video from the library
    ///
    /// Also removes its detections and jobs from the library. The video file is not deleted.
    Rm {
        /// ID of the video
        id: i64,
        /// Remove the video even if it has unfinished jobs
        #[arg(long)]
        force: bool,
        /// Delete its detections without asking
        #[arg(long)]
        yes: bool,
    },
}

impl Args {
    pub(super) fn run(self, json: bool) -> Outcome<()> {
        let context = Context::new(json)?;
        let mut library = match &self.action {
            Action::Add { files, .. } => {
                // A misspelt name creates no library.
                for file in files {
                    std::fs::metadata(file).map_err(|e| cannot("open", file, e))?;
                }
                context.library()?
            }
            _ => context.library_to_read()?,
        };
        match self.action {
            Action::Add { files, stream } => {
                let (mut added, mut failures) = (Vec::new(), Vec::new());
                for file in &files {
                    match videos::add(&context.client.settings, &mut library, file, stream) {
                        Ok(video) => added.push(Row::new(video)),
                        // The other files are added.
                        Err(failure) if failure.kind == Kind::Failed && files.len() > 1 => {
                            failures.push(failure)
                        }
                        Err(failure) => return Err(failure),
                    }
                }
                context.print(&Videos { videos: added })?;
                let last = failures.pop();
                failures.iter().for_each(notify);
                last.map_or(Ok(()), Err)
            }
            Action::List { page, page_size } => {
                let page = library.videos(VideoFilter::default(), page, page_size)?;
                for video in &page.items {
                    video
                        .unreadable
                        .iter()
                        .for_each(|value| notify(printable(&format!("video {}: {value}", video.id))));
                }
                context.print(&Videos { videos: page.items.into_iter().map(Row::new).collect() })
            }
            Action::Show { id } => {
                context.print(&Videos { videos: vec![Row::new(videos::find(&library, id)?)] })
            }
            Action::Rm { id, force, yes } => {
                confirm(&library, id, yes)?;
                let removed = videos::remove(&context.client, &mut library, id, force);
                let removed = context.block_on(removed)?;
                context.print(&Removed {
                    video_id: id,
                    detections: removed.n_detections,
                    jobs: removed.n_jobs,
                })
            }
        }
    }
}

/// Asks whether the detections of a video may be deleted, unless there are none or the user has said so.
fn confirm(library: &Library, id: i64, is_confirmed: bool) -> Outcome<()> {
    let n = videos::n_detections(library, id)?;
    if n == 0 || is_confirmed {
        return Ok(());
    }
    let refused = || {
        Failure::msg(Kind::Failed, format!("video {id} has {}, which would be deleted", counted(n, "detection"))).hint(format!(
            "`courtside videos rm {id} --yes` deletes them; while their jobs are in the bucket, they can be imported again"
        ))
    };
    if !std::io::stdin().is_terminal() {
        return Err(refused());
    }
    notify(format!("delete video {id} and its {} from the library? [y/N]", counted(n, "detection")));
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(refused()),
    }
}

/// The columns of a video that are printed.
#[derive(Debug, Serialize)]
struct Row {
    id: i64,
    file_path: String,
    duration_seconds: Option<f64>,
    fps: Option<f64>,
    n_frames: Option<i64>,
    stream: Option<u32>,
    resolution: Option<String>,
    size_bytes: Option<i64>,
    processed: bool,
    processing_status: &'static str,
}

impl Row {
    fn new(video: Video) -> Self {
        Self {
            id: video.id,
            file_path: video.file_path,
            duration_seconds: video.duration_seconds,
            fps: video.fps,
            n_frames: video.n_frames,
            stream: video.stream,
            resolution: video.resolution,
            size_bytes: video.file.size_bytes,
            processed: video.processed,
            processing_status: video.processing_status.as_str(),
        }
    }
}

#[derive(Debug, Serialize)]
struct Videos {
    videos: Vec<Row>,
}

impl fmt::Display for Videos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:>6} {:>9} {:>8} {:>10} {:<11} FILE",
            "ID", "FRAMES", "FPS", "RESOLUTION", "PROCESSING"
        )?;
        for v in &self.videos {
            let fps = v.fps.map_or("?".to_owned(), |fps| format!("{fps:.3}"));
            let frames = v.n_frames.map_or("?".to_owned(), |n| n.to_string());
            let resolution = v.resolution.as_deref().unwrap_or("?");
            let processing = v.processing_status.to_lowercase();
            let stream = v.stream.map(|stream| format!(" (stream {stream})")).unwrap_or_default();
            let room = width().map(|width| width.saturating_sub(PATH_COLUMN + stream.len()));
            let path = shortened_path(&printable(&v.file_path), room);
            writeln!(f, "{:>6} {frames:>9} {fps:>8} {resolution:>10} {processing:<11} {path}{stream}", v.id)?;
        }
        Ok(())
    }
}

/// Width of the columns before the path.
const PATH_COLUMN: usize = 50;
/// Shortest width that a path is cut to.
const MIN_PATH: usize = 16;

/// A path of at most `width` characters; of a longer one, the end is shown, which has the name.
fn shortened_path(path: &str, width: Option<usize>) -> String {
    let n_chars = path.chars().count();
    match width.map(|width| width.max(MIN_PATH)).filter(|width| *width < n_chars) {
        Some(width) => std::iter::once('…').chain(path.chars().skip(n_chars + 1 - width)).collect(),
        None => path.to_owned(),
    }
}

#[derive(Debug, Serialize)]
struct Removed {
    video_id: i64,
    detections: i64,
    jobs: i64,
}

impl fmt::Display for Removed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (detections, jobs) = (counted(self.detections, "detection"), counted(self.jobs, "job"));
        writeln!(f, "removed video {}, {detections} and {jobs} from the library", self.video_id)
    }
}
