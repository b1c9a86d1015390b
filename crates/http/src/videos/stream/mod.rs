//! `GET /api/videos/{video_id}/stream`: the video's bytes for players, complete or in ranges, streamed from
//! the disk. If only a bucket has the video, players are redirected there.

pub(super) mod bucket_copy;
mod byte_ranges;
pub(crate) mod file_response;
mod preconditions;

use std::path::{Path, PathBuf};

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, LOCATION};
use axum::http::{HeaderMap, Method, Response, StatusCode};
use client::videos;
use tokio::fs::File;

use self::bucket_copy::{BucketCopy, find_in_bucket};
use self::file_response::{OpenFile, file_response, with_body};
use crate::api_error::{ApiError, ApiResult, ErrorBody, ValidationBody};
use crate::app::AppState;
use crate::extract::path::VideoIdPath;

/// Stream a video.
#[utoipa::path(
    get, path = "/api/videos/{video_id}/stream", operation_id = "stream_video", tag = "videos",
    params(
        VideoIdPath,
        ("Range" = Option<String>, Header, description = "Byte ranges, such as `bytes=0-499` (RFC 9110 §14)"),
    ),
    responses(
        (status = 200, description = "The complete video", body = [u8], content_type = "video/*"),
        (status = 206, description = "The requested ranges", body = [u8], content_type = "video/*"),
        (status = 302, description = "Only the bucket has the video: a URL that is valid for six hours"),
        (status = 304, description = "The client has the current version"),
        (status = 404, description = "No such video, or its file no longer exists", body = ErrorBody),
        (status = 412, description = "The file is not the version that the client requires", body = ErrorBody),
        (status = 416, description = "All ranges are outside the file", body = ErrorBody),
        (status = 422, description = "The id is not a number", body = ValidationBody),
    )
)]
pub(crate) async fn stream(
    State(app): State<AppState>,
    VideoIdPath { video_id }: VideoIdPath,
    method: Method,
    headers: HeaderMap,
) -> ApiResult<Response<Body>> {
    let located = app.client.with_library(move |client, library| {
        let video = videos::find(library, video_id)?;
        Ok((videos::locate(&client.settings, &video), video))
    });
    let (path, video) = located.await?;
    let path = path.unwrap_or_else(|| PathBuf::from(&video.file_path));
    if let Some(file) = open(&path).await? {
        return file_response(file, &path, &method, &headers).await;
    }
    let Some(key) = video.r2_key else { return Err(no_file(video_id)) };
    match find_in_bucket(&app.client, &key).await? {
        Some(BucketCopy::Url(url)) => {
            let found = Response::builder().status(StatusCode::FOUND).header(LOCATION, url);
            with_body(found.header(CACHE_CONTROL, "no-store"), Body::empty())
        }
        Some(BucketCopy::File(copy)) => match open(&copy).await? {
            Some(file) => file_response(file, &path, &method, &headers).await,
            None => Err(no_file(video_id)),
        },
        None => Err(no_file(video_id)),
    }
}

/// 404 for a video whose bytes are nowhere.
pub(super) fn no_file(id: i64) -> ApiError {
    let detail = format!("The file of video {id} no longer exists, and no bucket has a copy");
    ApiError::new(StatusCode::NOT_FOUND, detail)
}

/// Opens a regular file; `None` if the path has no such file.
async fn open(path: &Path) -> ApiResult<Option<OpenFile>> {
    // Checked before opening, because opening a pipe would block.
    match tokio::fs::metadata(path).await {
        Ok(meta) if meta.is_file() => {}
        Ok(_) => return Ok(None),
        Err(error) if is_missing(&error) => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    match File::open(path).await {
        Ok(file) => {
            let meta = file.metadata().await?;
            Ok(Some(OpenFile { file, meta }))
        }
        Err(error) if is_missing(&error) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn is_missing(error: &std::io::Error) -> bool {
    use std::io::ErrorKind as K;
    matches!(error.kind(), K::NotFound | K::NotADirectory | K::InvalidInput)
}
