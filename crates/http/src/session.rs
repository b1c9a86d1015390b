//! The session of a browser: it sends the token once, and then a cookie that scripts cannot read.
//!
//! The cookie has a time at which it expires, and an HMAC-SHA-256 (RFC 2104) of that time, with the token as the key. The server
//! stores nothing: another token ends every session.

use axum::Json;
use axum::extract::State;
use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use hmac::Mac;
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::access::Access;
use crate::api_error::{ApiError, ApiResult, ErrorBody, ValidationBody};
use crate::app::AppState;
use crate::extract::body::OptionalBody;
use crate::extract::fields::{Fields, FromFields};
use crate::signed_url::from_hex;

/// The route at which sessions begin and end.
pub(crate) const ROUTE: &str = "/api/session";

const NAME: &str = "courtside_session";
const VALID_S: i64 = 7 * 24 * 3600;
const MAX_TOKEN_CHARS: usize = 4096;

/// The token of the server.
#[derive(Debug, ToSchema)]
pub(crate) struct LoginRequest {
    /// The value of COURTSIDE_TOKEN on the server.
    #[schema(max_length = 4096, pattern = r"\S")]
    token: Option<String>,
}

impl FromFields for LoginRequest {
    fn read(fields: &mut Fields) -> Self {
        Self { token: fields.text("token", MAX_TOKEN_CHARS) }
    }
}

/// Whether this server wants a token, and whether the request has one.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SessionBody {
    /// Whether requests must be authorized.
    needs_token: bool,
    /// Whether this request is.
    is_authorized: bool,
    /// Path of the library's database on the server's machine; null if the request is not authorized.
    #[schema(required)]
    library: Option<String>,
}

impl Access {
    /// A `Set-Cookie` value that begins a session; `None` on a server without a token.
    fn new_session(&self, now: OffsetDateTime) -> Option<String> {
        let expires = now.unix_timestamp() + VALID_S;
        let mac = self.mac(&signed_text(expires))?.finalize().into_bytes();
        Some(cookie(&format!("{expires}.{mac:x}"), VALID_S))
    }

    /// Whether the headers carry the cookie of a session that has not expired.
    pub(crate) fn has_session(&self, headers: &HeaderMap, now: OffsetDateTime) -> bool {
        let lines = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut cookies =
            lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        cookies.any(|(name, value)| name == NAME && self.is_session(value, now))
    }

    fn is_session(&self, value: &str, now: OffsetDateTime) -> bool {
        let Some((expires, signature)) = value.split_once('.') else { return false };
        let (Ok(expires), Some(signature)) = (expires.parse::<i64>(), from_hex(signature)) else {
            return false;
        };
        let mac = self.mac(&signed_text(expires));
        now.unix_timestamp() <= expires && mac.is_some_and(|mac| mac.verify_slice(&signature).is_ok())
    }
}

fn signed_text(expires: i64) -> String {
    format!("session {expires}")
}

/// The attributes of RFC 6265 and, of its successor, `SameSite`.
fn cookie(value: &str, max_age_s: i64) -> String {
    format!("{NAME}={value}; Path=/; Max-Age={max_age_s}; HttpOnly; SameSite=Strict")
}

/// Tell whether a token is needed.
#[utoipa::path(
    get, path = ROUTE, operation_id = "get_session", tag = "server",
    responses((status = 200, description = "Whether a token is needed", body = SessionBody))
)]
pub(crate) async fn get(State(app): State<AppState>, headers: HeaderMap) -> ApiResult<Json<SessionBody>> {
    let access = &app.options.access;
    let is_authorized = access.is_authorized(&headers) || access.has_session(&headers, app.client.env.utc());
    let library = match is_authorized {
        true => {
            app.client.read_library(|_, library| Ok(library.path().display().to_string())).await.map(Some)?
        }
        false => None,
    };
    Ok(Json(SessionBody { needs_token: matches!(access, Access::Token(_)), is_authorized, library }))
}

/// Log a browser in.
///
/// The answer sets a cookie, which authorizes this browser for a week.
#[utoipa::path(
    post, path = ROUTE, operation_id = "log_in", tag = "server",
    request_body(content = Option<LoginRequest>, content_type = "application/json"),
    responses(
        (status = 204, description = "Logged in, or no token is needed"),
        (status = 401, description = "The token is wrong", body = ErrorBody),
        (status = 413, description = "The body is too large", body = ErrorBody),
        (status = 415, description = "The body is not JSON", body = ErrorBody),
        (status = 422, description = "A field is invalid", body = ValidationBody),
    )
)]
pub(crate) async fn log_in(
    State(app): State<AppState>,
    OptionalBody(request): OptionalBody<LoginRequest>,
) -> ApiResult<Response> {
    let access = &app.options.access;
    let Some(cookie) = access.new_session(app.client.env.utc()) else {
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    match request.token {
        Some(token) if access.is_token(token.trim().as_bytes()) => {
            Ok((StatusCode::NO_CONTENT, [(SET_COOKIE, cookie)]).into_response())
        }
        _ => Err(ApiError::unauthorized()),
    }
}

/// Log a browser out.
#[utoipa::path(
    delete, path = ROUTE, operation_id = "log_out", tag = "server",
    responses((status = 204, description = "This browser has no session any more"))
)]
pub(crate) async fn log_out() -> Response {
    (StatusCode::NO_CONTENT, [(SET_COOKIE, cookie("", 0))]).into_response()
}

#[cfg(test)]
mod tests {
    use jobs::bucket::Secret;
    use time::Duration;

    use super::*;

    const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    fn has_session(access: &Access, cookies: &str, now: OffsetDateTime) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, cookies.parse().unwrap());
        access.has_session(&headers, now)
    }

    #[test]
    fn only_the_cookie_of_this_token_is_a_session_and_only_until_it_expires() {
        let access = Access::Token(Secret::new("open sesame"));
        let set = access.new_session(NOW).unwrap();
        let pair = set.split(';').next().unwrap();
        assert!(set.contains("HttpOnly") && set.contains("SameSite=Strict"), "{set}");
        assert!(has_session(&access, pair, NOW));
        assert!(has_session(&access, &format!("other=1; {pair}"), NOW + Duration::seconds(VALID_S)));
        assert!(!has_session(&access, pair, NOW + Duration::seconds(VALID_S + 1)));
        assert!(!has_session(&Access::Token(Secret::new("open barley")), pair, NOW));
        assert!(!has_session(&Access::Loopback, pair, NOW));
        let later = pair.replace("=604800.", "=604801.");
        assert_ne!(later, pair);
        for forged in [later.as_str(), "courtside_session=", "courtside_session=9.00", "other=1", ""] {
            assert!(!has_session(&access, forged, NOW), "{forged}");
        }
    }
}
