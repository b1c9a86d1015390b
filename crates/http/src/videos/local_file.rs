//! The file of a video on the server's machine, for what only a local file can answer.

use std::path::PathBuf;

use axum::http::StatusCode;
use client::videos;

use super::stream::bucket_copy::{BucketCopy, find_in_bucket};
use super::stream::no_file;
use crate::api_error::{ApiError, ApiResult};
use crate::app::App;
use crate::images::file_identity::VideoFile;

/// The file of a video, or its copy in a bucket that is a folder.
///
/// # Errors
/// 404 if there is no such video, or its file no longer exists; 409 if only a bucket on another machine has it.
pub(super) async fn local_file(app: &App, video_id: i64) -> ApiResult<VideoFile> {
    let located = app.client.read_library(move |client, library| {
        let video = videos::find(library, video_id)?;
        Ok((videos::locate(&client.settings, &video), video.r2_key, video.stream))
    });
    let (path, key, stream) = located.await?;
    let path = match (path, key) {
        (Some(path), _) => path,
        (None, Some(key)) => copy_in_bucket(app, video_id, &key).await?,
        (None, None) => return Err(no_file(video_id)),
    };
    match tokio::task::spawn_blocking(move || VideoFile::at(&path, stream)).await? {
        Ok(file) => Ok(file),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(no_file(video_id)),
        Err(error) => Err(error.into()),
    }
}

async fn copy_in_bucket(app: &App, video_id: i64, key: &str) -> ApiResult<PathBuf> {
    match find_in_bucket(&app.client, key).await? {
        Some(BucketCopy::File(path)) => Ok(path),
        Some(BucketCopy::Url(_)) => {
            let detail = format!(
                "Video {video_id} is only in the bucket; its frames can be read once its file is on the server"
            );
            Err(ApiError::new(StatusCode::CONFLICT, detail))
        }
        None => Err(no_file(video_id)),
    }
}
