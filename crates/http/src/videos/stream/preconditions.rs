//! Conditional requests for a file (RFC 9110 §13, the parts for reading).

use std::fs::Metadata;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::http::HeaderMap;
use axum::http::header::{IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE};

/// Identifies one version of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileVersion {
    /// A strong entity tag, from size and modification time.
    pub(super) etag: String,
    /// Modification time, truncated to the seconds that HTTP dates have.
    pub(super) modified: SystemTime,
}

/// The outcome of a request's conditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Precondition {
    /// Every condition holds: send the content.
    Passed,
    /// The client has this version already: 304.
    NotModified,
    /// The client requires another version: 412.
    Failed,
}

impl FileVersion {
    pub(super) fn new(meta: &Metadata) -> Self {
        let modified = meta.modified().unwrap_or(UNIX_EPOCH);
        let since = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
        let etag = format!("\"{:x}-{:x}\"", meta.len(), since.as_nanos());
        Self { etag, modified: UNIX_EPOCH + Duration::from_secs(since.as_secs()) }
    }

    /// Evaluates the conditions in the order of §13.2.2, except `If-Range`.
    pub(super) fn check(&self, headers: &HeaderMap) -> Precondition {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let date = |name| text(name).and_then(|text| httpdate::parse_http_date(text).ok());
        let failed = match text(IF_MATCH) {
            Some(tags) => !self.matches_any(tags, false),
            None => date(IF_UNMODIFIED_SINCE).is_some_and(|at| self.modified > at),
        };
        if failed {
            return Precondition::Failed;
        }
        let not_modified = match text(IF_NONE_MATCH) {
            Some(tags) => self.matches_any(tags, true),
            None => date(IF_MODIFIED_SINCE).is_some_and(|at| self.modified <= at),
        };
        if not_modified { Precondition::NotModified } else { Precondition::Passed }
    }

    /// Whether the `Range` header applies: `If-Range` is absent or names this version (§13.1.5).
    pub(super) fn allows_range(&self, headers: &HeaderMap) -> bool {
        let Some(value) = headers.get(IF_RANGE) else { return true };
        let Ok(text) = value.to_str() else { return false };
        // A date is a strong validator only if the file cannot have changed again within the same second:
        // §8.8.2.2 requires an exact match with a date that is old enough.
        text == self.etag
            || httpdate::parse_http_date(text).is_ok_and(|at| at == self.modified && self.is_old())
    }

    fn is_old(&self) -> bool {
        self.modified.elapsed().is_ok_and(|age| age > Duration::from_secs(1))
    }

    fn matches_any(&self, tags: &str, allow_weak: bool) -> bool {
        let is_same = |tag: &str| {
            let tag = tag.trim();
            tag == self.etag || (allow_weak && tag.strip_prefix("W/") == Some(&self.etag))
        };
        tags.trim() == "*" || tags.split(',').any(is_same)
    }
}
