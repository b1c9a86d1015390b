//! `POST /api/jobs/{job_id}/retry`.

use ::jobs::JobId;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use client::job_actions::{self, Retried};

use super::load::load;
use super::submit::submit_again;
use crate::api_error::{ApiResult, ErrorBody, ValidationBody};
use crate::app::AppState;
use crate::detached::run_to_completion;
use crate::extract::path::JobIdPath;
use crate::shapes::job::JobBody;

/// Put a failed or cancelled job back in the queue.
///
/// The job resumes from its checkpoint. If its upload failed, the video is uploaded again. If its import
/// failed, the results are imported again, or tracked again if they are corrupt. A job that is waiting or being processed
/// stays unchanged.
#[utoipa::path(
    post, path = "/api/jobs/{job_id}/retry", operation_id = "retry_job", tag = "jobs", params(JobIdPath),
    responses(
        (status = 202, description = "The job", body = JobBody),
        (status = 404, description = "No such job", body = ErrorBody),
        (status = 409, description = "The job is completed, or its video cannot be uploaded", body = ErrorBody),
        (status = 422, description = "The id is not valid", body = ValidationBody),
    )
)]
pub(crate) async fn retry(
    State(app): State<AppState>,
    JobIdPath { job_id }: JobIdPath,
) -> ApiResult<(StatusCode, Json<JobBody>)> {
    run_to_completion(async move {
        let import_failed = app.import_failures.remove(&job_id);
        if app.uploads.progress(&job_id).is_none() {
            let reopened = reopen(&app, job_id.clone()).await;
            // The results are as they should be: they are imported again.
            if !import_failed {
                reopened?;
            }
        }
        app.job_changed(&job_id);
        Ok((StatusCode::ACCEPTED, Json(load(&app, &job_id).await?)))
    })
    .await
}

/// Reopens the job in its bucket, or starts its upload again if no bucket has it.
async fn reopen(app: &AppState, id: JobId) -> ApiResult<()> {
    let retried_id = id.clone();
    let retried = app.client.with_buckets(move |client| async move {
        job_actions::retry(&client, &mut client.library()?, &retried_id).await
    });
    if let Retried::NeedsUpload = retried.await? {
        submit_again(app, id).await?;
    }
    Ok(())
}
