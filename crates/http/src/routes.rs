//! Every route of the API, in one list, and the router that serves them.
//!
//! To add a route, write its handler with `#[utoipa::path]` and add a line to [`api`]. Handlers on the same
//! path share one line. Files that are not part of the API are served by [`pages`].

use axum::Router;
use axum::http::StatusCode;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api_error::ApiError;
use crate::app::AppState;
use crate::openapi::{self, ApiDocument};
use crate::{detections, edits, exports, games, jobs, middleware, monitoring, pages, session, videos};

/// The API: every route, and the OpenAPI document that describes them.
fn api() -> OpenApiRouter<AppState> {
    OpenApiRouter::with_openapi(ApiDocument::openapi())
        // GET, POST /api/videos
        .routes(routes!(videos::list::list, videos::add::add))
        // GET, PATCH, DELETE /api/videos/{video_id}
        .routes(routes!(videos::get::get, videos::edit::edit, videos::edit::remove))
        // GET /api/videos/{video_id}/stream
        .routes(routes!(videos::stream::stream))
        // GET /api/videos/{video_id}/stream-url
        .routes(routes!(videos::stream_url::stream_url))
        // GET /api/videos/{video_id}/thumbnail
        .routes(routes!(videos::thumbnail::thumbnail))
        // GET /api/videos/{video_id}/frames/{frame}, which ends in .jpg
        .routes(routes!(videos::frame::frame))
        // GET /api/videos/{video_id}/frame-url
        .routes(routes!(videos::frame_url::frame_url))
        // GET /api/videos/{video_id}/timestamps
        .routes(routes!(videos::timestamps::timestamps))
        // GET /api/videos/{video_id}/export
        .routes(routes!(exports::of_video::export))
        // GET, DELETE /api/videos/{video_id}/detections
        .routes(routes!(detections::list::list, detections::remove::remove))
        // GET /api/videos/{video_id}/detections/stats
        .routes(routes!(detections::stats::stats))
        // GET /api/videos/{video_id}/tracks
        .routes(routes!(detections::tracks::tracks))
        // GET, POST /api/videos/{video_id}/edits
        .routes(routes!(edits::list, edits::add))
        // POST /api/videos/{video_id}/edits/undo
        .routes(routes!(edits::undo))
        // POST /api/videos/{video_id}/edits/redo
        .routes(routes!(edits::redo))
        // POST /api/videos/{video_id}/detect
        .routes(routes!(jobs::detect::detect))
        // GET /api/games
        .routes(routes!(games::list))
        // GET /api/games/{game_id}
        .routes(routes!(games::get))
        // GET /api/games/{game_id}/videos
        .routes(routes!(games::videos))
        // GET /api/jobs
        .routes(routes!(jobs::list::list))
        // GET, DELETE /api/jobs/{job_id}
        .routes(routes!(jobs::get::get, jobs::cancel::cancel))
        // POST /api/jobs/{job_id}/retry
        .routes(routes!(jobs::retry::retry))
        // GET /api/jobs/{job_id}/events
        .routes(routes!(jobs::follow::follow))
        // GET /api/jobs/{job_id}/events-url
        .routes(routes!(jobs::events_url::events_url))
        // GET /api/jobs/{job_id}/export
        .routes(routes!(exports::of_job::export))
        // GET /api/jobs/{job_id}/logs
        .routes(routes!(jobs::logs::logs))
        // POST /api/jobs/{job_id}/remove
        .routes(routes!(jobs::remove::remove))
        // GET, POST, DELETE /api/session
        .routes(routes!(session::get, session::log_in, session::log_out))
        // GET /healthz
        .routes(routes!(monitoring::health::health))
        // GET /metrics
        .routes(routes!(monitoring::metrics::metrics))
}

/// The complete router: the API, the pages, JSON errors for everything else, and the middleware around them.
pub(crate) fn router(app: &AppState) -> Router {
    let (api, document) = api().split_for_parts();
    let document = openapi::with_closed_bodies(openapi::with_common_responses(document));
    let routes = api
        .merge(pages::pages(document))
        .fallback(|| async { ApiError::new(StatusCode::NOT_FOUND, "Not Found") })
        .method_not_allowed_fallback(|| async {
            ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed")
        });
    middleware::wrap(routes, app).with_state(app.clone())
}
