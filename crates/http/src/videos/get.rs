//! `GET /api/videos/{video_id}`.

use axum::Json;
use axum::extract::State;
use client::videos;

use crate::api_error::{ApiResult, ErrorBody, ValidationBody};
use crate::app::AppState;
use crate::extract::path::VideoIdPath;
use crate::shapes::video::VideoBody;

/// Show a video.
#[utoipa::path(
    get, path = "/api/videos/{video_id}", operation_id = "get_video", tag = "videos", params(VideoIdPath),
    responses(
        (status = 200, description = "The video", body = VideoBody),
        (status = 404, description = "No such video", body = ErrorBody),
        (status = 422, description = "The id is not a number", body = ValidationBody),
    )
)]
pub(crate) async fn get(
    State(app): State<AppState>,
    VideoIdPath { video_id }: VideoIdPath,
) -> ApiResult<Json<VideoBody>> {
    let video = app.client.read_library(move |_, library| videos::find(library, video_id)).await?;
    Ok(Json(app.video_body(video)))
}
