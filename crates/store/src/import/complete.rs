//! Marking the job and the video of an import as completed.

use rusqlite::{Connection, OptionalExtension as _, named_params, params};
use serde_json::json;
use time::OffsetDateTime;

use crate::enums::{JobStatus, JobType, ProcessingStatus, StoredTarget};
use crate::error::{AtDatabase as _, Result};
use crate::import::types::{ImportJob, ResultsSummary};
use crate::jobs::{self, NewJob};
use crate::timestamp;

/// Marks the job and the video as completed. Adds the job if the library does not have it.
pub(super) fn complete(
    conn: &Connection,
    job: &ImportJob,
    n_detections: i64,
    summary: ResultsSummary,
) -> Result<()> {
    if status(conn, &job.job_id)?.is_none() {
        insert_job(conn, job)?;
    }
    update_job(conn, job, n_detections, summary)?;
    update_video(conn, job.video_id)
}

/// Like [`complete`], but writes nothing if the job is already marked as completed.
pub(super) fn complete_if_needed(
    conn: &Connection,
    job: &ImportJob,
    n_detections: i64,
    summary: ResultsSummary,
) -> Result<()> {
    if status(conn, &job.job_id)?.as_deref() == Some(JobStatus::Completed.as_str()) {
        update_video(conn, job.video_id)
    } else {
        complete(conn, job, n_detections, summary)
    }
}

/// The stored status of a job; `None` if the library does not have it.
fn status(conn: &Connection, job_id: &str) -> Result<Option<String>> {
    let sql = "SELECT status FROM processing_jobs WHERE id = ?1";
    conn.query_row(sql, [job_id], |row| row.get(0)).optional().at(conn)
}

fn insert_job(conn: &Connection, job: &ImportJob) -> Result<()> {
    let new = NewJob {
        id: job.job_id.clone(),
        job_type: JobType::VideoDetection,
        video_id: job.video_id,
        parameters: job.parameters.clone(),
        created_at: job.created_at.unwrap_or_else(OffsetDateTime::now_utc),
        progress_total: 0,
        progress_message: String::new(),
        target: job.target,
        r2_video_key: job.r2_video_key.clone(),
        submission: None,
    };
    jobs::insert(conn, &new)
}

fn update_job(conn: &Connection, job: &ImportJob, n_detections: i64, summary: ResultsSummary) -> Result<()> {
    let result = json!({
        "video_id": job.video_id,
        "detections": n_detections,
        "total_detections": n_detections,
        "frames_processed": summary.frames_processed,
    });
    conn.prepare_cached(
        "UPDATE processing_jobs SET status = :completed, error_message = NULL, result = :result,
            progress_current = coalesce(:frames, progress_current), progress_total = coalesce(:frames, progress_total),
            progress_message = :message, completed_at = :completed_at, video_id = :video_id,
            started_at = coalesce(started_at, :started_at), worker_id = coalesce(worker_id, :worker_id),
            target = coalesce(target, :target), r2_video_key = coalesce(r2_video_key, :r2_video_key)
         WHERE id = :id",
    )
    .at(conn)?
    .execute(named_params! {
        ":id": job.job_id,
        ":completed": JobStatus::Completed.as_str(),
        ":result": result.to_string(),
        ":frames": summary.frames_processed,
        ":message": format!("Imported {n_detections} detections"),
        ":completed_at": timestamp::to_text(summary.completed_at.unwrap_or_else(OffsetDateTime::now_utc)),
        ":video_id": job.video_id,
        ":started_at": job.started_at.map(timestamp::to_text),
        ":worker_id": job.worker_id,
        ":target": job.target.map(StoredTarget::as_str),
        ":r2_video_key": job.r2_video_key,
    })
    .at(conn)?;
    Ok(())
}

fn update_video(conn: &Connection, id: i64) -> Result<()> {
    conn.execute(
        "UPDATE videos SET processed = 1, processing_status = ?2
         WHERE id = ?1 AND NOT (processed IS 1 AND processing_status IS ?2)",
        params![id, ProcessingStatus::Completed.as_str()],
    )
    .at(conn)?;
    Ok(())
}
