//! Where an import's detections go: checked, gathered into statements of many rows, inserted.

use std::fmt;

use rusqlite::{CachedStatement, Connection};

use crate::error::At as _;
use crate::{Detection, Result, StoreError};

/// Rows to a statement.
const N_ROWS: usize = 64;
/// Values of a row that differ from row to row.
const N_VALUES: usize = 7;

/// Takes the detections of an import. After an error it takes no more, and nothing is kept.
pub struct Sink<'a> {
    conn: &'a Connection,
    many: CachedStatement<'a>,
    one: CachedStatement<'a>,
    waiting: Vec<Detection>,
    n_taken: i64,
    n_inserted: i64,
    last_id: i64,
    failed: bool,
}

impl fmt::Debug for Sink<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sink")
            .field("n_taken", &self.n_taken)
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}

impl<'a> Sink<'a> {
    /// For one import's rows, within its transaction.
    pub(crate) fn new(conn: &'a Connection, video_id: i64, import_id: i64) -> Result<Self> {
        Ok(Self {
            conn,
            many: prepare(conn, N_ROWS, video_id, import_id)?,
            one: prepare(conn, 1, video_id, import_id)?,
            waiting: Vec::with_capacity(N_ROWS),
            n_taken: 0,
            n_inserted: 0,
            last_id: 0,
            failed: false,
        })
    }

    /// Takes detections, in any order and of any number; batches of a few hundred serve best.
    ///
    /// # Errors
    /// [`StoreError::BadInput`] for a detection that makes no sense, named by its place among all
    /// that were pushed, from 0; [`StoreError::Full`].
    pub fn push(&mut self, detections: &[Detection]) -> Result<()> {
        self.refuse_after_failure()?;
        let taken = self.take(detections);
        self.failed = taken.is_err();
        taken
    }

    /// Inserts what waits. Gives the number of rows, and the first and last of their ids.
    pub(crate) fn close(mut self) -> Result<(i64, Option<(i64, i64)>)> {
        self.refuse_after_failure()?;
        for detection in std::mem::take(&mut self.waiting) {
            self.last_id = insert(self.conn, &mut self.one, &[detection])?;
            self.n_inserted += 1;
        }
        // Within one transaction the ids follow each other without a gap.
        let range = (self.n_inserted > 0).then_some((self.last_id - self.n_inserted + 1, self.last_id));
        Ok((self.n_inserted, range))
    }

    fn take(&mut self, detections: &[Detection]) -> Result<()> {
        for detection in detections {
            check(detection).map_err(|what| {
                let Detection { frame, track_id, .. } = detection;
                StoreError::BadInput(format!(
                    "detection {} (frame {frame}, track {track_id}): {what}",
                    self.n_taken
                ))
            })?;
            self.n_taken += 1;
        }
        let mut rest = detections;
        if !self.waiting.is_empty() {
            let n_missing = (N_ROWS - self.waiting.len()).min(rest.len());
            let (head, tail) = rest.split_at(n_missing);
            self.waiting.extend_from_slice(head);
            rest = tail;
            if self.waiting.len() < N_ROWS {
                return Ok(());
            }
            self.last_id = insert(self.conn, &mut self.many, &self.waiting)?;
            self.n_inserted += N_ROWS as i64;
            self.waiting.clear();
        }
        let chunks = rest.chunks_exact(N_ROWS);
        self.waiting.extend_from_slice(chunks.remainder());
        for chunk in chunks {
            self.last_id = insert(self.conn, &mut self.many, chunk)?;
            self.n_inserted += N_ROWS as i64;
        }
        Ok(())
    }

    fn refuse_after_failure(&self) -> Result<()> {
        if self.failed {
            return Err(StoreError::Conflict("this import has failed already; nothing of it is kept".into()));
        }
        Ok(())
    }
}

/// A statement for so many rows, with the values that all of them share.
fn prepare(conn: &Connection, n_rows: usize, video_id: i64, import_id: i64) -> Result<CachedStatement<'_>> {
    let rows: Vec<String> = (0..n_rows)
        .map(|row| {
            let values: Vec<String> =
                (0..N_VALUES).map(|value| format!("?{}", 3 + row * N_VALUES + value)).collect();
            format!("(?1, ?2, {})", values.join(", "))
        })
        .collect();
    // OR ROLLBACK: a row that is refused ends the transaction, which it would anyway.
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

/// Inserts as many rows as the statement has; gives the id of the last.
fn insert(conn: &Connection, statement: &mut CachedStatement<'_>, detections: &[Detection]) -> Result<i64> {
    bind(statement, detections).at(conn)?;
    statement.raw_execute().at(conn)?;
    Ok(conn.last_insert_rowid())
}

fn bind(statement: &mut CachedStatement<'_>, detections: &[Detection]) -> rusqlite::Result<()> {
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

/// What is wrong with a detection, if anything.
fn check(detection: &Detection) -> std::result::Result<(), String> {
    let Detection { frame, bbox, confidence, .. } = *detection;
    let [_, _, width, height] = bbox;
    if frame < 0 {
        return Err("the frame is negative".into());
    }
    if !bbox.iter().all(|value| value.is_finite()) {
        return Err(format!("the box {bbox:?} is not made of finite numbers"));
    }
    if width < 0.0 || height < 0.0 {
        return Err(format!("the box is {width} x {height}"));
    }
    if !(0.0..=1.0).contains(&confidence) {
        return Err(format!("the confidence is {confidence}, not 0 to 1"));
    }
    Ok(())
}
