//! Reading detections: lists, totals, and streams for exports.

use std::ops::ControlFlow;

use rusqlite::types::Value;
use rusqlite::{Row, params_from_iter};

use crate::edits::Correction;
use crate::error::{AtDatabase as _, Result};
use crate::library::Library;
use crate::scope::{DetectionView, ScopeRows};
use crate::stored::Totals;

/// A detection as the database stores it: the box of one track on one frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StoredDetection {
    /// 0-based frame number in the source video.
    pub frame: i64,
    /// Number of the track within its job.
    pub track_id: i64,
    /// Left, top, width and height in source pixels.
    pub bbox: [f64; 4],
    /// Confidence of the model, 0 to 1.
    pub confidence: f64,
}

/// A row of the detections table.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DetectionRow {
    /// Primary key of the row.
    pub id: i64,
    /// The video that it was detected in.
    pub video_id: i64,
    /// The player that the app assigned, if any.
    pub player_id: Option<i64>,
    /// Frame, track, box and confidence.
    pub detection: StoredDetection,
}

/// A filter on detections. The default matches all of them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DetectionQuery {
    /// First frame to include, 0-based.
    pub frame_start: Option<i64>,
    /// Last frame to include, 0-based.
    pub frame_end: Option<i64>,
    /// Minimum confidence, 0 to 1.
    pub min_confidence: Option<f64>,
    /// Maximum number of rows.
    pub limit: Option<u32>,
}

/// Totals of the detections of a video or a job.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DetectionTotals {
    /// Number of detections over all frames.
    pub total_detections: i64,
    /// Number of frames with at least one detection.
    pub frames_with_detections: i64,
}

/// The columns that [`read`] expects.
pub(crate) const COLUMNS: &str = "id, video_id, player_id, frame_number, tracking_id, bbox_x, bbox_y, bbox_width, \
     bbox_height, confidence_score";

impl Library {
    /// The detections of a video or a job that match a query, ordered by frame, then track. Empty for an unknown one.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`](crate::StoreError::Sqlite) where the file cannot be read.
    pub fn detections<'a>(
        &self,
        view: impl Into<DetectionView<'a>>,
        query: &DetectionQuery,
    ) -> Result<Vec<DetectionRow>> {
        let Some((rows, correction)) = self.rows_of(view.into())? else { return Ok(Vec::new()) };
        let conn = &self.conn;
        // A correction removes rows: then the limit applies to what it leaves.
        let limit = query.limit.filter(|_| correction.is_none());
        let (condition, params) = query.condition(rows.condition(conn)?, limit);
        let sql = format!(
            "SELECT {COLUMNS} FROM player_detections WHERE {condition} ORDER BY frame_number, tracking_id, id LIMIT ?"
        );
        let mut statement = conn.prepare_cached(&sql).at(conn)?;
        let rows = statement.query_map(params_from_iter(params), read).at(conn)?;
        let Some(correction) = correction else { return rows.collect::<rusqlite::Result<_>>().at(conn) };
        let kept = rows.filter_map(|row| row.map(|row| corrected(row, &correction)).transpose());
        let n = query.limit.map_or(usize::MAX, |limit| limit as usize);
        let mut kept = kept.take(n).collect::<rusqlite::Result<Vec<_>>>().at(conn)?;
        kept.sort_by_key(|row| (row.detection.frame, row.detection.track_id));
        Ok(kept)
    }

    /// Totals of all detections of a video or a job. For an import they are stored, and used while they are current.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`](crate::StoreError::Sqlite) where the file cannot be read.
    pub fn detection_totals<'a>(&self, view: impl Into<DetectionView<'a>>) -> Result<DetectionTotals> {
        let view = view.into();
        self.read_consistently(|| {
            let Some((rows, correction)) = self.rows_of(view)? else { return Ok(DetectionTotals::default()) };
            if let Some(correction) = correction.filter(|correction| !correction.keeps_tracks_whole()) {
                let tracks = self.corrected_tracks(&rows, Some(&correction))?;
                return Ok(DetectionTotals {
                    total_detections: tracks.n_detections(),
                    frames_with_detections: tracks.n_frames,
                });
            }
            let (total_detections, frames_with_detections) = match self.totals_of_import(&rows)? {
                Some(totals) => totals,
                None => self.computed_totals(&rows)?,
            };
            Ok(DetectionTotals { total_detections, frames_with_detections })
        })
    }

    fn computed_totals(&self, rows: &ScopeRows) -> Result<Totals> {
        let conn = &self.conn;
        let (condition, params) = rows.condition(conn)?;
        // The index yields frames in order, so grouping by frame needs no memory.
        let sql = format!(
            "SELECT coalesce(sum(n), 0), count(*) FROM
                (SELECT count(*) AS n FROM player_detections WHERE {condition} GROUP BY frame_number)"
        );
        let mut statement = conn.prepare_cached(&sql).at(conn)?;
        statement.query_row(params_from_iter(params), |row| Ok((row.get(0)?, row.get(1)?))).at(conn)
    }

    /// Passes detections to `each` one by one, ordered by frame, then track, until `each` breaks. Memory
    /// does not grow with their number. They are a snapshot: detections that are imported while this
    /// runs are not included. An unknown video or job has none.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`](crate::StoreError::Sqlite) where the file cannot be read.
    pub fn for_each_detection<'a>(
        &self,
        view: impl Into<DetectionView<'a>>,
        mut each: impl FnMut(&DetectionRow) -> ControlFlow<()>,
    ) -> Result<()> {
        let conn = &self.conn;
        let Some((rows, correction)) = self.rows_of(view.into())? else { return Ok(()) };
        let (condition, params) = rows.condition(conn)?;
        // The index yields frames in order. The few rows of each frame are sorted here, because sorting in
        // SQLite takes twice the time.
        let sql = format!("SELECT {COLUMNS} FROM player_detections WHERE {condition} ORDER BY frame_number");
        let mut statement = conn.prepare_cached(&sql).at(conn)?;
        let mut rows = statement.query(params_from_iter(params)).at(conn)?;
        let mut frame: Vec<DetectionRow> = Vec::new();
        while let Some(row) = rows.next().at(conn)? {
            let row = read(row).at(conn)?;
            let row = match &correction {
                Some(correction) => corrected(row, correction),
                None => Some(row),
            };
            let Some(row) = row else { continue };
            let is_next = frame.first().is_some_and(|first| first.detection.frame != row.detection.frame);
            if is_next && emit_frame(&mut frame, &mut each).is_break() {
                return Ok(());
            }
            frame.push(row);
        }
        // After the last frame, a break has nothing left to stop.
        let _ = emit_frame(&mut frame, &mut each);
        Ok(())
    }
}

/// The row with the track that it belongs to; `None` if that is deleted.
fn corrected(mut row: DetectionRow, correction: &Correction) -> Option<DetectionRow> {
    row.detection.track_id = correction.track(row.detection.frame, row.detection.track_id)?;
    Some(row)
}

/// Passes the rows of one frame to `each`, ordered by track, and clears them.
fn emit_frame(
    frame: &mut Vec<DetectionRow>,
    each: &mut impl FnMut(&DetectionRow) -> ControlFlow<()>,
) -> ControlFlow<()> {
    frame.sort_unstable_by_key(|row| (row.detection.track_id, row.id));
    let flow = frame.iter().try_for_each(each);
    frame.clear();
    flow
}

impl DetectionQuery {
    /// The `WHERE` condition and its parameters, in order, and the limit. `rows`: those of the rows to filter.
    fn condition(&self, rows: (String, Vec<Value>), limit: Option<u32>) -> (String, Vec<Value>) {
        let (mut sql, mut params) = rows;
        let mut add_clause = |clause: &str, value: Option<Value>| {
            if let Some(value) = value {
                sql.push_str(" AND ");
                sql.push_str(clause);
                params.push(value);
            }
        };
        add_clause("frame_number >= ?", self.frame_start.map(Value::from));
        add_clause("frame_number <= ?", self.frame_end.map(Value::from));
        add_clause("confidence_score >= ?", self.min_confidence.map(Value::from));
        params.push(limit.map_or(-1, i64::from).into());
        (sql, params)
    }
}

/// Reads a row of [`COLUMNS`].
pub(crate) fn read(row: &Row<'_>) -> rusqlite::Result<DetectionRow> {
    Ok(DetectionRow {
        id: row.get(0)?,
        video_id: row.get(1)?,
        player_id: row.get(2)?,
        detection: StoredDetection {
            frame: row.get(3)?,
            track_id: row.get(4)?,
            bbox: [row.get(5)?, row.get(6)?, row.get(7)?, row.get(8)?],
            confidence: row.get(9)?,
        },
    })
}
