//! Marking the job and the video of an import as completed.

use rusqlite::{Connection, params};
use serde_json::json;
use time::OffsetDateTime;

use crate::enums::{JobType, ProcessingStatus};
use crate::error::{AtDatabase as _, Result};
use crate::import::types::{ImportJob, ResultsSummary};
use crate::jobs::{self, Completion, NewJob};
use crate::schema::columns::AppColumns;
use crate::timestamp;

/// Marks the job and the video as completed. Adds the job if the library does not have it.
pub(super) fn complete(
    conn: &Connection,
    app: &AppColumns,
    job: &ImportJob,
    n_detections: i64,
    summary: ResultsSummary,
) -> Result<()> {
    let completion = Completion {
        job: new_job(job),
        result: json!({
            "video_id": job.video_id,
            "detections": n_detections,
            "total_detections": n_detections,
            "frames_processed": summary.frames_processed,
        }),
        n_frames: summary.frames_processed,
        message: format!("Imported {n_detections} detections"),
        started_at: job.started_at.map(timestamp::to_text),
        completed_at: timestamp::to_text(summary.completed_at.unwrap_or_else(OffsetDateTime::now_utc)),
        worker_id: job.worker_id.clone(),
    };
    jobs::complete(conn, app, &completion)?;
    update_video(conn, app, job.video_id)
}

/// Like [`complete`], but writes nothing if the job is already marked as completed.
pub(super) fn complete_if_needed(
    conn: &Connection,
    app: &AppColumns,
    job: &ImportJob,
    n_detections: i64,
    summary: ResultsSummary,
) -> Result<()> {
    match jobs::is_completed(conn, &job.job_id)? {
        true => update_video(conn, app, job.video_id),
        false => complete(conn, app, job, n_detections, summary),
    }
}

fn new_job(job: &ImportJob) -> NewJob {
    NewJob {
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
    }
}

fn update_video(conn: &Connection, app: &AppColumns, id: i64) -> Result<()> {
    if !(app.videos.has("processed") && app.videos.has("processing_status")) {
        return Ok(());
    }
    conn.execute(
        "UPDATE videos SET processed = 1, processing_status = ?2
         WHERE id = ?1 AND NOT (processed IS 1 AND processing_status IS ?2)",
        params![id, ProcessingStatus::Completed.as_str()],
    )
    .at(conn)?;
    Ok(())
}
