//! Jobs in the library. For a job in the bucket, its manifest is authoritative; these rows are updated
//! from it, so that the app and the HTTP clients can read one table. The state of a submission, which
//! the app does not know, is in the separate table `courtside_jobs`. Jobs of unknown types belong to the
//! app and are not visible here.

mod types;

pub use types::{JobFilter, JobRow, JobUpdate, NewJob};

use rusqlite::{Connection, OptionalExtension as _, Row, named_params};
use serde_json::Value;

use crate::enums::{JobStatus, JobType, StoredTarget, SubmissionState};
use crate::error::{AtDatabase as _, Result, StoreError};
use crate::library::Library;
use crate::{timestamp, values};

const SELECT: &str = "SELECT j.id AS id, job_type, status, j.video_id AS video_id, parameters, progress_current,
        progress_total, progress_message, result, error_message, created_at, started_at, completed_at, worker_id, target,
        r2_video_key, i.id IS NOT NULL AS imported, c.submission AS submission
    FROM processing_jobs AS j LEFT JOIN courtside_imports AS i ON i.job_id = j.id
        LEFT JOIN courtside_jobs AS c ON c.id = j.id
    WHERE job_type COLLATE NOCASE IN ('VIDEO_DETECTION', 'TRACK_REPROCESS')";

impl Library {
    /// Adds a job.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if the id exists, [`StoreError::UnknownVideo`], [`StoreError::BadInput`] for
    /// an id that is empty or too long.
    pub fn insert_job(&mut self, new: &NewJob) -> Result<()> {
        self.write(|conn| insert(conn, new))
    }

    /// The job with this id; `None` if it is unknown, or has an unknown type.
    ///
    /// # Errors
    /// [`StoreError::BadValue`] for a row with an invalid value.
    pub fn job(&self, id: &str) -> Result<Option<JobRow>> {
        let conn = &self.conn;
        let sql = format!("{SELECT} AND j.id = ?1");
        conn.prepare_cached(&sql).at(conn)?.query_row([id], read).optional().at(conn)
    }

    /// The jobs that match a filter, newest first.
    ///
    /// # Errors
    /// [`StoreError::BadValue`] for a row with an invalid value.
    pub fn jobs(&self, filter: &JobFilter<'_>) -> Result<Vec<JobRow>> {
        let statuses: Vec<String> = filter.statuses.iter().map(|status| format!("'{status}'")).collect();
        let status_condition =
            if statuses.is_empty() { "1".to_owned() } else { format!("status IN ({})", statuses.join(", ")) };
        // Old databases have times in two text forms, which compare correctly as numbers.
        let sql = format!(
            "{SELECT} AND {status_condition} AND (:video_id IS NULL OR j.video_id = :video_id)
                AND (:imported IS NULL OR (i.id IS NOT NULL) = :imported)
             ORDER BY julianday(created_at) DESC, j.rowid DESC LIMIT :limit"
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
    /// [`StoreError::BadValue`] for a row with an invalid value.
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
            let is_updated = update_row(conn, id, statuses, update)?;
            if let (true, Some(submission)) = (is_updated, &update.submission) {
                set_submission(conn, id, submission)?;
            }
            Ok(is_updated)
        })
    }
}

fn update_row(conn: &Connection, id: &str, statuses: &[JobStatus], update: &JobUpdate) -> Result<bool> {
    let statuses: Vec<String> = statuses.iter().map(|status| format!("'{status}'")).collect();
    let sql = format!(
            "UPDATE processing_jobs SET
                status = coalesce(:status, status),
                progress_current = coalesce(:progress_current, progress_current),
                progress_total = coalesce(:progress_total, progress_total),
                progress_message = coalesce(:progress_message, progress_message),
                error_message = coalesce(:error, CASE WHEN :opens OR :completes THEN NULL ELSE error_message END),
                result = coalesce(:result, CASE WHEN :opens THEN NULL ELSE result END),
                completed_at = coalesce(:completed_at, CASE WHEN :opens THEN NULL ELSE completed_at END),
                started_at = coalesce(:started_at, CASE WHEN :waits THEN NULL ELSE started_at END),
                worker_id = coalesce(:worker_id, CASE WHEN :waits THEN NULL ELSE worker_id END),
                r2_video_key = coalesce(:r2_video_key, r2_video_key)
             WHERE id = :id AND status IN ({})",
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

fn set_submission(conn: &Connection, id: &str, submission: &SubmissionState) -> Result<()> {
    let sql = "INSERT INTO courtside_jobs (id, submission) VALUES (?1, ?2)
         ON CONFLICT (id) DO UPDATE SET submission = excluded.submission";
    conn.prepare_cached(sql).at(conn)?.execute([id, submission.as_str()]).at(conn)?;
    Ok(())
}

/// Adds a job within the transaction of the caller.
pub(crate) fn insert(conn: &Connection, new: &NewJob) -> Result<()> {
    let n_chars = new.id.chars().count();
    if n_chars == 0 || n_chars > 36 {
        return Err(StoreError::BadInput(format!(
            "the id of a job must have 1 to 36 characters, but this one has {n_chars}: {:?}",
            new.id
        )));
    }
    if crate::videos::video(conn, new.video_id)?.is_none() {
        return Err(StoreError::UnknownVideo(new.video_id));
    }
    let n_added = conn
        .prepare_cached(
            "INSERT INTO processing_jobs (id, job_type, status, video_id, parameters, progress_current, progress_total,
                progress_message, created_at, target, r2_video_key)
             VALUES (:id, :job_type, :status, :video_id, :parameters, 0, :progress_total, :progress_message, :created_at,
                :target, :r2_video_key)
             ON CONFLICT (id) DO NOTHING",
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
        })
        .at(conn)?;
    if n_added == 0 {
        return Err(StoreError::Conflict(format!("job {} already exists", new.id)));
    }
    match &new.submission {
        Some(submission) => set_submission(conn, &new.id, submission),
        None => Ok(()),
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<JobRow> {
    const TABLE: &str = "processing_jobs";
    let missing = |column| move || values::invalid(row, TABLE, column, "null");
    Ok(JobRow {
        id: row.get("id")?,
        job_type: values::parsed(row, TABLE, "job_type", JobType::from_name)?
            .ok_or_else(missing("job_type"))?,
        status: values::parsed(row, TABLE, "status", JobStatus::from_name)?.ok_or_else(missing("status"))?,
        video_id: row.get("video_id")?,
        parameters: values::json(row, TABLE, "parameters")?,
        progress_current: row.get::<_, Option<i64>>("progress_current")?.unwrap_or(0),
        progress_total: row.get::<_, Option<i64>>("progress_total")?.unwrap_or(0),
        progress_message: row.get("progress_message")?,
        result: values::json(row, TABLE, "result")?,
        error: row.get("error_message")?,
        created_at: values::time(row, TABLE, "created_at")?,
        started_at: values::time(row, TABLE, "started_at")?,
        completed_at: values::time(row, TABLE, "completed_at")?,
        worker_id: row.get("worker_id")?,
        target: values::parsed(row, TABLE, "target", StoredTarget::from_name)?,
        r2_video_key: row.get("r2_video_key")?,
        imported: row.get("imported")?,
        submission: row.get::<_, Option<String>>("submission")?.map(|name| SubmissionState::from_name(&name)),
    })
}
