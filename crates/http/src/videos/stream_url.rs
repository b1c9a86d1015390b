//! `GET /api/videos/{video_id}/stream-url`.

use axum::Json;
use axum::extract::State;
use client::videos;

use super::stream::bucket_copy::{BucketCopy, find_in_bucket};
use crate::api_error::{ApiResult, ErrorBody, ValidationBody};
use crate::app::AppState;
use crate::extract::path::VideoIdPath;
use crate::shapes::server::UrlBody;
use crate::signed_url::VALID_S;

/// Return an address under which a player can read a video.
///
/// An address in the bucket if it has a copy, else one of this server, which needs no token while it is valid.
#[utoipa::path(
    get, path = "/api/videos/{video_id}/stream-url", operation_id = "get_stream_url", tag = "videos",
    params(VideoIdPath),
    responses(
        (status = 200, description = "The address", body = UrlBody),
        (status = 404, description = "No such video", body = ErrorBody),
        (status = 422, description = "The id is not a number", body = ValidationBody),
    )
)]
pub(crate) async fn stream_url(
    State(app): State<AppState>,
    VideoIdPath { video_id }: VideoIdPath,
) -> ApiResult<Json<UrlBody>> {
    let video = app.client.read_library(move |_, library| videos::find(library, video_id)).await?;
    let copy = match &video.r2_key {
        Some(key) => find_in_bucket(&app.client, key).await?,
        None => None,
    };
    let url = match copy {
        Some(BucketCopy::Url(url)) => url,
        _ => app.options.access.signed_url(&format!("/api/videos/{video_id}/stream"), app.client.env.utc()),
    };
    Ok(Json(UrlBody { url, expires_in: VALID_S }))
}
