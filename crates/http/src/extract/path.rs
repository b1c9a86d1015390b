//! The ids in a path.

use ::jobs::JobId;
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use utoipa::IntoParams;

use crate::api_error::{ApiError, ApiResult, FieldError};

/// The `{video_id}` of a path.
#[derive(Debug, Clone, Copy, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct VideoIdPath {
    /// The video's id.
    pub(crate) video_id: i64,
}

impl<S: Send + Sync> FromRequestParts<S> for VideoIdPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> ApiResult<Self> {
        number(parts, state, "video_id").await.map(|video_id| Self { video_id })
    }
}

/// The `{video_id}` and the `{frame}` of a path.
#[derive(Debug, Clone, Copy, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct FramePath {
    /// The video's id.
    pub(crate) video_id: i64,
    /// The frame's number, from 0, and `.jpg`.
    #[param(value_type = String, pattern = r"^[0-9]+\.jpg$", example = "1500.jpg")]
    pub(crate) frame: u64,
}

impl<S: Send + Sync> FromRequestParts<S> for FramePath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> ApiResult<Self> {
        let texts = Path::<(String, String)>::from_request_parts(parts, state).await;
        let (video_id, frame) = texts.map(|Path(texts)| texts).unwrap_or_default();
        let mut faults = Vec::new();
        if video_id.parse::<i64>().is_err() {
            faults.push(FieldError::new(
                "path",
                "video_id",
                "int_parsing",
                "Input should be a valid integer",
            ));
        }
        let number = frame.strip_suffix(".jpg").filter(|number| is_digits(number));
        if number.is_none() {
            let msg = "Input should be the number of a frame and .jpg, such as 1500.jpg";
            faults.push(FieldError::new("path", "frame", "string_pattern_mismatch", msg));
        }
        match (video_id.parse(), number) {
            // No video has as many frames as would not fit.
            (Ok(video_id), Some(number)) => Ok(Self { video_id, frame: number.parse().unwrap_or(u64::MAX) }),
            _ => Err(ApiError::invalid(faults)),
        }
    }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The `{game_id}` of a path.
#[derive(Debug, Clone, Copy, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct GameIdPath {
    /// The game's id.
    pub(crate) game_id: i64,
}

impl<S: Send + Sync> FromRequestParts<S> for GameIdPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> ApiResult<Self> {
        number(parts, state, "game_id").await.map(|game_id| Self { game_id })
    }
}

/// The `{job_id}` of a path.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct JobIdPath {
    /// The job's id.
    #[param(value_type = String, max_length = 128, pattern = r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?$")]
    pub(crate) job_id: JobId,
}

impl<S: Send + Sync> FromRequestParts<S> for JobIdPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> ApiResult<Self> {
        let text = text(parts, state).await.unwrap_or_default();
        JobId::new(text).map(|job_id| Self { job_id }).map_err(|error| {
            let msg = error.to_string();
            ApiError::invalid(vec![FieldError::new("path", "job_id", "string_pattern_mismatch", msg)])
        })
    }
}

/// The only parameter of the path, which must be an integer.
async fn number<S: Send + Sync>(parts: &mut Parts, state: &S, name: &str) -> ApiResult<i64> {
    let number = text(parts, state).await.and_then(|text| text.parse().ok());
    number.ok_or_else(|| {
        let msg = "Input should be a valid integer";
        ApiError::invalid(vec![FieldError::new("path", name, "int_parsing", msg)])
    })
}

/// The only parameter of the path; `None` if it is not UTF-8.
async fn text<S: Send + Sync>(parts: &mut Parts, state: &S) -> Option<String> {
    Path::<String>::from_request_parts(parts, state).await.ok().map(|Path(text)| text)
}
