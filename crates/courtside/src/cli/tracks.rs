//! `courtside tracks`.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use store::{DetectionScope, DetectionView, TrackLabel, TrackSummary};

use super::Context;
use super::selection::select_imported;
use client::export::{ExportInfo, Selection};
use client::failure::Outcome;
use client::track_table::{TrackRow, write_tracks};

/// List the tracks of a job or video
///
/// Of a video that was tracked more than once, the tracks of the job that was imported last are listed. A job that is
/// completed but not imported yet is imported first, if it is named.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Job (its ID or the beginning of it, @latest), or video (its number or file name)
    #[arg(value_name = "JOB|VIDEO")]
    what: String,
    /// Job of the video to list [default: the job that was imported last]
    #[arg(long, value_name = "JOB")]
    job: Option<String>,
    /// List the tracks as they were imported, without the edits that were made to them
    #[arg(long)]
    raw: bool,
}

impl Args {
    pub(super) fn run(self, json: bool) -> Outcome<()> {
        let context = Context::new(json)?;
        let (library, selected) = select_imported(&context, &self.what, self.job.as_deref())?;
        let (selection, video, info) = selected;
        let scope = match &selection {
            Selection::Job(job) => DetectionScope::Job(job),
            Selection::Video(video) => DetectionScope::Video(*video),
        };
        let tracks = library.track_summaries(DetectionView { scope, is_raw: self.raw })?;
        let mut labels = if self.raw { BTreeMap::new() } else { library.track_labels(scope)? };
        let row =
            |track: &TrackSummary| Row::new(track, &info, labels.remove(&track.track_id).unwrap_or_default());
        context.print(&Tracks {
            video_id: video.id,
            tracks: tracks.iter().map(row).collect(),
            job_id: info.job_id,
            video: info.video_name,
        })
    }
}

#[derive(Debug, Serialize)]
struct Row {
    track_id: i64,
    first_frame: i64,
    last_frame: i64,
    /// From the average frame rate of the video.
    first_seconds: Option<f64>,
    last_seconds: Option<f64>,
    n_detections: i64,
    confidence: f64,
    prompt: Option<String>,
    /// The name and the team that it was given.
    name: Option<String>,
    team: Option<String>,
}

impl Row {
    fn new(track: &TrackSummary, info: &ExportInfo, label: TrackLabel) -> Self {
        Self {
            track_id: track.track_id,
            first_frame: track.first_frame,
            last_frame: track.last_frame,
            first_seconds: info.time_seconds(track.first_frame),
            last_seconds: info.time_seconds(track.last_frame),
            n_detections: track.n_detections,
            confidence: track.mean_confidence,
            // A job has one prompt; what another program tracked is not known.
            prompt: info.job_id.as_ref().and_then(|_| info.prompts.first().cloned()),
            name: label.name,
            team: label.team,
        }
    }

    fn as_table_row(&self) -> TrackRow<'_> {
        TrackRow {
            track_id: self.track_id,
            first_frame: self.first_frame,
            last_frame: self.last_frame,
            first_seconds: self.first_seconds,
            last_seconds: self.last_seconds,
            n_detections: self.n_detections,
            confidence: self.confidence,
            prompt: self.prompt.as_deref(),
            name: self.name.as_deref(),
        }
    }
}

#[derive(Debug, Serialize)]
struct Tracks {
    job_id: Option<String>,
    video_id: i64,
    video: String,
    tracks: Vec<Row>,
}

impl fmt::Display for Tracks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_tracks(f, self.tracks.iter().map(Row::as_table_row))
    }
}
