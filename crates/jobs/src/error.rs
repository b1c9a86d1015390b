//! The errors of this crate. A variant exists because some caller acts on it.

use std::path::{Path, PathBuf};

use crate::keys::{BadName, JobId};

/// Result of an operation on the bucket.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bucket did not answer, or with an error of its own. A write may have happened.
    #[error("{place} does not answer: {detail}")]
    Unavailable {
        /// The bucket.
        place: String,
        /// What it, or the network, said.
        detail: String,
    },
    /// The credentials are wrong, expired, or do not allow it.
    #[error("{place} refuses to {action}: {detail}")]
    Denied {
        /// The bucket.
        place: String,
        /// What was asked.
        action: String,
        /// What it said.
        detail: String,
    },
    /// There is no such bucket.
    #[error("{place} does not exist")]
    NoBucket {
        /// The bucket.
        place: String,
    },
    /// The bucket ignores conditions: two workers could own one job.
    #[error("{place} does not honour conditional writes ({detail}): two workers could own one job")]
    NoConditions {
        /// The bucket.
        place: String,
        /// Which check failed.
        detail: String,
    },
    /// An object that must be there is not.
    #[error("{key} is not in {place}")]
    Missing {
        /// The bucket.
        place: String,
        /// The object.
        key: String,
    },
    /// An object is not what the register, or the earlier part of it, says.
    #[error("{key} in {place} is not what it should be: {detail}")]
    Mismatch {
        /// The bucket.
        place: String,
        /// The object.
        key: String,
        /// The difference.
        detail: String,
    },
    /// The bucket holds an object under a name that S3 clients cannot list: nobody can see the others.
    #[error("{place} holds an object that cannot be listed: {detail}")]
    BadKey {
        /// The bucket.
        place: String,
        /// Its name and what is wrong with it.
        detail: String,
    },
    /// A register cannot be understood.
    #[error("{key} cannot be read: {detail}")]
    Unreadable {
        /// The object.
        key: String,
        /// Why.
        detail: String,
    },
    /// There is no such job.
    #[error("there is no job {id}")]
    NoJob {
        /// The job.
        id: JobId,
    },
    /// The job's state forbids it.
    #[error("job {id} {why}")]
    Forbidden {
        /// The job.
        id: JobId,
        /// Its state in words.
        why: String,
    },
    /// An id or key is malformed.
    #[error(transparent)]
    Name(#[from] BadName),
    /// A file on this machine.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was done.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A video file changed while it was uploaded.
    #[error("{} changed while it was uploaded", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// A setting of the bucket is wrong.
    #[error("{0}")]
    Settings(String),
}

impl Error {
    pub(crate) fn file(action: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self::File { action, path: path.to_owned(), source }
    }

    /// Whether the same request may succeed later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}
