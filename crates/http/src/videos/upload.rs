//! Receives an uploaded video. It is streamed to a temporary file in the video folder, which gets its final
//! name once it is complete and durable. An upload that ends early leaves nothing behind, and neither does one whose
//! content the library has: it is hashed while it arrives.

use axum::extract::multipart::{Field, MultipartError};
use axum::extract::{DefaultBodyLimit, FromRequest, Multipart, Request};
use axum::http::StatusCode;
use axum::http::header::CONTENT_LENGTH;
use bytes::Bytes;
use client::videos;
use store::Video;
use tokio::sync::mpsc;

use super::upload_file::{self, ReceivedFile};
use crate::api_error::{ApiError, ApiResult, FieldError};
use crate::app::{App, AppState};
use crate::middleware::body_timeout::BodyStalled;

/// Size limit of the form without the video.
const MAX_FORM_OVERHEAD_BYTES: u64 = 64 << 10;
/// Received chunks that may wait to be written.
const CHUNKS_AHEAD: usize = 16;

/// Receives the field `file` of a form, and adds the video to the library. Other fields are ignored.
pub(super) async fn receive(app: &AppState, mut request: Request) -> ApiResult<(Video, bool)> {
    let limit = app.options.max_upload_bytes;
    let form_limit = limit.saturating_add(MAX_FORM_OVERHEAD_BYTES);
    let announced = request.headers().get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|n| n > form_limit) {
        return Err(too_large(limit));
    }
    let body_limit = DefaultBodyLimit::max(usize::try_from(form_limit).unwrap_or(usize::MAX));
    DefaultBodyLimit::apply(body_limit, &mut request);
    let mut form = Multipart::from_request(request, app).await.map_err(|rejection| {
        ApiError::new(StatusCode::BAD_REQUEST, format!("The form cannot be read: {rejection}"))
    })?;
    let mut received = None;
    while let Some(mut field) = next_part(limit, form.next_field()).await? {
        if field.name() == Some("file") && received.is_none() {
            let name = upload_file::safe_name(field.file_name().unwrap_or_default());
            received = Some((save(app, &mut field, limit).await?, name));
        } else {
            while next_part(limit, field.chunk()).await?.is_some() {}
        }
    }
    let Some((file, name)) = received else {
        return Err(ApiError::invalid(vec![FieldError::new("body", "file", "missing", "Field required")]));
    };
    add(app, file, name).await
}

/// Gives the complete file its name, and adds it to the library; returns whether the library had its content already. A
/// file that is not a video is removed.
async fn add(app: &App, upload: ReceivedFile, name: String) -> ApiResult<(Video, bool)> {
    // Moved to the work, which runs to completion even if the client disconnects.
    let lock = app.upload_locks.lock(&upload.sha256).await;
    let added = app.client.with_library(move |client, library| {
        let _lock = lock;
        let ReceivedFile { file, sha256, n_bytes } = upload;
        if let Some(video) = videos::find_stored(&client.settings, library, &sha256, n_bytes)? {
            return Ok((video, true));
        }
        let file = upload_file::commit(file, &name)?;
        // A video whose file was gone has it again, which is not the same as nothing stored.
        let added =
            videos::add_hashed(&client.settings, library, &file, sha256).map(|(video, _)| (video, false));
        added.inspect_err(|_| {
            let _ = std::fs::remove_file(&file);
        })
    });
    added
        .await
        .map_err(|failure| ApiError::unusable_video(failure, "file", &app.client.settings.video_folder))
}

/// Streams a field to a temporary file.
async fn save(app: &App, field: &mut Field<'_>, limit: u64) -> ApiResult<ReceivedFile> {
    let folder = app.client.settings.video_folder.clone();
    let (sender, chunks) = mpsc::channel::<Bytes>(CHUNKS_AHEAD);
    let writer = tokio::task::spawn_blocking(move || upload_file::write(&folder, chunks));
    let mut n_bytes = 0;
    while let Some(chunk) = next_part(limit, field.chunk()).await? {
        n_bytes += chunk.len() as u64;
        if n_bytes > limit {
            return Err(too_large(limit));
        }
        // Fails only if the writer failed, which then returns the error.
        if sender.send(chunk).await.is_err() {
            break;
        }
    }
    drop(sender);
    let file = writer.await??;
    if file.n_bytes == 0 {
        let error = FieldError::new("body", "file", "value_error", "the file is empty");
        return Err(ApiError::invalid(vec![error]));
    }
    Ok(file)
}

/// The next field or chunk of a form.
async fn next_part<T>(limit: u64, next: impl Future<Output = Result<T, MultipartError>>) -> ApiResult<T> {
    next.await.map_err(|error| {
        if error.status() == StatusCode::PAYLOAD_TOO_LARGE {
            return too_large(limit);
        }
        tracing::info!(%error, "an upload ended early");
        BodyStalled::response_to(&error).unwrap_or_else(|| {
            ApiError::new(StatusCode::BAD_REQUEST, "The form ended early, or is malformed")
        })
    })
}

fn too_large(limit: u64) -> ApiError {
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, format!("The video is larger than {limit} bytes"))
}
