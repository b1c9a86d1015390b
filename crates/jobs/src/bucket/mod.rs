//! What the protocol needs of a bucket, and the two kinds: a plain folder, and whatever speaks S3.
//!
//! Small objects are read and written whole, on condition of their entity tag. Large ones, videos and
//! checkpoints, go in parts to a remote bucket and by links into a folder: [`Bulk`].

mod folder;
mod remote;
mod settings;

use std::fmt;
use std::ops::Range;
use std::path::Path;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

use crate::error::Result;

pub(crate) use folder::link_or_copy;

pub use folder::FolderBucket;
pub use remote::{RemoteBucket, S3};
pub use settings::{Place, S3Settings, Secret, Timeouts};

/// Version of an object: opaque, compared for equality only. Equal content may have an equal tag.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ETag(pub String);

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An object read whole.
#[derive(Debug, Clone)]
pub struct Object {
    /// Content.
    pub bytes: Bytes,
    /// Version.
    pub etag: ETag,
}

/// An object in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Name.
    pub key: String,
    /// Size.
    pub size_bytes: u64,
    /// Changes when the object does. An [`ETag`] in a remote bucket; not to be mistaken for one in a folder.
    pub revision: String,
}

/// On what condition to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition<'a> {
    /// Whatever is there.
    Always,
    /// Nothing is there (`If-None-Match: *`, RFC 9110 §13.1.2).
    Absent,
    /// Exactly this version is there (`If-Match`, RFC 9110 §13.1.1).
    Is(&'a ETag),
}

/// What became of a conditional write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    /// It is in, under this tag.
    Done(ETag),
    /// The condition did not hold, or the answer to an earlier try of this request was lost.
    Refused,
}

/// A bucket.
///
/// Every [`Error::Unavailable`](crate::Error::Unavailable) of a write means that it may have happened.
#[async_trait]
pub trait Bucket: fmt::Debug + Send + Sync {
    /// Its name for people, without secrets.
    fn place(&self) -> String;

    /// Reads an object of at most `limit_bytes`; `None` if there is none.
    async fn get(&self, key: &str, limit_bytes: u64) -> Result<Option<Object>>;

    /// Size and version of an object; `None` if there is none.
    async fn head(&self, key: &str) -> Result<Option<(u64, ETag)>>;

    /// Writes a small object.
    async fn put(&self, key: &str, body: Bytes, condition: Condition<'_>) -> Result<Written>;

    /// Writes a file as one object, without reading it into memory; at most 5 GiB.
    async fn put_file(&self, key: &str, file: &Path, condition: Condition<'_>) -> Result<Written>;

    /// All objects whose keys begin with `prefix`, which ends with a slash. In no particular order.
    async fn list(&self, prefix: &str) -> Result<Vec<Entry>>;

    /// Removes an object; it is no error if there is none.
    async fn delete(&self, key: &str) -> Result<()>;

    /// How large objects travel.
    fn bulk(&self) -> Bulk<'_>;

    /// An address under which anybody can read the object for a while; `None` where there are no addresses.
    async fn presigned(&self, key: &str, valid: std::time::Duration) -> Result<Option<String>>;
}

/// How large objects travel.
#[derive(Debug)]
pub enum Bulk<'a> {
    /// As files: linked or copied.
    Folder(&'a FolderBucket),
    /// In parts over the network.
    Parts(&'a dyn PartStore),
}

/// An upload in parts.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct UploadId(pub String);

/// Multipart upload and ranged download.
#[async_trait]
pub trait PartStore: fmt::Debug + Send + Sync {
    /// Begins an upload.
    async fn start(&self, key: &str) -> Result<UploadId>;

    /// Sends part `index`, counted from 0; the same part may be sent again. All but the last have one size.
    /// Returns what [`Self::complete`] wants to know of it.
    async fn part(&self, key: &str, upload: &UploadId, index: usize, body: Bytes) -> Result<String>;

    /// Makes one object of all parts.
    async fn complete(&self, key: &str, upload: &UploadId, parts: Vec<String>) -> Result<()>;

    /// Gives an upload up.
    async fn abort(&self, key: &str, upload: &UploadId) -> Result<()>;

    /// Reads a range of exactly this version.
    async fn read(
        &self,
        key: &str,
        range: Range<u64>,
        version: &ETag,
    ) -> Result<BoxStream<'static, Result<Bytes>>>;
}
