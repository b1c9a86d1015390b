//! `courtside tracks`.

use std::fmt;

use serde::Serialize;
use store::{DetectionScope, TrackSummary};

use super::Context;
use client::failure::{Failure, Kind, Outcome};
use client::videos;

/// Rows of the text table; JSON has all of them.
const MAX_ROWS: usize = 40;

/// List the tracks of a job or video
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// ID of an imported job or of a video
    #[arg(value_name = "JOB|VIDEO")]
    what: String,
}

impl Args {
    pub(super) fn run(self, json: bool) -> Outcome<()> {
        let context = Context::new(json)?;
        let library = context.client.library()?;
        let select = match self.what.parse() {
            Ok(id) => DetectionScope::Video(videos::find(&library, id)?.id),
            Err(_) if library.import_of(&self.what)?.is_some() => DetectionScope::Job(&self.what),
            Err(_) => {
                let message = format!("the library has no results of job {}", self.what);
                return Err(Failure::msg(Kind::Failed, message)
                    .hint("run `courtside import --all` to import the results of completed jobs"));
            }
        };
        let tracks = library.track_summaries(select)?;
        context.print(&Tracks { tracks: tracks.iter().map(Row::new).collect() })
    }
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
    fn new(track: &TrackSummary) -> Self {
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
        for t in self.tracks.iter().take(MAX_ROWS) {
            let (id, first, last, n) = (t.track_id, t.first_frame, t.last_frame, t.n_detections);
            writeln!(f, "{id:>8} {first:>8} {last:>8} {n:>10} {:>11.3}", t.confidence)?;
        }
        match self.tracks.len().checked_sub(MAX_ROWS) {
            Some(more) if more > 0 => writeln!(f, "{:>8} {more} more", "..."),
            _ => Ok(()),
        }
    }
}
