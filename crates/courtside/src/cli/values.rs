//! Parsers for flag values that clap does not have.

use std::time::Duration;

/// A fraction such as a confidence, from 0 to 1.
pub(super) fn fraction(text: &str) -> Result<f64, String> {
    let is_valid = |c: &f64| (0.0..=1.0).contains(c);
    text.parse().ok().filter(is_valid).ok_or_else(|| "must be a number from 0 to 1".to_owned())
}

/// A number above 0.
pub(super) fn above_zero(text: &str) -> Result<f64, String> {
    let is_valid = |x: &f64| x.is_finite() && *x > 0.0;
    text.parse().ok().filter(is_valid).ok_or_else(|| "must be a number above 0".to_owned())
}

/// A duration of a minute to a week, such as `90m`, `6h`, or `300` for seconds.
pub(super) fn long_duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.char_indices().last() {
        Some((at, 'h')) => (&text[..at], 3600),
        Some((at, 'm')) => (&text[..at], 60),
        Some((at, 's')) => (&text[..at], 1),
        _ => (text, 1),
    };
    let seconds = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    let seconds = seconds.filter(|seconds| (60..=7 * 24 * 3600).contains(seconds));
    seconds
        .map(Duration::from_secs)
        .ok_or_else(|| "must be a time from 1m to 168h, such as 90m or 6h".to_owned())
}

/// A duration in seconds, with or without a fraction, of at most a day.
#[cfg(feature = "worker")]
pub(super) fn seconds(text: &str) -> Result<f64, String> {
    let is_valid = |s: &f64| (0.0..=86_400.0).contains(s);
    text.parse().ok().filter(is_valid).ok_or_else(|| "must be a number of seconds from 0 to 86400".to_owned())
}

/// An integer of at least 1.
#[cfg(feature = "worker")]
pub(super) fn positive(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|&n: &usize| n > 0);
    number.ok_or_else(|| "must be a whole number of at least 1".to_owned())
}
