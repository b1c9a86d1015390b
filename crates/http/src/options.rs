//! How the server serves.

use std::time::Duration;

use axum::http::HeaderValue;

use super::Access;
use client::failure::{Failure, Kind, Outcome};

/// What the command line decides.
#[derive(Debug, Clone)]
pub struct Options {
    /// Who is let in.
    pub access: Access,
    /// Whether results are imported as soon as they are there.
    pub auto_import: bool,
    /// Origins whose pages may use the interface: `https://host`, without a path.
    pub cors_origins: Vec<HeaderValue>,
    /// Largest video that is taken.
    pub max_upload_bytes: u64,
    /// How often it looks.
    pub pace: Pace,
}

/// Pauses between looks.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Between looks at the registers while any job is under way.
    pub look: Duration,
    /// The longest pause between them while none is.
    pub look_idle: Duration,
    /// Between looks at a job whose events somebody follows.
    pub follow: Duration,
    /// How old a listing of the jobs may be.
    pub listing: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            look: Duration::from_secs(10),
            look_idle: Duration::from_secs(60),
            follow: Duration::from_secs(2),
            listing: Duration::from_secs(2),
        }
    }
}

/// Checks an origin from the command line.
///
/// # Errors
/// Unless it is `http://host[:port]` or `https://host[:port]`.
pub fn origin(text: &str) -> Outcome<HeaderValue> {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let is_host = |h: &str| {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b':' | b'[' | b']');
        !h.is_empty() && h.bytes().all(allowed)
    };
    let value = host.filter(|h| is_host(h)).and_then(|_| HeaderValue::from_str(text).ok());
    value.ok_or_else(|| {
        Failure::msg(Kind::Config, format!("--cors-origin {text:?} is no origin"))
            .hint("name each page's scheme and host, as in https://games.example.org")
    })
}
