//! Tracks and statistics of detections. Those of an import are stored when it is made; those of other programs' rows are
//! computed.

use std::collections::BTreeMap;

use rusqlite::{Connection, params, params_from_iter};

use crate::detections::StoredDetection;
use crate::error::{AtDatabase as _, Result};
use crate::import;
use crate::library::Library;
use crate::scope::{DetectionScope, ScopeRows};

/// Statistics of the detections of a video or a job.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct DetectionStats {
    /// Number of frames that were processed, according to the import, or else the number of frames with detections.
    pub total_frames_processed: i64,
    /// Number of detections over all frames.
    pub total_detections: i64,
    /// Number of frames with at least one detection.
    pub frames_with_detections: i64,
    /// Detections per processed frame. 0 if there are no frames.
    pub avg_detections_per_frame: f64,
    /// Number of tracks.
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

impl TrackSummary {
    /// A track without detections that begins at a frame.
    pub(crate) fn new(track_id: i64, frame: i64) -> Self {
        Self { track_id, n_detections: 0, first_frame: frame, last_frame: frame, mean_confidence: 0.0 }
    }

    /// Adds a detection. Until [`Self::finish`], the mean is the sum.
    pub(crate) fn add(&mut self, detection: &StoredDetection) {
        self.n_detections += 1;
        self.first_frame = self.first_frame.min(detection.frame);
        self.last_frame = self.last_frame.max(detection.frame);
        self.mean_confidence += detection.confidence;
    }

    /// Call after the last detection was added.
    pub(crate) fn finish(mut self) -> Self {
        self.mean_confidence /= self.n_detections.max(1) as f64;
        self
    }
}

/// The tracks of a scope, and the number of frames with detections.
type Tracks = (Vec<TrackSummary>, i64);

impl Library {
    /// Statistics of detections; all zero if there are none.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`](crate::StoreError::Sqlite) where the file cannot be read.
    pub fn detection_stats(&self, scope: DetectionScope<'_>) -> Result<DetectionStats> {
        let Some(rows) = self.rows(scope)? else { return Ok(DetectionStats::default()) };
        let (tracks, frames_with_detections) = self.tracks(&rows)?;
        let total: i64 = tracks.iter().map(|track| track.n_detections).sum();
        let confidence: f64 =
            tracks.iter().map(|track| track.mean_confidence * track.n_detections as f64).sum();
        let processed = rows.import.and_then(|import| import.frames_processed).filter(|n| *n > 0);
        let n_frames = processed.unwrap_or(frames_with_detections);
        Ok(DetectionStats {
            total_frames_processed: n_frames,
            total_detections: total,
            frames_with_detections,
            avg_detections_per_frame: if n_frames > 0 { total as f64 / n_frames as f64 } else { 0.0 },
            n_tracks: tracks.len() as i64,
            first_frame: tracks.iter().map(|track| track.first_frame).min(),
            last_frame: tracks.iter().map(|track| track.last_frame).max(),
            mean_confidence: (total > 0).then(|| confidence / total as f64),
        })
    }

    /// Statistics of each track, ordered by track.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`](crate::StoreError::Sqlite) where the file cannot be read.
    pub fn track_summaries(&self, scope: DetectionScope<'_>) -> Result<Vec<TrackSummary>> {
        match self.rows(scope)? {
            Some(rows) => Ok(self.tracks(&rows)?.0),
            None => Ok(Vec::new()),
        }
    }

    fn tracks(&self, rows: &ScopeRows) -> Result<Tracks> {
        let stored =
            rows.import.as_ref().and_then(|import| Some((import.id, import.n_frames_with_detections?)));
        match stored {
            Some((import_id, n_frames)) => Ok((self.stored_tracks(import_id)?, n_frames)),
            None => self.computed_tracks(rows),
        }
    }

    fn stored_tracks(&self, import_id: i64) -> Result<Vec<TrackSummary>> {
        let sql =
            "SELECT track_id, n_detections, first_frame, last_frame, mean_confidence FROM courtside_tracks
            WHERE import_id = ?1 ORDER BY track_id";
        let conn = &self.conn;
        let mut statement = conn.prepare_cached(sql).at(conn)?;
        let rows = statement.query_map([import_id], |row| {
            Ok(TrackSummary {
                track_id: row.get(0)?,
                n_detections: row.get(1)?,
                first_frame: row.get(2)?,
                last_frame: row.get(3)?,
                mean_confidence: row.get(4)?,
            })
        });
        rows.at(conn)?.collect::<rusqlite::Result<_>>().at(conn)
    }

    /// From one pass in index order. Memory grows with the number of tracks. Grouping in SQL would sort every detection
    /// and take twice the time.
    fn computed_tracks(&self, rows: &ScopeRows) -> Result<Tracks> {
        let conn = &self.conn;
        let (condition, params) = rows.condition();
        let sql = format!(
            "SELECT frame_number, tracking_id, confidence_score FROM player_detections
             WHERE {condition} ORDER BY frame_number"
        );
        let mut statement = conn.prepare_cached(&sql).at(conn)?;
        let mut rows = statement.query(params_from_iter(params)).at(conn)?;
        let mut tracks: BTreeMap<i64, TrackSummary> = BTreeMap::new();
        let (mut n_frames, mut latest) = (0, None);
        while let Some(row) = rows.next().at(conn)? {
            let (frame, track_id) = (row.get(0).at(conn)?, row.get(1).at(conn)?);
            let confidence = row.get(2).at(conn)?;
            n_frames += i64::from(latest.replace(frame) != Some(frame));
            let detection = StoredDetection { frame, track_id, bbox: [0.0; 4], confidence };
            tracks.entry(track_id).or_insert_with(|| TrackSummary::new(track_id, frame)).add(&detection);
        }
        Ok((tracks.into_values().map(TrackSummary::finish).collect(), n_frames))
    }
}

/// Stores the tracks of an import, within the transaction of the caller.
pub(crate) fn store(conn: &Connection, import_id: i64, tracks: &[TrackSummary]) -> Result<()> {
    delete(conn, import_id)?;
    let mut insert =
        conn.prepare_cached("INSERT INTO courtside_tracks VALUES (?1, ?2, ?3, ?4, ?5, ?6)").at(conn)?;
    for track in tracks {
        let TrackSummary { track_id, n_detections, first_frame, last_frame, mean_confidence } = track;
        insert
            .execute(params![import_id, track_id, n_detections, first_frame, last_frame, mean_confidence])
            .at(conn)?;
    }
    Ok(())
}

/// Removes the tracks of an import, within the transaction of the caller.
pub(crate) fn delete(conn: &Connection, import_id: i64) -> Result<()> {
    conn.prepare_cached("DELETE FROM courtside_tracks WHERE import_id = ?1")
        .at(conn)?
        .execute([import_id])
        .at(conn)?;
    Ok(())
}

/// Stores the tracks of imports by version 1, which did not store them.
pub(crate) fn complete_older_imports(library: &Library) -> Result<()> {
    let conn = &library.conn;
    let sql = "SELECT job_id FROM courtside_imports WHERE n_frames_with_detections IS NULL AND write_id IS NOT NULL";
    let mut statement = conn.prepare_cached(sql).at(conn)?;
    let jobs: Vec<String> =
        statement.query_map([], |row| row.get(0)).at(conn)?.collect::<rusqlite::Result<_>>().at(conn)?;
    for job in jobs {
        let Some(rows) = library.rows(DetectionScope::Job(&job))? else { continue };
        let (tracks, n_frames) = library.computed_tracks(&rows)?;
        library.write(|conn| {
            // Another process may have replaced it meanwhile.
            let import = import::import_of(conn, &job)?.filter(|import| {
                import.n_frames_with_detections.is_none()
                    && rows.import.as_ref().is_some_and(|read| read.write_id == import.write_id)
            });
            let Some(import) = import else { return Ok(()) };
            store(conn, import.id, &tracks)?;
            let sql = "UPDATE courtside_imports SET n_frames_with_detections = ?2 WHERE id = ?1";
            conn.execute(sql, [import.id, n_frames]).at(conn)?;
            Ok::<_, crate::StoreError>(())
        })?;
    }
    Ok(())
}
