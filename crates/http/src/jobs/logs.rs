//! `GET /api/jobs/{job_id}/logs`.

use axum::Json;
use axum::extract::State;
use client::{is_unknown_job, logs};

use crate::api_error::{ApiError, ApiResult, ErrorBody, ValidationBody};
use crate::app::AppState;
use crate::extract::path::JobIdPath;
use crate::shapes::job::LogsBody;

/// Show what happened to a job, and what its workers logged.
#[utoipa::path(
    get, path = "/api/jobs/{job_id}/logs", operation_id = "get_job_logs", tag = "jobs", params(JobIdPath),
    responses(
        (status = 200, description = "The logs", body = LogsBody),
        (status = 404, description = "No bucket has the job", body = ErrorBody),
        (status = 409, description = "The manifest of the job cannot be parsed", body = ErrorBody),
        (status = 422, description = "The id is not valid", body = ValidationBody),
    )
)]
pub(crate) async fn logs(
    State(app): State<AppState>,
    JobIdPath { job_id }: JobIdPath,
) -> ApiResult<Json<LogsBody>> {
    match logs::logs(&app.client, &job_id).await {
        Ok((_, logs)) => Ok(Json(logs.into())),
        Err(failure) if is_unknown_job(&failure) => Err(ApiError::no_job(job_id.as_str())),
        Err(failure) => Err(ApiError::conflict_from(failure)),
    }
}
