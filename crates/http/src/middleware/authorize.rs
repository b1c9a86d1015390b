//! Authorization: the token or, on a server without one, the checks that keep web pages of other sites out.

use std::net::Ipv4Addr;

use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::Response;

use crate::access::Access;
use crate::api_error::{ApiError, ApiResult};
use crate::app::AppState;
use crate::pages::is_page;
use crate::session;

/// Whether a route needs no token: the health check, logging in, and the pages, which contain no user data.
pub(crate) fn is_public(route: &str) -> bool {
    matches!(route, "/healthz" | session::ROUTE) || is_page(route)
}

/// Requires the token or the cookie of a session, if the server has a token. Otherwise accepts programs on this machine and pages of the
/// allowed origins: a page of another site can neither reach the server under its own host name (DNS
/// rebinding) nor change anything.
pub(super) async fn authorize(
    State(app): State<AppState>,
    request: Request,
    next: Next,
) -> ApiResult<Response> {
    let options = &app.options;
    match &options.access {
        Access::Token(_) => {
            let route = request.extensions().get::<MatchedPath>();
            let is_public = route.is_some_and(|path| is_public(path.as_str()));
            let now = app.client.env.utc();
            let is_signed = || options.access.is_signed(request.method(), request.uri(), now);
            if !is_public && !options.access.is_authorized(request.headers()) && !is_signed() {
                if !options.access.has_session(request.headers(), now) {
                    return Err(ApiError::unauthorized());
                }
                check_session_origin(&request)?;
            }
        }
        Access::Loopback => check_origin(&options.cors_origins, &request)?,
    }
    Ok(next.run(request).await)
}

/// Refuses writes of a session that do not come from a page of this server. `SameSite` alone would let pages of other ports
/// of this machine through.
fn check_session_origin(request: &Request) -> ApiResult<()> {
    if is_read(request.method()) {
        return Ok(());
    }
    let host = host_of(request.uri(), request.headers());
    let origin = request.headers().get(ORIGIN).and_then(|origin| origin.to_str().ok());
    let authority = origin.and_then(|origin| origin.split_once("://")).map(|(_, authority)| authority);
    match (host, authority) {
        (Some(host), Some(authority)) if host.eq_ignore_ascii_case(authority) => Ok(()),
        _ => Err(foreign_origin()),
    }
}

fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

fn foreign_origin() -> ApiError {
    ApiError::new(StatusCode::FORBIDDEN, "Pages of this origin are not allowed; see --cors-origin")
}

/// Refuses requests whose `Host` is not this machine, and writes from pages of other origins.
fn check_origin(allowed: &[HeaderValue], request: &Request) -> ApiResult<()> {
    let Some(host) = host_of(request.uri(), request.headers()).filter(|host| is_this_machine(host)) else {
        let detail = "Invalid host header: without a token, the server accepts only localhost";
        return Err(ApiError::new(StatusCode::BAD_REQUEST, detail));
    };
    if is_read(request.method()) {
        return Ok(());
    }
    // A browser sends at most one.
    let mut origins = request.headers().get_all(ORIGIN).iter();
    let (origin, other) = (origins.next(), origins.next());
    let is_own =
        |origin: &HeaderValue| origin.to_str().is_ok_and(|o| o.strip_prefix("http://") == Some(host));
    match (origin, other) {
        (None, _) => Ok(()),
        (Some(origin), None) if allowed.contains(origin) || is_own(origin) => Ok(()),
        _ => Err(foreign_origin()),
    }
}

/// The host that the client addressed: the only `Host` header, which must equal the authority of an absolute
/// request target.
fn host_of<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<&'a str> {
    let mut hosts = headers.get_all(HOST).iter();
    let header = match (hosts.next(), hosts.next()) {
        (Some(host), None) => Some(host.to_str().ok()?),
        (None, _) => None,
        _ => return None,
    };
    match (uri.authority(), header) {
        (Some(authority), Some(header)) if !authority.as_str().eq_ignore_ascii_case(header) => None,
        (Some(authority), _) => Some(authority.as_str()),
        (None, header) => header,
    }
}

/// Whether a host is `localhost`, an address in 127.0.0.0/8, or `[::1]`, with any port.
fn is_this_machine(host: &str) -> bool {
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) => return address == "::1" && is_port(rest),
        None => host.split_once(':').map_or(host, |(name, _)| name),
    };
    let port = host.get(name.len()..).unwrap_or_default();
    let is_address = name.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback());
    is_port(port) && (is_address || name.eq_ignore_ascii_case("localhost"))
}

/// Whether the text after a host name is empty or a port.
fn is_port(text: &str) -> bool {
    text.is_empty() || text.strip_prefix(':').is_some_and(|port| port.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recognizes_hosts_of_this_machine() {
        for host in [
            "localhost",
            "localhost:8000",
            "LOCALHOST:80",
            "127.0.0.1",
            "127.0.0.1:8000",
            "127.0.1.1:8000",
            "[::1]",
            "[::1]:8000",
        ] {
            assert!(is_this_machine(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "evil.example:8000",
            "localhost:80x",
            "127.0.0.1@evil.example",
            "[::1].evil.example",
            "[::2]",
            "0.0.0.0",
            "localhost:evil",
            "::1",
        ] {
            assert!(!is_this_machine(host), "{host}");
        }
    }
}
