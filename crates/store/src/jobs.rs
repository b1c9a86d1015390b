//! Jobs in the library. For a job in the bucket, its manifest is authoritative; the rows of `courtside_jobs` are updated
//! from it. The app's own jobs are in `processing_jobs`, where a job of courtside has a row only when it is over; see
//! [`publish`]. Jobs of unknown types belong to the app and are not visible here.

mod publish;
mod read;
mod types;

pub use types::{JobFilter, JobRow, JobUpdate, NewJob};

use rusqlite::{Connection, OptionalExtension as _, named_params, params};
use serde_json::Value;

use crate::enums::{JobStatus, StoredTarget, SubmissionState};
use crate::error::{AtDatabase as _, Result, StoreError};
use crate::library::Library;
use crate::schema::columns::AppColumns;
use crate::{timestamp, videos};

use read::{Read, read};

/// The columns that `courtside_jobs` and the app's `processing_jobs` have in common. An older table of the app may lack
/// any but the first three.
const COMMON: [&str; 16] = [
    "id",
    "job_type",
    "status",
    "video_id",
    "parameters",
    "progress_current",
    "progress_total",
    "progress_message",
    "result",
    "error_message",
    "created_at",
    "started_at",
    "completed_at",
    "worker_id",
    "target",
    "r2_video_key",
];

/// Selects courtside's jobs and those of the app, as `j`.
fn select(app: &AppColumns) -> String {
    let common = COMMON.join(", ");
    let apps = match app.jobs.is_empty() {
        true => String::new(),
        false => format!(
            "UNION ALL SELECT {}, NULL, p.rowid FROM processing_jobs AS p
             WHERE NOT EXISTS (SELECT 1 FROM courtside_jobs AS c WHERE c.id = p.id)
                AND job_type COLLATE NOCASE IN ('VIDEO_DETECTION', 'TRACK_REPROCESS')",
            app.jobs.select("p", &COMMON)
        ),
    };
    format!(
        "SELECT j.*, i.id IS NOT NULL AS imported
         FROM (SELECT {common}, submission, rowid AS n FROM courtside_jobs {apps}) AS j
            LEFT JOIN courtside_imports AS i ON i.job_id = j.id
         WHERE 1"
    )
}

impl Library {
    /// Adds a job.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if the id exists, [`StoreError::UnknownVideo`], [`StoreError::BadInput`] for
    /// an id that is empty or too long.
    pub fn insert_job(&mut self, new: &NewJob) -> Result<()> {
        self.write(|conn| insert(conn, &self.app, new))
    }

    /// The job with this id; `None` if it is unknown, or has an unknown type.
    ///
    /// # Errors
    /// [`StoreError::BadValue`] for a status that is not known.
    pub fn job(&self, id: &str) -> Result<Option<JobRow>> {
        let conn = &self.conn;
        let sql = format!("{} AND j.id = ?1", select(&self.app));
        let found = conn.prepare_cached(&sql).at(conn)?.query_row([id], read).optional().at(conn)?;
        match found {
            None => Ok(None),
            Some(Read::Job(job)) => Ok(Some(*job)),
            Some(Read::Skipped(detail)) => Err(StoreError::BadValue { path: self.path().to_owned(), detail }),
        }
    }

    /// Rows of jobs that [`Self::jobs`] leaves out because their status is not known, each with the reason.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`] where the file cannot be read.
    pub fn skipped_jobs(&self) -> Result<Vec<String>> {
        let read = self.read_jobs(&JobFilter::default())?.into_iter();
        let skipped = read.filter_map(|read| match read {
            Read::Skipped(reason) => Some(reason),
            Read::Job(_) => None,
        });
        Ok(skipped.collect())
    }

    /// The jobs that match a filter, newest first. Those with a status that is not known are left out; see
    /// [`Self::skipped_jobs`].
    ///
    /// # Errors
    /// [`StoreError::Sqlite`] where the file cannot be read.
    pub fn jobs(&self, filter: &JobFilter<'_>) -> Result<Vec<JobRow>> {
        let read = self.read_jobs(filter)?.into_iter();
        let jobs = read.filter_map(|read| match read {
            Read::Job(job) => Some(*job),
            Read::Skipped(_) => None,
        });
        Ok(jobs.collect())
    }

    fn read_jobs(&self, filter: &JobFilter<'_>) -> Result<Vec<Read>> {
        let statuses: Vec<String> = filter.statuses.iter().map(|status| format!("'{status}'")).collect();
        let status_condition =
            if statuses.is_empty() { "1".to_owned() } else { format!("status IN ({})", statuses.join(", ")) };
        // Old databases have times in two text forms, which compare correctly as numbers.
        let sql = format!(
            "{} AND {status_condition} AND (:video_id IS NULL OR j.video_id = :video_id)
                AND (:imported IS NULL OR (i.id IS NOT NULL) = :imported)
             ORDER BY julianday(created_at) DESC, j.n DESC LIMIT :limit",
            select(&self.app)
        );
        let conn = &self.conn;
        let mut statement = conn.prepare_cached(&sql).at(conn)?;
        let limit = filter.limit.map_or(-1, i64::from);
        let params =
            named_params! { ":video_id": filter.video_id, ":imported": filter.imported, ":limit": limit };
        let rows = statement.query_map(params, read).at(conn)?;
        rows.collect::<rusqlite::Result<_>>().at(conn)
    }

    /// Jobs that have not ended, newest first.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`] where the file cannot be read.
    pub fn open_jobs(&self) -> Result<Vec<JobRow>> {
        self.jobs(&JobFilter { statuses: JobStatus::OPEN, ..JobFilter::default() })
    }

    /// Updates a job.
    ///
    /// # Errors
    /// [`StoreError::UnknownJob`].
    pub fn update_job(&self, id: &str, update: &JobUpdate) -> Result<()> {
        if self.update_job_if(id, JobStatus::ALL, update)? {
            Ok(())
        } else {
            Err(StoreError::UnknownJob(id.to_owned()))
        }
    }

    /// Updates a job atomically if it has one of these statuses. Returns whether it was updated: `false`
    /// for another status, and for an unknown job.
    ///
    /// # Errors
    /// [`StoreError::Busy`], [`StoreError::Full`].
    pub fn update_job_if(&self, id: &str, statuses: &[JobStatus], update: &JobUpdate) -> Result<bool> {
        self.write(|conn| {
            let is_ours = is_ours(conn, id)?;
            let table = if is_ours { "courtside_jobs" } else { "processing_jobs" };
            if (!is_ours && self.app.jobs.is_empty())
                || !update_row(conn, &self.app, table, id, statuses, update)?
            {
                return Ok(false);
            }
            if let Some(submission) = &update.submission {
                let sql = "UPDATE courtside_jobs SET submission = ?2 WHERE id = ?1";
                conn.prepare_cached(sql).at(conn)?.execute([id, submission.as_str()]).at(conn)?;
            }
            if is_ours {
                publish::publish(conn, &self.app, id)?;
            }
            Ok(true)
        })
    }
}

/// Whether a job is in courtside's table.
fn is_ours(conn: &Connection, id: &str) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM courtside_jobs WHERE id = ?1)";
    conn.prepare_cached(sql).at(conn)?.query_row([id], |row| row.get(0)).at(conn)
}

fn update_row(
    conn: &Connection,
    app: &AppColumns,
    table: &str,
    id: &str,
    statuses: &[JobStatus],
    update: &JobUpdate,
) -> Result<bool> {
    let changes = [
        ("status", ":status"),
        ("progress_current", ":progress_current"),
        ("progress_total", ":progress_total"),
        ("progress_message", ":progress_message"),
        ("error_message", ":error, CASE WHEN :opens OR :completes THEN NULL ELSE error_message END"),
        ("result", ":result, CASE WHEN :opens THEN NULL ELSE result END"),
        ("completed_at", ":completed_at, CASE WHEN :opens THEN NULL ELSE completed_at END"),
        ("started_at", ":started_at, CASE WHEN :waits THEN NULL ELSE started_at END"),
        ("worker_id", ":worker_id, CASE WHEN :waits THEN NULL ELSE worker_id END"),
        ("r2_video_key", ":r2_video_key"),
    ];
    let is_present = |column: &str| table == "courtside_jobs" || app.jobs.has(column);
    let changes: Vec<String> = changes
        .iter()
        .filter(|(column, _)| is_present(column))
        .map(|(column, value)| match value.contains(',') {
            true => format!("{column} = coalesce({value})"),
            false => format!("{column} = coalesce({value}, {column})"),
        })
        .collect();
    let statuses: Vec<String> = statuses.iter().map(|status| format!("'{status}'")).collect();
    // Every parameter occurs, even if its column does not.
    let sql = format!(
        "UPDATE {table} SET {} WHERE id = :id AND status IN ({})
            AND coalesce(:status, :progress_current, :progress_total, :progress_message, :error, :result, :completed_at,
                :started_at, :worker_id, :r2_video_key, :opens, :completes, :waits) IS NOT NULL",
        changes.join(", "),
        statuses.join(", ")
    );
    let n_changed = conn
        .prepare_cached(&sql)
        .at(conn)?
        .execute(named_params! {
            ":id": id,
            ":status": update.status.map(JobStatus::as_str),
            ":opens": update.status.is_some_and(JobStatus::is_open),
            ":completes": update.status == Some(JobStatus::Completed),
            ":waits": update.status == Some(JobStatus::Pending),
            ":progress_current": update.progress_current,
            ":progress_total": update.progress_total,
            ":progress_message": update.progress_message,
            ":error": update.error,
            ":result": update.result.as_ref().map(Value::to_string),
            ":started_at": update.started_at.map(timestamp::to_text),
            ":completed_at": update.completed_at.map(timestamp::to_text),
            ":worker_id": update.worker_id,
            ":r2_video_key": update.r2_video_key,
        })
        .at(conn)?;
    Ok(n_changed > 0)
}

/// Adds a job within the transaction of the caller.
pub(crate) fn insert(conn: &Connection, app: &AppColumns, new: &NewJob) -> Result<()> {
    let n_chars = new.id.chars().count();
    if n_chars == 0 || n_chars > 36 {
        return Err(StoreError::BadInput(format!(
            "the id of a job must have 1 to 36 characters, but this one has {n_chars}: {:?}",
            new.id
        )));
    }
    if !videos::exists(conn, new.video_id)? {
        return Err(StoreError::UnknownVideo(new.video_id));
    }
    if is_ours(conn, &new.id)? || publish::has_row(conn, app, &new.id)? {
        return Err(StoreError::Conflict(format!("job {} already exists", new.id)));
    }
    videos::register(conn, app, new.video_id)?;
    conn.prepare_cached(
        "INSERT INTO courtside_jobs (id, job_type, status, video_id, parameters, progress_current, progress_total,
            progress_message, created_at, target, r2_video_key, submission)
         VALUES (:id, :job_type, :status, :video_id, :parameters, 0, :progress_total, :progress_message, :created_at,
            :target, :r2_video_key, :submission)",
    )
    .at(conn)?
    .execute(named_params! {
        ":id": new.id,
        ":job_type": new.job_type.as_str(),
        ":status": JobStatus::Pending.as_str(),
        ":video_id": new.video_id,
        ":parameters": new.parameters.to_string(),
        ":progress_total": new.progress_total,
        ":progress_message": new.progress_message,
        ":created_at": timestamp::to_text(new.created_at),
        ":target": new.target.map(StoredTarget::as_str),
        ":r2_video_key": new.r2_video_key,
        ":submission": new.submission.as_ref().map(SubmissionState::as_str),
    })
    .at(conn)?;
    Ok(())
}

/// What completes a job: see [`complete`].
pub(crate) struct Completion {
    pub(crate) job: NewJob,
    pub(crate) result: Value,
    pub(crate) n_frames: Option<i64>,
    pub(crate) message: String,
    /// As text.
    pub(crate) started_at: Option<String>,
    /// As text.
    pub(crate) completed_at: String,
    pub(crate) worker_id: Option<String>,
}

/// Marks a job as completed within the transaction of the caller. Adds it if the library does not have it; takes it over
/// if only the app has it.
pub(crate) fn complete(conn: &Connection, app: &AppColumns, completion: &Completion) -> Result<()> {
    let Completion { job, .. } = completion;
    if !is_ours(conn, &job.id)? && !publish::take_over(conn, app, &job.id)? {
        insert(conn, app, job)?;
    }
    conn.prepare_cached(
        "UPDATE courtside_jobs SET status = :completed, error_message = NULL, result = :result,
            progress_current = coalesce(:frames, progress_current), progress_total = coalesce(:frames, progress_total),
            progress_message = :message, completed_at = :completed_at, video_id = :video_id,
            started_at = coalesce(started_at, :started_at), worker_id = coalesce(worker_id, :worker_id),
            target = coalesce(target, :target), r2_video_key = coalesce(r2_video_key, :r2_video_key)
         WHERE id = :id",
    )
    .at(conn)?
    .execute(named_params! {
        ":id": job.id,
        ":completed": JobStatus::Completed.as_str(),
        ":result": completion.result.to_string(),
        ":frames": completion.n_frames,
        ":message": completion.message,
        ":completed_at": completion.completed_at,
        ":video_id": job.video_id,
        ":started_at": completion.started_at,
        ":worker_id": completion.worker_id,
        ":target": job.target.map(StoredTarget::as_str),
        ":r2_video_key": job.r2_video_key,
    })
    .at(conn)?;
    publish::publish(conn, app, &job.id)
}

/// Whether courtside has marked a job as completed.
pub(crate) fn is_completed(conn: &Connection, id: &str) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM courtside_jobs WHERE id = ?1 AND status = ?2)";
    let params = params![id, JobStatus::Completed.as_str()];
    conn.prepare_cached(sql).at(conn)?.query_row(params, |row| row.get(0)).at(conn)
}

/// The video of a job, and whether the job is open; `None` if the library does not have the job.
pub(crate) fn video_of(conn: &Connection, app: &AppColumns, id: &str) -> Result<Option<(Option<i64>, bool)>> {
    let sql = format!("{} AND j.id = ?1", select(app));
    let row = conn.prepare_cached(&sql).at(conn)?.query_row([id], |row| {
        let status: String = row.get("status")?;
        Ok((row.get("video_id")?, JobStatus::from_name(&status).is_some_and(JobStatus::is_open)))
    });
    row.optional().at(conn)
}

/// An open job of a video; `None` if all have ended.
pub(crate) fn open_job(conn: &Connection, app: &AppColumns, video_id: i64) -> Result<Option<String>> {
    let sql = format!("{} AND j.video_id = ?1 AND status IN ('PENDING', 'PROCESSING') LIMIT 1", select(app));
    conn.prepare_cached(&sql).at(conn)?.query_row([video_id], |row| row.get("id")).optional().at(conn)
}

/// Removes a job from both tables within the transaction of the caller.
pub(crate) fn delete(conn: &Connection, app: &AppColumns, id: &str) -> Result<()> {
    conn.execute("DELETE FROM courtside_jobs WHERE id = ?1", [id]).at(conn)?;
    if !app.jobs.is_empty() {
        conn.execute("DELETE FROM processing_jobs WHERE id = ?1", [id]).at(conn)?;
    }
    Ok(())
}

/// Removes the jobs of a video from both tables within the transaction of the caller. Returns how many there were.
pub(crate) fn delete_of_video(conn: &Connection, app: &AppColumns, video_id: i64) -> Result<i64> {
    let sql = format!("SELECT count(*) FROM ({} AND j.video_id = ?1)", select(app));
    let n_jobs = conn.query_row(&sql, [video_id], |row| row.get(0)).at(conn)?;
    if app.jobs.has("video_id") {
        let sql = "DELETE FROM processing_jobs WHERE video_id = ?1
                OR id IN (SELECT id FROM courtside_jobs WHERE video_id = ?1 AND published IS NOT NULL)";
        conn.execute(sql, [video_id]).at(conn)?;
    }
    conn.execute("DELETE FROM courtside_jobs WHERE video_id = ?1", [video_id]).at(conn)?;
    Ok(n_jobs)
}
