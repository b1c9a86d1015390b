//! `POST /api/videos`: upload a video, or add a file that is already in the server's video folder.

use std::path::{Path, PathBuf};

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use client::videos;
use store::Video;
use utoipa::ToSchema;

use super::upload;
use crate::api_error::{ApiError, ApiResult, ErrorBody, FieldError, ValidationBody};
use crate::app::{App, AppState};
use crate::extract::body::{media_type, required_body, unsupported_media_type};
use crate::extract::fields::{Fields, FromFields};
use crate::shapes::video::AddedVideoBody;

/// Length limit of a path, which the library's schema sets.
const MAX_PATH_CHARS: usize = 500;

/// A file to add to the library.
#[derive(Debug, ToSchema)]
pub(crate) struct RegisterRequest {
    /// Path of a file in the server's video folder: absolute, or relative to that folder.
    #[schema(min_length = 1, max_length = 500, pattern = r"\S")]
    file_path: String,
    /// Number of the video stream to track, of a file with several, as ffmpeg counts all streams. Default: the one that
    /// players show.
    #[schema(minimum = 0, maximum = 65535)]
    stream: Option<u32>,
}

impl FromFields for RegisterRequest {
    fn read(fields: &mut Fields) -> Self {
        let is_given = fields.is_given("file_path");
        let file_path = fields.text("file_path", MAX_PATH_CHARS).unwrap_or_default();
        if !is_given {
            fields.missing("file_path");
        }
        let stream = fields.integer("stream", 0..=65535).and_then(|stream| u32::try_from(stream).ok());
        Self { file_path, stream }
    }
}

/// A video to upload.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the form in the OpenAPI document; uploads are streamed to the disk")]
struct UploadForm {
    /// The video file.
    #[schema(value_type = String, format = Binary)]
    file: Vec<u8>,
}

/// Add a video to the library.
///
/// Uploads the video as a form, or adds a file that is already in the server's video folder. A file that was uploaded
/// before, under whatever name, is not stored again: the response is the video that the library has.
#[utoipa::path(
    post, path = "/api/videos", operation_id = "add_video", tag = "videos",
    request_body(content((RegisterRequest = "application/json"), (UploadForm = "multipart/form-data"))),
    responses(
        (status = 200, description = "The library had the video already", body = AddedVideoBody),
        (status = 201, description = "The added video", body = AddedVideoBody),
        (status = 400, description = "The body could not be read", body = ErrorBody),
        (status = 409, description = "The library has the file with another stream", body = ErrorBody),
        (status = 408, description = "The client stopped sending", body = ErrorBody),
        (status = 413, description = "The video is too large", body = ErrorBody),
        (status = 415, description = "The body is neither JSON nor a form", body = ErrorBody),
        (status = 422, description = "Not a video, or not in the video folder", body = ValidationBody),
        (status = 507, description = "The disk is full", body = ErrorBody),
    )
)]
pub(crate) async fn add(
    State(app): State<AppState>,
    request: Request,
) -> ApiResult<(StatusCode, Json<AddedVideoBody>)> {
    let (video, already) = match media_type(&request).as_deref() {
        Some("multipart/form-data") => upload::receive(&app, request).await?,
        Some("application/json") => {
            let RegisterRequest { file_path, stream } = required_body(request, &app).await?;
            add_file(&app, file_path, stream).await?
        }
        _ => return Err(unsupported_media_type("multipart/form-data or application/json")),
    };
    let status = if already { StatusCode::OK } else { StatusCode::CREATED };
    Ok((status, Json(AddedVideoBody { video: app.video_body(video), already })))
}

async fn add_file(app: &App, file_path: String, stream: Option<u32>) -> ApiResult<(Video, bool)> {
    let folder = app.client.settings.video_folder.clone();
    let resolved = tokio::task::spawn_blocking(move || resolve_within(&folder, &file_path)).await?;
    let Some(file) = resolved else {
        let msg = "no such file in the video folder";
        return Err(ApiError::invalid(vec![FieldError::new("body", "file_path", "value_error", msg)]));
    };
    let added = app
        .client
        .with_library(move |client, library| videos::add_or_find(&client.settings, library, &file, stream))
        .await;
    added.map_err(|failure| ApiError::unusable_video(failure, "file_path", &app.client.settings.video_folder))
}

/// The canonical path of a regular file in the folder; `None` if it is outside or does not exist. The caller
/// cannot distinguish the two, so that clients cannot probe for files outside.
fn resolve_within(folder: &Path, file_path: &str) -> Option<PathBuf> {
    let folder = folder.canonicalize().ok()?;
    let file = folder.join(file_path).canonicalize().ok()?;
    let inner = file.strip_prefix(&folder).ok()?;
    // Courtside's own files in the folder have names that start with a dot.
    let is_hidden = inner.components().any(|part| part.as_os_str().as_encoded_bytes().starts_with(b"."));
    (file.is_file() && !is_hidden).then_some(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolves_only_files_inside_the_folder() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("videos");
        std::fs::create_dir_all(folder.join("day/.courtside")).unwrap();
        for file in ["videos/a.mp4", "videos/day/b.mp4", "videos/day/.courtside/c.mp4", "secret.mp4"] {
            std::fs::write(root.path().join(file), "x").unwrap();
        }
        std::os::unix::fs::symlink(root.path().join("secret.mp4"), folder.join("link.mp4")).unwrap();
        std::os::unix::fs::symlink(root.path(), folder.join("up")).unwrap();
        std::os::unix::fs::symlink(folder.join("a.mp4"), folder.join("alias.mp4")).unwrap();
        let real = folder.canonicalize().unwrap();
        let absolute = real.join("a.mp4");
        for inside in ["a.mp4", "./day/../a.mp4", absolute.to_str().unwrap(), "alias.mp4"] {
            assert_eq!(resolve_within(&folder, inside).as_deref(), Some(&*absolute), "{inside}");
        }
        assert_eq!(resolve_within(&folder, "day/b.mp4"), Some(real.join("day/b.mp4")));
        let outside = root.path().join("secret.mp4");
        for refused in [
            "../secret.mp4",
            outside.to_str().unwrap(),
            "link.mp4",
            "up/secret.mp4",
            "day",
            "",
            ".",
            "none.mp4",
            "day/.courtside/c.mp4",
            "a.mp4\0",
            "/etc/passwd",
        ] {
            assert_eq!(resolve_within(&folder, refused), None, "{refused}");
        }
    }
}
