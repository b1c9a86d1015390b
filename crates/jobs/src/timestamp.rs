//! Moments as text that stays as it was written.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A moment as the register has it. The text is kept as it was written; RFC 3339, and without an offset
/// (which Python's `isoformat` leaves out) it is UTC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timestamp {
    text: String,
    moment: OffsetDateTime,
}

impl Timestamp {
    /// A moment of this program, to the millisecond, in UTC.
    pub fn of(moment: OffsetDateTime) -> Self {
        let moment = moment.to_offset(time::UtcOffset::UTC);
        let moment = moment.replace_millisecond(moment.millisecond()).unwrap_or(moment);
        Self { text: moment.format(&Rfc3339).unwrap_or_default(), moment }
    }

    /// Reads a text.
    pub fn parse(text: &str) -> Option<Self> {
        let moment = OffsetDateTime::parse(text, &Rfc3339).ok();
        let moment = moment.or_else(|| OffsetDateTime::parse(&format!("{text}Z"), &Rfc3339).ok())?;
        Some(Self { text: text.to_owned(), moment })
    }

    /// The moment.
    pub fn moment(&self) -> OffsetDateTime {
        self.moment
    }

    /// The text.
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
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom(format!("{text:?} is no RFC 3339 time")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_all_spellings_are_read() {
        for text in ["2025-01-02T03:04:05Z", "2025-01-02T03:04:05.5+00:00", "2025-01-02T03:04:05.123456"] {
            assert_eq!(Timestamp::parse(text).unwrap().as_str(), text);
        }
        assert!(Timestamp::parse("yesterday").is_none());
    }
}
