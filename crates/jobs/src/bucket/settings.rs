//! The location of a bucket and how to access it.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::endpoint::{Endpoint, InvalidValue, bucket_name, credential_part, secret};
use super::{Bucket, FolderBucket, RemoteBucket};
use crate::error::{Error, Result};

/// A string that `Debug` does not print.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a key or token, to keep it out of `Debug` output.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The string itself; do not print it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// How to reach a bucket on an S3 server.
#[derive(Debug, Clone)]
pub struct S3Settings {
    /// URL of the server, such as `https://ACCOUNT.r2.cloudflarestorage.com`.
    pub endpoint: String,
    /// Name of the bucket on that server.
    pub bucket: String,
    /// Region that requests are signed for; `auto` for R2.
    pub region: String,
    /// Access key id that requests are signed with.
    pub access_key_id: String,
    /// Secret that belongs to the access key id.
    pub secret_access_key: Secret,
    /// Timeouts and retry pauses of requests.
    pub timeouts: Timeouts,
}

impl S3Settings {
    /// Checks everything that the S3 client would panic on. Returns the address to which `/BUCKET/KEY` is appended.
    ///
    /// # Errors
    /// [`Error::Settings`], which names the setting and shows no secret.
    pub(super) fn check(&self) -> Result<String> {
        let named = |name: &str, invalid: InvalidValue| Error::Settings(format!("{name} {}", invalid.why));
        bucket_name(&self.bucket).map_err(|e| named("the bucket", e))?;
        credential_part(&self.region).map_err(|e| named("the region", e))?;
        credential_part(&self.access_key_id).map_err(|e| named("the access key id", e))?;
        secret(self.secret_access_key.reveal()).map_err(|e| named("the secret access key", e))?;
        let endpoint = Endpoint::parse(&self.endpoint).and_then(|endpoint| endpoint.for_bucket(&self.bucket));
        endpoint.map_err(|e| named("the endpoint", e))
    }
}

/// Timeouts of requests to a server. Only tests change them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For establishing a connection.
    pub connect: Duration,
    /// For one small request, including its response.
    pub control: Duration,
    /// For one part of a large object. The default is enough for 16 MiB at 150 kbit/s.
    pub bulk: Duration,
    /// Longest wait for more bytes in the middle of a response.
    pub silence: Duration,
    /// Pause before a failed request is retried; doubles with each retry.
    pub first_pause: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            control: Duration::from_secs(15),
            bulk: Duration::from_secs(900),
            silence: Duration::from_secs(60),
            first_pause: Duration::from_millis(200),
        }
    }
}

/// The location of a bucket.
#[derive(Debug, Clone)]
pub enum BucketLocation {
    /// A folder on this machine.
    Folder(PathBuf),
    /// A bucket on an S3 server.
    S3(S3Settings),
}

impl BucketLocation {
    /// Opens the bucket. Creates no folder, and sends no request to a server.
    pub fn open(&self) -> Result<Arc<dyn Bucket>> {
        Ok(match self {
            Self::Folder(folder) => Arc::new(FolderBucket::open(folder)?),
            Self::S3(settings) => Arc::new(RemoteBucket::s3(settings)?),
        })
    }

    /// Whether the bucket is on a server.
    pub fn is_remote(&self) -> bool {
        matches!(self, Self::S3(_))
    }
}
