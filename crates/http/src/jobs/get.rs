//! `GET /api/jobs/{job_id}`.

use axum::Json;
use axum::extract::State;

use super::load::load;
use crate::api_error::{ApiResult, ErrorBody, ValidationBody};
use crate::app::AppState;
use crate::extract::path::JobIdPath;
use crate::shapes::job::JobBody;

/// Show a job and its progress.
#[utoipa::path(
    get, path = "/api/jobs/{job_id}", operation_id = "get_job", tag = "jobs", params(JobIdPath),
    responses(
        (status = 200, description = "The job", body = JobBody),
        (status = 404, description = "No such job", body = ErrorBody),
        (status = 409, description = "The manifest of the job cannot be parsed", body = ErrorBody),
        (status = 422, description = "The id is not valid", body = ValidationBody),
    )
)]
pub(crate) async fn get(
    State(app): State<AppState>,
    JobIdPath { job_id }: JobIdPath,
) -> ApiResult<Json<JobBody>> {
    Ok(Json(load(&app, &job_id).await?))
}
