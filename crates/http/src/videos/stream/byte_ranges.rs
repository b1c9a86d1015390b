//! The `Range` and `Content-Range` headers of RFC 9110 §14.

use std::ops::Range;

/// Maximum number of ranges. More, or ranges that overlap, are answered with the complete content (§14.2).
const MAX_RANGES: usize = 16;

/// The bytes that a `Range` header requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RequestedRanges {
    /// The complete content: the header is absent or not understood.
    Full,
    /// These byte ranges; at least one, none empty, no overlaps.
    Ranges(Vec<Range<u64>>),
    /// Only bytes outside the content.
    Unsatisfiable,
}

/// Parses the header for content of `size` bytes.
pub(super) fn parse_ranges(header: Option<&str>, size: u64) -> RequestedRanges {
    let Some(set) = header.and_then(|text| text.split_once('=')) else { return RequestedRanges::Full };
    let (unit, set) = set;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return RequestedRanges::Full;
    }
    let mut ranges = Vec::new();
    let mut n_specs = 0;
    // A list may have empty elements (§5.6.1.2).
    for spec in set.split(',').map(str::trim).filter(|spec| !spec.is_empty()) {
        n_specs += 1;
        match parse_range(spec, size) {
            Some(range) if range.is_empty() => {}
            Some(range) => ranges.push(range),
            None => return RequestedRanges::Full,
        }
    }
    if n_specs == 0 || ranges.len() > MAX_RANGES || overlap(&ranges) {
        return RequestedRanges::Full;
    }
    if ranges.is_empty() { RequestedRanges::Unsatisfiable } else { RequestedRanges::Ranges(ranges) }
}

/// Parses one range. Empty if all of it is outside the content, `None` if it is malformed.
fn parse_range(spec: &str, size: u64) -> Option<Range<u64>> {
    let (first, last) = spec.split_once('-')?;
    if first.is_empty() {
        let length = parse_number(last)?;
        return Some(size.saturating_sub(length)..size);
    }
    let first = parse_number(first)?;
    let last = if last.is_empty() { u64::MAX } else { parse_number(last)? };
    if first > last {
        return None;
    }
    Some(first.min(size)..last.saturating_add(1).min(size))
}

/// Parses digits. A number too large for `u64` becomes the maximum, which is larger than any file.
fn parse_number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

fn overlap(ranges: &[Range<u64>]) -> bool {
    let mut sorted = ranges.to_vec();
    sorted.sort_by_key(|range| range.start);
    sorted.windows(2).any(|pair| matches!(pair, [a, b] if b.start < a.end))
}

/// The value of a `Content-Range` header, such as `bytes 0-499/1234`.
pub(super) fn content_range(range: &Range<u64>, size: u64) -> String {
    format!("bytes {}-{}/{size}", range.start, range.end.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(header: &str) -> Vec<Range<u64>> {
        match parse_ranges(Some(header), 1000) {
            RequestedRanges::Ranges(ranges) => ranges,
            other => panic!("{header}: {other:?}"),
        }
    }

    #[test]
    fn parses_all_forms_of_the_rfc() {
        for (header, want) in [
            ("bytes=0-499", 0..500),
            ("bytes=500-999", 500..1000),
            ("bytes=500-", 500..1000),
            ("bytes=-500", 500..1000),
            ("bytes=0-0", 0..1),
            ("bytes=-1", 999..1000),
            ("bytes=-5000", 0..1000),
            ("bytes=900-5000", 900..1000),
            ("Bytes = 1-2", 1..3),
            ("bytes=999-99999999999999999999999", 999..1000),
            ("bytes=, ,1-2,", 1..3),
        ] {
            assert_eq!(ranges(header), [want], "{header}");
        }
        assert_eq!(ranges("bytes=0-0, -1, 500-599"), [0..1, 999..1000, 500..600]);
        assert_eq!(ranges("bytes=0-0, 5000-"), std::slice::from_ref(&(0..1)));
    }

    #[test]
    fn ranges_outside_the_content_are_unsatisfiable() {
        for header in ["bytes=1000-", "bytes=1000-2000", "bytes=-0", "bytes=5000-6000,7000-"] {
            assert_eq!(parse_ranges(Some(header), 1000), RequestedRanges::Unsatisfiable, "{header}");
        }
        assert_eq!(parse_ranges(Some("bytes=0-"), 0), RequestedRanges::Unsatisfiable);
        assert_eq!(parse_ranges(Some("bytes=-5"), 0), RequestedRanges::Unsatisfiable);
    }

    #[test]
    fn malformed_or_excessive_ranges_are_ignored() {
        let many = format!("bytes={}", (0..40).map(|i| format!("{i}-{i}")).collect::<Vec<_>>().join(","));
        for header in [
            "",
            "bytes",
            "bytes=",
            "bytes=,",
            "bytes=a-b",
            "bytes=5-1",
            "bytes=-",
            "bytes=1",
            "bytes=1-2-3",
            "bytes=+1-2",
            "bytes=1-2,x",
            "lines=1-2",
            "bytes=0-10,5-20",
            "bytes=0-,0-,0-",
            &many,
        ] {
            assert_eq!(parse_ranges(Some(header), 1000), RequestedRanges::Full, "{header}");
        }
        assert_eq!(parse_ranges(None, 1000), RequestedRanges::Full);
    }
}
