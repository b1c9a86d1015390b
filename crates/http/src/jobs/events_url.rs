//! `GET /api/jobs/{job_id}/events-url`.

use axum::Json;
use axum::extract::State;

use super::load::load;
use crate::api_error::{ApiResult, ErrorBody, ValidationBody};
use crate::app::AppState;
use crate::extract::path::JobIdPath;
use crate::shapes::server::UrlBody;
use crate::signed_url::VALID_S;

/// Return an address under which an `EventSource` can follow a job.
///
/// It needs no token while it is valid.
#[utoipa::path(
    get, path = "/api/jobs/{job_id}/events-url", operation_id = "get_events_url", tag = "jobs", params(JobIdPath),
    responses(
        (status = 200, description = "The address", body = UrlBody),
        (status = 404, description = "No such job", body = ErrorBody),
        (status = 409, description = "The manifest of the job cannot be parsed", body = ErrorBody),
        (status = 422, description = "The id is not valid", body = ValidationBody),
    )
)]
pub(crate) async fn events_url(
    State(app): State<AppState>,
    JobIdPath { job_id }: JobIdPath,
) -> ApiResult<Json<UrlBody>> {
    // An `EventSource` does not show its page why a stream fails.
    load(&app, &job_id).await?;
    let url = app.options.access.signed_url(&format!("/api/jobs/{job_id}/events"), app.client.env.utc());
    Ok(Json(UrlBody { url, expires_in: VALID_S }))
}
