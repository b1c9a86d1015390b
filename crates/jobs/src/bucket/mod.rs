//! Storage as the protocol needs it, and its two kinds: a plain folder, and any server that speaks S3.
//!
//! Small objects are read and written in one request, optionally on condition of their entity tag. Large
//! ones, videos and checkpoints, are transferred in parts to and from a server, and as links or copies in a
//! folder: [`BulkTransfer`].

mod create;
pub mod endpoint;
mod folder;
mod http;
mod listing;
mod network;
mod remote;
mod response;
mod server_clock;
mod settings;

use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

use crate::error::Result;
use crate::transfer::FileDigest;

pub(crate) use folder::link_or_copy;
pub(crate) use network::NO_CONNECTION;

pub use folder::FolderBucket;
pub use network::describe_failure;
pub use remote::{Page, RemoteBucket, RemoteStore};
pub use settings::{BucketLocation, S3Settings, Secret, Timeouts};

/// Version of an object, its entity tag (RFC 9110 §8.8.3): opaque, only compared for equality. Equal content
/// may have an equal tag.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ETag(pub String);

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A complete object, as [`Bucket::get`] returns it.
#[derive(Debug, Clone)]
pub struct Object {
    /// Content, at most as long as the caller's limit.
    pub bytes: Bytes,
    /// Version that was read, for a later [`Condition::Is`].
    pub etag: ETag,
}

/// An object in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Full key, including the prefix that was listed.
    pub key: String,
    /// Size of the object.
    pub size_bytes: u64,
    /// Time since the object was written, by the bucket's own clock; `None` if the bucket does not tell. A server's clock
    /// has a resolution of a second.
    pub age: Option<Duration>,
    /// Changes whenever the object does. Equal to the [`ETag`] in a remote bucket, but not in a folder.
    pub revision: String,
}

/// The condition under which an object is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition<'a> {
    /// Create the object or replace any version of it.
    Always,
    /// Only if the object does not exist (`If-None-Match: *`, RFC 9110 §13.1.2).
    Absent,
    /// Only if exactly this version exists (`If-Match`, RFC 9110 §13.1.1).
    Is(&'a ETag),
}

/// The outcome of a conditional write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PutOutcome {
    /// The object was written and has this tag now.
    Written(ETag),
    /// The condition did not hold. If the client retried the request internally after a lost response, the
    /// write may nevertheless have taken effect.
    ConditionFailed,
}

/// A bucket: a folder or a bucket on an S3 server.
///
/// A write that returns [`Error::Unavailable`](crate::Error::Unavailable) may still have taken effect.
#[async_trait]
pub trait Bucket: fmt::Debug + Send + Sync {
    /// The bucket's name in messages; contains no secrets.
    fn location(&self) -> String;

    /// Reads an object; `None` if it does not exist, an error if it is larger than `limit_bytes`.
    async fn get(&self, key: &str, limit_bytes: u64) -> Result<Option<Object>>;

    /// Size in bytes and version of an object; `None` if it does not exist.
    async fn head(&self, key: &str) -> Result<Option<(u64, ETag)>>;

    /// Writes a small object from memory.
    async fn put(&self, key: &str, body: Bytes, condition: Condition<'_>) -> Result<PutOutcome>;

    /// Writes a file as one object, without reading it into memory; at most 5 GiB.
    ///
    /// # Errors
    /// [`Error::FileChanged`](crate::Error::FileChanged) if the file does not have this `content` any more. The object
    /// may have been written, with other content.
    async fn put_file(
        &self,
        key: &str,
        file: &Path,
        content: &FileDigest,
        condition: Condition<'_>,
    ) -> Result<PutOutcome>;

    /// Lists all objects whose keys begin with `prefix`, which must end with a slash. In no particular order.
    ///
    /// # Errors
    /// Also if there are more than a million, or the listing does not end:
    /// [`Error::Endless`](crate::Error::Endless).
    async fn list(&self, prefix: &str) -> Result<Vec<Entry>>;

    /// Removes an object. Succeeds if it does not exist.
    async fn delete(&self, key: &str) -> Result<()>;

    /// How large objects are transferred to and from this bucket.
    fn bulk_transfer(&self) -> BulkTransfer<'_>;

    /// A URL under which any client can read the object until `valid` has passed; `None` for buckets without
    /// URLs.
    async fn presigned(&self, key: &str, valid: Duration) -> Result<Option<String>>;
}

/// How large objects are transferred.
#[derive(Debug)]
pub enum BulkTransfer<'a> {
    /// As local files that are linked or copied.
    Folder(&'a FolderBucket),
    /// In parts, over the network.
    Parts(&'a dyn PartStore),
}

/// The server's id of a multipart upload.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct UploadId(pub String);

/// Multipart upload and ranged download.
#[async_trait]
pub trait PartStore: fmt::Debug + Send + Sync {
    /// Starts a multipart upload.
    async fn start(&self, key: &str) -> Result<UploadId>;

    /// Uploads part `index`, counted from 0. A part may be sent again. All parts but the last must have the
    /// same size. Returns the part's id, which [`Self::complete`] needs.
    async fn part(&self, key: &str, upload: &UploadId, index: usize, body: Bytes) -> Result<String>;

    /// Combines all parts into the object. `parts` are the ids of the parts in order.
    async fn complete(&self, key: &str, upload: &UploadId, parts: Vec<String>) -> Result<()>;

    /// Aborts an upload and discards its parts.
    async fn abort(&self, key: &str, upload: &UploadId) -> Result<()>;

    /// Streams a range of bytes of exactly this version.
    async fn read(
        &self,
        key: &str,
        range: Range<u64>,
        version: &ETag,
    ) -> Result<BoxStream<'static, Result<Bytes>>>;
}
