//! What stands before every route: who may ask, from which page, and for how long.

use std::net::Ipv4Addr;
use std::time::Duration;

use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{HOST, ORIGIN, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::access::Access;
use super::extract::media_type;
use super::problem::{Answer, Problem};
use super::state::App;

/// Whether a route needs no token: the server's health, and the documentation, which holds nothing of anybody's and
/// is where a browser is given the token.
pub(super) fn is_open(route: &str) -> bool {
    matches!(route, "/healthz" | "/openapi.json" | "/docs") || route.starts_with("/docs/")
}

/// How long an answer may take to begin; an upload has its own limit.
const LIMIT: Duration = Duration::from_secs(120);

/// Lets in who shows the token. Without one, lets in programs of this machine, and pages of allowed origins:
/// a page of another site may neither reach the server under a name of its own (DNS rebinding) nor change
/// anything.
pub(super) async fn admit(State(app): State<App>, request: Request, next: Next) -> Answer<Response> {
    let options = &app.options;
    match &options.access {
        Access::Token(_) => {
            let is_open =
                request.extensions().get::<MatchedPath>().is_some_and(|path| is_open(path.as_str()));
            if !is_open && !options.access.admits(request.headers()) {
                return Err(Problem::unauthorized());
            }
        }
        Access::Loopback => check_page(&options.cors_origins, &request)?,
    }
    Ok(next.run(request).await)
}

fn check_page(allowed: &[HeaderValue], request: &Request) -> Answer<()> {
    let Some(host) = host_of(request.uri(), request.headers()).filter(|host| is_this_machine(host)) else {
        let detail = "Invalid host header: without a token, the server answers as localhost only";
        return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
    };
    if matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
        return Ok(());
    }
    // More than one is none that a browser sent.
    let mut origins = request.headers().get_all(ORIGIN).iter();
    let (origin, other) = (origins.next(), origins.next());
    let is_own =
        |origin: &HeaderValue| origin.to_str().is_ok_and(|o| o.strip_prefix("http://") == Some(host));
    match (origin, other) {
        (None, _) => Ok(()),
        (Some(origin), None) if allowed.contains(origin) || is_own(origin) => Ok(()),
        _ => Err(Problem::new(
            StatusCode::FORBIDDEN,
            "Pages of this origin are not allowed; see --cors-origin",
        )),
    }
}

/// What the client calls us: the one `Host`, which must be what the request's target says, if it says it.
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

/// `localhost`, an address of 127.0.0.0/8, or `[::1]`, with any port.
fn is_this_machine(host: &str) -> bool {
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) => return address == "::1" && is_port(rest),
        None => host.split_once(':').map_or(host, |(name, _)| name),
    };
    let port = host.get(name.len()..).unwrap_or_default();
    let is_address = name.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback());
    is_port(port) && (is_address || name.eq_ignore_ascii_case("localhost"))
}

/// Nothing, or a colon and digits.
fn is_port(text: &str) -> bool {
    text.is_empty() || text.strip_prefix(':').is_some_and(|port| port.bytes().all(|b| b.is_ascii_digit()))
}

/// Ends what takes too long.
pub(super) async fn in_time(request: Request, next: Next) -> Response {
    if media_type(&request).as_deref() == Some("multipart/form-data") {
        return next.run(request).await;
    }
    match tokio::time::timeout(LIMIT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::unavailable("The request took too long").into_response(),
    }
}

/// Keeps browsers from guessing what an answer is.
pub(super) async fn no_guessing(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are() {
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
