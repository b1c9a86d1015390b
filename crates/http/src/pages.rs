//! Everything served that is not the API: today the API documentation at `/docs` and `/openapi.json`.
//!
//! The files of a web page belong here: add their routes to [`pages`] and their paths to [`is_page`], so that a
//! browser can load them before the user has entered a token.

use axum::Router;
use utoipa::openapi::OpenApi as Document;
use utoipa_swagger_ui::SwaggerUi;

use crate::app::AppState;

/// The routes of all pages. `document` is the OpenAPI document that the documentation shows.
pub(crate) fn pages(document: Document) -> Router<AppState> {
    Router::new().merge(SwaggerUi::new("/docs").url("/openapi.json", document))
}

/// Whether a route serves a page. Pages contain no user data and need no token.
pub(crate) fn is_page(route: &str) -> bool {
    matches!(route, "/openapi.json" | "/docs") || route.starts_with("/docs/")
}
