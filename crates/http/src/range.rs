//! `Range` and `Content-Range` of RFC 9110 §14: which bytes a request asks for.

use std::ops::Range;

/// Ranges that one request may have; more, or ranges that overlap, are answered with the whole (§14.2).
const MAX_RANGES: usize = 16;

/// What a `Range` header comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    /// The whole: there is no such header, or one that is not understood.
    Whole,
    /// These bytes, at least one range.
    Parts(Vec<Range<u64>>),
    /// Nothing that is there.
    Nothing,
}

/// Reads the header for a content of `size` bytes.
pub(super) fn wanted(header: Option<&str>, size: u64) -> Wanted {
    let Some(set) = header.and_then(|text| text.split_once('=')) else { return Wanted::Whole };
    let (unit, set) = set;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Wanted::Whole;
    }
    let mut parts = Vec::new();
    let mut n_specs = 0;
    // A list may have empty elements (§5.6.1.2).
    for spec in set.split(',').map(str::trim).filter(|spec| !spec.is_empty()) {
        n_specs += 1;
        match range(spec, size) {
            Some(range) if range.is_empty() => {}
            Some(range) => parts.push(range),
            None => return Wanted::Whole,
        }
    }
    if n_specs == 0 || parts.len() > MAX_RANGES || overlap(&parts) {
        return Wanted::Whole;
    }
    if parts.is_empty() { Wanted::Nothing } else { Wanted::Parts(parts) }
}

/// One range; empty if nothing of it is there, `None` if it is malformed.
fn range(spec: &str, size: u64) -> Option<Range<u64>> {
    let (first, last) = spec.split_once('-')?;
    if first.is_empty() {
        let length = number(last)?;
        return Some(size.saturating_sub(length)..size);
    }
    let first = number(first)?;
    let last = if last.is_empty() { u64::MAX } else { number(last)? };
    if first > last {
        return None;
    }
    Some(first.min(size)..last.saturating_add(1).min(size))
}

/// Digits; what is too large for us is larger than any file.
fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

fn overlap(parts: &[Range<u64>]) -> bool {
    let mut sorted = parts.to_vec();
    sorted.sort_by_key(|part| part.start);
    sorted.windows(2).any(|pair| matches!(pair, [a, b] if b.start < a.end))
}

/// `bytes 0-499/1234`.
pub(super) fn content_range(part: &Range<u64>, size: u64) -> String {
    format!("bytes {}-{}/{size}", part.start, part.end.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(header: &str) -> Vec<Range<u64>> {
        match wanted(Some(header), 1000) {
            Wanted::Parts(parts) => parts,
            other => panic!("{header}: {other:?}"),
        }
    }

    #[test]
    fn the_forms_of_the_rfc() {
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
            assert_eq!(parts(header), [want], "{header}");
        }
        assert_eq!(parts("bytes=0-0, -1, 500-599"), [0..1, 999..1000, 500..600]);
        assert_eq!(parts("bytes=0-0, 5000-"), std::slice::from_ref(&(0..1)));
    }

    #[test]
    fn what_is_not_there_is_not_satisfiable() {
        for header in ["bytes=1000-", "bytes=1000-2000", "bytes=-0", "bytes=5000-6000,7000-"] {
            assert_eq!(wanted(Some(header), 1000), Wanted::Nothing, "{header}");
        }
        assert_eq!(wanted(Some("bytes=0-"), 0), Wanted::Nothing);
        assert_eq!(wanted(Some("bytes=-5"), 0), Wanted::Nothing);
    }

    #[test]
    fn what_is_malformed_or_abusive_is_ignored() {
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
            assert_eq!(wanted(Some(header), 1000), Wanted::Whole, "{header}");
        }
        assert_eq!(wanted(None, 1000), Wanted::Whole);
    }
}
