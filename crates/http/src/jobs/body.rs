//! A job as clients see it, from its register, its row in the library, or both.

use ::jobs::manifest::{Manifest, Status, Target};
use serde_json::Value;
use store::{JobRow, JobStatus};
use time::OffsetDateTime;

use crate::shapes::{JobBody, JobState, MetadataBody, ProgressBody, UploadBody, rfc3339};
use client::overview::{self, State};

/// What is known of a job beside register and row.
#[derive(Debug, Default)]
pub(crate) struct Around {
    /// Whether this server will import its results.
    pub(crate) auto_import: bool,
    /// Why it could not.
    pub(crate) import_failure: Option<String>,
    /// Its upload by this server.
    pub(crate) upload: Option<UploadBody>,
    /// Why the register may be out of date.
    pub(crate) warning: Option<String>,
    /// Now, for people.
    pub(crate) now: Option<OffsetDateTime>,
}

/// A job of which there is a register, unless its results are in the library: then the row says more.
pub(crate) fn of_both(manifest: &Manifest, place: Target, row: Option<&JobRow>, around: Around) -> JobBody {
    match row {
        Some(row) if row.imported => with_register(of_row(row, around), manifest),
        _ => of_register(manifest, place, row.is_some(), around),
    }
}

/// A job of which there is a row alone.
pub(crate) fn of_row(row: &JobRow, around: Around) -> JobBody {
    let status = state_of(row.status);
    let message = row.progress_message.clone().unwrap_or_default();
    let state = match (row.imported, status) {
        (true, _) => "imported",
        (_, JobState::Pending) if row.is_uploading() => "uploading",
        (_, JobState::Pending) => "waiting",
        (_, JobState::Processing) => "tracking",
        (_, JobState::Completed) => "completed",
        (_, JobState::Failed) => "failed",
        (_, JobState::Cancelled) => "cancelled",
    };
    let time = |at: Option<OffsetDateTime>| at.map(rfc3339);
    JobBody {
        id: row.id.clone(),
        job_type: row.job_type.as_str().to_lowercase(),
        status,
        progress: progress(row.progress_current, row.progress_total, status, message),
        result: row.result.clone(),
        error: row.error.clone(),
        created_at: time(row.created_at),
        started_at: time(row.started_at),
        completed_at: time(row.completed_at),
        metadata: MetadataBody {
            video_id: row.video_id,
            target: row.target.map(|target| target.as_str().to_owned()),
            attempt: None,
            worker_id: row.worker_id.clone(),
            state: state.to_owned(),
            fps: None,
            parameters: row.parameters.clone(),
            upload: around.upload,
            warning: around.warning,
        },
    }
}

/// Adds what only the register knows.
fn with_register(body: JobBody, manifest: &Manifest) -> JobBody {
    let metadata = MetadataBody { attempt: Some(manifest.attempt), ..body.metadata };
    JobBody { metadata, ..body }
}

fn of_register(manifest: &Manifest, place: Target, is_ours: bool, around: Around) -> JobBody {
    let view = overview::view(manifest, place, around.now.unwrap_or(OffsetDateTime::UNIX_EPOCH));
    let n_frames = overview::n_frames(manifest).map_or(0, |n| n as i64);
    let done = manifest.frames_processed.unwrap_or(0) as i64;
    let (current, total, fps) = match &view.state {
        State::Tracking { current, total, fps } => {
            (*current as i64, total.map_or(n_frames, |n| n as i64), *fps)
        }
        State::Publishing => (n_frames.max(done), n_frames.max(done), None),
        _ => (done, n_frames, None),
    };
    let Standing { status, state, message, error } = standing(manifest, &view.state, is_ours, &around);
    let total = if manifest.status == Status::Completed { done } else { total };
    JobBody {
        id: view.job_id,
        job_type: "video_detection".to_owned(),
        status,
        progress: progress(current, total, status, message),
        result: (manifest.status == Status::Imported).then(|| result_of(manifest)),
        error,
        created_at: view.created_at,
        started_at: view.started_at,
        completed_at: view.completed_at,
        metadata: MetadataBody {
            video_id: Some(manifest.video_id),
            target: Some(view.target.as_str().to_owned()),
            attempt: Some(manifest.attempt),
            worker_id: view.worker_id,
            state,
            fps,
            parameters: serde_json::to_value(&manifest.parameters).ok(),
            upload: around.upload,
            warning: around.warning,
        },
    }
}

/// How a job stands, in the words of clients.
struct Standing {
    status: JobState,
    state: String,
    message: String,
    error: Option<String>,
}

fn standing(manifest: &Manifest, state: &State, is_ours: bool, around: &Around) -> Standing {
    let status = state_of(overview::job_status(manifest.status));
    let plain = |status, message: &str| Standing {
        status,
        state: word(state),
        message: message.to_owned(),
        error: manifest.error.clone(),
    };
    if manifest.status != Status::Completed || !is_ours || !around.auto_import {
        return plain(status, &state.to_string());
    }
    match &around.import_failure {
        Some(why) => {
            let error = Some(format!("the results could not be imported: {why}"));
            Standing { error, ..plain(JobState::Failed, "import failed") }
        }
        None => Standing { state: "importing".to_owned(), ..plain(JobState::Processing, "importing") },
    }
}

/// The state's own name.
fn word(state: &State) -> String {
    let value = serde_json::to_value(state).unwrap_or_default();
    value.get("state").and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// What the register knows of results that another library took.
fn result_of(manifest: &Manifest) -> Value {
    serde_json::json!({
        "video_id": manifest.video_id,
        "detections": manifest.result.as_ref().map(|result| result.detections),
        "total_detections": manifest.result.as_ref().map(|result| result.detections),
        "frames_processed": manifest.frames_processed,
    })
}

fn progress(current: i64, total: i64, status: JobState, message: String) -> ProgressBody {
    let total = total.max(0);
    let share = if total > 0 { current as f64 / total as f64 * 100.0 } else { 0.0 };
    let percentage = match status {
        JobState::Completed => 100.0,
        _ => (share.clamp(0.0, 100.0) * 10.0).floor() / 10.0,
    };
    ProgressBody { current, total, percentage, message }
}

fn state_of(status: JobStatus) -> JobState {
    match status {
        JobStatus::Pending => JobState::Pending,
        JobStatus::Processing => JobState::Processing,
        JobStatus::Completed => JobState::Completed,
        JobStatus::Failed => JobState::Failed,
        JobStatus::Cancelled => JobState::Cancelled,
    }
}
