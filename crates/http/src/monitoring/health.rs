//! `GET /healthz`.

use axum::Json;

use crate::shapes::server::HealthBody;

/// Report that the server is running.
#[utoipa::path(
    get, path = "/healthz", operation_id = "health", tag = "server",
    responses((status = 200, description = "The server is running", body = HealthBody))
)]
pub(crate) async fn health() -> Json<HealthBody> {
    Json(HealthBody { status: "ok", version: env!("CARGO_PKG_VERSION") })
}
