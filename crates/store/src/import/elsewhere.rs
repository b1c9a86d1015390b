//! Detections that another program has imported from the same results. An older importer says nowhere that it imports a
//! job, so its rows are all that shows it.

use rusqlite::params_from_iter;

use super::staging::Staged;
use crate::detections::{StoredDetection, read};
use crate::error::{AtDatabase as _, Result, StoreError};
use crate::library::Library;
use crate::writes::{IdRange, RowSet};

/// Largest difference of a coordinate. Results have two decimals.
const MAX_PIXELS: f64 = 0.011;
/// Largest difference of a confidence. Results have four decimals.
const MAX_CONFIDENCE: f64 = 0.000_11;

/// Most ranges that the rows may be in, because they are recorded in one transaction. An importer writes few.
const MAX_RANGES: usize = 10_000;

/// The rows of a video that courtside did not insert, if they are exactly the detections to import.
pub(super) fn find(library: &Library, video_id: i64, staged: &Staged) -> Result<Option<Vec<IdRange>>> {
    let conn = &library.conn;
    let (condition, values) = RowSet::OfOthers { video_id }.condition(conn)?;
    let params = || params_from_iter(&values);
    let rows = format!("FROM player_detections WHERE {condition}");
    let n: i64 = conn.query_row(&format!("SELECT count(*) {rows}"), params(), |row| row.get(0)).at(conn)?;
    if n == 0 || n as u64 != staged.n || !staged.is_ordered {
        return Ok(None);
    }
    let sql = format!("SELECT {} {rows} ORDER BY frame_number, tracking_id", crate::detections::COLUMNS);
    let mut statement = conn.prepare(&sql).at(conn)?;
    let mut found = statement.query(params()).at(conn)?;
    let (mut wanted, mut ids) = (staged.read()?, Vec::with_capacity(n as usize));
    while let (Some(row), Some(wanted)) = (found.next().at(conn)?, wanted.next()) {
        let row = read(row).at(conn)?;
        if !is_same(&row.detection, &wanted?) {
            return Ok(None);
        }
        ids.push(row.id);
    }
    ids.sort_unstable();
    let ranges = consecutive(&ids);
    match ranges.len() <= MAX_RANGES {
        true => Ok(Some(ranges)),
        false => Err(StoreError::Conflict(format!(
            "another program has imported these results already, between other rows; delete the detections of video \
             {video_id} in that program, then import again"
        ))),
    }
}

fn is_same(a: &StoredDetection, b: &StoredDetection) -> bool {
    let is_near = a.bbox.iter().zip(b.bbox).all(|(a, b)| (a - b).abs() <= MAX_PIXELS);
    (a.frame, a.track_id) == (b.frame, b.track_id)
        && is_near
        && (a.confidence - b.confidence).abs() <= MAX_CONFIDENCE
}

/// The ranges of sorted ids. A range ends at every gap: the rows in it are others'.
fn consecutive(ids: &[i64]) -> Vec<IdRange> {
    let range = |chunk: &[i64]| Some(IdRange { first: *chunk.first()?, last: *chunk.last()? });
    ids.chunk_by(|a, b| a + 1 == *b).filter_map(range).collect()
}
