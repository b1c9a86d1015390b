//! Builds a [`JobBody`] from the job's manifest, its row in the library, or both.

use ::jobs::manifest::{Manifest, Status, Target};
use client::overview::{self, Origin, State};
use serde_json::Value;
use store::{JobRow, JobStatus};
use time::OffsetDateTime;

use crate::shapes::job::{
    JobActivity, JobBody, JobState, MetadataBody, OtherLibraryBody, ProgressBody, UploadBody,
};
use crate::shapes::time::rfc3339;

/// What this server knows about a job in addition to its manifest and row.
#[derive(Debug, Default)]
pub(super) struct JobContext {
    /// Whether this server imports the results when the job completes.
    pub(super) auto_import: bool,
    /// Why the import failed, if it did.
    pub(super) import_failure: Option<String>,
    /// Progress of this server's upload of the video, while it runs.
    pub(super) upload: Option<UploadBody>,
    /// Why the manifest may be out of date.
    pub(super) warning: Option<String>,
    /// The current time, to judge the age of the last heartbeat.
    pub(super) now: Option<OffsetDateTime>,
}

/// A job with a manifest in the bucket of `target`. Once the results are in the library, the row is used,
/// because it has more information.
pub(super) fn from_manifest_and_row(
    manifest: &Manifest,
    origin: Origin,
    target: Target,
    row: Option<&JobRow>,
    context: JobContext,
) -> JobBody {
    match row {
        Some(row) if row.imported => {
            let body = from_row(row, context);
            let metadata = MetadataBody { attempt: Some(manifest.attempt), ..body.metadata };
            JobBody { metadata, ..body }
        }
        _ => from_manifest(manifest, origin, target, row.is_some(), context),
    }
}

/// A job without a manifest.
pub(super) fn from_row(row: &JobRow, context: JobContext) -> JobBody {
    let status = job_state(row.status);
    let message = row.progress_message.clone().unwrap_or_default();
    let state = match (row.imported, status) {
        (true, _) => JobActivity::Imported,
        (_, JobState::Pending) if row.is_uploading() => JobActivity::Uploading,
        (_, JobState::Pending) => JobActivity::Waiting,
        (_, JobState::Processing) => JobActivity::Tracking,
        (_, JobState::Completed) => JobActivity::Completed,
        (_, JobState::Failed) => JobActivity::Failed,
        (_, JobState::Cancelled) => JobActivity::Cancelled,
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
            video: None,
            video_sha256: None,
            other_library: None,
            target: row.target.map(|target| target.as_str().to_owned()),
            attempt: None,
            worker_id: row.worker_id.clone(),
            state,
            fps: None,
            parameters: row.parameters.clone(),
            upload: context.upload,
            warning: context.warning,
        },
    }
}

/// A job as its manifest describes it. `is_own` is whether this library submitted it.
fn from_manifest(
    manifest: &Manifest,
    origin: Origin,
    target: Target,
    is_own: bool,
    context: JobContext,
) -> JobBody {
    let view = overview::view(manifest, origin, target, context.now.unwrap_or(OffsetDateTime::UNIX_EPOCH));
    let n_frames = overview::n_frames(manifest).map_or(0, |n| n as i64);
    let done = manifest.frames_processed.unwrap_or(0) as i64;
    let (current, total, fps) = match &view.state {
        State::Tracking { current, total, fps } => {
            (*current as i64, total.map_or(n_frames, |n| n as i64), *fps)
        }
        State::Publishing => (n_frames.max(done), n_frames.max(done), None),
        _ => (done, n_frames, None),
    };
    let Summary { status, state, message, error } = summarize(manifest, &view.state, is_own, &context);
    let total = if manifest.status == Status::Completed { done } else { total };
    JobBody {
        id: view.job_id,
        job_type: "video_detection".to_owned(),
        status,
        progress: progress(current, total, status, message),
        result: (manifest.status == Status::Imported).then(|| result_summary(manifest)),
        error,
        created_at: view.created_at,
        started_at: view.started_at,
        completed_at: view.completed_at,
        metadata: MetadataBody {
            video_id: view.video_id,
            video: view.video,
            video_sha256: view.video_sha256,
            other_library: view.other_library.map(OtherLibraryBody::from),
            target: Some(view.target.as_str().to_owned()),
            attempt: Some(manifest.attempt),
            worker_id: view.worker_id,
            state,
            fps,
            parameters: serde_json::to_value(&manifest.parameters).ok(),
            upload: context.upload,
            warning: context.warning,
        },
    }
}

/// Status, activity, message and error of a job.
struct Summary {
    status: JobState,
    state: JobActivity,
    message: String,
    error: Option<String>,
}

/// Completed jobs of this library are shown as being imported while the server imports automatically, and as
/// failed if that failed.
fn summarize(manifest: &Manifest, state: &State, is_own: bool, context: &JobContext) -> Summary {
    let status = match state {
        State::CancelOverridden { .. } => JobState::Cancelled,
        State::ResultsCorrupt { .. } => JobState::Failed,
        _ => job_state(overview::job_status(manifest.status)),
    };
    let summary = |status, message: &str| Summary {
        status,
        state: state.into(),
        message: message.to_owned(),
        error: manifest.error.clone(),
    };
    if matches!(state, State::CancelOverridden { .. })
        || manifest.status != Status::Completed
        || !is_own
        || !context.auto_import
    {
        return summary(status, &state.to_string());
    }
    match &context.import_failure {
        Some(why) => {
            let error = Some(format!("cannot import the results: {why}"));
            Summary { error, ..summary(JobState::Failed, "import failed") }
        }
        None => Summary { state: JobActivity::Importing, ..summary(JobState::Processing, "importing") },
    }
}

/// What the manifest records about results that another library imported.
fn result_summary(manifest: &Manifest) -> Value {
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

fn job_state(status: JobStatus) -> JobState {
    match status {
        JobStatus::Pending => JobState::Pending,
        JobStatus::Processing => JobState::Processing,
        JobStatus::Completed => JobState::Completed,
        JobStatus::Failed => JobState::Failed,
        JobStatus::Cancelled => JobState::Cancelled,
    }
}
