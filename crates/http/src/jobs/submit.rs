//! Submitting a video, for `detect` and `retry`.

use ::jobs::JobId;
use client::Client;
use client::failure::Outcome;
use client::submit::{Prepared, Submission, open_job_like, prepare, prepare_again};
use store::Library;

use crate::api_error::{ApiError, ApiResult};
use crate::app::AppState;
use crate::background::upload_task;

/// Prepares a submission, starts its upload in the background, and returns the job's id. While the same job waits or is
/// being processed, a repeated request, such as a second click, returns that job.
pub(super) async fn submit(app: &AppState, submission: Submission) -> ApiResult<String> {
    let wanted = submission.clone();
    let open = app.client.with_library(move |client, library| open_job_like(client, library, &wanted));
    match open.await? {
        Some(job) => Ok(job.id),
        None => start(app, move |client, library| prepare(client, library, submission)).await,
    }
}

/// Starts the upload of a job of the library again.
pub(super) async fn submit_again(app: &AppState, id: JobId) -> ApiResult<String> {
    start(app, move |client, library| prepare_again(client, library, &id)).await
}

async fn start(
    app: &AppState,
    prepare: impl FnOnce(&Client, &mut Library) -> Outcome<Prepared> + Send + 'static,
) -> ApiResult<String> {
    // One at a time: the second of two equal requests finds the first one's job.
    let _guard = app.submission_lock.lock().await;
    let prepared = app.client.with_library(prepare).await.map_err(ApiError::conflict_from)?;
    let job_id = prepared.job_id.to_string();
    upload_task::start(app, prepared);
    Ok(job_id)
}
