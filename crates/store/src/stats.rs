//! Figures about detections: of a video or a job as a whole, and of each track.

use std::collections::BTreeMap;

use rusqlite::params_from_iter;

use crate::error::At as _;
use crate::library::Library;
use crate::{Result, Select};

/// Figures about the detections of a video or a job.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct DetectionStats {
    /// Frames that were looked at: what the latest import says, or, where none says it, the frames
    /// with detections.
    pub total_frames_processed: i64,
    /// Detections.
    pub total_detections: i64,
    /// Frames with at least one.
    pub frames_with_detections: i64,
    /// Detections to a frame that was looked at, a frame counting once for each import; 0 where there are none.
    pub avg_detections_per_frame: f64,
    /// Tracks. Those of different jobs are different tracks, whatever their numbers.
    pub n_tracks: i64,
    /// First frame with a detection.
    pub first_frame: Option<i64>,
    /// Last frame with a detection.
    pub last_frame: Option<i64>,
    /// Mean of the confidence.
    pub mean_confidence: Option<f64>,
}

/// Figures about one track.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrackSummary {
    /// Number of the import that brought it; null for the app's own.
    pub import_id: Option<i64>,
    /// The track.
    pub track_id: i64,
    /// Detections.
    pub n_detections: i64,
    /// First frame with it.
    pub first_frame: i64,
    /// Last frame with it.
    pub last_frame: i64,
    /// Mean of the confidence.
    pub mean_confidence: f64,
}

impl Library {
    /// Figures about detections; all zero where there are none.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`](crate::StoreError::Sqlite) where the file cannot be read.
    pub fn detection_stats(&self, of: Select<'_>) -> Result<DetectionStats> {
        let (tracks, frames_with_detections) = self.gather(of)?;
        let total: i64 = tracks.iter().map(|track| track.n_detections).sum();
        let weighted: f64 =
            tracks.iter().map(|track| track.mean_confidence * track.n_detections as f64).sum();
        let imports = self.frames_processed(of)?;
        let looked_at: i64 = imports.iter().map(|(_, n_frames)| n_frames).sum();
        let counted = |track: &&TrackSummary| imports.iter().any(|(id, _)| track.import_id == Some(*id));
        let (detections, frames) = match looked_at > 0 {
            true => (tracks.iter().filter(counted).map(|track| track.n_detections).sum(), looked_at),
            false => (total, frames_with_detections),
        };
        Ok(DetectionStats {
            total_frames_processed: imports.first().map_or(frames_with_detections, |(_, n_frames)| *n_frames),
            total_detections: total,
            frames_with_detections,
            avg_detections_per_frame: if frames > 0 { detections as f64 / frames as f64 } else { 0.0 },
            n_tracks: tracks.len() as i64,
            first_frame: tracks.iter().map(|track| track.first_frame).min(),
            last_frame: tracks.iter().map(|track| track.last_frame).max(),
            mean_confidence: (total > 0).then(|| weighted / total as f64),
        })
    }

    /// Figures about each track, by import, then track.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`](crate::StoreError::Sqlite) where the file cannot be read.
    pub fn track_summaries(&self, of: Select<'_>) -> Result<Vec<TrackSummary>> {
        Ok(self.gather(of)?.0)
    }

    /// The tracks, and the number of frames with detections: one pass in the order of the index. It
    /// holds a row for each track; SQL's own grouping would sort every detection, in twice the time.
    fn gather(&self, of: Select<'_>) -> Result<(Vec<TrackSummary>, i64)> {
        let conn = &self.conn;
        let (condition, params) = of.condition();
        let sql = format!(
            "SELECT frame_number, import_id, tracking_id, confidence_score FROM player_detections
             WHERE {condition} ORDER BY frame_number"
        );
        let mut statement = conn.prepare_cached(&sql).at(conn)?;
        let mut rows = statement.query(params_from_iter(params)).at(conn)?;
        let mut tracks: BTreeMap<(Option<i64>, i64), TrackSummary> = BTreeMap::new();
        let (mut n_frames, mut latest) = (0, None);
        while let Some(row) = rows.next().at(conn)? {
            let frame: i64 = row.get(0).at(conn)?;
            let (import_id, track_id) = (row.get(1).at(conn)?, row.get(2).at(conn)?);
            let confidence: f64 = row.get(3).at(conn)?;
            if latest.replace(frame) != Some(frame) {
                n_frames += 1;
            }
            let new = TrackSummary {
                import_id,
                track_id,
                n_detections: 0,
                first_frame: frame,
                last_frame: frame,
                mean_confidence: 0.0,
            };
            let track = tracks.entry((import_id, track_id)).or_insert(new);
            track.n_detections += 1;
            track.last_frame = frame;
            // A sum until the end.
            track.mean_confidence += confidence;
        }
        let mut tracks: Vec<TrackSummary> = tracks.into_values().collect();
        for track in &mut tracks {
            track.mean_confidence /= track.n_detections as f64;
        }
        Ok((tracks, n_frames))
    }

    /// The frames that each import looked at, where it says so, the latest import first.
    fn frames_processed(&self, of: Select<'_>) -> Result<Vec<(i64, i64)>> {
        let (column, key): (_, rusqlite::types::Value) = match of {
            Select::Video(id) => ("video_id", id.into()),
            Select::Job(id) => ("job_id", id.to_owned().into()),
        };
        let sql = format!(
            "SELECT id, frames_processed FROM courtside_imports
             WHERE {column} = ?1 AND frames_processed IS NOT NULL ORDER BY imported_at DESC, id DESC"
        );
        let conn = &self.conn;
        let mut statement = conn.prepare_cached(&sql).at(conn)?;
        let rows = statement.query_map([key], |row| Ok((row.get(0)?, row.get(1)?))).at(conn)?;
        rows.collect::<rusqlite::Result<_>>().at(conn)
    }
}
