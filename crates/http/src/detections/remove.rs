//! `DELETE /api/videos/{video_id}/detections`.

use axum::extract::State;
use axum::http::StatusCode;

use crate::api_error::{ApiError, ApiResult, ErrorBody, ValidationBody};
use crate::app::AppState;
use crate::extract::path::VideoIdPath;

/// Remove all detections of a video from the library.
///
/// Those of every job and of other programs. Results that are still in the bucket can be imported again.
#[utoipa::path(
    delete, path = "/api/videos/{video_id}/detections", operation_id = "remove_detections", tag = "detections",
    params(VideoIdPath),
    responses(
        (status = 204, description = "The video has no detections"),
        (status = 404, description = "No such video", body = ErrorBody),
        (status = 409, description = "Other rows of the database refer to detections", body = ErrorBody),
        (status = 422, description = "The id is not a number", body = ValidationBody),
    )
)]
pub(crate) async fn remove(
    State(app): State<AppState>,
    VideoIdPath { video_id }: VideoIdPath,
) -> ApiResult<StatusCode> {
    let removed = app.client.with_library(move |_, library| Ok(library.remove_detections(video_id)?)).await;
    removed.map_err(ApiError::conflict_from)?;
    Ok(StatusCode::NO_CONTENT)
}
