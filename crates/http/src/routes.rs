//! Every route of the interface, and what stands before them.

use axum::extract::DefaultBodyLimit;
use axum::http::header::{
    ACCEPT_RANGES, AUTHORIZATION, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
    IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, RANGE,
};
use axum::http::{HeaderName, Method, StatusCode};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::{Json, Router};
use tower_http::cors::CorsLayer;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::MAX_BODY_BYTES;
use super::problem::Problem;
use super::shapes::HealthBody;
use super::state::App;
use super::{detections, docs, events, guard, jobs, metrics, stream, videos};

/// Every route, but for `/docs` and `/openapi.json`, which describe these.
fn table() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(docs::Head::openapi())
        // GET, POST /api/videos
        .routes(routes!(videos::list, videos::add))
        // GET /api/videos/{video_id}
        .routes(routes!(videos::get))
        // GET /api/videos/{video_id}/stream
        .routes(routes!(stream::stream))
        // GET /api/videos/{video_id}/detections
        .routes(routes!(detections::list))
        // GET /api/videos/{video_id}/detections/stats
        .routes(routes!(detections::stats))
        // GET /api/videos/{video_id}/tracks
        .routes(routes!(detections::tracks))
        // POST /api/videos/{video_id}/detect
        .routes(routes!(jobs::detect))
        // GET /api/jobs
        .routes(routes!(jobs::list))
        // GET, DELETE /api/jobs/{job_id}
        .routes(routes!(jobs::get, jobs::cancel))
        // POST /api/jobs/{job_id}/retry
        .routes(routes!(jobs::retry))
        // GET /api/jobs/{job_id}/events
        .routes(routes!(events::follow))
        // GET /healthz
        .routes(routes!(health))
        // GET /metrics
        .routes(routes!(metrics::metrics))
}

/// The whole interface.
pub(super) fn router(app: &App) -> Router {
    let (routes, document) = table().split_for_parts();
    let guarded = routes
        .merge(docs::pages(docs::complete(document)))
        .fallback(|| async { Problem::new(StatusCode::NOT_FOUND, "Not Found") })
        .method_not_allowed_fallback(|| async {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed")
        })
        // From the inside out.
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(from_fn(guard::in_time))
        .layer(from_fn_with_state(app.clone(), guard::admit));
    let opened = if app.options.cors_origins.is_empty() { guarded } else { guarded.layer(cors(app)) };
    opened
        .layer(from_fn(guard::no_guessing))
        .layer(from_fn_with_state(app.clone(), metrics::count))
        .with_state(app.clone())
}

/// What pages of the allowed origins may do and see.
fn cors(app: &App) -> CorsLayer {
    CorsLayer::new()
        .allow_origin(app.options.cors_origins.clone())
        .allow_methods([Method::GET, Method::HEAD, Method::POST, Method::DELETE])
        .allow_headers([
            AUTHORIZATION,
            CONTENT_TYPE,
            RANGE,
            IF_RANGE,
            IF_NONE_MATCH,
            HeaderName::from_static("last-event-id"),
        ])
        .expose_headers([
            ACCEPT_RANGES,
            CONTENT_DISPOSITION,
            CONTENT_LENGTH,
            CONTENT_RANGE,
            ETAG,
            LAST_MODIFIED,
        ])
}

/// Says that the server is there.
#[utoipa::path(
    get, path = "/healthz", operation_id = "health", tag = "server",
    responses((status = 200, description = "It is", body = HealthBody))
)]
async fn health() -> Json<HealthBody> {
    Json(HealthBody { status: "ok", version: env!("CARGO_PKG_VERSION") })
}
