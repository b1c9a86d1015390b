//! Submitting a video, for `detect` and `retry`.

use client::submit::{Submission, prepare};

use crate::api_error::{ApiError, ApiResult};
use crate::app::AppState;
use crate::background::upload_task;

/// Prepares a submission, starts its upload in the background, and returns the job's id.
pub(super) async fn submit(app: &AppState, submission: Submission) -> ApiResult<String> {
    // One at a time: the second of two equal requests finds the first one's job.
    let _guard = app.submission_lock.lock().await;
    let prepared = app.client.with_library(move |client, library| prepare(client, library, submission)).await;
    let prepared = prepared.map_err(ApiError::conflict_from)?;
    let job_id = prepared.job_id.to_string();
    upload_task::start(app, prepared);
    Ok(job_id)
}
