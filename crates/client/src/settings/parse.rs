//! Parsers for the values of environment variables.

use std::path::PathBuf;
use std::time::Duration;

use jobs::bucket::Secret;
use jobs::bucket::endpoint::{Endpoint, InvalidValue, account_id, bucket_name, credential_part, secret};
use jobs::manifest::Target;

use crate::failure::{Failure, Kind as FailureKind};

/// A parsed value, or what is wrong with it.
type Parsed<T> = Result<T, InvalidValue>;

/// Longest duration that is accepted: a year.
const MAX_SECONDS: f64 = 31_536_000.0;
/// Shortest pause between polls that is accepted.
const MIN_POLL_INTERVAL: Duration = Duration::from_millis(100);

/// How the values of a variable are parsed.
pub(super) struct Parser<T> {
    /// What kind of value it is.
    pub(super) kind: Kind,
    /// Parses a value, which is trimmed and not empty.
    pub(super) parse: fn(&str) -> Parsed<T>,
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

const fn plain<T>(parse: fn(&str) -> Parsed<T>) -> Parser<T> {
    Parser { kind: Kind::Plain, parse }
}

pub(super) const TEXT: Parser<String> = plain(|text| Ok(text.to_owned()));
pub(super) const FOLDER: Parser<PathBuf> = plain(|text| Ok(PathBuf::from(text)));
pub(super) const ACCOUNT_ID: Parser<String> = plain(|text| checked(text, account_id));
pub(super) const BUCKET_NAME: Parser<String> = plain(|text| checked(text, bucket_name));
pub(super) const CREDENTIAL_PART: Parser<String> = plain(|text| checked(text, credential_part));
pub(super) const ENDPOINT: Parser<Endpoint> = plain(Endpoint::parse);
pub(super) const SECONDS: Parser<Duration> = plain(seconds);
pub(super) const POLL_INTERVAL: Parser<Duration> = plain(poll_interval);
pub(super) const SWITCH: Parser<bool> = plain(switch);
pub(super) const TARGET: Parser<Target> = plain(parse_target);
pub(super) const CONFIDENCE: Parser<f64> = plain(confidence);
pub(super) const SECRET: Parser<Secret> =
    Parser { kind: Kind::Secret, parse: |text| checked(text, secret).map(Secret::new) };
pub(super) const EXTERNAL: Parser<()> = Parser { kind: Kind::External, parse: |_| Ok(()) };
pub(super) const EXTERNAL_SECRET: Parser<()> = Parser { kind: Kind::ExternalSecret, parse: |_| Ok(()) };

/// The failure for a variable.
pub(super) fn invalid(name: &str, invalid: InvalidValue) -> Failure {
    let InvalidValue { why, hint } = invalid;
    let hint = hint.unwrap_or_else(|| format!("correct {name} in the environment or in .env, or unset it"));
    Failure::msg(FailureKind::Config, format!("{name} {why}")).hint(hint)
}

fn checked(text: &str, check: fn(&str) -> Parsed<()>) -> Parsed<String> {
    check(text).map(|()| text.to_owned())
}

fn seconds(text: &str) -> Parsed<Duration> {
    let seconds = text.parse::<f64>().ok().filter(|s| (0.0..=MAX_SECONDS).contains(s));
    let seconds = seconds.map(Duration::from_secs_f64);
    seconds.ok_or_else(|| InvalidValue::new(format!("is {text:?}, not a number of seconds")))
}

/// Every poll of a bucket costs a request: there is no polling without a pause.
fn poll_interval(text: &str) -> Parsed<Duration> {
    match seconds(text)? {
        pause if pause < MIN_POLL_INTERVAL => Err(InvalidValue::new("must be at least 0.1 seconds")),
        pause => Ok(pause),
    }
}

fn switch(text: &str) -> Parsed<bool> {
    match text.to_ascii_lowercase().as_str() {
        "false" | "0" | "no" | "off" => Ok(false),
        "true" | "1" | "yes" | "on" => Ok(true),
        other => Err(InvalidValue::new(format!("is {other:?}, neither true nor false"))),
    }
}

fn parse_target(text: &str) -> Parsed<Target> {
    text.parse::<Target>().map_err(|e| InvalidValue::new(e.to_string()))
}

fn confidence(text: &str) -> Parsed<f64> {
    let number = text.parse().ok().filter(|c| (0.0..=1.0).contains(c));
    number.ok_or_else(|| InvalidValue::new(format!("is {text:?}, not a number from 0 to 1")))
}
