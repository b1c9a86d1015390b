//! Responses for files that cannot be read. They do not say where the file is.

use axum::http::StatusCode;
use video::VideoError;

use super::file_identity::VideoFile;
use crate::api_error::ApiError;

/// The response for an error about a file: 409 if the file is at fault, 503 if a retry may help.
pub(super) fn video_error(error: VideoError, file: &VideoFile) -> ApiError {
    use VideoError as E;
    match error {
        _ if error.is_of_the_file() => {
            let message = error.to_string().replace(&file.path.display().to_string(), &file.name());
            ApiError::new(StatusCode::CONFLICT, message)
        }
        E::Stalled { .. } => {
            tracing::warn!(%error, "the file of a video does not respond");
            ApiError::unavailable("The file of the video does not respond")
        }
        E::Io { ref source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            ApiError::unavailable("The file of the video was removed or replaced meanwhile")
        }
        _ => ApiError::internal(error),
    }
}
