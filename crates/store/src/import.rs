//! Bulk import: all detections of one job in one transaction.
//!
//! A million rows take about a second on one core (`examples/bench_import.rs`), half of that for the
//! two indexes. Three things make this possible: one statement inserts 64 rows; `OR ROLLBACK` means
//! that SQLite never undoes a single statement and needs no copy of the pages that it changes; and
//! foreign keys are off during the import, for the same reason. The only reference that the rows have,
//! to their video, is checked once. Dropping and recreating the indexes is hardly faster, so the app's
//! tables are treated like new ones.

mod complete;
mod types;

pub use types::{ImportJob, ImportOutcome, ImportReport, ImportRow, ResultsSummary};

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use time::OffsetDateTime;

use crate::detection_writer::DetectionWriter;
use crate::detections::delete_imported;
use crate::error::{AtDatabase as _, Result, StoreError};
use crate::library::Library;
use crate::{timestamp, values, videos};

impl Library {
    /// Imports the detections that `read_results` pushes, in one transaction. On success, the job is marked
    /// as completed and its video as processed; on failure, nothing is changed.
    ///
    /// If the library already has the same results of the job, nothing is read or changed, unless rows
    /// are missing. Other results replace the rows of this job only. The database is locked for writing
    /// during the import, so `read_results` should read from a local file, not from a network.
    ///
    /// # Errors
    /// [`StoreError::UnknownVideo`]; [`StoreError::Conflict`] if the job belongs to another video;
    /// [`StoreError::BadInput`] for an invalid detection; [`StoreError::Busy`]; [`StoreError::Full`]; and
    /// all errors of `read_results`.
    pub fn import<E: From<StoreError>>(
        &mut self,
        job: &ImportJob,
        read_results: impl FnOnce(&mut DetectionWriter<'_>) -> std::result::Result<ResultsSummary, E>,
    ) -> std::result::Result<ImportReport, E> {
        let _foreign_keys_off =
            if needs_foreign_keys(&self.conn)? { None } else { Some(ForeignKeysOff::new(&self.conn)?) };
        self.write(|conn| run(conn, job, read_results))
    }

    /// The imports of a video, newest first.
    ///
    /// # Errors
    /// [`StoreError::BadValue`] for a row with an invalid value.
    pub fn imports(&self, video_id: i64) -> Result<Vec<ImportRow>> {
        let conn = &self.conn;
        let sql = "SELECT * FROM courtside_imports WHERE video_id = ?1 ORDER BY imported_at DESC, id DESC";
        let mut statement = conn.prepare_cached(sql).at(conn)?;
        let rows = statement.query_map([video_id], read).at(conn)?;
        rows.collect::<rusqlite::Result<_>>().at(conn)
    }

    /// The import of a job; `None` if its results were not imported.
    ///
    /// # Errors
    /// [`StoreError::BadValue`] for a row with an invalid value.
    pub fn import_of(&self, job_id: &str) -> Result<Option<ImportRow>> {
        import_of(&self.conn, job_id)
    }
}

/// Whether another table refers to detections. If so, each deleted row must be checked.
fn needs_foreign_keys(conn: &Connection) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_schema AS t, pragma_foreign_key_list(t.name) AS k
        WHERE t.type = 'table' AND lower(k.\"table\") = 'player_detections')";
    conn.query_row(sql, [], |row| row.get(0)).at(conn)
}

/// Switches foreign keys off until it is dropped.
struct ForeignKeysOff<'a>(&'a Connection);

impl<'a> ForeignKeysOff<'a> {
    fn new(conn: &'a Connection) -> Result<Self> {
        conn.execute_batch("PRAGMA foreign_keys = OFF").at(conn)?;
        Ok(Self(conn))
    }
}

impl Drop for ForeignKeysOff<'_> {
    fn drop(&mut self) {
        // Cannot fail, because the transaction has ended.
        let _ = self.0.execute_batch("PRAGMA foreign_keys = ON");
    }
}

fn run<E: From<StoreError>>(
    conn: &Connection,
    job: &ImportJob,
    read_results: impl FnOnce(&mut DetectionWriter<'_>) -> std::result::Result<ResultsSummary, E>,
) -> std::result::Result<ImportReport, E> {
    let prior = check(conn, job)?;
    if let Some(prior) = &prior
        && prior.sha256 == job.sha256
        && is_complete(conn, prior)?
    {
        let summary = ResultsSummary { frames_processed: prior.frames_processed, completed_at: None };
        complete::complete_if_needed(conn, job, prior.n_detections, summary)?;
        return Ok(report(job, ImportOutcome::AlreadyImported, prior.n_detections, prior.frames_processed));
    }
    let outcome = match prior {
        Some(prior) => ImportOutcome::Replaced { n_removed: delete_imported(conn, prior.id)? as i64 },
        None => ImportOutcome::Imported,
    };
    let import_id = insert_import(conn, job)?;
    let mut writer = DetectionWriter::new(conn, job.video_id, import_id)?;
    let summary = read_results(&mut writer)?;
    let (n_detections, id_range) = writer.finish()?;
    finish_import(conn, import_id, n_detections, summary.frames_processed, id_range)?;
    complete::complete(conn, job, n_detections, summary)?;
    Ok(report(job, outcome, n_detections, summary.frames_processed))
}

fn report(
    job: &ImportJob,
    outcome: ImportOutcome,
    n_detections: i64,
    frames_processed: Option<i64>,
) -> ImportReport {
    ImportReport {
        job_id: job.job_id.clone(),
        video_id: job.video_id,
        outcome,
        n_detections,
        frames_processed,
    }
}

/// Checks that the video exists and that the job belongs to it. Returns the previous import of the job.
fn check(conn: &Connection, job: &ImportJob) -> Result<Option<ImportRow>> {
    if videos::video(conn, job.video_id)?.is_none() {
        return Err(StoreError::UnknownVideo(job.video_id));
    }
    let prior = import_of(conn, &job.job_id)?;
    let sql = "SELECT video_id FROM processing_jobs WHERE id = ?1";
    let known: Option<i64> =
        conn.query_row(sql, [&job.job_id], |row| row.get(0)).optional().at(conn)?.flatten();
    for video_id in [known, prior.as_ref().map(|prior| prior.video_id)].into_iter().flatten() {
        if video_id != job.video_id {
            return Err(StoreError::Conflict(format!(
                "job {} belongs to video {video_id} in this library, but its results are for video {}; it may have been \
                 submitted from another library",
                job.job_id, job.video_id
            )));
        }
    }
    Ok(prior)
}

/// Whether all rows of an import still exist. The app may have deleted some.
fn is_complete(conn: &Connection, import: &ImportRow) -> Result<bool> {
    let sql = "SELECT count(*) FROM player_detections WHERE import_id = ?1
        AND id BETWEEN (SELECT first_detection_id FROM courtside_imports WHERE id = ?1)
            AND (SELECT last_detection_id FROM courtside_imports WHERE id = ?1)";
    let n_found: i64 = conn.query_row(sql, [import.id], |row| row.get(0)).at(conn)?;
    Ok(n_found == import.n_detections)
}

/// Inserts the row of the import and returns its id, which its detections refer to.
fn insert_import(conn: &Connection, job: &ImportJob) -> Result<i64> {
    let sql = "INSERT INTO courtside_imports (job_id, video_id, sha256, n_detections, imported_at)
        VALUES (?1, ?2, ?3, 0, ?4)
        ON CONFLICT (job_id) DO UPDATE SET sha256 = excluded.sha256, imported_at = excluded.imported_at
        RETURNING id";
    let now = timestamp::to_text(OffsetDateTime::now_utc());
    conn.query_row(sql, params![job.job_id, job.video_id, job.sha256, now], |row| row.get(0)).at(conn)
}

/// Stores the result of the import in its row.
fn finish_import(
    conn: &Connection,
    id: i64,
    n: i64,
    frames: Option<i64>,
    id_range: Option<(i64, i64)>,
) -> Result<()> {
    conn.execute(
        "UPDATE courtside_imports SET n_detections = ?2, frames_processed = ?3, first_detection_id = ?4,
            last_detection_id = ?5 WHERE id = ?1",
        params![id, n, frames, id_range.map(|(first, _)| first), id_range.map(|(_, last)| last)],
    )
    .at(conn)?;
    Ok(())
}

fn import_of(conn: &Connection, job_id: &str) -> Result<Option<ImportRow>> {
    let sql = "SELECT * FROM courtside_imports WHERE job_id = ?1";
    conn.prepare_cached(sql).at(conn)?.query_row([job_id], read).optional().at(conn)
}

fn read(row: &Row<'_>) -> rusqlite::Result<ImportRow> {
    Ok(ImportRow {
        id: row.get("id")?,
        job_id: row.get("job_id")?,
        video_id: row.get("video_id")?,
        sha256: row.get("sha256")?,
        n_detections: row.get("n_detections")?,
        frames_processed: row.get("frames_processed")?,
        imported_at: values::time(row, "courtside_imports", "imported_at")?,
    })
}
