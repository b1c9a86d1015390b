//! The time limit of requests.

use std::time::Duration;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::api_error::ApiError;
use crate::extract::body::media_type;

/// How long a response may take to begin. Uploads have only the limit of `body_timeout`.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(120);

/// Answers 503 when a response takes too long to begin.
pub(super) async fn request_timeout(request: Request, next: Next) -> Response {
    if media_type(&request).as_deref() == Some("multipart/form-data") {
        return next.run(request).await;
    }
    match tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => ApiError::unavailable("The request took too long").into_response(),
    }
}
