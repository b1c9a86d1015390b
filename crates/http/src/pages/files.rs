//! The files of the page, which `npm run build` in `ui/` writes and the build embeds.

use axum::extract::Path;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use rust_embed::Embed;

use crate::api_error::{ApiError, ApiResult};
use crate::etag::tagged_as;

/// The route of all files but `index.html`.
pub(super) const ASSETS: &str = "/assets/{*path}";

/// The licences of the libraries in the page.
const LICENCES: &str = "licenses.md";

/// Only this server's own scripts and styles run, and nothing is loaded from elsewhere. Images and videos may also be data of
/// the page itself.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; \
     media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// What a build without the page's files serves in its place.
const NOT_BUILT: &str = "<!doctype html><html lang=en><meta charset=utf-8><title>Courtside</title>\
    <h1>This build of courtside has no page</h1>\
    <p>Build the program with its page: install Node.js 20.19 or newer, then run <code>make build</code> in the \
    folder of the source code.</p>\
    <p>The API is there: <a href=/docs/>documentation</a>.</p></html>";

#[derive(Embed)]
#[folder = "../../ui/dist/page"]
#[allow_missing = true]
struct Files;

/// `GET /`.
pub(super) async fn index(headers: HeaderMap) -> Response {
    let mut response = match Files::get("index.html") {
        Some(file) => tagged_as("text/html; charset=utf-8", &headers, file.data.into_owned().into()),
        None => Html(NOT_BUILT).into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// `GET /assets/{path}`. The names of scripts and styles contain hashes of the contents, so that they may be kept forever.
pub(super) async fn asset(Path(path): Path<String>) -> ApiResult<Response> {
    let found = Files::get(&format!("assets/{path}"));
    let (Some(file), Some(media_type)) = (found, media_type(&path)) else {
        return Err(ApiError::new(StatusCode::NOT_FOUND, "Not Found"));
    };
    let caching = if path == LICENCES { "no-cache" } else { "public, max-age=31536000, immutable" };
    let headers = [(CONTENT_TYPE, media_type), (CACHE_CONTROL, caching)];
    Ok((headers, file.data).into_response())
}

fn media_type(path: &str) -> Option<&'static str> {
    match path.rsplit_once('.')?.1 {
        "js" => Some("text/javascript; charset=utf-8"),
        "css" => Some("text/css; charset=utf-8"),
        "md" => Some("text/markdown; charset=utf-8"),
        "svg" => Some("image/svg+xml"),
        _ => None,
    }
}
