//! Tracks and statistics of detections. Those of an import are stored when it is made, and used as long as they are current
//! (`stored.rs`); those of other programs' rows are computed.

use std::collections::BTreeMap;
use std::sync::Arc;

use rusqlite::{Connection, params, params_from_iter};

use crate::detections::StoredDetection;
use crate::edits::Correction;
use crate::error::{AtDatabase as _, Result};
use crate::import;
use crate::library::Library;
use crate::scope::{DetectionScope, DetectionView, ScopeRows};
use crate::writes::{Pace, RowState};

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

/// The tracks of a scope.
#[derive(Debug)]
pub(crate) struct Tracks {
    /// Ordered by track.
    pub(crate) tracks: Vec<TrackSummary>,
    /// Number of frames with detections.
    pub(crate) n_frames: i64,
}

impl Tracks {
    /// Each track with those that edits made a part of it. The correction keeps tracks whole.
    fn joined(&self, correction: &Correction) -> Self {
        let mut tracks: BTreeMap<i64, TrackSummary> = BTreeMap::new();
        for track in &self.tracks {
            let Some(id) = correction.track(track.first_frame, track.track_id) else { continue };
            let joined = tracks.entry(id).or_insert_with(|| TrackSummary::new(id, track.first_frame));
            joined.n_detections += track.n_detections;
            joined.first_frame = joined.first_frame.min(track.first_frame);
            joined.last_frame = joined.last_frame.max(track.last_frame);
            joined.mean_confidence += track.mean_confidence * track.n_detections as f64;
        }
        Self { tracks: tracks.into_values().map(TrackSummary::finish).collect(), n_frames: self.n_frames }
    }

    pub(crate) fn n_detections(&self) -> i64 {
        self.tracks.iter().map(|track| track.n_detections).sum()
    }
}

impl Library {
    /// Statistics of detections; all zero if there are none.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`](crate::StoreError::Sqlite) where the file cannot be read.
    pub fn detection_stats<'a>(&self, view: impl Into<DetectionView<'a>>) -> Result<DetectionStats> {
        let view = view.into();
        self.read_consistently(|| {
            let Some((rows, correction)) = self.rows_of(view)? else { return Ok(DetectionStats::default()) };
            let tracks = self.corrected_tracks(&rows, correction.as_ref())?;
            let processed = rows.import.and_then(|import| import.frames_processed).filter(|n| *n > 0);
            Ok(stats(&tracks, processed.unwrap_or(tracks.n_frames)))
        })
    }

    /// Statistics of each track, ordered by track.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`](crate::StoreError::Sqlite) where the file cannot be read.
    pub fn track_summaries<'a>(&self, view: impl Into<DetectionView<'a>>) -> Result<Vec<TrackSummary>> {
        let view = view.into();
        self.read_consistently(|| match self.rows_of(view)? {
            Some((rows, correction)) => Ok(self.corrected_tracks(&rows, correction.as_ref())?.tracks.clone()),
            None => Ok(Vec::new()),
        })
    }

    /// The tracks of the rows of a scope, with their edits.
    pub(crate) fn corrected_tracks(
        &self,
        rows: &ScopeRows,
        correction: Option<&Correction>,
    ) -> Result<Arc<Tracks>> {
        match correction {
            None => self.tracks(rows),
            Some(correction) if correction.keeps_tracks_whole() => {
                Ok(Arc::new(self.tracks(rows)?.joined(correction)))
            }
            Some(correction) => compute(self, rows, Some(correction)).map(Arc::new),
        }
    }
}

fn stats(Tracks { tracks, n_frames }: &Tracks, total_frames_processed: i64) -> DetectionStats {
    let total: i64 = tracks.iter().map(|track| track.n_detections).sum();
    let confidence: f64 = tracks.iter().map(|track| track.mean_confidence * track.n_detections as f64).sum();
    let n_processed = total_frames_processed as f64;
    DetectionStats {
        total_frames_processed,
        total_detections: total,
        frames_with_detections: *n_frames,
        avg_detections_per_frame: if n_processed > 0.0 { total as f64 / n_processed } else { 0.0 },
        n_tracks: tracks.len() as i64,
        first_frame: tracks.iter().map(|track| track.first_frame).min(),
        last_frame: tracks.iter().map(|track| track.last_frame).max(),
        mean_confidence: (total > 0).then(|| confidence / total as f64),
    }
}

/// Reads the stored tracks of a write.
pub(crate) fn stored(conn: &Connection, write_id: i64, n_frames: i64) -> Result<Tracks> {
    let sql =
        "SELECT track_id, n_detections, first_frame, last_frame, mean_confidence FROM courtside_write_tracks
        WHERE write_id = ?1 ORDER BY track_id";
    let mut statement = conn.prepare_cached(sql).at(conn)?;
    let rows = statement.query_map([write_id], |row| {
        Ok(TrackSummary {
            track_id: row.get(0)?,
            n_detections: row.get(1)?,
            first_frame: row.get(2)?,
            last_frame: row.get(3)?,
            mean_confidence: row.get(4)?,
        })
    });
    Ok(Tracks { tracks: rows.at(conn)?.collect::<rusqlite::Result<_>>().at(conn)?, n_frames })
}

/// Computes tracks from one pass in index order. Memory grows with the number of tracks. Grouping in SQL would sort every
/// detection and take twice the time.
pub(crate) fn compute(
    library: &Library,
    rows: &ScopeRows,
    correction: Option<&Correction>,
) -> Result<Tracks> {
    let conn = &library.conn;
    let (condition, params) = rows.condition(conn)?;
    let sql = format!(
        "SELECT frame_number, tracking_id, confidence_score FROM player_detections
         WHERE {condition} ORDER BY frame_number"
    );
    let mut statement = conn.prepare_cached(&sql).at(conn)?;
    let mut rows = statement.query(params_from_iter(params)).at(conn)?;
    let mut tracks: BTreeMap<i64, TrackSummary> = BTreeMap::new();
    let (mut n_frames, mut latest) = (0, None);
    while let Some(row) = rows.next().at(conn)? {
        let (frame, raw) = (row.get(0).at(conn)?, row.get(1).at(conn)?);
        let track_id = correction.map_or(Some(raw), |correction| correction.track(frame, raw));
        let Some(track_id) = track_id else { continue };
        let confidence = row.get(2).at(conn)?;
        n_frames += i64::from(latest.replace(frame) != Some(frame));
        let detection = StoredDetection { frame, track_id, bbox: [0.0; 4], confidence };
        tracks.entry(track_id).or_insert_with(|| TrackSummary::new(track_id, frame)).add(&detection);
    }
    Ok(Tracks { tracks: tracks.into_values().map(TrackSummary::finish).collect(), n_frames })
}

/// Stores tracks of a write, within the transaction of the caller.
pub(crate) fn insert(conn: &Connection, write_id: i64, tracks: &[TrackSummary]) -> Result<()> {
    let sql = "INSERT OR REPLACE INTO courtside_write_tracks
            (write_id, track_id, n_detections, first_frame, last_frame, mean_confidence)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let mut insert = conn.prepare_cached(sql).at(conn)?;
    for track in tracks {
        let TrackSummary { track_id, n_detections, first_frame, last_frame, mean_confidence } = track;
        insert
            .execute(params![write_id, track_id, n_detections, first_frame, last_frame, mean_confidence])
            .at(conn)?;
    }
    Ok(())
}

/// Removes up to `n` tracks of a write, within the transaction of the caller. Returns how many it removed.
pub(crate) fn delete(conn: &Connection, write_id: i64, n: i64) -> Result<i64> {
    let sql = "DELETE FROM courtside_write_tracks WHERE write_id = ?1 AND track_id IN
        (SELECT track_id FROM courtside_write_tracks WHERE write_id = ?1 LIMIT ?2)";
    Ok(conn.prepare_cached(sql).at(conn)?.execute([write_id, n]).at(conn)? as i64)
}

/// Stores the tracks of imports that have none: those by earlier versions, and those of rows that another program wrote.
pub(crate) fn complete_older_imports(library: &Library) -> Result<()> {
    let conn = &library.conn;
    let sql = "SELECT job_id FROM courtside_imports WHERE checksum IS NULL AND write_id IS NOT NULL";
    let mut statement = conn.prepare_cached(sql).at(conn)?;
    let jobs: Vec<String> =
        statement.query_map([], |row| row.get(0)).at(conn)?.collect::<rusqlite::Result<_>>().at(conn)?;
    jobs.iter().try_for_each(|job| complete_import(library, job))
}

fn complete_import(library: &Library, job_id: &str) -> Result<()> {
    let read = library.read_consistently(|| {
        let Some(rows) = library.rows(DetectionScope::Job(job_id))? else { return Ok(None) };
        let Some(import) = rows.import.as_ref() else { return Ok(None) };
        let Some(write_id) = import.write_id else { return Ok(None) };
        let state = RowState::read(&library.conn, write_id, import.video_id)?;
        Ok(Some((write_id, state, compute(library, &rows, None)?)))
    })?;
    let Some((write_id, state, Tracks { tracks, n_frames })) = read else { return Ok(()) };
    let (mut pace, mut rest) = (Pace::new(), tracks.as_slice());
    loop {
        let (now, later) = rest.split_at((pace.next() as usize).min(rest.len()));
        let is_last = later.is_empty();
        let is_current = library.write(|conn| {
            // Another process may have replaced or removed it meanwhile.
            let import = import::import_of(conn, job_id)?;
            if import.is_none_or(|import| import.write_id != Some(write_id)) {
                return Ok(false);
            }
            insert(conn, write_id, now)?;
            if is_last {
                let sql = "UPDATE courtside_imports
                    SET n_frames_with_detections = ?2, n_rows = ?3, checksum = ?4 WHERE job_id = ?1";
                conn.execute(sql, params![job_id, n_frames, state.n, state.checksum]).at(conn)?;
            }
            Ok::<_, crate::StoreError>(true)
        })?;
        if is_last || !is_current {
            return Ok(());
        }
        rest = later;
    }
}
