//! `GET /api/videos/{video_id}/tracks`.

use axum::Json;
use axum::extract::State;
use client::videos;
use store::DetectionScope;

use crate::api_error::{ApiResult, ErrorBody, ValidationBody};
use crate::app::AppState;
use crate::extract::path::VideoIdPath;
use crate::shapes::detection::TracksBody;

/// List the tracks of a video.
#[utoipa::path(
    get, path = "/api/videos/{video_id}/tracks", operation_id = "list_tracks", tag = "detections",
    params(VideoIdPath),
    responses(
        (status = 200, description = "The tracks", body = TracksBody),
        (status = 404, description = "No such video", body = ErrorBody),
        (status = 422, description = "The id is not a number", body = ValidationBody),
    )
)]
pub(crate) async fn tracks(
    State(app): State<AppState>,
    VideoIdPath { video_id }: VideoIdPath,
) -> ApiResult<Json<TracksBody>> {
    let tracks = app.client.with_library(move |_, library| {
        videos::find(library, video_id)?;
        Ok(library.track_summaries(DetectionScope::Video(video_id))?)
    });
    let tracks = tracks.await?.into_iter().map(Into::into).collect();
    Ok(Json(TracksBody { video_id, tracks }))
}
