//! `GET /metrics`.

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

use crate::api_error::ApiResult;
use crate::app::AppState;
use crate::jobs::list::count_by_status;
use crate::monitoring::counters::OpenCounts;

/// Return metrics in the Prometheus text format.
#[utoipa::path(
    get, path = "/metrics", operation_id = "metrics", tag = "server",
    responses((status = 200, description = "Text format 0.0.4", body = String, content_type = "text/plain"))
)]
pub(crate) async fn metrics(State(app): State<AppState>) -> ApiResult<impl IntoResponse> {
    let jobs = count_by_status(&app).await?.into_iter().collect();
    let open =
        OpenCounts { connections: app.connections.n_taken(), event_streams: app.event_streams.n_taken() };
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], app.metrics.to_text(&jobs, &open)))
}
