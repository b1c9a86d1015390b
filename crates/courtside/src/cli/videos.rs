//! `courtside videos`.

use std::fmt;
use std::path::PathBuf;

use clap::Subcommand;
use serde::Serialize;
use store::Video;

use super::Context;
use client::failure::Outcome;
use client::videos;

/// Adds, lists, shows and removes videos of the library.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Adds video files where they are. Adding one again changes nothing; if it is another film now, it is added as another video.
    Add {
        /// The files.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Lists the videos.
    List {
        /// Page, from 1.
        #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(i64).range(1..))]
        page: i64,
        /// Videos to a page.
        #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..=1000))]
        page_size: i64,
    },
    /// Shows one video.
    Show {
        /// Its number.
        id: i64,
    },
    /// Removes a video from the library, with its detections and jobs. The file stays.
    Rm {
        /// Its number.
        id: i64,
        /// Also while a job of it is under way.
        #[arg(long)]
        force: bool,
    },
}

/// Runs the command.
pub(super) fn run(args: Args, context: &Context) -> Outcome<()> {
    let mut library = context.client.library()?;
    match args.command {
        Command::Add { files } => {
            let added = files.iter().map(|file| videos::add(&mut library, file));
            context.print(&Videos { videos: added.map(|v| Ok(Shown::of(v?))).collect::<Outcome<_>>()? })
        }
        Command::List { page, page_size } => {
            let page = library.videos(page, page_size)?;
            context.print(&Videos { videos: page.items.into_iter().map(Shown::of).collect() })
        }
        Command::Show { id } => {
            context.print(&Videos { videos: vec![Shown::of(videos::known(&library, id)?)] })
        }
        Command::Rm { id, force } => {
            videos::known(&library, id)?;
            let removed = library.remove_video(id, force)?;
            context.print(&Removed { video_id: id, detections: removed.n_detections, jobs: removed.n_jobs })
        }
    }
}

/// A video as it is printed.
#[derive(Debug, Serialize)]
struct Shown {
    id: i64,
    file_path: String,
    duration_seconds: Option<f64>,
    fps: Option<f64>,
    n_frames: Option<i64>,
    resolution: Option<String>,
    size_bytes: Option<i64>,
    processed: bool,
    processing_status: &'static str,
}

impl Shown {
    fn of(video: Video) -> Self {
        Self {
            id: video.id,
            file_path: video.file_path,
            duration_seconds: video.duration_seconds,
            fps: video.fps,
            n_frames: video.n_frames,
            resolution: video.resolution,
            size_bytes: video.file.size_bytes,
            processed: video.processed,
            processing_status: video.processing_status.as_str(),
        }
    }
}

#[derive(Debug, Serialize)]
struct Videos {
    videos: Vec<Shown>,
}

impl fmt::Display for Videos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:>6} {:>9} {:>8} {:>10} {:<11} FILE", "ID", "FRAMES", "FPS", "SIZE", "PROCESSED")?;
        for v in &self.videos {
            let fps = v.fps.map_or("?".to_owned(), |fps| format!("{fps:.3}"));
            let frames = v.n_frames.map_or("?".to_owned(), |n| n.to_string());
            let size = v.resolution.as_deref().unwrap_or("?");
            let processed = v.processing_status.to_lowercase();
            writeln!(f, "{:>6} {frames:>9} {fps:>8} {size:>10} {processed:<11} {}", v.id, v.file_path)?;
        }
        Ok(())
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
        let Self { video_id, detections, jobs } = self;
        writeln!(f, "removed video {video_id} with {detections} detections and {jobs} jobs; its file stays")
    }
}
