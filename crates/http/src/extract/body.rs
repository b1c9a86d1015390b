//! JSON bodies.

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, FromRequest, Request};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use serde_json::{Map, Value};

use super::fields::{Fields, FromFields};
use crate::api_error::{ApiError, ApiResult, FieldError};
use crate::middleware::body_timeout::BodyStalled;

/// Size limit for every body that is not an uploaded video.
pub(crate) const MAX_BODY_BYTES: usize = 64 << 10;

/// A validated JSON object. An empty body and `null` mean an object without fields.
#[derive(Debug)]
pub(crate) struct OptionalBody<T>(pub(crate) T);

impl<S: Send + Sync, T: FromFields> FromRequest<S> for OptionalBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> ApiResult<Self> {
        let is_json = media_type(&request).as_deref() == Some("application/json");
        let bytes = read_body(request, state).await?;
        if bytes.is_empty() {
            return Ok(Self(Fields::from_object(Map::new()).read()?));
        }
        if !is_json {
            return Err(unsupported_media_type("application/json"));
        }
        Ok(Self(Fields::from_object(parse_object(&bytes)?).read()?))
    }
}

/// Reads and validates a JSON object. The caller has checked the media type.
pub(crate) async fn required_body<S: Send + Sync, T: FromFields>(
    request: Request,
    state: &S,
) -> ApiResult<T> {
    Fields::from_object(parse_object(&read_body(request, state).await?)?).read()
}

/// 415 with the media types that the route accepts.
pub(crate) fn unsupported_media_type(accepted: &str) -> ApiError {
    let detail = format!("The body must be {accepted}, and Content-Type must say so");
    ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail)
}

/// The media type of a body in lower case, without its parameters.
pub(crate) fn media_type(request: &Request) -> Option<String> {
    let value = request.headers().get(CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next()?.trim().to_ascii_lowercase())
}

async fn read_body<S: Send + Sync>(mut request: Request, state: &S) -> ApiResult<Bytes> {
    DefaultBodyLimit::apply(DefaultBodyLimit::max(MAX_BODY_BYTES), &mut request);
    Bytes::from_request(request, state).await.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => ApiError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("The body is larger than {MAX_BODY_BYTES} bytes"),
        ),
        _ => BodyStalled::response_to(&rejection)
            .unwrap_or_else(|| ApiError::new(StatusCode::BAD_REQUEST, "The body could not be read")),
    })
}

fn parse_object(bytes: &[u8]) -> ApiResult<Map<String, Value>> {
    let invalid = |kind, msg: String| ApiError::invalid(vec![FieldError::new("body", "", kind, msg)]);
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(object)) => Ok(object),
        // FastAPI treats null as no body.
        Ok(Value::Null) => Ok(Map::new()),
        Ok(_) => Err(invalid("dict_type", "Input should be a valid JSON object".to_owned())),
        Err(error) => Err(invalid("json_invalid", format!("JSON decode error: {error}"))),
    }
}
