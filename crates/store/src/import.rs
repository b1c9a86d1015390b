//! The bulk import: all detections of one job in one transaction.
//!
//! A million rows take about a second on one core (`examples/bench_import.rs`), half of it the two
//! indexes. What makes it so: 64 rows to a statement; `OR ROLLBACK`, which, since no single statement
//! has to be undone, saves SQLite a copy of every page a statement touches; and no foreign keys during
//! the import, for the same reason. The one reference that the rows have, to their video, is checked
//! once. Dropping the indexes and making them again is hardly faster, so the app's tables need no
//! other treatment than ours.

mod complete;

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde_json::Value;
use time::OffsetDateTime;

use crate::detections::delete_imported;
use crate::error::At as _;
use crate::library::Library;
use crate::sink::Sink;
use crate::{Result, StoreError, Target, timestamp, values, videos};

/// A job whose results are to be imported. The first three fields say what is imported. The others
/// describe a job that the library does not know yet, as one submitted from another machine, and fill
/// what is still null in one that it knows.
#[derive(Debug, Clone, PartialEq)]
pub struct ImportJob {
    /// The job.
    pub job_id: String,
    /// Its video, which must be in the library.
    pub video_id: i64,
    /// What tells one set of results from another: the SHA-256 of the results file.
    pub sha256: String,
    /// What was asked for.
    pub parameters: Value,
    /// When it was asked for; now, if that is not known.
    pub created_at: Option<OffsetDateTime>,
    /// When a worker began.
    pub started_at: Option<OffsetDateTime>,
    /// Who did it.
    pub worker_id: Option<String>,
    /// Where it ran.
    pub target: Option<Target>,
    /// The video's key in the bucket.
    pub r2_video_key: Option<String>,
}

impl ImportJob {
    /// A job of which no more is known.
    pub fn new(job_id: impl Into<String>, video_id: i64, sha256: impl Into<String>) -> Self {
        Self {
            job_id: job_id.into(),
            video_id,
            sha256: sha256.into(),
            parameters: Value::Object(serde_json::Map::new()),
            created_at: None,
            started_at: None,
            worker_id: None,
            target: None,
            r2_video_key: None,
        }
    }
}

/// What the results say beside the detections, known once they are read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Produced {
    /// Frames that were looked at.
    pub frames_processed: Option<i64>,
    /// When the job ended; now, if that is not known.
    pub completed_at: Option<OffsetDateTime>,
}

/// What an import did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImportOutcome {
    /// The job's first import.
    Imported,
    /// The job had other results here, or not all of these: so many rows of it were replaced.
    Replaced {
        /// Rows of the job that went.
        n_removed: i64,
    },
    /// These very results were here already; nothing was read.
    AlreadyImported,
}

/// An import that was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportReport {
    /// The job.
    pub job_id: String,
    /// Its video.
    pub video_id: i64,
    /// What was done.
    pub outcome: ImportOutcome,
    /// Detections of the job that are in the library now.
    pub n_detections: i64,
    /// Frames that were looked at.
    pub frames_processed: Option<i64>,
}

/// An import in the library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportRow {
    /// Its number; the rows it brought carry it.
    pub id: i64,
    /// The job.
    pub job_id: String,
    /// Its video.
    pub video_id: i64,
    /// What tells one set of results from another.
    pub sha256: String,
    /// Detections it brought.
    pub n_detections: i64,
    /// Frames that were looked at.
    pub frames_processed: Option<i64>,
    /// When it was done.
    pub imported_at: Option<OffsetDateTime>,
}

impl Library {
    /// Imports the detections that `produce` pushes, as one transaction: afterwards the library has
    /// all of them, or is as it was. The job then counts as completed and its video as processed.
    ///
    /// The same results of the same job change nothing and are not even read, unless rows of them are
    /// missing. Other results of it replace its rows, and no other job's. The file is locked for
    /// writing meanwhile, so `produce` should read from this machine, not from a network.
    ///
    /// # Errors
    /// [`StoreError::UnknownVideo`]; [`StoreError::Conflict`] where the job is another video's;
    /// [`StoreError::BadInput`] for a detection that makes no sense; [`StoreError::Busy`];
    /// [`StoreError::Full`]; and whatever `produce` returns.
    pub fn import<E: From<StoreError>>(
        &mut self,
        job: &ImportJob,
        produce: impl FnOnce(&mut Sink<'_>) -> std::result::Result<Produced, E>,
    ) -> std::result::Result<ImportReport, E> {
        let _unchecked =
            if needs_foreign_keys(&self.conn)? { None } else { Some(Unchecked::begin(&self.conn)?) };
        self.write(|conn| run(conn, job, produce))
    }

    /// The imports of a video, newest first.
    ///
    /// # Errors
    /// [`StoreError::BadValue`] for a row that cannot be understood.
    pub fn imports(&self, video_id: i64) -> Result<Vec<ImportRow>> {
        let conn = &self.conn;
        let sql = "SELECT * FROM courtside_imports WHERE video_id = ?1 ORDER BY imported_at DESC, id DESC";
        let mut statement = conn.prepare_cached(sql).at(conn)?;
        let rows = statement.query_map([video_id], read).at(conn)?;
        rows.collect::<rusqlite::Result<_>>().at(conn)
    }

    /// The import of a job.
    ///
    /// # Errors
    /// [`StoreError::BadValue`] for a row that cannot be understood.
    pub fn import_of(&self, job_id: &str) -> Result<Option<ImportRow>> {
        import_of(&self.conn, job_id)
    }
}

/// Whether another table refers to detections: rows that go must then be checked one by one.
fn needs_foreign_keys(conn: &Connection) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_schema AS t, pragma_foreign_key_list(t.name) AS k
        WHERE t.type = 'table' AND lower(k.\"table\") = 'player_detections')";
    conn.query_row(sql, [], |row| row.get(0)).at(conn)
}

/// While it lives, foreign keys are not checked.
struct Unchecked<'a>(&'a Connection);

impl<'a> Unchecked<'a> {
    fn begin(conn: &'a Connection) -> Result<Self> {
        conn.execute_batch("PRAGMA foreign_keys = OFF").at(conn)?;
        Ok(Self(conn))
    }
}

impl Drop for Unchecked<'_> {
    fn drop(&mut self) {
        // Outside of a transaction this cannot fail, and the transaction has ended before.
        let _ = self.0.execute_batch("PRAGMA foreign_keys = ON");
    }
}

fn run<E: From<StoreError>>(
    conn: &Connection,
    job: &ImportJob,
    produce: impl FnOnce(&mut Sink<'_>) -> std::result::Result<Produced, E>,
) -> std::result::Result<ImportReport, E> {
    let prior = check(conn, job)?;
    if let Some(prior) = &prior
        && prior.sha256 == job.sha256
        && is_whole(conn, prior)?
    {
        let there = Produced { frames_processed: prior.frames_processed, completed_at: None };
        complete::mend(conn, job, prior.n_detections, there)?;
        return Ok(report(job, ImportOutcome::AlreadyImported, prior.n_detections, prior.frames_processed));
    }
    let outcome = match prior {
        Some(prior) => ImportOutcome::Replaced { n_removed: delete_imported(conn, prior.id)? as i64 },
        None => ImportOutcome::Imported,
    };
    let import_id = begin(conn, job)?;
    let mut sink = Sink::new(conn, job.video_id, import_id)?;
    let produced = produce(&mut sink)?;
    let (n_detections, range) = sink.close()?;
    note(conn, import_id, n_detections, produced.frames_processed, range)?;
    complete::complete(conn, job, n_detections, produced)?;
    Ok(report(job, outcome, n_detections, produced.frames_processed))
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

/// The video is there, the job is that video's; gives the job's import so far.
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
                "job {} is of video {video_id} here, but its results are of video {}; was it submitted from another library?",
                job.job_id, job.video_id
            )));
        }
    }
    Ok(prior)
}

/// Whether every row that an import brought is still there: the app may have removed some.
fn is_whole(conn: &Connection, import: &ImportRow) -> Result<bool> {
    let sql = "SELECT count(*) FROM player_detections WHERE import_id = ?1
        AND id BETWEEN (SELECT first_detection_id FROM courtside_imports WHERE id = ?1)
            AND (SELECT last_detection_id FROM courtside_imports WHERE id = ?1)";
    let n_there: i64 = conn.query_row(sql, [import.id], |row| row.get(0)).at(conn)?;
    Ok(n_there == import.n_detections)
}

/// Notes the import, so that its rows can carry its number.
fn begin(conn: &Connection, job: &ImportJob) -> Result<i64> {
    let sql = "INSERT INTO courtside_imports (job_id, video_id, sha256, n_detections, imported_at)
        VALUES (?1, ?2, ?3, 0, ?4)
        ON CONFLICT (job_id) DO UPDATE SET sha256 = excluded.sha256, imported_at = excluded.imported_at
        RETURNING id";
    let now = timestamp::to_text(OffsetDateTime::now_utc());
    conn.query_row(sql, params![job.job_id, job.video_id, job.sha256, now], |row| row.get(0)).at(conn)
}

/// Completes the note of the import.
fn note(conn: &Connection, id: i64, n: i64, frames: Option<i64>, range: Option<(i64, i64)>) -> Result<()> {
    conn.execute(
        "UPDATE courtside_imports SET n_detections = ?2, frames_processed = ?3, first_detection_id = ?4,
            last_detection_id = ?5 WHERE id = ?1",
        params![id, n, frames, range.map(|(first, _)| first), range.map(|(_, last)| last)],
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
