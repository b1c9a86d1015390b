//! `courtside tracks`.

use std::fmt;

use serde::Serialize;
use store::{DetectionScope, TrackSummary};

use super::Context;
use client::failure::{Failure, Kind, Outcome};
use client::videos;

/// Rows of the table shown to people.
const SHOWN: usize = 40;

/// Lists the tracks of an imported job, or of a video.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A job's id or a video's number.
    what: String,
}

/// Runs the command.
pub(super) fn run(args: &Args, context: &Context) -> Outcome<()> {
    let library = context.client.library()?;
    let select = match args.what.parse() {
        Ok(id) => DetectionScope::Video(videos::known(&library, id)?.id),
        Err(_) if library.import_of(&args.what)?.is_some() => DetectionScope::Job(&args.what),
        Err(_) => {
            let message = format!("the library has no results of a job {}", args.what);
            return Err(Failure::msg(Kind::Failed, message).hint("`courtside import --all` brings them"));
        }
    };
    let tracks = library.track_summaries(select)?;
    context.print(&Tracks { tracks: tracks.iter().map(Row::of).collect() })
}

#[derive(Debug, Serialize)]
struct Row {
    track_id: i64,
    first_frame: i64,
    last_frame: i64,
    n_detections: i64,
    confidence: f64,
}

impl Row {
    fn of(track: &TrackSummary) -> Self {
        Self {
            track_id: track.track_id,
            first_frame: track.first_frame,
            last_frame: track.last_frame,
            n_detections: track.n_detections,
            confidence: track.mean_confidence,
        }
    }
}

#[derive(Debug, Serialize)]
struct Tracks {
    tracks: Vec<Row>,
}

impl fmt::Display for Tracks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:>8} {:>8} {:>8} {:>10} {:>11}", "TRACK", "FIRST", "LAST", "DETECTIONS", "CONFIDENCE")?;
        for t in self.tracks.iter().take(SHOWN) {
            let (id, first, last, n) = (t.track_id, t.first_frame, t.last_frame, t.n_detections);
            writeln!(f, "{id:>8} {first:>8} {last:>8} {n:>10} {:>11.3}", t.confidence)?;
        }
        match self.tracks.len().checked_sub(SHOWN) {
            Some(more) if more > 0 => writeln!(f, "{:>8} {more} more", "..."),
            _ => Ok(()),
        }
    }
}
