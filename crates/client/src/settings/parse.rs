//! Parsers for the values of environment variables. An error message follows the name of the variable.

use std::path::PathBuf;
use std::time::Duration;

use jobs::bucket::Secret;
use jobs::manifest::Target;

use crate::failure::{Failure, Kind as FailureKind};

/// Longest duration that is accepted: a year.
const MAX_SECONDS: f64 = 31_536_000.0;

/// How the values of a variable are parsed.
pub(super) struct Parser<T> {
    /// What kind of value it is.
    pub(super) kind: Kind,
    /// Parses a value, which is trimmed and not empty.
    pub(super) parse: fn(&str) -> Result<T, String>,
}

/// What kind of value a variable has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Parsed by [`Settings`](super::Settings), and may be shown.
    Plain,
    /// Parsed by [`Settings`](super::Settings), and never shown.
    Secret,
    /// Read by another part of the program, or by a library.
    External,
    /// As [`Self::External`], and never shown.
    ExternalSecret,
}

const fn plain<T>(parse: fn(&str) -> Result<T, String>) -> Parser<T> {
    Parser { kind: Kind::Plain, parse }
}

pub(super) const TEXT: Parser<String> = plain(|text| Ok(text.to_owned()));
pub(super) const FOLDER: Parser<PathBuf> = plain(|text| Ok(PathBuf::from(text)));
pub(super) const BUCKET_NAME: Parser<String> = plain(bucket_name);
pub(super) const ENDPOINT: Parser<String> = plain(endpoint);
pub(super) const SECONDS: Parser<Duration> = plain(seconds);
pub(super) const POLL_INTERVAL: Parser<Duration> = plain(poll_interval);
pub(super) const SWITCH: Parser<bool> = plain(switch);
pub(super) const TARGET: Parser<Target> = plain(parse_target);
pub(super) const CONFIDENCE: Parser<f64> = plain(confidence);
pub(super) const SECRET: Parser<Secret> =
    Parser { kind: Kind::Secret, parse: |text| Ok(Secret::new(text.to_owned())) };
pub(super) const EXTERNAL: Parser<()> = Parser { kind: Kind::External, parse: |_| Ok(()) };
pub(super) const EXTERNAL_SECRET: Parser<()> = Parser { kind: Kind::ExternalSecret, parse: |_| Ok(()) };

/// The failure for a variable. `why` follows its name.
pub(super) fn invalid(name: &str, why: &str) -> Failure {
    Failure::msg(FailureKind::Config, format!("{name} {why}"))
}

/// The name is also used for a folder.
fn bucket_name(name: &str) -> Result<String, String> {
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if !name.starts_with('.') && name.len() <= 63 && name.bytes().all(is_allowed) {
        return Ok(name.to_owned());
    }
    Err("is not a valid bucket name: use at most 63 letters, digits, '-', '_' and '.'".to_owned())
}

fn endpoint(url: &str) -> Result<String, String> {
    if !url.starts_with("https://") && !url.starts_with("http://") {
        return Err("does not begin with https:// or http://".to_owned());
    }
    if url.contains('@') {
        return Err("contains a user name or password; use R2_ACCESS_KEY_ID".to_owned());
    }
    Ok(url.to_owned())
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|s| (0.0..=MAX_SECONDS).contains(s));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| format!("is {text:?}, not a number of seconds"))
}

/// Every poll of a bucket costs a request: there is no polling without a pause.
fn poll_interval(text: &str) -> Result<Duration, String> {
    match seconds(text)? {
        pause if pause < Duration::from_secs(1) => Err("must be at least 1 second".to_owned()),
        pause => Ok(pause),
    }
}

fn switch(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "false" | "0" | "no" | "off" => Ok(false),
        "true" | "1" | "yes" | "on" => Ok(true),
        _ => Err(format!("is {:?}, neither true nor false", text.to_ascii_lowercase())),
    }
}

fn parse_target(text: &str) -> Result<Target, String> {
    text.parse::<Target>().map_err(|e| e.to_string())
}

fn confidence(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|c| (0.0..=1.0).contains(c));
    number.ok_or_else(|| format!("is {text:?}, not a number from 0 to 1"))
}
