//! Sets of detections that are inserted and removed in several short transactions, because the app shares the file and
//! fails when it has to wait for longer than five seconds.
//!
//! A write is a row of `courtside_writes` and the ranges of ids that it inserted. It is visible once an import names it.
//! One that no import names is garbage: its writer died, or a newer import replaced it. [`collect_garbage`] removes the
//! rows. A writer that was taken for dead finds its row missing and stops.

use std::thread::sleep;
use std::time::{Duration, Instant};

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, params};
use time::OffsetDateTime;

use crate::error::{AtDatabase as _, Result, StoreError};
use crate::library::Library;

/// How long a transaction of a write lasts at most, as far as that can be planned.
const TRANSACTION: Duration = Duration::from_millis(400);
/// Pause in which every other program that waits can write: it tries again every 100 ms (`sqlite3_busy_timeout`).
const PAUSE: Duration = Duration::from_millis(105);
/// How long transactions follow each other with short pauses only. Other programs wait for less than two seconds then, of
/// the five that the app waits.
const PAUSE_EVERY: Duration = Duration::from_millis(1500);
/// The pause after every other transaction.
const SHORT_PAUSE: Duration = Duration::from_millis(2);
/// Number of rows in the first transaction; the number follows from the speed afterwards.
const FIRST_ROWS: u64 = 20_000;
/// Most rows in a transaction, however fast the ones before were: they may have found nothing to do.
const MOST_ROWS: u64 = 150_000;
/// Age of the latest transaction at which a writer is taken for dead, in seconds.
const DEAD_AFTER_S: i64 = 10;

/// Consecutive ids of detections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IdRange {
    pub(crate) first: i64,
    pub(crate) last: i64,
}

/// Decides how many rows each transaction takes, and pauses between transactions.
pub(crate) struct Pace {
    n_rows: u64,
    started: Option<Instant>,
    paused: Instant,
}

impl Pace {
    pub(crate) fn new() -> Self {
        Self { n_rows: FIRST_ROWS, started: None, paused: Instant::now() }
    }

    /// Called before each transaction. Returns how many rows it should take.
    pub(crate) fn next(&mut self) -> u64 {
        if let Some(started) = self.started.take() {
            let taken = started.elapsed().as_secs_f64().max(1e-3);
            let n_rows = self.n_rows as f64 * TRANSACTION.as_secs_f64() / taken;
            // Grows slowly: the first rows may have been cheaper than the next.
            self.n_rows = (n_rows as u64).clamp(500, (self.n_rows * 4).min(MOST_ROWS));
            self.pause();
        }
        self.started = Some(Instant::now());
        self.n_rows
    }

    fn pause(&mut self) {
        if self.paused.elapsed() < PAUSE_EVERY {
            return sleep(SHORT_PAUSE);
        }
        sleep(PAUSE);
        self.paused = Instant::now();
    }
}

fn now_s() -> i64 {
    OffsetDateTime::now_utc().unix_timestamp()
}

/// Starts a write, within the transaction of the caller. Returns its id.
pub(crate) fn start(conn: &Connection, job_id: &str, video_id: i64) -> Result<i64> {
    let sql = "INSERT INTO courtside_writes (job_id, video_id, alive_at) VALUES (?1, ?2, ?3)";
    conn.prepare_cached(sql).at(conn)?.execute(params![job_id, video_id, now_s()]).at(conn)?;
    Ok(conn.last_insert_rowid())
}

/// Records that a write is alive, within the transaction of the caller.
///
/// # Errors
/// [`StoreError::Conflict`] if its writer was taken for dead.
pub(crate) fn keep_alive(conn: &Connection, write_id: i64) -> Result<()> {
    let sql = "UPDATE courtside_writes SET alive_at = ?2 WHERE id = ?1 AND alive_at <> 0";
    match conn.prepare_cached(sql).at(conn)?.execute([write_id, now_s()]).at(conn)? {
        0 => Err(StoreError::Conflict(
            "another program took this import for dead and removed its rows; import the job again".into(),
        )),
        _ => Ok(()),
    }
}

/// Records that a write inserted the rows of a range, within the transaction of the caller.
pub(crate) fn add_range(conn: &Connection, write_id: i64, range: IdRange) -> Result<()> {
    let extend = "UPDATE courtside_ranges SET last_id = ?3 WHERE write_id = ?1 AND last_id = ?2 - 1";
    let IdRange { first, last } = range;
    if conn.prepare_cached(extend).at(conn)?.execute([write_id, first, last]).at(conn)? > 0 {
        return Ok(());
    }
    conn.prepare_cached(
        "INSERT INTO courtside_ranges (write_id, first_id, last_id, first_frame, first_x, first_y)
         SELECT ?1, ?2, ?3, frame_number, bbox_x, bbox_y FROM player_detections WHERE id = ?2",
    )
    .at(conn)?
    .execute([write_id, first, last])
    .at(conn)?;
    Ok(())
}

/// A range is the write's unless the app has deleted the rows and reused their ids: then the first row is another one.
const STILL_OURS: &str = "NOT EXISTS (SELECT 1 FROM player_detections AS d WHERE d.id = r.first_id
        AND NOT (d.frame_number = r.first_frame AND d.bbox_x = r.first_x AND d.bbox_y = r.first_y))";

/// The rows that a write inserted.
pub(crate) fn ranges(conn: &Connection, write_id: i64) -> Result<Vec<IdRange>> {
    let sql = format!(
        "SELECT first_id, last_id FROM courtside_ranges AS r WHERE write_id = ?1 AND {STILL_OURS} ORDER BY first_id"
    );
    query_ranges(conn, &sql, write_id)
}

/// The rows of a video that courtside inserted, visible or not.
pub(crate) fn ranges_of_video(conn: &Connection, video_id: i64) -> Result<Vec<IdRange>> {
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

/// A condition on `id` that selects the rows of these ranges, and its parameters.
pub(crate) fn condition(ranges: &[IdRange]) -> (String, Vec<Value>) {
    if ranges.is_empty() {
        return ("0".into(), Vec::new());
    }
    let sql = vec!["id BETWEEN ? AND ?"; ranges.len()].join(" OR ");
    let values = ranges.iter().flat_map(|range| [range.first.into(), range.last.into()]).collect();
    (format!("({sql})"), values)
}

/// Waits until no other program writes detections of a job: until it is done, or taken for dead.
pub(crate) fn wait_for_other(conn: &Connection, job_id: &str) -> Result<()> {
    let sql = "SELECT max(alive_at) FROM courtside_writes AS w WHERE job_id = ?1
        AND NOT EXISTS (SELECT 1 FROM courtside_imports AS i WHERE i.write_id = w.id)";
    loop {
        let alive_at: Option<i64> =
            conn.prepare_cached(sql).at(conn)?.query_row([job_id], |row| row.get(0)).at(conn)?;
        match alive_at {
            Some(alive_at) if (now_s() - alive_at).abs() <= DEAD_AFTER_S => sleep(PAUSE),
            _ => return Ok(()),
        }
    }
}

/// Abandons a write: its writer cannot continue it, and [`collect_garbage`] removes its rows without waiting.
pub(crate) fn abandon(conn: &Connection, write_id: i64) -> Result<()> {
    let sql = "UPDATE courtside_writes SET alive_at = 0 WHERE id = ?1";
    conn.prepare_cached(sql).at(conn)?.execute([write_id]).at(conn)?;
    Ok(())
}

/// Abandons all writes of a video, also those that other processes continue.
pub(crate) fn abandon_all(conn: &Connection, video_id: i64) -> Result<()> {
    let sql = "UPDATE courtside_writes SET alive_at = 0 WHERE video_id = ?1";
    conn.prepare_cached(sql).at(conn)?.execute([video_id]).at(conn)?;
    Ok(())
}

/// That a write `w` is garbage: no import names it, and its writer is dead. `?1` is the time, `?2` [`DEAD_AFTER_S`].
const IS_GARBAGE: &str = "abs(?1 - w.alive_at) > ?2
    AND NOT EXISTS (SELECT 1 FROM courtside_imports AS i WHERE i.write_id = w.id)";

/// Removes the rows of all writes that no import names and whose writers are dead. Returns how many rows there were.
pub(crate) fn collect_garbage(library: &Library) -> Result<i64> {
    let sql = format!("SELECT id, video_id FROM courtside_writes AS w WHERE {IS_GARBAGE} LIMIT 1");
    let conn = &library.conn;
    let mut n_removed = 0;
    loop {
        let found: Option<(i64, i64)> = conn
            .prepare_cached(&sql)
            .at(conn)?
            .query_row([now_s(), DEAD_AFTER_S], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()
            .at(conn)?;
        let Some((write_id, video_id)) = found else {
            if n_removed > 0 {
                library.empty_log();
            }
            return Ok(n_removed);
        };
        n_removed += remove(library, write_id, video_id)?;
    }
}

/// Removes a write and its rows, unless its writer is alive after all.
fn remove(library: &Library, write_id: i64, video_id: i64) -> Result<i64> {
    let claim = format!("UPDATE courtside_writes AS w SET alive_at = 0 WHERE {IS_GARBAGE} AND w.id = ?3");
    let is_claimed =
        library.write(|conn| conn.execute(&claim, [now_s(), DEAD_AFTER_S, write_id]).at(conn))? > 0;
    if !is_claimed {
        return Ok(0);
    }
    let mut n_removed = 0;
    for range in ranges(&library.conn, write_id)? {
        n_removed += remove_rows(library, write_id, video_id, range.first)?;
    }
    library.write(|conn| {
        conn.execute("DELETE FROM courtside_ranges WHERE write_id = ?1", [write_id]).at(conn)?;
        conn.execute("DELETE FROM courtside_writes WHERE id = ?1", [write_id]).at(conn)
    })?;
    Ok(n_removed)
}

/// Removes the rows of a range from its end, so that its first row still shows whose it is. Each transaction looks where
/// the range ends now: another process may remove it too, and then the ids may be those of new rows.
fn remove_rows(library: &Library, write_id: i64, video_id: i64, first: i64) -> Result<i64> {
    let (mut pace, mut n_removed) = (Pace::new(), 0);
    loop {
        let n_rows = pace.next() as i64;
        let removed = library.write(|conn| {
            let Some(last) = end_of_garbage(conn, write_id, first)? else { return Ok(None) };
            let from = first.max(last - n_rows + 1);
            // By id: the index of the video would be read whole for each transaction.
            let sql =
                "DELETE FROM player_detections NOT INDEXED WHERE id BETWEEN ?1 AND ?2 AND video_id = ?3";
            let n = conn.prepare_cached(sql).at(conn)?.execute([from, last, video_id]).at(conn)?;
            let sql = "UPDATE courtside_ranges SET last_id = ?3 WHERE write_id = ?1 AND first_id = ?2";
            conn.prepare_cached(sql).at(conn)?.execute([write_id, first, from - 1]).at(conn)?;
            Ok::<_, StoreError>(Some(n as i64))
        })?;
        match removed {
            Some(n) => n_removed += n,
            None => return Ok(n_removed),
        }
    }
}

/// The last id of a range of an abandoned write; `None` if nothing of it is left.
fn end_of_garbage(conn: &Connection, write_id: i64, first: i64) -> Result<Option<i64>> {
    let sql = format!(
        "SELECT last_id FROM courtside_ranges AS r WHERE write_id = ?1 AND first_id = ?2 AND last_id >= first_id
            AND {STILL_OURS} AND EXISTS (SELECT 1 FROM courtside_writes WHERE id = ?1 AND alive_at = 0)"
    );
    conn.prepare_cached(&sql).at(conn)?.query_row([write_id, first], |row| row.get(0)).optional().at(conn)
}

/// Removes all detections of a video, in several transactions. Returns how many there were.
pub(crate) fn remove_all_rows(library: &Library, video_id: i64) -> Result<i64> {
    let sql = "DELETE FROM player_detections WHERE id IN
        (SELECT id FROM player_detections WHERE video_id = ?1 LIMIT ?2)";
    let (mut pace, mut n_removed) = (Pace::new(), 0);
    loop {
        let n_rows = pace.next() as i64;
        let n = library
            .write(|conn| conn.prepare_cached(sql).at(conn)?.execute([video_id, n_rows]).at(conn))?
            as i64;
        n_removed += n;
        if n < n_rows {
            return Ok(n_removed);
        }
    }
}

/// Whether a table of the app refers to one of these rows, which cannot be removed then.
pub(crate) fn is_referred_to(conn: &Connection, ranges: &[IdRange]) -> Result<bool> {
    for (table, column) in referrers(conn, "player_detections")? {
        let sql = format!("SELECT EXISTS (SELECT 1 FROM \"{table}\" WHERE \"{column}\" BETWEEN ?1 AND ?2)");
        for IdRange { first, last } in ranges {
            if conn.query_row(&sql, [first, last], |row| row.get(0)).at(conn)? {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Whether a table of the app refers to a detection of a video.
pub(crate) fn is_referred_to_of_video(conn: &Connection, video_id: i64) -> Result<bool> {
    for (table, column) in referrers(conn, "player_detections")? {
        let sql = format!(
            "SELECT EXISTS (SELECT 1 FROM \"{table}\" AS t JOIN player_detections AS d ON d.id = t.\"{column}\"
             WHERE d.video_id = ?1)"
        );
        if conn.query_row(&sql, [video_id], |row| row.get(0)).at(conn)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a table of the app, besides those of detections and jobs, refers to a video without being cleared with it.
pub(crate) fn is_video_referred_to(conn: &Connection, video_id: i64) -> Result<bool> {
    for (table, column) in referrers(conn, "videos")? {
        let sql = format!("SELECT EXISTS (SELECT 1 FROM \"{table}\" WHERE \"{column}\" = ?1)");
        let is_cleared = ["player_detections", "processing_jobs", "courtside_imports"].contains(&&*table);
        if !is_cleared && conn.query_row(&sql, [video_id], |row| row.get(0)).at(conn)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The tables and columns that refer to rows of a table and prevent their removal.
pub(crate) fn referrers(conn: &Connection, table: &str) -> Result<Vec<(String, String)>> {
    let sql = "SELECT t.name, k.\"from\" FROM sqlite_schema AS t, pragma_foreign_key_list(t.name) AS k
        WHERE t.type = 'table' AND lower(k.\"table\") = ?1 AND k.on_delete NOT IN ('CASCADE', 'SET NULL')";
    let mut statement = conn.prepare_cached(sql).at(conn)?;
    let rows = statement.query_map([table], |row| Ok((row.get(0)?, row.get(1)?))).at(conn)?;
    rows.collect::<rusqlite::Result<_>>().at(conn)
}
