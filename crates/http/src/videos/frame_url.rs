//! `GET /api/videos/{video_id}/frame-url`.

use axum::Json;
use axum::extract::State;

use super::local_file::local_file;
use crate::api_error::{ApiResult, ErrorBody, ValidationBody};
use crate::app::AppState;
use crate::extract::path::VideoIdPath;
use crate::shapes::server::UrlBody;
use crate::signed_url::{VALID_S, frames_path};

/// Return an address under which an `<img>` can load the frames of a video.
///
/// Replace `{frame}` in it by the number of a frame. It needs no token while it is valid; parameters may be added.
#[utoipa::path(
    get, path = "/api/videos/{video_id}/frame-url", operation_id = "get_frame_url", tag = "videos",
    params(VideoIdPath),
    responses(
        (status = 200, description = "The address, with `{frame}` where the number belongs", body = UrlBody),
        (status = 404, description = "No such video, or its file no longer exists", body = ErrorBody),
        (status = 409, description = "Only the bucket has the video", body = ErrorBody),
        (status = 422, description = "The id is not a number", body = ValidationBody),
    )
)]
pub(crate) async fn frame_url(
    State(app): State<AppState>,
    VideoIdPath { video_id }: VideoIdPath,
) -> ApiResult<Json<UrlBody>> {
    local_file(&app, video_id).await?;
    let url = app.options.access.signed_url(&frames_path(video_id), app.client.env.utc());
    Ok(Json(UrlBody { url, expires_in: VALID_S }))
}
