//! Times in response bodies.

use ::time::OffsetDateTime;
use jobs::manifest::Timestamp;

/// A time as RFC 3339 in UTC, with milliseconds.
pub(crate) fn rfc3339(at: OffsetDateTime) -> String {
    Timestamp::of(at).as_str().to_owned()
}

/// A day as `YYYY-MM-DD`.
pub(crate) fn date(at: OffsetDateTime) -> String {
    format!("{:04}-{:02}-{:02}", at.year(), u8::from(at.month()), at.day())
}
