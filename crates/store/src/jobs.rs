//! Jobs as this machine knows them. For a job in the bucket the truth is its manifest; these rows
//! follow it, so that the app and the HTTP clients can look at one table. Jobs of a type that we do
//! not know are the app's alone, and are not seen here.

use rusqlite::{Connection, OptionalExtension as _, Row, named_params};
use serde_json::Value;
use time::OffsetDateTime;

use crate::error::At as _;
use crate::library::Library;
use crate::{JobStatus, JobType, Result, StoreError, Target, timestamp, values};

/// A job of the library.
#[derive(Debug, Clone, PartialEq)]
pub struct JobRow {
    /// Its id.
    pub id: String,
    /// What it does.
    pub job_type: JobType,
    /// How far it is.
    pub status: JobStatus,
    /// The video it works on.
    pub video_id: Option<i64>,
    /// What was asked for, as it was given.
    pub parameters: Option<Value>,
    /// Frames done.
    pub progress_current: i64,
    /// Frames in all; 0 or -1 when unknown.
    pub progress_total: i64,
    /// What it is doing, in words.
    pub progress_message: Option<String>,
    /// What came of it.
    pub result: Option<Value>,
    /// Why it failed.
    pub error: Option<String>,
    /// When it was asked for.
    pub created_at: Option<OffsetDateTime>,
    /// When a worker began.
    pub started_at: Option<OffsetDateTime>,
    /// When it ended.
    pub completed_at: Option<OffsetDateTime>,
    /// Who has it, or had it.
    pub worker_id: Option<String>,
    /// Where it runs; null in rows of the app.
    pub target: Option<Target>,
    /// The video's key in the bucket.
    pub r2_video_key: Option<String>,
    /// Whether an import of it is in the library.
    pub imported: bool,
}

/// A job to be added. It begins as `Pending`.
#[derive(Debug, Clone, PartialEq)]
pub struct NewJob {
    /// Its id, at most 36 characters.
    pub id: String,
    /// What it does.
    pub job_type: JobType,
    /// The video it works on.
    pub video_id: i64,
    /// What is asked for: a JSON object.
    pub parameters: Value,
    /// When it was asked for.
    pub created_at: OffsetDateTime,
    /// Frames in all; 0 when unknown.
    pub progress_total: i64,
    /// What it is doing, in words.
    pub progress_message: String,
    /// Where it runs.
    pub target: Option<Target>,
    /// The video's key in the bucket.
    pub r2_video_key: Option<String>,
}

impl NewJob {
    /// A detection job of a video, asked for now, with no parameters.
    pub fn new(id: impl Into<String>, video_id: i64) -> Self {
        Self {
            id: id.into(),
            job_type: JobType::VideoDetection,
            video_id,
            parameters: Value::Object(serde_json::Map::new()),
            created_at: OffsetDateTime::now_utc(),
            progress_total: 0,
            progress_message: String::new(),
            target: None,
            r2_video_key: None,
        }
    }
}

/// What changes in a job; what is `None` stays.
///
/// Setting an open status takes back what belongs to an end: error, result and time of completion;
/// going back to `Pending` also the start and the worker. `Completed` takes the error of an earlier
/// attempt back. Values given along with it are kept.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct JobUpdate {
    /// How far it is.
    pub status: Option<JobStatus>,
    /// Frames done.
    pub progress_current: Option<i64>,
    /// Frames in all.
    pub progress_total: Option<i64>,
    /// What it is doing, in words.
    pub progress_message: Option<String>,
    /// Why it failed.
    pub error: Option<String>,
    /// When a worker began.
    pub started_at: Option<OffsetDateTime>,
    /// When it ended.
    pub completed_at: Option<OffsetDateTime>,
    /// Who has it.
    pub worker_id: Option<String>,
    /// The video's key in the bucket.
    pub r2_video_key: Option<String>,
    /// What came of it: a JSON object.
    pub result: Option<Value>,
}

/// Which jobs a listing shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JobFilter<'a> {
    /// Jobs of this video alone.
    pub video_id: Option<i64>,
    /// Jobs of these statuses; empty for all.
    pub statuses: &'a [JobStatus],
    /// Jobs with (`true`) or without (`false`) an import in the library.
    pub imported: Option<bool>,
    /// At most so many.
    pub limit: Option<u32>,
}

const SELECT: &str = "SELECT j.id AS id, job_type, status, j.video_id AS video_id, parameters, progress_current,
        progress_total, progress_message, result, error_message, created_at, started_at, completed_at, worker_id, target,
        r2_video_key, i.id IS NOT NULL AS imported
    FROM processing_jobs AS j LEFT JOIN courtside_imports AS i ON i.job_id = j.id
    WHERE job_type COLLATE NOCASE IN ('VIDEO_DETECTION', 'TRACK_REPROCESS')";

impl Library {
    /// Adds a job.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] where the id is taken, [`StoreError::UnknownVideo`],
    /// [`StoreError::BadInput`] for an id that is empty or too long.
    pub fn insert_job(&mut self, new: &NewJob) -> Result<()> {
        self.write(|conn| insert(conn, new))
    }

    /// The job of an id.
    ///
    /// # Errors
    /// [`StoreError::BadValue`] for a row that cannot be understood.
    pub fn job(&self, id: &str) -> Result<Option<JobRow>> {
        let conn = &self.conn;
        let sql = format!("{SELECT} AND j.id = ?1");
        conn.prepare_cached(&sql).at(conn)?.query_row([id], read).optional().at(conn)
    }

    /// Jobs, newest first.
    ///
    /// # Errors
    /// [`StoreError::BadValue`] for a row that cannot be understood.
    pub fn jobs(&self, filter: &JobFilter<'_>) -> Result<Vec<JobRow>> {
        let statuses: Vec<String> = filter.statuses.iter().map(|status| format!("'{status}'")).collect();
        let among =
            if statuses.is_empty() { "1".to_owned() } else { format!("status IN ({})", statuses.join(", ")) };
        // The times' text has two forms in old databases; as numbers they compare.
        let sql = format!(
            "{SELECT} AND {among} AND (:video_id IS NULL OR j.video_id = :video_id)
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

    /// Jobs that are not over, newest first.
    ///
    /// # Errors
    /// [`StoreError::BadValue`] for a row that cannot be understood.
    pub fn open_jobs(&self) -> Result<Vec<JobRow>> {
        self.jobs(&JobFilter { statuses: JobStatus::OPEN, ..JobFilter::default() })
    }

    /// Changes a job.
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

    /// Changes a job if its status is one of these, in one step. Tells whether it did: `false` for
    /// another status, and for a job that is not there.
    ///
    /// # Errors
    /// [`StoreError::Busy`], [`StoreError::Full`].
    pub fn update_job_if(&self, id: &str, among: &[JobStatus], update: &JobUpdate) -> Result<bool> {
        let among: Vec<String> = among.iter().map(|status| format!("'{status}'")).collect();
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
            among.join(", ")
        );
        let conn = &self.conn;
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
}

/// Adds a job within a transaction.
pub(crate) fn insert(conn: &Connection, new: &NewJob) -> Result<()> {
    let n_chars = new.id.chars().count();
    if n_chars == 0 || n_chars > 36 {
        return Err(StoreError::BadInput(format!(
            "a job's id has 1 to 36 characters, not {n_chars}: {:?}",
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
            ":target": new.target.map(Target::as_str),
            ":r2_video_key": new.r2_video_key,
        })
        .at(conn)?;
    if n_added == 0 {
        Err(StoreError::Conflict(format!("there is a job {} already", new.id)))
    } else {
        Ok(())
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<JobRow> {
    const TABLE: &str = "processing_jobs";
    let missing = |column| move || values::bad(row, TABLE, column, "null");
    Ok(JobRow {
        id: row.get("id")?,
        job_type: values::name(row, TABLE, "job_type", JobType::from_name)?
            .ok_or_else(missing("job_type"))?,
        status: values::name(row, TABLE, "status", JobStatus::from_name)?.ok_or_else(missing("status"))?,
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
        target: values::name(row, TABLE, "target", Target::from_name)?,
        r2_video_key: row.get("r2_video_key")?,
        imported: row.get("imported")?,
    })
}
