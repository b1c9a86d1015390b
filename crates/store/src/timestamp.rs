//! Times as text in the form that SQLAlchemy stores in SQLite: `2024-05-01 18:30:00.000000`, in UTC
//! without an offset. The app fails on other forms, so only this one is written; other forms are read.

use std::ops::RangeInclusive;

use time::{Date, Duration, Month, OffsetDateTime, Time, UtcOffset};

/// The first and the last second that can be stored, since 1970: Python reads the years 1 to 9999.
const STORABLE: RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// Whether a time can be stored as it is: its year is 1 to 9999 in UTC. Another time is stored as the nearest one of these.
pub fn is_storable(at: OffsetDateTime) -> bool {
    STORABLE.contains(&at.unix_timestamp())
}

/// Formats a time as `YYYY-MM-DD HH:MM:SS.ffffff` in UTC.
pub(crate) fn to_text(at: OffsetDateTime) -> String {
    let at = in_utc(at);
    format!(
        "{} {:02}:{:02}:{:02}.{:06}",
        to_date_text(at),
        at.hour(),
        at.minute(),
        at.second(),
        at.microsecond()
    )
}

/// Formats a date as `YYYY-MM-DD` in UTC, for columns of type `DATE`.
pub(crate) fn to_date_text(at: OffsetDateTime) -> String {
    let at = in_utc(at);
    format!("{:04}-{:02}-{:02}", at.year(), u8::from(at.month()), at.day())
}

/// Converts a time to UTC, limited to what can be stored.
fn in_utc(at: OffsetDateTime) -> OffsetDateTime {
    let since_1970 = if is_storable(at) {
        return at.to_offset(UtcOffset::UTC);
    } else if at.unix_timestamp() < 0 {
        Duration::seconds(*STORABLE.start())
    } else {
        Duration::seconds(*STORABLE.end()) + Duration::microseconds(999_999)
    };
    OffsetDateTime::UNIX_EPOCH + since_1970
}

/// Parses a date, or a date and a time separated by a space or a `T`. Seconds, fraction and offset
/// (`Z`, `+02:00`, `+0200`) are optional; without an offset the time is UTC.
pub(crate) fn from_text(text: &str) -> Option<OffsetDateTime> {
    let text = text.trim();
    let date = from_date_text(text.get(..10)?)?;
    let rest = text.get(10..)?;
    if rest.is_empty() {
        return Some(date.midnight().assume_utc());
    }
    let rest = rest.strip_prefix([' ', 'T', 't'])?;
    let (clock, offset) = match rest.find(['Z', 'z', '+', '-']) {
        Some(at) => (rest.get(..at)?, from_offset_text(rest.get(at..)?)?),
        None => (rest, UtcOffset::UTC),
    };
    let time = from_clock_text(clock.trim_end())?;
    date.with_time(time).assume_offset(offset).checked_to_offset(UtcOffset::UTC)
}

fn from_date_text(text: &str) -> Option<Date> {
    let mut parts = text.splitn(3, '-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    let month = Month::try_from(u8::try_from(number(month, 2)?).ok()?).ok()?;
    let year = i32::try_from(number(year, 4)?).ok()?;
    Date::from_calendar_date(year, month, u8::try_from(number(day, 2)?).ok()?).ok()
}

fn from_clock_text(text: &str) -> Option<Time> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let mut parts = whole.split(':').map(|part| number(part, 2).and_then(|n| u8::try_from(n).ok()));
    let (hour, minute) = (parts.next()??, parts.next()??);
    let second = parts.next().unwrap_or(Some(0))?;
    if parts.next().is_some() || fraction.is_empty() || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let micro =
        fraction.bytes().chain(std::iter::repeat(b'0')).take(6).fold(0, |n, b| n * 10 + u32::from(b - b'0'));
    Time::from_hms_micro(hour, minute, second, micro).ok()
}

fn from_offset_text(text: &str) -> Option<UtcOffset> {
    if text.eq_ignore_ascii_case("z") {
        return Some(UtcOffset::UTC);
    }
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let digits = text.get(1..)?.replace(':', "");
    let part = |at: usize| i8::try_from(number(digits.get(at..at + 2)?, 2)?).ok();
    let minutes = if digits.len() == 4 { part(2)? } else { 0 };
    if !matches!(digits.len(), 2 | 4) {
        return None;
    }
    UtcOffset::from_hms(sign * part(0)?, sign * minutes, 0).ok()
}

/// Parses a number of exactly `n_digits` digits.
fn number(text: &str, n_digits: usize) -> Option<u32> {
    (text.len() == n_digits && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_all_forms() {
        for (text, canonical) in [
            ("2024-05-01 18:30:05.123456", "2024-05-01 18:30:05.123456"),
            ("2024-05-01 18:30:05", "2024-05-01 18:30:05.000000"),
            ("2024-05-01T18:30:05Z", "2024-05-01 18:30:05.000000"),
            ("2024-05-01T18:30:05.5+00:00", "2024-05-01 18:30:05.500000"),
            ("2024-05-01T18:30:05.123456789Z", "2024-05-01 18:30:05.123456"),
            ("2024-05-01 20:30:05+02:00", "2024-05-01 18:30:05.000000"),
            ("2024-05-01 13:00:05-0530", "2024-05-01 18:30:05.000000"),
            ("2024-05-01 18:30", "2024-05-01 18:30:00.000000"),
            ("2024-02-29", "2024-02-29 00:00:00.000000"),
        ] {
            assert_eq!(from_text(text).map(to_text).as_deref(), Some(canonical), "{text}");
        }
    }

    #[test]
    fn rejects_other_text() {
        for text in [
            "",
            "now",
            "2024",
            "2023-02-29",
            "2024-13-01",
            "2024-05-01x",
            "2024-05-01 25:00:00",
            "2024-05-01 18",
            "2024-05-01 18:30:05.",
            "2024-05-01 18:30:05.1x",
            "2024-05-01 1:2:3",
            "2024-05-01 18:30:05+2",
            "2024-05-01 18:30:05:06",
            "２024-05-01",
            "1714588205",
        ] {
            assert_eq!(from_text(text), None, "{text}");
        }
    }

    #[test]
    fn years_that_python_cannot_read_are_stored_as_the_nearest_that_it_can() {
        let [first, last] = ["0001-01-01 00:00:00.000000", "9999-12-31 23:59:59.999999"];
        let east = UtcOffset::from_hms(14, 0, 0).unwrap();
        let midnight = |year, month| Date::from_calendar_date(year, month, 1).unwrap().midnight();
        for (at, text) in [
            (midnight(0, Month::January).assume_utc(), first),
            (midnight(-44, Month::March).assume_utc(), first),
            (midnight(1, Month::January).assume_offset(east), first),
            (Date::MIN.midnight().assume_offset(east), first),
            (
                Date::MAX.with_hms(23, 0, 0).unwrap().assume_offset(UtcOffset::from_hms(-12, 0, 0).unwrap()),
                last,
            ),
        ] {
            assert_eq!(to_text(at), text);
            assert_eq!(to_date_text(at), text[..10]);
            assert!(!is_storable(at), "{at}");
        }
        let end = Date::MAX.with_hms_nano(23, 59, 59, 999_999_999).unwrap().assume_utc();
        assert_eq!((to_text(end).as_str(), is_storable(end)), (last, true));
    }

    #[test]
    fn formatted_times_are_parsed_back() {
        for seconds in [0, 1, 951_782_400, 1_714_588_205, 4_102_444_799] {
            let at = OffsetDateTime::from_unix_timestamp(seconds).unwrap() + time::Duration::microseconds(7);
            assert_eq!(from_text(&to_text(at)), Some(at));
        }
    }
}
