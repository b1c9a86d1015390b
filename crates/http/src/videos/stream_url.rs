//! `GET /api/videos/{video_id}/stream-url`.

use axum::Json;
use axum::extract::State;
use client::videos;

use super::stream::bucket_copy::{BucketCopy, find_in_bucket};
use super::stream::no_file;
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
        (status = 404, description = "No such video, or its file no longer exists", body = ErrorBody),
        (status = 422, description = "The id is not a number", body = ValidationBody),
    )
)]
pub(crate) async fn stream_url(
    State(app): State<AppState>,
    VideoIdPath { video_id }: VideoIdPath,
) -> ApiResult<Json<UrlBody>> {
    let located = app.client.read_library(move |client, library| {
        let video = videos::find(library, video_id)?;
        Ok((videos::locate(&client.settings, &video).is_some(), video.r2_key))
    });
    let (has_file, key) = located.await?;
    let copy = match &key {
        // The file here is as good as one in a bucket that does not respond.
        Some(key) => find_in_bucket(&app.client, key).await.or_else(|e| has_file.then_some(None).ok_or(e))?,
        None => None,
    };
    let url = match copy {
        Some(BucketCopy::Url(url)) => url,
        None if !has_file => return Err(no_file(video_id)),
        _ => app.options.access.signed_url(&format!("/api/videos/{video_id}/stream"), app.client.env.utc()),
    };
    Ok(Json(UrlBody { url, expires_in: VALID_S }))
}
