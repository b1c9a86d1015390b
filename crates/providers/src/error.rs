//! What can go wrong with a provider, by what a caller does about it.

use std::time::Duration;

/// The result of a request to a provider.
pub type Result<T> = std::result::Result<T, ProviderError>;

/// Why a provider did not do what it was asked to. Every message names the provider and the action, has the provider's own
/// words where there are any, and contains no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProviderError {
    /// The key is not valid, or may not do this: another key is needed (401, 403).
    #[error("{provider} does not allow this key to {action}: {detail}")]
    Unauthorised {
        /// Name of the provider.
        provider: &'static str,
        /// What was attempted.
        action: String,
        /// The provider's words.
        detail: String,
    },
    /// The thing does not exist, or no longer (404).
    #[error("{provider} cannot {action}: it does not exist ({detail})")]
    NotFound {
        /// Name of the provider.
        provider: &'static str,
        /// What was attempted.
        action: String,
        /// The provider's words.
        detail: String,
    },
    /// The account has no credit (402): no other machine can be rented either.
    #[error("{provider} cannot {action}: {detail}")]
    NoCredit {
        /// Name of the provider.
        provider: &'static str,
        /// What was attempted.
        action: String,
        /// The provider's words.
        detail: String,
    },
    /// The thing is in a state that does not allow this now (409).
    #[error("{provider} cannot {action} now: {detail}")]
    Conflict {
        /// Name of the provider.
        provider: &'static str,
        /// What was attempted.
        action: String,
        /// The provider's words.
        detail: String,
    },
    /// No answer, a server error, or too many requests: it may work later. The request may have taken effect.
    #[error("{provider} did not {action}: {detail}")]
    Unavailable {
        /// Name of the provider.
        provider: &'static str,
        /// What was attempted.
        action: String,
        /// What happened instead of an answer.
        detail: String,
        /// How long the provider wants callers to wait.
        retry_after: Option<Duration>,
    },
    /// The provider refuses, and says why: the same request will be refused again.
    #[error("{provider} refuses to {action}: {detail}")]
    Refused {
        /// Name of the provider.
        provider: &'static str,
        /// What was attempted.
        action: String,
        /// The provider's words.
        detail: String,
    },
    /// The answer has another form than documented.
    #[error("the answer of {provider} to the request to {action} is not as documented: {detail}")]
    Unreadable {
        /// Name of the provider.
        provider: &'static str,
        /// What was attempted.
        action: String,
        /// What is wrong with it.
        detail: String,
    },
}

impl ProviderError {
    /// The same error, with `secret` removed from the provider's words.
    pub(crate) fn without(mut self, secret: &str) -> Self {
        let (Self::Unauthorised { detail, .. }
        | Self::NotFound { detail, .. }
        | Self::NoCredit { detail, .. }
        | Self::Conflict { detail, .. }
        | Self::Unavailable { detail, .. }
        | Self::Refused { detail, .. }
        | Self::Unreadable { detail, .. }) = &mut self;
        if !secret.is_empty() {
            *detail = detail.replace(secret, "(secret)");
        }
        self
    }

    /// Whether a request that changes something may have taken effect.
    pub fn may_have_happened(&self) -> bool {
        self.is_transient() || matches!(self, Self::Unreadable { .. })
    }

    /// Whether the same request may succeed later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Conflict { .. })
    }

    /// Whether the thing does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    /// Whether another key is needed.
    pub fn is_unauthorised(&self) -> bool {
        matches!(self, Self::Unauthorised { .. })
    }
}
