//! How the server is configured.

use std::time::Duration;

use axum::http::HeaderValue;
use client::failure::{Failure, Kind, Outcome};

use crate::access::Access;

/// Options of `courtside serve` that the HTTP server uses.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// Which requests are authorized.
    pub access: Access,
    /// Whether to import results as soon as a job completes.
    pub auto_import: bool,
    /// Origins whose pages may use the API, as `https://host` without a path. Parsed by [`parse_origin`].
    pub cors_origins: Vec<HeaderValue>,
    /// Size limit for an uploaded video.
    pub max_upload_bytes: u64,
    /// How often to poll the buckets.
    pub poll: PollIntervals,
    /// How many connections there may be, and how long their clients may do nothing.
    pub limits: ConnectionLimits,
}

/// How many connections there may be, and how long their clients may do nothing. The OpenAPI document tells clients the
/// default values.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionLimits {
    /// Connections at the same time. A further one closes the one on which no byte has moved for longest.
    pub connections: usize,
    /// Event streams at the same time, fewer than connections. A further one ends the one that was opened first.
    pub event_streams: usize,
    /// Time for the complete head of a request, from the moment the connection is open and idle.
    pub head_timeout: Duration,
    /// How long a client may send nothing while a body is read. A slow upload may take any time in total.
    pub body_timeout: Duration,
    /// How long a client may accept nothing while a response is written. A slow download may take any time in total.
    pub write_timeout: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            connections: 512,
            event_streams: 256,
            head_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(60),
        }
    }
}

/// How often the server polls the buckets.
#[derive(Debug, Clone, Copy)]
pub struct PollIntervals {
    /// Between polls of all manifests while any job is open.
    pub jobs: Duration,
    /// Upper limit of that interval while no job is open: it grows by half after each poll.
    pub jobs_idle: Duration,
    /// Between polls of a job that a client follows by server-sent events.
    pub followed_job: Duration,
    /// Maximum age of the manifests from which `GET /api/jobs` is answered.
    pub job_list_max_age: Duration,
}

impl Default for PollIntervals {
    fn default() -> Self {
        Self {
            jobs: Duration::from_secs(10),
            jobs_idle: Duration::from_secs(60),
            followed_job: Duration::from_secs(2),
            job_list_max_age: Duration::from_secs(2),
        }
    }
}

/// Parses a `--cors-origin` argument.
///
/// # Errors
/// Of kind [`Kind::Config`] unless it is `http://host[:port]` or `https://host[:port]`.
pub fn parse_origin(text: &str) -> Outcome<HeaderValue> {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let is_host = |h: &str| {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b':' | b'[' | b']');
        !h.is_empty() && h.bytes().all(allowed)
    };
    let value = host.filter(|h| is_host(h)).and_then(|_| HeaderValue::from_str(text).ok());
    value.ok_or_else(|| {
        Failure::msg(Kind::Config, format!("--cors-origin {text:?} is not an origin"))
            .hint("give scheme and host without a path, for example https://games.example.org")
    })
}
