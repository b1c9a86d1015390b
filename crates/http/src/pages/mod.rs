//! Everything served that is not the API: the page at `/`, and the API documentation at `/docs` and `/openapi.json`.

mod files;

use axum::Router;
use axum::routing::get;
use utoipa::openapi::OpenApi as Document;
use utoipa_swagger_ui::SwaggerUi;

use crate::app::AppState;

/// The routes of all pages. `document` is the OpenAPI document that the documentation shows.
pub(crate) fn pages(document: Document) -> Router<AppState> {
    Router::new()
        .route("/", get(files::index))
        .route(files::ASSETS, get(files::asset))
        .merge(SwaggerUi::new("/docs").url("/openapi.json", document))
}

/// Whether a route serves a page. Pages contain no user data and need no token.
pub(crate) fn is_page(route: &str) -> bool {
    matches!(route, "/" | files::ASSETS | "/openapi.json" | "/docs") || route.starts_with("/docs/")
}
