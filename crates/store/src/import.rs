//! Bulk import of the detections of one job.
//!
//! The detections are read and checked first, into a temporary file. Then they are written in transactions of less than
//! half a second, with pauses in which other programs can write; see [`writes`]. The last transaction makes them visible
//! and completes the job. If the process dies before, the next import removes what it wrote.
//!
//! A million rows take about two seconds on one core (`examples/bench_import.rs`), most of it for the two indexes. Foreign
//! keys are off during the import, because the only reference that the rows have, to their video, is checked once for each
//! transaction.

mod complete;
mod elsewhere;
mod insert;
mod run;
mod staging;
mod types;

pub use staging::DetectionWriter;
pub use types::{ImportJob, ImportOutcome, ImportReport, ImportRow, IncompleteImport, ResultsSummary};

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use time::OffsetDateTime;

use crate::error::{AtDatabase as _, Result, StoreError};
use crate::library::Library;
use crate::values::Reader;
use crate::writes::{self, IdRange, RowState};
use crate::{jobs, stored, timestamp, videos};

use run::Import;
use staging::Staged;

impl Library {
    /// Imports the detections that `read_results` pushes. They become visible at once, in the transaction that marks the
    /// job as completed and its video as processed; on failure, nothing is changed.
    ///
    /// If the library already has the same results of the job, nothing is read or changed, unless rows
    /// are missing. If another program has imported them, its rows are used. Other results replace the rows of this job
    /// only. Other programs can write to the database during the import.
    ///
    /// # Errors
    /// [`StoreError::UnknownVideo`]; [`StoreError::Conflict`] if the job belongs to another video;
    /// [`StoreError::BadInput`] for an invalid detection; [`StoreError::Busy`]; [`StoreError::Full`]; and
    /// all errors of `read_results`.
    pub fn import<E: From<StoreError>>(
        &mut self,
        job: &ImportJob,
        read_results: impl FnOnce(&mut DetectionWriter) -> std::result::Result<ResultsSummary, E>,
    ) -> std::result::Result<ImportReport, E> {
        self.set_up()?;
        writes::wait_for_other(&self.conn, &job.job_id)?;
        writes::collect_garbage(self)?;
        let prior = check(self, job)?;
        if let Some(prior) = prior.as_ref().filter(|prior| prior.sha256 == job.sha256)
            && count(&self.conn, prior)? == prior.n_detections
        {
            return Ok(self.already_imported(job, prior)?);
        }
        if let Some(prior) = &prior {
            check_references(&self.conn, prior)?;
        }
        let mut writer = DetectionWriter::new(self.path())?;
        let summary = read_results(&mut writer)?;
        let staged = writer.finish(&self.conn)?;
        Ok(Import::new(self, job, &staged, summary, prior)?.run()?)
    }

    fn already_imported(&self, job: &ImportJob, prior: &ImportRow) -> Result<ImportReport> {
        let summary = ResultsSummary { frames_processed: prior.frames_processed, completed_at: None };
        self.write(|conn| complete::complete_if_needed(conn, &self.app, job, prior.n_detections, summary))?;
        Ok(report(job, ImportOutcome::AlreadyImported, prior.n_detections, prior.frames_processed))
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

    /// The imports that have lost rows since, because the app deleted them, oldest first. All rows are counted.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`] where the file cannot be read.
    pub fn incomplete_imports(&self) -> Result<Vec<IncompleteImport>> {
        let conn = &self.conn;
        let mut statement =
            conn.prepare_cached("SELECT * FROM courtside_imports ORDER BY imported_at, id").at(conn)?;
        let imports =
            statement.query_map([], read).at(conn)?.collect::<rusqlite::Result<Vec<_>>>().at(conn)?;
        let mut incomplete = Vec::new();
        for import in imports {
            let n_left = count(conn, &import)?;
            if n_left != import.n_detections {
                incomplete.push(IncompleteImport { import, n_left });
            }
        }
        Ok(incomplete)
    }

    /// Whether a job is imported and all its rows still exist: the app may have deleted some.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`] where the file cannot be read.
    pub fn has_all_rows(&self, job_id: &str) -> Result<bool> {
        let Some(import) = self.import_of(job_id)? else { return Ok(false) };
        Ok(count(&self.conn, &import)? == import.n_detections)
    }

    /// The import of a job; `None` if its results were not imported.
    ///
    /// # Errors
    /// [`StoreError::BadValue`] for a row with an invalid value.
    pub fn import_of(&self, job_id: &str) -> Result<Option<ImportRow>> {
        import_of(&self.conn, job_id)
    }
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
fn check(library: &Library, job: &ImportJob) -> Result<Option<ImportRow>> {
    let conn = &library.conn;
    if !videos::exists(conn, job.video_id)? {
        return Err(StoreError::UnknownVideo(job.video_id));
    }
    let prior = import_of(conn, &job.job_id)?;
    let known = jobs::video_of(conn, &library.app, &job.job_id)?.and_then(|(video_id, _)| video_id);
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

/// Refuses to replace rows that a table of the app refers to.
fn check_references(conn: &Connection, prior: &ImportRow) -> Result<()> {
    match writes::is_referred_to(conn, &rows_of(conn, prior)?)? {
        false => Ok(()),
        true => Err(StoreError::Conflict(format!(
            "other rows of the database refer to detections of job {}; nothing was changed",
            prior.job_id
        ))),
    }
}

/// The rows of an import.
pub(crate) fn rows_of(conn: &Connection, import: &ImportRow) -> Result<Vec<IdRange>> {
    import.write_id.map_or(Ok(Vec::new()), |write_id| writes::ranges(conn, write_id))
}

/// How many rows of an import exist. The app may have deleted some.
pub(crate) fn count(conn: &Connection, import: &ImportRow) -> Result<i64> {
    import.write_id.map_or(Ok(0), |write_id| RowState::count(conn, write_id, import.video_id))
}

/// Inserts or updates the row of the import. `state`: the state of its rows, if their tracks are stored.
fn upsert(
    conn: &Connection,
    job: &ImportJob,
    write_id: i64,
    staged: &Staged,
    state: Option<RowState>,
    frames_processed: Option<i64>,
) -> Result<()> {
    let sql = "INSERT INTO courtside_imports (job_id, video_id, sha256, n_detections, frames_processed, imported_at,
            write_id, n_frames_with_detections, n_rows, checksum)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
        ON CONFLICT (job_id) DO UPDATE SET video_id = excluded.video_id, sha256 = excluded.sha256,
            n_detections = excluded.n_detections, frames_processed = excluded.frames_processed,
            imported_at = excluded.imported_at, write_id = excluded.write_id,
            n_frames_with_detections = excluded.n_frames_with_detections, n_rows = excluded.n_rows,
            checksum = excluded.checksum";
    let now = timestamp::to_text(OffsetDateTime::now_utc());
    let params = params![
        job.job_id,
        job.video_id,
        job.sha256,
        staged.n as i64,
        frames_processed,
        now,
        write_id,
        state.map(|_| staged.n_frames),
        state.map(|state| state.n),
        state.map(|state| state.checksum),
    ];
    conn.execute(sql, params).at(conn)?;
    Ok(())
}

pub(crate) fn import_of(conn: &Connection, job_id: &str) -> Result<Option<ImportRow>> {
    let sql = "SELECT * FROM courtside_imports WHERE job_id = ?1";
    conn.prepare_cached(sql).at(conn)?.query_row([job_id], read).optional().at(conn)
}

pub(crate) fn read(row: &Row<'_>) -> rusqlite::Result<ImportRow> {
    Ok(ImportRow {
        id: row.get("id")?,
        job_id: row.get("job_id")?,
        video_id: row.get("video_id")?,
        sha256: row.get("sha256")?,
        n_detections: row.get("n_detections")?,
        frames_processed: row.get("frames_processed")?,
        imported_at: Reader::new(row).time("imported_at"),
        write_id: row.get("write_id")?,
        stored: stored::read(row)?,
    })
}
