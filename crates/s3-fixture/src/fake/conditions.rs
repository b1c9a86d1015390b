//! `If-Match` and `If-None-Match`, as R2 implements them and as two other servers do incorrectly.

use hyper::HeaderMap;
use hyper::header::{AsHeaderName, IF_MATCH, IF_NONE_MATCH};

/// How the server treats the conditions of writes. Conditions of reads are always honoured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConditionalWrites {
    /// Like R2: entity tags are quoted, and a failed condition is 412.
    #[default]
    Honoured,
    /// Like Garage: every write succeeds.
    Ignored,
    /// Like Ceph's gateway: `If-Match` holds only if its entity tag has no quotes.
    UnquotedOnly,
}

/// The conditions of one request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Conditions {
    if_match: Option<String>,
    if_none_match: Option<String>,
}

impl Conditions {
    pub(crate) fn of(headers: &HeaderMap) -> Conditions {
        Conditions { if_match: text(headers, IF_MATCH), if_none_match: text(headers, IF_NONE_MATCH) }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.if_match.is_none() && self.if_none_match.is_none()
    }

    /// Whether a write is allowed when the existing object has this entity tag; `None` if there is no object.
    pub(crate) fn allow_write(&self, etag: Option<&str>, mode: ConditionalWrites) -> bool {
        let quoted = match mode {
            ConditionalWrites::Ignored => return true,
            ConditionalWrites::Honoured => true,
            ConditionalWrites::UnquotedOnly => false,
        };
        self.match_holds(etag, quoted) && self.none_match_holds(etag)
    }

    /// Whether `If-Match` holds for a read.
    pub(crate) fn match_holds_for_read(&self, etag: &str) -> bool {
        self.match_holds(Some(etag), true)
    }

    /// Whether `If-None-Match` holds, or is not set. `etag` is `None` if there is no object.
    pub(crate) fn none_match_holds(&self, etag: Option<&str>) -> bool {
        !self.if_none_match.as_deref().is_some_and(|tags| matches(tags, etag, true))
    }

    fn match_holds(&self, etag: Option<&str>, quoted: bool) -> bool {
        self.if_match.as_deref().is_none_or(|tags| matches(tags, etag, quoted))
    }
}

/// Whether a list of entity tags, or `*`, matches the existing object.
fn matches(tags: &str, etag: Option<&str>, quoted: bool) -> bool {
    let Some(etag) = etag else { return false };
    let expected = if quoted { format!("\"{etag}\"") } else { etag.to_owned() };
    tags.split(',').map(str::trim).any(|tag| tag == "*" || tag == expected)
}

fn text(headers: &HeaderMap, name: impl AsHeaderName) -> Option<String> {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conditions(if_match: Option<&str>, if_none_match: Option<&str>) -> Conditions {
        Conditions { if_match: if_match.map(str::to_owned), if_none_match: if_none_match.map(str::to_owned) }
    }

    #[test]
    fn conditional_writes_in_each_mode() {
        use ConditionalWrites::{Honoured, Ignored, UnquotedOnly};
        // If-Match, If-None-Match, the existing entity tag, and whether the write is allowed in each mode.
        let table = [
            (None, None, Some("e"), [true, true, true]),
            (Some("\"e\""), None, Some("e"), [true, true, false]),
            (Some("e"), None, Some("e"), [false, true, true]),
            (Some("\"f\""), None, Some("e"), [false, true, false]),
            (Some("f"), None, Some("e"), [false, true, false]),
            (Some("\"e\""), None, None, [false, true, false]),
            (Some("*"), None, None, [false, true, false]),
            (Some("*"), None, Some("e"), [true, true, true]),
            (Some("\"d\", \"e\""), None, Some("e"), [true, true, false]),
            (None, Some("*"), Some("e"), [false, true, false]),
            (None, Some("*"), None, [true, true, true]),
            (None, Some("\"e\""), Some("e"), [false, true, false]),
            (None, Some("\"f\""), Some("e"), [true, true, true]),
        ];
        for (if_match, if_none_match, etag, allowed) in table {
            let conditions = conditions(if_match, if_none_match);
            let got = [Honoured, Ignored, UnquotedOnly].map(|mode| conditions.allow_write(etag, mode));
            assert_eq!(got, allowed, "{conditions:?} on {etag:?}");
        }
    }
}
