//! A write on its way to the bucket, and how a bucket may treat it.

use std::sync::Arc;

use bytes::Bytes;
use jobs::bucket::{Condition, ETag};

/// On what condition a write was sent.
#[derive(Debug, Clone)]
pub(super) enum When {
    Always,
    Absent,
    Is(ETag),
}

/// A write on its way.
#[derive(Debug, Clone)]
pub(super) enum Write {
    Put { key: Arc<str>, body: Bytes, when: When },
    Delete { key: Arc<str> },
}

/// Which conditions the bucket honours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Honours {
    #[default]
    All,
    /// As Garage does.
    None,
    /// As if an owner wrote its results without proving its ownership.
    AllButResults,
}

impl Honours {
    /// Whether a condition on this key matters.
    pub(super) fn cares_about(self, key: &str) -> bool {
        match self {
            Self::All => true,
            Self::None => false,
            Self::AllButResults => !key.starts_with(jobs::keys::RESULTS),
        }
    }
}

impl From<Condition<'_>> for When {
    fn from(condition: Condition<'_>) -> Self {
        match condition {
            Condition::Always => Self::Always,
            Condition::Absent => Self::Absent,
            Condition::Is(etag) => Self::Is(etag.clone()),
        }
    }
}
