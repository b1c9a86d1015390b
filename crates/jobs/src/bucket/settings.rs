//! Where a bucket is and how to get in.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::{Bucket, FolderBucket, RemoteBucket};
use crate::error::Result;

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// A bucket that speaks S3.
#[derive(Debug, Clone)]
pub struct S3Settings {
    /// Address of the server.
    pub endpoint: String,
    /// Name of the bucket.
    pub bucket: String,
    /// `auto` for R2.
    pub region: String,
    /// Who we are.
    pub access_key_id: String,
    /// And the proof.
    pub secret_access_key: Secret,
    /// How patient to be.
    pub timeouts: Timeouts,
}

/// How long to wait for a server. A test shortens them; nothing else does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Until it takes a connection.
    pub connect: Duration,
    /// One small request, with its answer.
    pub control: Duration,
    /// One part: 16 MiB at 150 kbit/s.
    pub bulk: Duration,
    /// Silence in the middle of an answer.
    pub silence: Duration,
    /// Before a failed request is sent again; twice that before the next time, and so on.
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

/// Where a bucket is.
#[derive(Debug, Clone)]
pub enum Place {
    /// A folder of this machine.
    Folder(PathBuf),
    /// A server.
    S3(S3Settings),
}

impl Place {
    /// Opens it. A folder is created; a server is not asked anything yet.
    pub fn open(&self) -> Result<Arc<dyn Bucket>> {
        Ok(match self {
            Self::Folder(folder) => Arc::new(FolderBucket::open(folder)?),
            Self::S3(settings) => Arc::new(RemoteBucket::s3(settings)?),
        })
    }

    /// Whether it is on another machine.
    pub fn is_remote(&self) -> bool {
        matches!(self, Self::S3(_))
    }
}
