//! `DELETE /api/jobs/{job_id}`.

use axum::extract::State;
use axum::http::StatusCode;
use client::job_actions;

use crate::api_error::{ApiResult, ErrorBody, ValidationBody};
use crate::app::AppState;
use crate::detached::run_to_completion;
use crate::extract::path::JobIdPath;

/// Cancel a job.
///
/// A worker that has claimed the job stops within half a minute.
#[utoipa::path(
    delete, path = "/api/jobs/{job_id}", operation_id = "cancel_job", tag = "jobs", params(JobIdPath),
    responses(
        (status = 204, description = "The job is cancelled"),
        (status = 404, description = "No such job", body = ErrorBody),
        (status = 409, description = "The job has already ended", body = ErrorBody),
        (status = 422, description = "The id is not valid", body = ValidationBody),
    )
)]
pub(crate) async fn cancel(
    State(app): State<AppState>,
    JobIdPath { job_id }: JobIdPath,
) -> ApiResult<StatusCode> {
    run_to_completion(async move {
        app.uploads.cancel(&job_id).await;
        let id = job_id.clone();
        let cancelled = app.client.with_buckets(move |client| async move {
            job_actions::cancel(&client, &mut client.library()?, &id).await
        });
        cancelled.await?;
        app.job_changed(&job_id);
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}
