//! The time limit of request bodies: between two pieces, not in total.

use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;
use futures::{StreamExt, TryStreamExt};

use crate::api_error::ApiError;
use crate::app::AppState;

/// The error of a body whose client stopped sending.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodyStalled {
    timeout: Duration,
}

impl std::fmt::Display for BodyStalled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "No data received for {} s", self.timeout.as_secs_f64())
    }
}

impl std::error::Error for BodyStalled {}

impl BodyStalled {
    /// The response 408, if the client stopped sending and that caused `error`.
    pub(crate) fn response_to(error: &(dyn std::error::Error + 'static)) -> Option<ApiError> {
        let mut chain = std::iter::successors(Some(error), |error| error.source());
        let stalled = chain.find_map(|cause| cause.downcast_ref::<Self>())?;
        Some(ApiError::new(StatusCode::REQUEST_TIMEOUT, stalled.to_string()))
    }
}

/// Fails the body of a request with [`BodyStalled`] when its reader has waited too long for the next piece.
pub(super) async fn body_timeout(State(app): State<AppState>, request: Request, next: Next) -> Response {
    let timeout = app.options.limits.body_timeout;
    next.run(request.map(|body| with_timeout(body, timeout))).await
}

fn with_timeout(body: Body, timeout: Duration) -> Body {
    if body.is_end_stream() {
        return body;
    }
    let pieces = body.into_data_stream().map_err(axum::BoxError::from);
    Body::from_stream(futures::stream::try_unfold(pieces, move |mut pieces| async move {
        match tokio::time::timeout(timeout, pieces.next()).await {
            Ok(Some(piece)) => Ok(Some((piece?, pieces))),
            Ok(None) => Ok(None),
            Err(_) => Err(axum::BoxError::from(BodyStalled { timeout })),
        }
    }))
}
