//! `GET /api/videos/{video_id}/detections/stats`.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;

use super::scope::{JobQuery, VideoDetections, found};
use crate::api_error::{ApiResult, ErrorBody, ValidationBody};
use crate::app::AppState;
use crate::etag::tagged_json;
use crate::extract::path::VideoIdPath;
use crate::extract::query::Query;
use crate::shapes::detection::StatsBody;

/// Return statistics of the detections of a video.
#[utoipa::path(
    get, path = "/api/videos/{video_id}/detections/stats", operation_id = "get_detection_stats", tag = "detections",
    params(VideoIdPath, JobQuery),
    responses(
        (status = 200, description = "The statistics", body = StatsBody),
        (status = 304, description = "The client has the current version"),
        (status = 404, description = "No such video, or no such imported job of it", body = ErrorBody),
        (status = 422, description = "A parameter is invalid", body = ValidationBody),
    )
)]
pub(crate) async fn stats(
    State(app): State<AppState>,
    VideoIdPath { video_id }: VideoIdPath,
    Query(query): Query<JobQuery>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let stats = app.client.read_library(move |_, library| {
        let Some(of) = VideoDetections::find(library, video_id, query)? else { return Ok(None) };
        let stats = library.detection_stats(of.view())?;
        let counts = of.persons_and_balls(library, stats.total_detections)?;
        Ok(Some(StatsBody::new(video_id, of.job(), &stats, counts)))
    });
    tagged_json(&headers, &found(stats.await?, video_id)?)
}
