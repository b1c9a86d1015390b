//! `GET /api/videos/{video_id}/stream-url`.

use axum::Json;
use axum::extract::State;
use client::videos;

use super::stream::bucket_copy::{BucketCopy, URL_LIFETIME, find_in_bucket};
use crate::api_error::{ApiResult, ErrorBody, ValidationBody};
use crate::app::AppState;
use crate::extract::path::VideoIdPath;
use crate::shapes::video::StreamUrlBody;

/// Return an address under which a player can read a video.
///
/// An address in the bucket if it has a copy that needs no token, else that of this server's stream.
#[utoipa::path(
    get, path = "/api/videos/{video_id}/stream-url", operation_id = "get_stream_url", tag = "videos",
    params(VideoIdPath),
    responses(
        (status = 200, description = "The address", body = StreamUrlBody),
        (status = 404, description = "No such video", body = ErrorBody),
        (status = 422, description = "The id is not a number", body = ValidationBody),
    )
)]
pub(crate) async fn stream_url(
    State(app): State<AppState>,
    VideoIdPath { video_id }: VideoIdPath,
) -> ApiResult<Json<StreamUrlBody>> {
    let video = app.client.read_library(move |_, library| videos::find(library, video_id)).await?;
    let copy = match &video.r2_key {
        Some(key) => find_in_bucket(&app.client, key).await?,
        None => None,
    };
    let url = match copy {
        Some(BucketCopy::Url(url)) => url,
        _ => format!("/api/videos/{video_id}/stream"),
    };
    Ok(Json(StreamUrlBody { url, expires_in: URL_LIFETIME.as_secs() }))
}
