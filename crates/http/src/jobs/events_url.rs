//! `GET /api/jobs/{job_id}/events-url`.

use axum::Json;
use axum::extract::State;

use crate::api_error::{ApiResult, ValidationBody};
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
        (status = 422, description = "The id is not valid", body = ValidationBody),
    )
)]
pub(crate) async fn events_url(
    State(app): State<AppState>,
    JobIdPath { job_id }: JobIdPath,
) -> ApiResult<Json<UrlBody>> {
    let url = app.options.access.signed_url(&format!("/api/jobs/{job_id}/events"), app.client.env.utc());
    Ok(Json(UrlBody { url, expires_in: VALID_S }))
}
