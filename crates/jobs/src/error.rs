//! The errors of this crate. A variant exists because some caller acts on it.

use std::path::{Path, PathBuf};

use crate::bucket::NO_CONNECTION;
use crate::keys::{InvalidName, JobId};
use crate::refusal::Refusal;

/// Result of an operation on the bucket.
pub type Result<T> = std::result::Result<T, Error>;

/// The setting to change where a server cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remedy {
    /// The address: it is of no S3 server, or of another one.
    Endpoint,
    /// The region that requests are signed for; the right one, if the server named it.
    Region(Option<String>),
    /// The access key.
    Keys,
    /// The name of the bucket.
    BucketName,
    /// The clock of this machine.
    Clock,
    /// The address, or the certificates that are trusted.
    Tls,
    /// The server does not implement what is needed.
    Server,
}

/// Why an operation on a bucket or a job failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bucket did not respond, or responded with an internal error. A write may have taken effect.
    #[error("{location} is not responding: {detail}")]
    Unavailable {
        /// The bucket, as [`Bucket::location`](crate::bucket::Bucket::location) names it.
        location: String,
        /// The server's or the network's message.
        detail: String,
    },
    /// The credentials are wrong, expired, or do not permit the action.
    #[error("{location} denied permission to {action}: {detail}")]
    Denied {
        /// The bucket, as [`Bucket::location`](crate::bucket::Bucket::location) names it.
        location: String,
        /// What was requested, such as "write jobs/a.json".
        action: String,
        /// What the server reported.
        detail: String,
    },
    /// The bucket does not exist.
    #[error("{location} does not exist")]
    NoBucket {
        /// The bucket, as [`Bucket::location`](crate::bucket::Bucket::location) names it.
        location: String,
    },
    /// The server cannot be used with these settings, now or later.
    #[error("{location} cannot be used: {detail}")]
    Unusable {
        /// The bucket, as [`Bucket::location`](crate::bucket::Bucket::location) names it.
        location: String,
        /// What the server did.
        detail: String,
        /// What has to change.
        remedy: Remedy,
    },
    /// The bucket ignores the conditions of writes.
    #[error("{location} does not honour conditional writes ({detail}): two workers could own the same job")]
    ConditionsIgnored {
        /// The bucket, as [`Bucket::location`](crate::bucket::Bucket::location) names it.
        location: String,
        /// The check that failed.
        detail: String,
    },
    /// A required object does not exist.
    #[error("{key} is not in {location}")]
    Missing {
        /// The bucket, as [`Bucket::location`](crate::bucket::Bucket::location) names it.
        location: String,
        /// Key of the object.
        key: String,
    },
    /// An object is not the one that the manifest, or an earlier part of the download, describes.
    #[error("{key} in {location} is not the expected object: {detail}")]
    Mismatch {
        /// The bucket, as [`Bucket::location`](crate::bucket::Bucket::location) names it.
        location: String,
        /// Key of the object.
        key: String,
        /// Expected and actual value.
        detail: String,
    },
    /// The bucket holds an object whose key S3 clients cannot list, which hides the others.
    #[error("{location} holds an object that cannot be listed: {detail}")]
    UnlistableKey {
        /// The bucket, as [`Bucket::location`](crate::bucket::Bucket::location) names it.
        location: String,
        /// The key and what is wrong with it.
        detail: String,
    },
    /// The bucket lists more objects than a bucket of jobs can have, or repeats itself.
    #[error("the listing of {prefix} in {location} does not end: {detail}")]
    Endless {
        /// The bucket, as [`Bucket::location`](crate::bucket::Bucket::location) names it.
        location: String,
        /// The prefix that was listed.
        prefix: String,
        /// What shows that it does not end.
        detail: String,
    },
    /// A manifest cannot be parsed.
    #[error("cannot read {key}: {detail}")]
    Unreadable {
        /// Key of the manifest.
        key: String,
        /// What the JSON parser reported.
        detail: String,
    },
    /// The job does not exist.
    #[error("there is no job {id}")]
    NoJob {
        /// The id that was looked up.
        id: JobId,
    },
    /// The job's state does not allow the operation.
    #[error("job {id}: {refusal}")]
    Refused {
        /// The job that was to be changed.
        id: JobId,
        /// Why the change is not allowed.
        refusal: Refusal,
    },
    /// An id or key is malformed.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// An operation on a local file failed.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// The operation, such as "read".
        action: &'static str,
        /// The local file or folder.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// A local video file changed while it was uploaded.
    #[error("{} changed while it was uploaded", path.display())]
    FileChanged {
        /// Path of the local video.
        path: PathBuf,
    },
    /// A setting of the bucket is invalid.
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

    /// Whether there was no connection to the server, so that its address may be wrong.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unavailable { detail, .. } if detail.starts_with(NO_CONNECTION))
    }

    /// Whether the server refuses these settings, so that no request can succeed until they, or the server, are
    /// changed.
    pub fn is_misconfiguration(&self) -> bool {
        matches!(
            self,
            Self::Denied { .. } | Self::NoBucket { .. } | Self::Unusable { .. } | Self::Settings(_)
        )
    }
}
