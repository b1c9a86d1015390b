//! What the environment says about the machine and its provider.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, SystemClock};

/// A source of environment variables by name; empty means unset.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// How providers are reached.
#[derive(Debug, Clone)]
pub struct ProviderOptions {
    /// Address of RunPod's API, without `/v2`.
    pub runpod_url: String,
    /// Address of Vast's API, without `/api`.
    pub vast_url: String,
    /// Timeouts of requests.
    pub timeouts: Timeouts,
    /// Divides the pauses between tries; 1 except in tests.
    pub pace: u32,
    /// Waits between tries.
    pub clock: Arc<dyn Clock>,
}

/// Timeouts of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For a connection.
    pub connect: Duration,
    /// For a request with its answer.
    pub request: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(10), request: Duration::from_secs(30) }
    }
}

impl Default for ProviderOptions {
    fn default() -> Self {
        Self {
            runpod_url: "https://api.runpod.io".to_owned(),
            vast_url: "https://console.vast.ai".to_owned(),
            timeouts: Timeouts::default(),
            pace: 1,
            clock: Arc::new(SystemClock),
        }
    }
}

impl ProviderOptions {
    /// The addresses in `RUNPOD_API_URL` and `VAST_API_URL`, otherwise the providers' own.
    pub fn from_env(lookup: Lookup<'_>) -> Self {
        let defaults = Self::default();
        let url = |name, default| value(lookup, name).unwrap_or(default);
        Self {
            runpod_url: url("RUNPOD_API_URL", defaults.runpod_url),
            vast_url: url("VAST_API_URL", defaults.vast_url),
            ..Self::default()
        }
    }
}

/// The value of a variable that is set and not empty, without blanks around it.
pub(crate) fn value(lookup: Lookup<'_>, name: &str) -> Option<String> {
    lookup(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
}
