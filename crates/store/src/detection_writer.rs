//! Writing the detections of an import: validates them and inserts them in batches.

use std::fmt;

use rusqlite::{CachedStatement, Connection, OptionalExtension as _};

use crate::detections::StoredDetection;
use crate::error::{AtDatabase as _, Result, StoreError};

/// Number of rows that one statement inserts.
const BATCH_ROWS: usize = 64;
/// Number of parameters per row, without the video and the import, which all rows share.
const N_VALUES: usize = 7;

/// Inserts the detections of an import. After an error it rejects all further detections, and the import
/// is rolled back.
pub struct DetectionWriter<'a> {
    conn: &'a Connection,
    batch_insert: CachedStatement<'a>,
    row_insert: CachedStatement<'a>,
    /// Fewer rows than a batch has, not inserted yet.
    pending: Vec<StoredDetection>,
    n_pushed: i64,
    n_inserted: i64,
    last_id: i64,
    /// Frame and track of the last row.
    last: Option<(i64, i64)>,
    /// Whether each row comes after the one before, by frame and then by track: then no track is twice on a frame.
    is_ordered: bool,
    failed: bool,
}

impl fmt::Debug for DetectionWriter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DetectionWriter")
            .field("n_pushed", &self.n_pushed)
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}

impl<'a> DetectionWriter<'a> {
    /// Creates a writer for one import, within its transaction.
    pub(crate) fn new(conn: &'a Connection, video_id: i64, import_id: i64) -> Result<Self> {
        Ok(Self {
            conn,
            batch_insert: prepare(conn, BATCH_ROWS, video_id, import_id)?,
            row_insert: prepare(conn, 1, video_id, import_id)?,
            pending: Vec::with_capacity(BATCH_ROWS),
            n_pushed: 0,
            n_inserted: 0,
            last_id: 0,
            last: None,
            is_ordered: true,
            failed: false,
        })
    }

    /// Adds detections, in any order. Slices of a few hundred are the most efficient.
    ///
    /// # Errors
    /// [`StoreError::BadInput`] for an invalid detection, with its 0-based position among all detections
    /// pushed so far; [`StoreError::Full`].
    pub fn push(&mut self, detections: &[StoredDetection]) -> Result<()> {
        self.refuse_after_failure()?;
        let result = self.insert_batches(detections);
        self.failed = result.is_err();
        result
    }

    /// Inserts the pending rows. Returns the number of rows, and the first and last of their ids.
    ///
    /// # Errors
    /// [`StoreError::BadInput`] if a track is twice on a frame.
    pub(crate) fn finish(mut self) -> Result<(i64, Option<(i64, i64)>)> {
        self.refuse_after_failure()?;
        for detection in std::mem::take(&mut self.pending) {
            self.last_id = insert(self.conn, &mut self.row_insert, &[detection])?;
            self.n_inserted += 1;
        }
        // Within one transaction, ids are consecutive.
        let range = (self.n_inserted > 0).then_some((self.last_id - self.n_inserted + 1, self.last_id));
        if let Some(range) = range.filter(|_| !self.is_ordered) {
            check_unique(self.conn, range)?;
        }
        Ok((self.n_inserted, range))
    }

    fn insert_batches(&mut self, detections: &[StoredDetection]) -> Result<()> {
        for detection in detections {
            check(detection).map_err(|what| {
                let StoredDetection { frame, track_id, .. } = detection;
                StoreError::BadInput(format!(
                    "detection {} (frame {frame}, track {track_id}): {what}",
                    self.n_pushed
                ))
            })?;
            self.n_pushed += 1;
            let now = Some((detection.frame, detection.track_id));
            self.is_ordered &= self.last < now;
            self.last = now;
        }
        let mut rest = detections;
        if !self.pending.is_empty() {
            let n_missing = (BATCH_ROWS - self.pending.len()).min(rest.len());
            let (head, tail) = rest.split_at(n_missing);
            self.pending.extend_from_slice(head);
            rest = tail;
            if self.pending.len() < BATCH_ROWS {
                return Ok(());
            }
            self.last_id = insert(self.conn, &mut self.batch_insert, &self.pending)?;
            self.n_inserted += BATCH_ROWS as i64;
            self.pending.clear();
        }
        let chunks = rest.chunks_exact(BATCH_ROWS);
        self.pending.extend_from_slice(chunks.remainder());
        for chunk in chunks {
            self.last_id = insert(self.conn, &mut self.batch_insert, chunk)?;
            self.n_inserted += BATCH_ROWS as i64;
        }
        Ok(())
    }

    fn refuse_after_failure(&self) -> Result<()> {
        if self.failed {
            return Err(StoreError::Conflict(
                "this import has already failed; none of its detections are stored".into(),
            ));
        }
        Ok(())
    }
}

/// Checks that no track is twice on a frame, among rows whose order does not show it. SQLite sorts them in a temporary
/// file.
fn check_unique(conn: &Connection, (first, last): (i64, i64)) -> Result<()> {
    let sql = "SELECT frame_number, tracking_id FROM player_detections WHERE id BETWEEN ?1 AND ?2
        GROUP BY frame_number, tracking_id HAVING count(*) > 1 LIMIT 1";
    let repeated: Option<(i64, i64)> =
        conn.query_row(sql, [first, last], |row| Ok((row.get(0)?, row.get(1)?))).optional().at(conn)?;
    match repeated {
        None => Ok(()),
        Some((frame, track_id)) => {
            Err(StoreError::BadInput(format!("track {track_id} is twice on frame {frame}")))
        }
    }
}

/// Prepares a statement that inserts `n_rows` rows, and binds the values that all rows share.
fn prepare(conn: &Connection, n_rows: usize, video_id: i64, import_id: i64) -> Result<CachedStatement<'_>> {
    let rows: Vec<String> = (0..n_rows)
        .map(|row| {
            let values: Vec<String> =
                (0..N_VALUES).map(|value| format!("?{}", 3 + row * N_VALUES + value)).collect();
            format!("(?1, ?2, {})", values.join(", "))
        })
        .collect();
    // OR ROLLBACK: a rejected row ends the transaction, which the caller would roll back anyway.
    let sql = format!(
        "INSERT OR ROLLBACK INTO player_detections (video_id, import_id, frame_number, tracking_id, bbox_x, bbox_y,
            bbox_width, bbox_height, confidence_score) VALUES {}",
        rows.join(", ")
    );
    let mut statement = conn.prepare_cached(&sql).at(conn)?;
    statement.raw_bind_parameter(1, video_id).at(conn)?;
    statement.raw_bind_parameter(2, import_id).at(conn)?;
    Ok(statement)
}

/// Inserts as many rows as the statement has. Returns the id of the last one.
fn insert(
    conn: &Connection,
    statement: &mut CachedStatement<'_>,
    detections: &[StoredDetection],
) -> Result<i64> {
    bind(statement, detections).at(conn)?;
    statement.raw_execute().at(conn)?;
    Ok(conn.last_insert_rowid())
}

fn bind(statement: &mut CachedStatement<'_>, detections: &[StoredDetection]) -> rusqlite::Result<()> {
    for (row, detection) in detections.iter().enumerate() {
        let first = 3 + row * N_VALUES;
        let [x, y, width, height] = detection.bbox;
        statement.raw_bind_parameter(first, detection.frame)?;
        statement.raw_bind_parameter(first + 1, detection.track_id)?;
        statement.raw_bind_parameter(first + 2, x)?;
        statement.raw_bind_parameter(first + 3, y)?;
        statement.raw_bind_parameter(first + 4, width)?;
        statement.raw_bind_parameter(first + 5, height)?;
        statement.raw_bind_parameter(first + 6, detection.confidence)?;
    }
    Ok(())
}

/// Checks that a detection is valid; the error says why it is not.
fn check(detection: &StoredDetection) -> std::result::Result<(), String> {
    let StoredDetection { frame, bbox, confidence, .. } = *detection;
    let [_, _, width, height] = bbox;
    if frame < 0 {
        return Err("the frame is negative".into());
    }
    if !bbox.iter().all(|value| value.is_finite()) {
        return Err(format!("the box {bbox:?} has values that are not finite"));
    }
    if width < 0.0 || height < 0.0 {
        return Err(format!("the box is {width} x {height}"));
    }
    if !(0.0..=1.0).contains(&confidence) {
        return Err(format!("the confidence is {confidence}, not 0 to 1"));
    }
    Ok(())
}
