//! Timestamps that keep the exact text they were read from.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A timestamp in a manifest: RFC 3339, or the same without an offset, which means UTC (Python's `isoformat`
/// writes that). Serializes as the text that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timestamp {
    text: String,
    moment: OffsetDateTime,
}

impl Timestamp {
    /// Formats a moment in UTC, truncated to the millisecond.
    pub fn of(moment: OffsetDateTime) -> Self {
        let moment = moment.to_offset(time::UtcOffset::UTC);
        let moment = moment.replace_millisecond(moment.millisecond()).unwrap_or(moment);
        Self { text: moment.format(&Rfc3339).unwrap_or_default(), moment }
    }

    /// Parses a string; `None` if it is not a valid timestamp.
    pub fn parse(text: &str) -> Option<Self> {
        let moment = OffsetDateTime::parse(text, &Rfc3339).ok();
        let moment = moment.or_else(|| OffsetDateTime::parse(&format!("{text}Z"), &Rfc3339).ok())?;
        Some(Self { text: text.to_owned(), moment })
    }

    /// The point in time that the text denotes.
    pub fn moment(&self) -> OffsetDateTime {
        self.moment
    }

    /// The text, exactly as it was read.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text)
            .ok_or_else(|| serde::de::Error::custom(format!("{text:?} is not an RFC 3339 timestamp")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_all_spellings_and_keeps_their_text() {
        for text in ["2025-01-02T03:04:05Z", "2025-01-02T03:04:05.5+00:00", "2025-01-02T03:04:05.123456"] {
            assert_eq!(Timestamp::parse(text).unwrap().as_str(), text);
        }
        assert!(Timestamp::parse("yesterday").is_none());
    }
}
