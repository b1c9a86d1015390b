//! Which rows of `player_detections` a write inserted: ranges of ids, and conditions that select them.

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _};

use crate::error::{AtDatabase as _, Result};

/// Consecutive ids of detections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IdRange {
    pub(crate) first: i64,
    pub(crate) last: i64,
}

/// Up to this many ranges, a condition lists them, which is faster. SQLite limits the depth of a condition to 1,000.
const LISTED_RANGES: usize = 64;

/// Records that a write inserted the rows of a range, within the transaction of the caller.
pub(crate) fn add_range(conn: &Connection, write_id: i64, range: IdRange) -> Result<()> {
    let IdRange { first, last } = range;
    let sql = "SELECT first_id FROM
            (SELECT * FROM courtside_ranges WHERE write_id = ?1 AND first_id < ?2 ORDER BY first_id DESC LIMIT 1)
        WHERE last_id = ?2 - 1";
    let before = conn.prepare_cached(sql).at(conn)?.query_row([write_id, first], |row| row.get(0)).optional();
    let extended: Option<i64> = before.at(conn)?;
    if extended.is_none() {
        conn.prepare_cached(
            "INSERT INTO courtside_ranges (write_id, first_id, last_id, first_frame, first_x, first_y)
             SELECT ?1, ?2, ?2, frame_number, bbox_x, bbox_y FROM player_detections WHERE id = ?2",
        )
        .at(conn)?
        .execute([write_id, first])
        .at(conn)?;
    }
    set_end(conn, write_id, extended.unwrap_or(first), last)
}

/// Ends each range at the last row that exists, within the transaction of the caller. Call it before rows are inserted: they
/// get the ids after that, which the app may have freed by deleting the last rows of a range.
pub(crate) fn end_at_last_row(conn: &Connection) -> Result<()> {
    let sql = "SELECT coalesce(max(id), 0) FROM player_detections";
    let last: i64 = conn.prepare_cached(sql).at(conn)?.query_row([], |row| row.get(0)).at(conn)?;
    let sql = "DELETE FROM courtside_ranges WHERE first_id > ?1";
    conn.prepare_cached(sql).at(conn)?.execute([last]).at(conn)?;
    let sql = "UPDATE courtside_ranges SET last_id = ?1, (last_frame, last_x, last_y) =
            (SELECT frame_number, bbox_x, bbox_y FROM player_detections WHERE id = ?1)
        WHERE last_id > ?1";
    conn.prepare_cached(sql).at(conn)?.execute([last]).at(conn)?;
    Ok(())
}

/// Sets the last id of a range, within the transaction of the caller.
pub(super) fn set_end(conn: &Connection, write_id: i64, first: i64, last: i64) -> Result<()> {
    let sql = "UPDATE courtside_ranges SET last_id = ?3, (last_frame, last_x, last_y) =
            (SELECT frame_number, bbox_x, bbox_y FROM player_detections WHERE id = ?3)
        WHERE write_id = ?1 AND first_id = ?2";
    conn.prepare_cached(sql).at(conn)?.execute([write_id, first, last]).at(conn)?;
    Ok(())
}

/// A range `r` is the write's unless the app has deleted the rows and reused their ids: then the first row is another one,
/// and so is the last. One that the app only edited leaves the other as it was.
pub(super) const STILL_OURS: &str =
    "(NOT EXISTS (SELECT 1 FROM player_detections AS d WHERE d.id = r.first_id
        AND NOT (d.frame_number = r.first_frame AND d.bbox_x = r.first_x AND d.bbox_y = r.first_y))
    OR r.last_id > r.first_id AND EXISTS (SELECT 1 FROM player_detections AS d WHERE d.id = r.last_id
        AND d.frame_number = r.last_frame AND d.bbox_x = r.last_x AND d.bbox_y = r.last_y))";

/// The ranges of the rows that a write inserted.
pub(crate) fn ranges(conn: &Connection, write_id: i64) -> Result<Vec<IdRange>> {
    let sql = format!(
        "SELECT first_id, last_id FROM courtside_ranges AS r WHERE write_id = ?1 AND {STILL_OURS} ORDER BY first_id"
    );
    query_ranges(conn, &sql, write_id)
}

/// The ranges of all rows of a video that courtside inserted, visible or not.
fn ranges_of_video(conn: &Connection, video_id: i64) -> Result<Vec<IdRange>> {
    let sql = format!(
        "SELECT first_id, last_id FROM courtside_ranges AS r WHERE {STILL_OURS}
            AND write_id IN (SELECT id FROM courtside_writes WHERE video_id = ?1) ORDER BY first_id"
    );
    query_ranges(conn, &sql, video_id)
}

fn query_ranges(conn: &Connection, sql: &str, key: i64) -> Result<Vec<IdRange>> {
    let mut statement = conn.prepare_cached(sql).at(conn)?;
    let rows =
        statement.query_map([key], |row| Ok(IdRange { first: row.get(0)?, last: row.get(1)? })).at(conn)?;
    rows.collect::<rusqlite::Result<_>>().at(conn)
}

/// Rows of one video, for a condition on `player_detections`.
#[derive(Debug, Clone, Copy)]
pub(crate) enum RowSet {
    /// Those that a write inserted; none if the write is not known.
    OfWrite { video_id: i64, write_id: Option<i64> },
    /// Those that courtside did not insert.
    OfOthers { video_id: i64 },
}

impl RowSet {
    /// The condition and its parameters, in order. It names the video first, to use the index of frames.
    pub(crate) fn condition(self, conn: &Connection) -> Result<(String, Vec<Value>)> {
        let (video_id, ranges, among_all) = match self {
            Self::OfWrite { video_id, write_id: None } => {
                return Ok(("video_id = ? AND 0".into(), vec![video_id.into()]));
            }
            Self::OfWrite { video_id, write_id: Some(write_id) } => {
                (video_id, ranges(conn, write_id)?, (in_range("?"), write_id))
            }
            Self::OfOthers { video_id } => {
                let in_any = format!(
                    "EXISTS (SELECT 1 FROM courtside_writes AS w WHERE w.video_id = ? AND {})",
                    in_range("w.id")
                );
                (video_id, ranges_of_video(conn, video_id)?, (in_any, video_id))
            }
        };
        let (ids, values) = match ranges.len() {
            0 => ("0".to_owned(), Vec::new()),
            1..=LISTED_RANGES => listed(&ranges),
            _ => (among_all.0, vec![among_all.1.into()]),
        };
        let not = if matches!(self, Self::OfOthers { .. }) { "NOT " } else { "" };
        let values = std::iter::once(video_id.into()).chain(values).collect();
        Ok((format!("video_id = ? AND {not}{ids}"), values))
    }
}

fn listed(ranges: &[IdRange]) -> (String, Vec<Value>) {
    let sql = vec!["id BETWEEN ? AND ?"; ranges.len()].join(" OR ");
    (format!("({sql})"), ranges.iter().flat_map(|range| [range.first.into(), range.last.into()]).collect())
}

/// That a row is in a range of a write: one search for the range that begins last before it.
fn in_range(write_id: &str) -> String {
    format!(
        "EXISTS (SELECT 1 FROM
            (SELECT * FROM courtside_ranges WHERE write_id = {write_id} AND first_id <= player_detections.id
             ORDER BY first_id DESC LIMIT 1) AS r
         WHERE r.last_id >= player_detections.id AND {STILL_OURS})"
    )
}

/// What the rows of a write are now, as far as totals and tracks depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RowState {
    /// Number of rows.
    pub(crate) n: i64,
    /// Changes when a row gets another id, frame, track or confidence.
    pub(crate) checksum: i64,
}

/// The rows of a write, by ranges of ids: `d` joined with its range.
fn rows_by_id() -> String {
    format!(
        "FROM courtside_ranges AS r CROSS JOIN player_detections AS d NOT INDEXED
            ON d.id BETWEEN r.first_id AND r.last_id AND d.video_id = ?2
         WHERE r.write_id = ?1 AND {STILL_OURS}"
    )
}

impl RowState {
    /// Reads all rows of a write, once.
    pub(crate) fn read(conn: &Connection, write_id: i64, video_id: i64) -> Result<Self> {
        // Each row counts with its id, so that rows which exchange their tracks change the sum. All terms are small enough
        // for integers.
        let sql = format!(
            "SELECT count(*), CAST(coalesce(sum((d.tracking_id % 1000003 * 7919 + d.frame_number % 1000003 * 104729
                + CAST(d.confidence_score * 10000 AS INTEGER) % 1000003) % 1000003 * (d.id % 999983 + 1)
                % 2147483647), 0) AS INTEGER)
             {}",
            rows_by_id()
        );
        let mut statement = conn.prepare_cached(&sql).at(conn)?;
        let state = statement
            .query_row([write_id, video_id], |row| Ok(Self { n: row.get(0)?, checksum: row.get(1)? }));
        state.at(conn)
    }

    /// Number of rows of a write.
    pub(crate) fn count(conn: &Connection, write_id: i64, video_id: i64) -> Result<i64> {
        let sql = format!("SELECT count(*) {}", rows_by_id());
        conn.prepare_cached(&sql).at(conn)?.query_row([write_id, video_id], |row| row.get(0)).at(conn)
    }

    /// Whether a write has any row.
    pub(crate) fn has_any(conn: &Connection, write_id: i64, video_id: i64) -> Result<bool> {
        let sql = format!("SELECT EXISTS (SELECT 1 {})", rows_by_id());
        conn.prepare_cached(&sql).at(conn)?.query_row([write_id, video_id], |row| row.get(0)).at(conn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::library::Library;

    fn plan(conn: &Connection, sql: &str, values: &[Value]) -> String {
        let mut statement = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let lines =
            statement.query_map(rusqlite::params_from_iter(values), |row| row.get::<_, String>(3)).unwrap();
        lines.map(|line| line.unwrap() + "\n").collect()
    }

    #[test]
    fn rows_in_5000_ranges_are_searched_by_frame_or_id_and_not_scanned() {
        let folder = tempfile::tempdir().unwrap();
        let library = Library::open(folder.path().join("library.db").to_str().unwrap()).unwrap();
        let conn = &library.conn;
        conn.execute_batch(
            "INSERT INTO courtside_writes VALUES (1, 'job', 1, 0);
             WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 2 FROM numbers WHERE n < 9999)
             INSERT INTO courtside_ranges SELECT 1, n, n, 0, 0, 0, 0, 0, 0 FROM numbers",
        )
        .unwrap();
        let of_write = RowSet::OfWrite { video_id: 1, write_id: Some(1) };
        for rows in [of_write, RowSet::OfOthers { video_id: 1 }] {
            let (condition, values) = rows.condition(conn).unwrap();
            let sql = format!("SELECT bbox_x FROM player_detections WHERE {condition} ORDER BY frame_number");
            let plan = plan(conn, &sql, &values);
            assert!(
                plan.contains("SEARCH player_detections USING INDEX ix_player_detections_video_frame"),
                "{plan}"
            );
            assert!(
                plan.contains("SEARCH courtside_ranges USING PRIMARY KEY (write_id=? AND first_id<?)"),
                "{plan}"
            );
            assert!(!plan.contains("SCAN player_detections") && !plan.contains("TEMP B-TREE"), "{plan}");
        }
        let plan = plan(conn, &format!("SELECT count(*) {}", rows_by_id()), &[1.into(), 1.into()]);
        assert!(plan.contains("SEARCH d USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"), "{plan}");
        assert!(plan.contains("SEARCH r USING PRIMARY KEY (write_id=?)"), "{plan}");
        assert_eq!(ranges(conn, 1).unwrap().len(), 5_000);
    }
}
