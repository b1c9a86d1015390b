//! Sets of detections that are inserted and removed in several short transactions, because the app shares the file and
//! fails when it has to wait for longer than five seconds.
//!
//! A write is a row of `courtside_writes`, the ranges of ids that it inserted, and their tracks. It is visible once an import names it.
//! One that no import names is garbage: its writer died, or a newer import replaced it. [`collect_garbage`] removes the
//! rows. A writer that was taken for dead finds its row missing and stops.

mod garbage;
mod ranges;
mod references;

use std::thread::sleep;
use std::time::{Duration, Instant};

use rusqlite::{Connection, params};
use time::OffsetDateTime;

use crate::error::{AtDatabase as _, Result, StoreError};

pub(crate) use garbage::{collect_garbage, remove_all_rows};
pub(crate) use ranges::{IdRange, RowSet, RowState, add_range, end_at_last_row, ranges};
pub(crate) use references::{is_referred_to, is_referred_to_of_video, is_video_referred_to, referrers};

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
