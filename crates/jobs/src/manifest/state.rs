//! The states of a job and where it is meant to run.

use std::fmt;

use serde::{Deserialize, Serialize};

/// State of a job. The [crate's documentation](crate#states) shows the transitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Waiting for a worker to claim it.
    Pending,
    /// Claimed by a worker.
    Processing,
    /// The results are in the bucket.
    Completed,
    /// The results have been imported into a library.
    Imported,
    /// Too many attempts failed, or one failed in a way that cannot be retried.
    Failed,
    /// Cancelled by a user.
    Cancelled,
}

impl Status {
    /// The spelling in the manifest.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Processing => "processing",
            Self::Completed => "completed",
            Self::Imported => "imported",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether no worker will process the job, unless a user retries it.
    pub fn is_finished(self) -> bool {
        !matches!(self, Self::Pending | Self::Processing)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Where a job is meant to run. Also identifies the bucket that holds it: each target has its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// On the submitter's machine.
    Local,
    /// On a rented machine.
    Cloud,
}

impl Target {
    /// Both targets, for commands that search both buckets.
    pub const ALL: [Self; 2] = [Self::Local, Self::Cloud];

    /// The spelling in manifests, settings and requests.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Cloud => "cloud",
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A string that is not the name of a [`Target`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("is {0:?}, neither cloud nor local")]
pub struct UnknownTarget(String);

impl std::str::FromStr for Target {
    type Err = UnknownTarget;

    fn from_str(text: &str) -> Result<Self, UnknownTarget> {
        let found = Self::ALL.into_iter().find(|target| target.as_str() == text);
        found.ok_or_else(|| UnknownTarget(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn target_parses_its_own_spelling() {
        for target in Target::ALL {
            assert_eq!(target.to_string().parse(), Ok(target));
            assert_eq!(serde_json::to_value(target).unwrap(), target.as_str());
        }
        let error = "moon".parse::<Target>().unwrap_err();
        assert_eq!(error.to_string(), "is \"moon\", neither cloud nor local");
    }
}
