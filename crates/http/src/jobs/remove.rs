//! `POST /api/jobs/{job_id}/remove`. Not `DELETE`, which cancels a job.

use axum::extract::State;
use axum::http::StatusCode;
use client::{is_unknown_job, job_actions};
use utoipa::IntoParams;

use crate::api_error::{ApiError, ApiResult, ErrorBody, ValidationBody};
use crate::app::AppState;
use crate::detached::run_to_completion;
use crate::extract::fields::{Fields, FromFields};
use crate::extract::path::JobIdPath;
use crate::extract::query::Query;

/// Whether to remove a job that is not over.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct RemoveQuery {
    /// Remove the job even if it has not ended or its results are not imported.
    #[param(default = false)]
    force: Option<bool>,
}

impl FromFields for RemoveQuery {
    fn read(fields: &mut Fields) -> Self {
        Self { force: fields.flag("force") }
    }
}

/// Remove a job and its results from the bucket.
///
/// Imported detections stay in the library.
#[utoipa::path(
    post, path = "/api/jobs/{job_id}/remove", operation_id = "remove_job", tag = "jobs",
    params(JobIdPath, RemoveQuery),
    responses(
        (status = 204, description = "The bucket does not have the job"),
        (status = 404, description = "No such job", body = ErrorBody),
        (status = 409, description = "The job has not ended, or its results are not imported", body = ErrorBody),
        (status = 422, description = "A parameter is invalid", body = ValidationBody),
    )
)]
pub(crate) async fn remove(
    State(app): State<AppState>,
    JobIdPath { job_id }: JobIdPath,
    Query(query): Query<RemoveQuery>,
) -> ApiResult<StatusCode> {
    run_to_completion(async move {
        let force = query.force.unwrap_or(false);
        if force {
            app.uploads.cancel(&job_id).await;
        }
        let id = job_id.clone();
        let removed = app.client.with_buckets(move |client| async move {
            job_actions::remove(&client, &mut client.library()?, &id, force).await
        });
        removed.await.map_err(|failure| match is_unknown_job(&failure) {
            true => ApiError::no_job(job_id.as_str()),
            false => ApiError::conflict_from(failure),
        })?;
        app.job_changed(&job_id);
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}
