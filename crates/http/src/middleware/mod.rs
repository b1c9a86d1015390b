//! What runs before and after every handler. [`wrap`] lists the layers in order.

pub(crate) mod authorize;
pub(crate) mod body_timeout;
mod compress;
mod content_sniffing;
mod cors;
mod count_requests;
mod request_timeout;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};

use crate::app::AppState;
use crate::extract::body::MAX_BODY_BYTES;

/// Adds all layers to the routes.
pub(crate) fn wrap(routes: Router<AppState>, app: &AppState) -> Router<AppState> {
    // The last layer runs first.
    let authorized = routes
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(from_fn_with_state(app.clone(), body_timeout::body_timeout))
        .layer(from_fn(request_timeout::request_timeout))
        .layer(from_fn_with_state(app.clone(), authorize::authorize));
    let origins = &app.options.cors_origins;
    let with_cors =
        if origins.is_empty() { authorized } else { authorized.layer(cors::cors(origins.clone())) };
    with_cors
        .layer(compress::compression())
        .layer(from_fn(content_sniffing::forbid_content_sniffing))
        .layer(from_fn_with_state(app.clone(), count_requests::count_requests))
}
