//! `GET /api/videos/{video_id}/detections/stats`.

use axum::Json;
use axum::extract::State;
use client::videos;
use store::DetectionScope;

use crate::api_error::{ApiResult, ErrorBody, ValidationBody};
use crate::app::AppState;
use crate::extract::path::VideoIdPath;
use crate::shapes::detection::StatsBody;

/// Return statistics of the detections of a video.
#[utoipa::path(
    get, path = "/api/videos/{video_id}/detections/stats", operation_id = "get_detection_stats", tag = "detections",
    params(VideoIdPath),
    responses(
        (status = 200, description = "The statistics", body = StatsBody),
        (status = 404, description = "No such video", body = ErrorBody),
        (status = 422, description = "The id is not a number", body = ValidationBody),
    )
)]
pub(crate) async fn stats(
    State(app): State<AppState>,
    VideoIdPath { video_id }: VideoIdPath,
) -> ApiResult<Json<StatsBody>> {
    let stats = app.client.with_library(move |_, library| {
        videos::find(library, video_id)?;
        Ok(library.detection_stats(DetectionScope::Video(video_id))?)
    });
    Ok(Json(StatsBody::new(video_id, &stats.await?)))
}
