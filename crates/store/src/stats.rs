//! Statistics of detections: of a video or a job, and of each track.

use std::collections::BTreeMap;

use rusqlite::params_from_iter;

use crate::detections::DetectionScope;
use crate::error::{AtDatabase as _, Result};
use crate::library::Library;

/// Statistics of the detections of a video or a job.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct DetectionStats {
    /// Number of frames that were processed, according to the latest import that reports it, or else the
    /// number of frames with detections.
    pub total_frames_processed: i64,
    /// Number of detections over all frames.
    pub total_detections: i64,
    /// Number of frames with at least one detection.
    pub frames_with_detections: i64,
    /// Detections per processed frame; a frame counts once for each import. 0 if there are no frames.
    pub avg_detections_per_frame: f64,
    /// Number of tracks. Tracks of different jobs are different, even if they have the same id.
    pub n_tracks: i64,
    /// First frame with a detection; `None` if there are none.
    pub first_frame: Option<i64>,
    /// Last frame with a detection; `None` if there are none.
    pub last_frame: Option<i64>,
    /// Mean confidence of the detections; `None` if there are none.
    pub mean_confidence: Option<f64>,
}

/// Statistics of one track.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrackSummary {
    /// The import that created the track; `None` for the app's own tracks.
    pub import_id: Option<i64>,
    /// Number of the track within its job.
    pub track_id: i64,
    /// Number of detections of the track.
    pub n_detections: i64,
    /// First frame on which it was detected.
    pub first_frame: i64,
    /// Last frame on which it was detected.
    pub last_frame: i64,
    /// Mean confidence of its detections.
    pub mean_confidence: f64,
}

impl Library {
    /// Statistics of detections; all zero if there are none.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`](crate::StoreError::Sqlite) where the file cannot be read.
    pub fn detection_stats(&self, scope: DetectionScope<'_>) -> Result<DetectionStats> {
        let (tracks, frames_with_detections) = self.collect_tracks(scope)?;
        let total: i64 = tracks.iter().map(|track| track.n_detections).sum();
        let weighted: f64 =
            tracks.iter().map(|track| track.mean_confidence * track.n_detections as f64).sum();
        let imports = self.frames_processed(scope)?;
        let n_processed: i64 = imports.iter().map(|(_, n_frames)| n_frames).sum();
        let is_counted = |track: &&TrackSummary| imports.iter().any(|(id, _)| track.import_id == Some(*id));
        let (detections, frames) = match n_processed > 0 {
            true => (tracks.iter().filter(is_counted).map(|track| track.n_detections).sum(), n_processed),
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

    /// Statistics of each track, ordered by import, then track.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`](crate::StoreError::Sqlite) where the file cannot be read.
    pub fn track_summaries(&self, scope: DetectionScope<'_>) -> Result<Vec<TrackSummary>> {
        Ok(self.collect_tracks(scope)?.0)
    }

    /// The tracks, and the number of frames with detections, from one pass in index order. Memory grows
    /// with the number of tracks. Grouping in SQL would sort every detection and take twice the time.
    fn collect_tracks(&self, scope: DetectionScope<'_>) -> Result<(Vec<TrackSummary>, i64)> {
        let conn = &self.conn;
        let (condition, params) = scope.condition();
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
            // The sum; divided by the count below.
            track.mean_confidence += confidence;
        }
        let mut tracks: Vec<TrackSummary> = tracks.into_values().collect();
        for track in &mut tracks {
            track.mean_confidence /= track.n_detections as f64;
        }
        Ok((tracks, n_frames))
    }

    /// Import id and number of processed frames of each import that reports it, latest first.
    fn frames_processed(&self, scope: DetectionScope<'_>) -> Result<Vec<(i64, i64)>> {
        let (column, key): (_, rusqlite::types::Value) = match scope {
            DetectionScope::Video(id) => ("video_id", id.into()),
            DetectionScope::Job(id) => ("job_id", id.to_owned().into()),
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
