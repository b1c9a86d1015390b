//! Entity tags of bodies (RFC 9110 §8.8.3), so that clients do not load again what they have.

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::api_error::{ApiError, ApiResult};

/// A JSON response with the tag of its content; 304 without a body if the client has that content.
pub(crate) fn tagged_json<T: Serialize>(request: &HeaderMap, body: &T) -> ApiResult<Response> {
    let json = serde_json::to_vec(body).map_err(ApiError::internal)?;
    Ok(tagged(request, json.into()))
}

/// Like [`tagged_json`], for JSON text.
pub(crate) fn tagged(request: &HeaderMap, json: Bytes) -> Response {
    tagged_as("application/json", request, json)
}

/// Like [`tagged_json`], for a body of this media type.
pub(crate) fn tagged_as(media_type: &'static str, request: &HeaderMap, body: Bytes) -> Response {
    // Weak, because compression changes the bytes.
    let tag = format!("W/\"{:.32}\"", format!("{:x}", Sha256::digest(&body)));
    if matches(request, &tag) { not_modified(&tag) } else { with_tag(&tag, media_type, body) }
}

/// A JPEG that `make` makes, unless the client has the one with this tag.
pub(crate) async fn tagged_jpeg(
    request: &HeaderMap,
    tag: &str,
    make: impl Future<Output = ApiResult<Vec<u8>>>,
) -> ApiResult<Response> {
    if matches(request, tag) {
        return Ok(not_modified(tag));
    }
    Ok(with_tag(tag, "image/jpeg", make.await?))
}

/// A response with this tag.
fn with_tag(tag: &str, media_type: &'static str, body: impl Into<Body>) -> Response {
    (headers(tag), [(CONTENT_TYPE, media_type)], body.into()).into_response()
}

/// The response for a client that has the content with this tag.
fn not_modified(tag: &str) -> Response {
    (StatusCode::NOT_MODIFIED, headers(tag)).into_response()
}

fn headers(tag: &str) -> [(HeaderName, String); 2] {
    [(ETAG, tag.to_owned()), (CACHE_CONTROL, "private, no-cache".to_owned())]
}

/// Whether `If-None-Match` lists the tag, by weak comparison.
fn matches(request: &HeaderMap, tag: &str) -> bool {
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let given = request.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    given.flat_map(|list| list.split(',')).any(|given| given.trim() == "*" || opaque(given) == opaque(tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(if_none_match: &str) -> StatusCode {
        let mut headers = HeaderMap::new();
        headers.insert(IF_NONE_MATCH, if_none_match.parse().unwrap());
        tagged(&headers, Bytes::from_static(b"[1]")).status()
    }

    #[test]
    fn content_that_the_client_has_is_not_sent_again() {
        let response = tagged(&HeaderMap::new(), Bytes::from_static(b"[1]"));
        assert_eq!(response.status(), StatusCode::OK);
        let tag = response.headers()[ETAG].to_str().unwrap().to_owned();
        for same in
            [tag.clone(), format!("\"x\", {tag}"), tag.trim_start_matches("W/").to_owned(), "*".into()]
        {
            assert_eq!(status(&same), StatusCode::NOT_MODIFIED, "{same}");
        }
        for other in ["\"x\"", "W/\"x\"", "", "x"] {
            assert_eq!(status(other), StatusCode::OK, "{other}");
        }
        let other = tagged(&HeaderMap::new(), Bytes::from_static(b"[2]"));
        assert_ne!(other.headers()[ETAG].to_str().unwrap(), tag);
    }
}
