//! A write request, and how a bucket treats its condition.

use std::sync::Arc;

use bytes::Bytes;
use jobs::bucket::{Condition, ETag};

/// A [`Condition`] that owns its entity tag.
#[derive(Debug, Clone)]
pub(super) enum OwnedCondition {
    Always,
    Absent,
    Is(ETag),
}

/// A write request.
#[derive(Debug, Clone)]
pub(super) enum Write {
    Put { key: Arc<str>, body: Bytes, when: OwnedCondition },
    Delete { key: Arc<str> },
}

/// The conditions that the bucket honours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum ConditionSupport {
    #[default]
    All,
    /// None, like Garage.
    None,
    /// All but those of results, as if owners wrote results without confirming their ownership.
    AllButResults,
}

impl ConditionSupport {
    /// Whether the bucket honours conditions on this key.
    pub(super) fn applies_to(self, key: &str) -> bool {
        match self {
            Self::All => true,
            Self::None => false,
            Self::AllButResults => !key.starts_with(jobs::keys::RESULTS),
        }
    }
}

impl From<Condition<'_>> for OwnedCondition {
    fn from(condition: Condition<'_>) -> Self {
        match condition {
            Condition::Always => Self::Always,
            Condition::Absent => Self::Absent,
            Condition::Is(etag) => Self::Is(etag.clone()),
        }
    }
}
