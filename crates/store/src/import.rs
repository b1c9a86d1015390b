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
mod staging;
mod types;

pub use staging::DetectionWriter;
pub use types::{ImportJob, ImportOutcome, ImportReport, ImportRow, ResultsSummary};

use rusqlite::{Connection, OptionalExtension as _, Row, params, params_from_iter};
use time::OffsetDateTime;

use crate::error::{AtDatabase as _, Result, StoreError};
use crate::library::Library;
use crate::writes::{self, IdRange, Pace};
use crate::{jobs, timestamp, tracks, values, videos};

use staging::Staged;

/// How often the search for rows of another importer is repeated if the database changes meanwhile.
const MAX_SEARCHES: u32 = 3;

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
        Ok(Import { library: self, job, staged: &staged, summary, prior }.run()?)
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

/// An import whose detections are staged.
struct Import<'a> {
    library: &'a Library,
    job: &'a ImportJob,
    staged: &'a Staged,
    summary: ResultsSummary,
    /// The import that it replaces.
    prior: Option<ImportRow>,
}

impl Import<'_> {
    fn run(self) -> Result<ImportReport> {
        let n_replaced = match &self.prior {
            Some(prior) => Some(count(&self.library.conn, prior)?),
            None => None,
        };
        // If this job has no rows here, another program may have inserted them.
        if n_replaced.unwrap_or(0) == 0
            && let Some(report) = self.use_rows_of_other_importer()?
        {
            return Ok(report);
        }
        let mut write_id = None;
        let written = self.write_without_foreign_keys(&mut write_id);
        if let (Err(_), Some(write_id)) = (&written, write_id) {
            let _ = writes::abandon(&self.library.conn, write_id);
        }
        let is_ours = written.inspect_err(|_| drop(writes::collect_garbage(self.library)))?;
        self.library.empty_log();
        writes::collect_garbage(self.library)?;
        let outcome = match n_replaced {
            _ if !is_ours => ImportOutcome::AlreadyImported,
            Some(n_removed) => ImportOutcome::Replaced { n_removed },
            None => ImportOutcome::Imported,
        };
        Ok(self.report(outcome))
    }

    fn report(&self, outcome: ImportOutcome) -> ImportReport {
        report(self.job, outcome, self.staged.n as i64, self.summary.frames_processed)
    }

    /// Uses the rows that another program has imported from the same results, if there are any.
    fn use_rows_of_other_importer(&self) -> Result<Option<ImportReport>> {
        let library = self.library;
        for _ in 0..MAX_SEARCHES {
            let version = data_version(&library.conn)?;
            let rows = elsewhere::find(library, self.job.video_id, self.staged)?;
            let is_current = library.write(|conn| {
                if data_version(conn)? != version {
                    return Ok(false);
                }
                if let Some(rows) = &rows {
                    videos::register(conn, &library.app, self.job.video_id)?;
                    let write_id = writes::start(conn, &self.job.job_id, self.job.video_id)?;
                    rows.iter().try_for_each(|range| writes::add_range(conn, write_id, *range))?;
                    self.finish(conn, write_id)?;
                }
                Ok::<_, StoreError>(true)
            })?;
            if is_current {
                return Ok(rows.map(|_| self.report(ImportOutcome::AlreadyImported)));
            }
        }
        Ok(None)
    }

    fn write_without_foreign_keys(&self, write_id: &mut Option<i64>) -> Result<bool> {
        let _foreign_keys_off = match writes::referrers(&self.library.conn, "player_detections")?.is_empty() {
            true => Some(ForeignKeysOff::new(&self.library.conn)?),
            false => None,
        };
        self.write_rows(write_id)
    }

    /// Writes the rows and makes them visible. Returns `false` if another process imported the same results meanwhile.
    fn write_rows(&self, write_id: &mut Option<i64>) -> Result<bool> {
        let (job, mut rows, mut pace) = (self.job, self.staged.read()?, Pace::new());
        loop {
            let n = pace.next();
            let is_last = rows.n_left <= n;
            let is_ours = self.library.write(|conn| {
                let id = match *write_id {
                    Some(id) => id,
                    None => {
                        videos::register(conn, &self.library.app, job.video_id)?;
                        writes::start(conn, &job.job_id, job.video_id)?
                    }
                };
                writes::keep_alive(conn, id)?;
                if !videos::is_registered(conn, &self.library.app, job.video_id)? {
                    return Err(StoreError::UnknownVideo(job.video_id));
                }
                if let Some(range) = insert::insert(conn, job.video_id, rows.by_ref().take(n as usize))? {
                    writes::add_range(conn, id, range)?;
                }
                let is_ours = !is_last || self.finish(conn, id)?;
                Ok(is_ours.then_some(id).map_or((id, false), |id| (id, true)))
            });
            let (id, is_ours) = is_ours?;
            *write_id = Some(id);
            if is_last {
                return Ok(is_ours);
            }
        }
    }

    /// Makes the rows of a write visible and completes the job, within the transaction of the caller. If another process
    /// imported the same results meanwhile, abandons the write and returns `false`.
    fn finish(&self, conn: &Connection, write_id: i64) -> Result<bool> {
        let Self { job, staged, summary, .. } = self;
        let current = import_of(conn, &job.job_id)?;
        if current != self.prior && current.as_ref().is_some_and(|import| import.sha256 == job.sha256) {
            writes::abandon(conn, write_id)?;
            return Ok(false);
        }
        if let Some(replaced) = current.and_then(|import| import.write_id) {
            writes::abandon(conn, replaced)?;
        }
        let n_detections = staged.n as i64;
        if count_rows(conn, &writes::ranges(conn, write_id)?, job.video_id)? != n_detections {
            return Err(StoreError::Conflict(format!(
                "detections of job {} were removed while it was imported; import it again",
                job.job_id
            )));
        }
        let import_id = upsert(conn, job, write_id, staged, summary.frames_processed)?;
        tracks::store(conn, import_id, &staged.tracks)?;
        complete::complete(conn, &self.library.app, job, n_detections, *summary)?;
        Ok(true)
    }
}

/// A number that changes when another connection changes the database.
fn data_version(conn: &Connection) -> Result<i64> {
    conn.query_row("PRAGMA data_version", [], |row| row.get(0)).at(conn)
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
    count_rows(conn, &rows_of(conn, import)?, import.video_id)
}

fn count_rows(conn: &Connection, ranges: &[IdRange], video_id: i64) -> Result<i64> {
    let (condition, mut values) = writes::condition(ranges);
    values.push(video_id.into());
    // By id, not by frame: the ids of an import are few ranges.
    let sql =
        format!("SELECT count(*) FROM player_detections NOT INDEXED WHERE {condition} AND video_id = ?");
    conn.query_row(&sql, params_from_iter(values), |row| row.get(0)).at(conn)
}

/// Inserts or updates the row of the import and returns its id.
fn upsert(
    conn: &Connection,
    job: &ImportJob,
    write_id: i64,
    staged: &Staged,
    frames_processed: Option<i64>,
) -> Result<i64> {
    let sql = "INSERT INTO courtside_imports (job_id, video_id, sha256, n_detections, frames_processed, imported_at,
            write_id, n_frames_with_detections)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
        ON CONFLICT (job_id) DO UPDATE SET video_id = excluded.video_id, sha256 = excluded.sha256,
            n_detections = excluded.n_detections, frames_processed = excluded.frames_processed,
            imported_at = excluded.imported_at, write_id = excluded.write_id,
            n_frames_with_detections = excluded.n_frames_with_detections
        RETURNING id";
    let now = timestamp::to_text(OffsetDateTime::now_utc());
    let params = params![
        job.job_id,
        job.video_id,
        job.sha256,
        staged.n as i64,
        frames_processed,
        now,
        write_id,
        staged.n_frames
    ];
    conn.query_row(sql, params, |row| row.get(0)).at(conn)
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
        n_frames_with_detections: row.get("n_frames_with_detections")?,
        frames_processed: row.get("frames_processed")?,
        imported_at: values::time(row, "courtside_imports", "imported_at")?,
        write_id: row.get("write_id")?,
    })
}
