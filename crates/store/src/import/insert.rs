//! Inserting rows in batches. One statement inserts 64 rows, and `OR ROLLBACK` means that SQLite never undoes a single
//! statement and needs no copy of the pages that it changes.

use rusqlite::{CachedStatement, Connection};

use crate::detections::StoredDetection;
use crate::error::{AtDatabase as _, Result};
use crate::writes::IdRange;

/// Number of rows that one statement inserts.
const BATCH_ROWS: usize = 64;
/// Number of parameters per row, without the video, which all rows share.
const N_VALUES: usize = 7;

/// Inserts detections of a video within the transaction of the caller. Returns the ids, which are consecutive; `None` if
/// there are no detections.
pub(super) fn insert(
    conn: &Connection,
    video_id: i64,
    detections: impl Iterator<Item = Result<StoredDetection>>,
) -> Result<Option<IdRange>> {
    let mut batch_insert = prepare(conn, BATCH_ROWS, video_id)?;
    let (mut batch, mut n, mut last) = (Vec::with_capacity(BATCH_ROWS), 0, 0);
    for detection in detections {
        batch.push(detection?);
        if batch.len() == BATCH_ROWS {
            last = insert_rows(conn, &mut batch_insert, &batch)?;
            n += BATCH_ROWS as i64;
            batch.clear();
        }
    }
    let mut row_insert = prepare(conn, 1, video_id)?;
    for detection in batch {
        last = insert_rows(conn, &mut row_insert, &[detection])?;
        n += 1;
    }
    Ok((n > 0).then_some(IdRange { first: last - n + 1, last }))
}

/// Prepares a statement that inserts `n_rows` rows, and binds the video.
fn prepare(conn: &Connection, n_rows: usize, video_id: i64) -> Result<CachedStatement<'_>> {
    let rows: Vec<String> = (0..n_rows)
        .map(|row| {
            let values: Vec<String> =
                (0..N_VALUES).map(|value| format!("?{}", 2 + row * N_VALUES + value)).collect();
            format!("(?1, {})", values.join(", "))
        })
        .collect();
    let sql = format!(
        "INSERT OR ROLLBACK INTO player_detections (video_id, frame_number, tracking_id, bbox_x, bbox_y, bbox_width,
            bbox_height, confidence_score) VALUES {}",
        rows.join(", ")
    );
    let mut statement = conn.prepare_cached(&sql).at(conn)?;
    statement.raw_bind_parameter(1, video_id).at(conn)?;
    Ok(statement)
}

/// Inserts as many rows as the statement has. Returns the id of the last one.
fn insert_rows(
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
        let first = 2 + row * N_VALUES;
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
