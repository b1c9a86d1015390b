//! The summary of a run: a few numbers and a table of tracks.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use jobs::manifest::MissingFrames;
use serde::Serialize;

use super::spool::Spool;
use client::failure::Outcome;
use client::terminal::counted;
use client::track_table::{TrackRow, write_tracks};

/// One track over the whole run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrackSummary {
    /// Id of the track.
    pub track_id: u64,
    /// Index of its prompt in the request.
    pub prompt: u32,
    /// First source frame that shows it.
    pub first_frame: u64,
    /// Last source frame that shows it.
    pub last_frame: u64,
    /// Time of the first frame in seconds since the start of the video.
    pub first_seconds: f64,
    /// Time of the last frame in seconds since the start of the video.
    pub last_seconds: f64,
    /// Frames that show it.
    pub n_frames: u64,
    /// Mean confidence of its detections, 0 to 1.
    pub confidence: f64,
}

/// What a run did and found, printed by `courtside track`.
#[derive(Debug, Serialize)]
pub struct RunSummary {
    /// Number of frames tracked.
    pub frames_processed: u64,
    /// Frames of the range that could not be decoded.
    pub frames_missing: u64,
    /// Where they are; absent if no frame is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing_frames: Option<MissingFrames>,
    /// Number of detections of all tracks.
    pub detections: u64,
    /// Seconds that this process tracked.
    pub seconds: f64,
    /// Frames per second of this process.
    pub fps: f64,
    /// Whether the run was stopped before its end.
    pub interrupted: bool,
    /// The checkpoint to resume from, if the run was stopped and has one.
    pub checkpoint: Option<PathBuf>,
    /// Paths of the files written.
    pub outputs: Vec<PathBuf>,
    /// Problems of the video and limits that were reached.
    pub warnings: Vec<String>,
    /// The phrases that name what was tracked; a track has the index of its own.
    pub prompts: Vec<String>,
    /// The tracks, ordered by id.
    pub tracks: Vec<TrackSummary>,
}

/// Summarizes the tracks of a spool, ordered by id. `time_s` is the time of a frame in seconds.
pub(super) fn tracks_of(spool: &mut Spool, time_s: impl Fn(u64) -> f64) -> Outcome<Vec<TrackSummary>> {
    let mut tracks: BTreeMap<u64, TrackSummary> = BTreeMap::new();
    for detection in spool.read()? {
        let d = detection?;
        let track = tracks.entry(d.track_id).or_insert(TrackSummary {
            track_id: d.track_id,
            prompt: d.prompt,
            first_frame: d.frame,
            last_frame: d.frame,
            first_seconds: time_s(d.frame),
            last_seconds: 0.0,
            n_frames: 0,
            confidence: 0.0,
        });
        track.last_frame = d.frame;
        track.n_frames += 1;
        track.confidence += f64::from(d.confidence);
    }
    let mean = |mut t: TrackSummary| {
        t.confidence /= t.n_frames as f64;
        t.last_seconds = time_s(t.last_frame);
        t
    };
    Ok(tracks.into_values().map(mean).collect())
}

impl fmt::Display for RunSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = |track: &'_ TrackSummary| TrackRow {
            track_id: track.track_id as i64,
            first_frame: track.first_frame as i64,
            last_frame: track.last_frame as i64,
            first_seconds: Some(track.first_seconds),
            last_seconds: Some(track.last_seconds),
            n_detections: track.n_frames as i64,
            confidence: track.confidence,
            prompt: self.prompts.get(track.prompt as usize).map(String::as_str),
            name: None,
        };
        write_tracks(f, self.tracks.iter().map(row))?;
        let (frames, tracks) = (counted(self.frames_processed, "frame"), counted(self.tracks.len(), "track"));
        let detections = counted(self.detections, "detection");
        writeln!(f, "{frames}, {tracks}, {detections} in {:.1} s ({:.2} fps)", self.seconds, self.fps)?;
        for path in &self.outputs {
            writeln!(f, "wrote {}", path.display())?;
        }
        Ok(())
    }
}
