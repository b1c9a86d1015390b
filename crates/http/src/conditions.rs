//! Conditional requests for a file: RFC 9110 §13, as far as reading goes.

use std::fs::Metadata;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::http::HeaderMap;
use axum::http::header::{IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE};

/// What identifies a version of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Version {
    /// A strong entity tag.
    pub(super) etag: String,
    /// To the second, as HTTP has it.
    pub(super) modified: SystemTime,
}

/// What the conditions of a request come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Answer it.
    Go,
    /// The client has this version: 304.
    NotModified,
    /// It wants another one: 412.
    Failed,
}

impl Version {
    pub(super) fn of(meta: &Metadata) -> Self {
        let modified = meta.modified().unwrap_or(UNIX_EPOCH);
        let since = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
        let etag = format!("\"{:x}-{:x}\"", meta.len(), since.as_nanos());
        Self { etag, modified: UNIX_EPOCH + Duration::from_secs(since.as_secs()) }
    }

    /// Judges the conditions in the order of §13.2.2, `If-Range` aside.
    pub(super) fn judge(&self, headers: &HeaderMap) -> Verdict {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let date = |name| text(name).and_then(|text| httpdate::parse_http_date(text).ok());
        let failed = match text(IF_MATCH) {
            Some(tags) => !self.is_among(tags, false),
            None => date(IF_UNMODIFIED_SINCE).is_some_and(|at| self.modified > at),
        };
        if failed {
            return Verdict::Failed;
        }
        let not_modified = match text(IF_NONE_MATCH) {
            Some(tags) => self.is_among(tags, true),
            None => date(IF_MODIFIED_SINCE).is_some_and(|at| self.modified <= at),
        };
        if not_modified { Verdict::NotModified } else { Verdict::Go }
    }

    /// Whether a `Range` may be honoured: there is no `If-Range`, or it names this version (§13.1.5).
    pub(super) fn may_be_partial(&self, headers: &HeaderMap) -> bool {
        let Some(value) = headers.get(IF_RANGE) else { return true };
        let Ok(text) = value.to_str() else { return false };
        // A date is strong enough only where the file was not changed within that second; an exact match of an
        // older date is what §8.8.2.2 asks for.
        text == self.etag
            || httpdate::parse_http_date(text).is_ok_and(|at| at == self.modified && self.is_old())
    }

    fn is_old(&self) -> bool {
        self.modified.elapsed().is_ok_and(|age| age > Duration::from_secs(1))
    }

    fn is_among(&self, tags: &str, weakly: bool) -> bool {
        let same = |tag: &str| {
            let tag = tag.trim();
            tag == self.etag || (weakly && tag.strip_prefix("W/") == Some(&self.etag))
        };
        tags.trim() == "*" || tags.split(',').any(same)
    }
}
