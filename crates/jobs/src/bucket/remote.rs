//! A bucket accessed through the `object_store` crate: any S3 server, including R2, and a map in memory for
//! tests.

use std::fmt;
use std::ops::Range;
use std::path::Path as FilePath;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt;
use futures::stream::{BoxStream, StreamExt};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::memory::InMemory;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::signer::Signer;
use object_store::{
    BackoffConfig, GetOptions, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload,
    RetryConfig, UpdateVersion,
};

use super::http::Connector;
use super::listing::Listing;
use super::network::describe_failure;
use super::response::{Cause, Rejection, causes};
use super::server_clock::ServerClock;
use super::{
    Bucket, BulkTransfer, Condition, ETag, Entry, Object, PartStore, PutOutcome, S3Settings, UploadId,
};
use crate::error::{Error, Remedy, Result};
use crate::keys::InvalidName;
use crate::transfer::FileDigest;

/// Size of the chunks in which a memory-mapped file is handed to the HTTP client.
const CHUNK_BYTES: usize = 1 << 20;

/// Objects of a page of a listing, and the token of the next page.
pub type Page = (Vec<ObjectMeta>, Option<String>);

/// An object store with everything that a bucket needs.
#[async_trait]
pub trait RemoteStore: ObjectStore + MultipartStore {
    /// The store as a URL signer; `None` if it cannot sign.
    fn signer(&self) -> Option<&dyn Signer>;

    /// Lists one page of the objects whose keys begin with `prefix`: the first, or the one with this token.
    async fn page(&self, prefix: &str, token: Option<String>) -> object_store::Result<Page>;
}

#[async_trait]
impl RemoteStore for AmazonS3 {
    fn signer(&self) -> Option<&dyn Signer> {
        Some(self)
    }

    async fn page(&self, prefix: &str, token: Option<String>) -> object_store::Result<Page> {
        let options = PaginatedListOptions { page_token: token, ..PaginatedListOptions::default() };
        let page = self.list_paginated(Some(prefix), options).await?;
        Ok((page.result.objects, page.page_token))
    }
}

#[async_trait]
impl RemoteStore for InMemory {
    fn signer(&self) -> Option<&dyn Signer> {
        None
    }

    async fn page(&self, prefix: &str, _token: Option<String>) -> object_store::Result<Page> {
        let objects = self.list(Some(&Path::from(prefix))).try_collect().await?;
        Ok((objects, None))
    }
}

/// A bucket in an object store.
pub struct RemoteBucket<S> {
    location: String,
    /// For small requests: short timeout.
    control: S,
    /// For parts of large objects: long timeout, more retries.
    bulk: S,
    /// Whether the server requires tags in `If-Match` without quotes, as Ceph's gateway does in violation of
    /// RFC 9110 §8.8.3. Detected when a write is refused although the version matches.
    unquoted: AtomicBool,
    /// Not known for a bucket in memory.
    clock: Arc<ServerClock>,
}

impl<S> fmt::Debug for RemoteBucket<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteBucket").field("location", &self.location).finish_non_exhaustive()
    }
}

impl RemoteBucket<AmazonS3> {
    /// Creates a client for a bucket on an S3 server. Sends no request.
    ///
    /// # Errors
    /// [`Error::Settings`] if the settings are invalid.
    pub fn s3(settings: &S3Settings) -> Result<Self> {
        // Fails only if a provider is installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let endpoint = settings.check()?;
        let location = format!("bucket {} at {endpoint}", settings.bucket);
        let invalid = |e: object_store::Error| Error::Settings(format!("{location}: {e}"));
        let timeouts = settings.timeouts;
        let clock = Arc::new(ServerClock::default());
        let client = |request: Duration, max_retries: usize| {
            let clock = clock.clone();
            let connector =
                Connector { clock, request, connect: timeouts.connect, silence: timeouts.silence };
            let backoff = BackoffConfig {
                init_backoff: timeouts.first_pause,
                max_backoff: Duration::from_secs(10),
                base: 2.0,
            };
            // Less than five minutes, because a retry reuses the request's signature.
            let retry = RetryConfig { backoff, max_retries, retry_timeout: Duration::from_secs(170) };
            AmazonS3Builder::new()
                .with_endpoint(&endpoint)
                .with_region(&settings.region)
                .with_bucket_name(&settings.bucket)
                .with_access_key_id(&settings.access_key_id)
                .with_secret_access_key(settings.secret_access_key.reveal())
                .with_http_connector(connector)
                .with_retry(retry)
                .build()
        };
        let control = client(timeouts.control, 3).map_err(invalid)?;
        let bulk = client(timeouts.bulk, 8).map_err(invalid)?;
        Ok(Self { location, control, bulk, unquoted: AtomicBool::new(false), clock })
    }
}

impl RemoteBucket<InMemory> {
    /// Creates an empty bucket in this process's memory, for tests. Clones share the content.
    pub fn memory() -> Self {
        let control = InMemory::new();
        let bulk = control.clone();
        Self {
            location: "bucket in memory".to_owned(),
            control,
            bulk,
            unquoted: AtomicBool::new(false),
            clock: Arc::default(),
        }
    }
}

impl Clone for RemoteBucket<InMemory> {
    fn clone(&self) -> Self {
        let (control, bulk) = (self.control.clone(), self.bulk.clone());
        Self {
            location: self.location.clone(),
            control,
            bulk,
            unquoted: AtomicBool::new(false),
            clock: self.clock.clone(),
        }
    }
}

fn path(key: &str) -> Result<Path> {
    // The key may come from a manifest: it is no reason to doubt the bucket.
    Path::parse(key).map_err(|_| InvalidName::key(key, "must not have an empty, `.` or `..` part").into())
}

impl<S: RemoteStore> RemoteBucket<S> {
    /// An address that permits one request with this method, about an object, or about the bucket for an empty key.
    pub(super) async fn signed_url(&self, method: &str, key: &str, valid: Duration) -> Result<String> {
        let unsigned = || Error::Settings(format!("{} has no signed addresses", self.location));
        let signer = self.control.signer().ok_or_else(unsigned)?;
        let signed = signer.signed_url(method.parse().unwrap_or_default(), &path(key)?, valid).await;
        Ok(signed.map_err(|e| self.error(&format!("sign a URL for {key}"), e))?.into())
    }

    /// Decides what a failed request means. `action` is what was requested.
    fn error(&self, action: &str, error: object_store::Error) -> Error {
        use object_store::Error as E;
        let location = self.location.clone();
        if let Some(rejection) = causes(&error).find_map(|e| e.downcast_ref::<Rejection>()) {
            let detail = rejection.detail.clone();
            return match &rejection.cause {
                Cause::Denied => Error::Denied { location, action: action.to_owned(), detail },
                Cause::NoBucket => Error::NoBucket { location },
                Cause::Unusable(remedy) => Error::Unusable { location, detail, remedy: remedy.clone() },
            };
        }
        let detail = match &error {
            // The outer error names the object; its cause does not.
            E::InvalidPath { .. } => error.to_string(),
            error => describe_failure(error),
        };
        match error {
            E::InvalidPath { .. } => Error::UnlistableKey { location, detail },
            E::NotFound { path, .. } => Error::Missing { location, key: path },
            E::Precondition { path, .. } => Error::Mismatch {
                location,
                key: path,
                detail: "it changed while it was being read".to_owned(),
            },
            // S3 servers send an entity tag and a time with every object.
            E::Generic { .. } if detail.contains("Header missing from response") => {
                Error::Unusable { location, detail, remedy: Remedy::Endpoint }
            }
            _ => Error::Unavailable { location, detail },
        }
    }

    /// The tag in a response. Every S3 server sends one.
    fn etag(&self, key: &str, tag: Option<String>) -> Result<ETag> {
        tag.filter(|tag| !tag.is_empty()).map(ETag).ok_or_else(|| Error::Unusable {
            location: self.location.clone(),
            detail: format!("it returned no entity tag for {key}"),
            remedy: Remedy::Endpoint,
        })
    }

    /// Writes an object of any size through `store`, which is `control` or `bulk`.
    async fn write(
        &self,
        store: &S,
        key: &str,
        body: PutPayload,
        condition: Condition<'_>,
    ) -> Result<PutOutcome> {
        let unquoted = self.unquoted.load(Ordering::Relaxed);
        let written = self.write_once(store, key, body.clone(), condition, unquoted).await?;
        let Condition::Is(etag) = condition else { return Ok(written) };
        if written != PutOutcome::ConditionFailed || unquoted {
            return Ok(written);
        }
        // If exactly that version exists, the server was comparing the tag as text, including the quotes.
        let there = self.head(key).await?;
        if there.is_none_or(|(_, now)| now != *etag) {
            return Ok(PutOutcome::ConditionFailed);
        }
        let written = self.write_once(store, key, body, condition, true).await;
        if matches!(written, Ok(PutOutcome::Written(_))) {
            self.unquoted.store(true, Ordering::Relaxed);
        }
        written
    }

    async fn write_once(
        &self,
        store: &S,
        key: &str,
        body: PutPayload,
        condition: Condition<'_>,
        unquoted: bool,
    ) -> Result<PutOutcome> {
        let mode = match condition {
            Condition::Always => PutMode::Overwrite,
            Condition::Absent => PutMode::Create,
            Condition::Is(etag) => {
                let tag = if unquoted { etag.0.trim_matches('"') } else { etag.0.as_str() };
                PutMode::Update(UpdateVersion { e_tag: Some(tag.to_owned()), version: None })
            }
        };
        match store.put_opts(&path(key)?, body, PutOptions::from(mode)).await {
            Ok(put) => Ok(PutOutcome::Written(self.etag(key, put.e_tag)?)),
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                Ok(PutOutcome::ConditionFailed)
            }
            Err(error) => match self.error(&format!("write {key}"), error) {
                // For a conditional write of an object that does not exist, some servers return 404 instead
                // of 412.
                Error::Missing { .. } if matches!(condition, Condition::Is(_)) => {
                    Ok(PutOutcome::ConditionFailed)
                }
                error => Err(error),
            },
        }
    }
}

#[async_trait]
impl<S: RemoteStore> Bucket for RemoteBucket<S> {
    fn location(&self) -> String {
        self.location.clone()
    }

    async fn get(&self, key: &str, limit_bytes: u64) -> Result<Option<Object>> {
        let action = format!("read {key}");
        let found = match self.control.get(&path(key)?).await {
            Ok(found) => found,
            Err(error) => {
                return match self.error(&action, error) {
                    Error::Missing { .. } => Ok(None),
                    error => Err(error),
                };
            }
        };
        if found.meta.size > limit_bytes {
            let detail = format!("it has {} bytes, and the limit is {limit_bytes}", found.meta.size);
            return Err(Error::Mismatch { location: self.location.clone(), key: key.to_owned(), detail });
        }
        let etag = self.etag(key, found.meta.e_tag.clone())?;
        let bytes = found.bytes().await.map_err(|e| self.error(&action, e))?;
        Ok(Some(Object { bytes, etag }))
    }

    async fn head(&self, key: &str) -> Result<Option<(u64, ETag)>> {
        match self.control.head(&path(key)?).await {
            Ok(meta) => Ok(Some((meta.size, self.etag(key, meta.e_tag)?))),
            Err(error) => match self.error(&format!("read the metadata of {key}"), error) {
                Error::Missing { .. } => Ok(None),
                error => Err(error),
            },
        }
    }

    async fn put(&self, key: &str, body: Bytes, condition: Condition<'_>) -> Result<PutOutcome> {
        self.write(&self.control, key, body.into(), condition).await
    }

    async fn put_file(
        &self,
        key: &str,
        file: &FilePath,
        content: &FileDigest,
        condition: Condition<'_>,
    ) -> Result<PutOutcome> {
        let outcome = self.write(&self.bulk, key, mapped(file)?, condition).await?;
        // A file that has the content now had it while it was sent: nothing repairs a damaged file.
        if FileDigest::of_in_background(file).await? != *content {
            return Err(Error::FileChanged { path: file.to_owned() });
        }
        Ok(outcome)
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Entry>> {
        let failed = |e: object_store::Error| match self.error(&format!("list {prefix}"), e) {
            // Listing an empty prefix succeeds, so "not found" means the bucket.
            Error::Missing { location, .. } => Error::NoBucket { location },
            error => error,
        };
        let entry = |meta: ObjectMeta| Entry {
            key: meta.location.to_string(),
            size_bytes: meta.size,
            age: self.clock.age(meta.last_modified.into()),
            revision: meta.e_tag.unwrap_or_else(|| meta.last_modified.to_rfc3339()),
        };
        let mut listing = Listing::default();
        loop {
            let (objects, next) = self.control.page(prefix, listing.token()).await.map_err(failed)?;
            // Web consoles represent a folder by an empty object whose key is the prefix itself.
            let entries = objects.into_iter().map(entry).filter(|entry| entry.key.starts_with(prefix));
            let has_more = listing.add(entries, next).map_err(|detail| Error::Endless {
                location: self.location.clone(),
                prefix: prefix.to_owned(),
                detail,
            })?;
            if !has_more {
                return Ok(listing.into_entries());
            }
        }
    }

    async fn delete(&self, key: &str) -> Result<()> {
        match self.control.delete(&path(key)?).await {
            Ok(()) => Ok(()),
            Err(error) => match self.error(&format!("remove {key}"), error) {
                Error::Missing { .. } => Ok(()),
                error => Err(error),
            },
        }
    }

    fn bulk_transfer(&self) -> BulkTransfer<'_> {
        BulkTransfer::Parts(self)
    }

    async fn presigned(&self, key: &str, valid: Duration) -> Result<Option<String>> {
        if self.control.signer().is_none() {
            return Ok(None);
        }
        self.signed_url("GET", key, valid).await.map(Some)
    }
}

#[async_trait]
impl<S: RemoteStore> PartStore for RemoteBucket<S> {
    async fn start(&self, key: &str) -> Result<UploadId> {
        let started = self.bulk.create_multipart(&path(key)?).await;
        started.map(UploadId).map_err(|e| self.error(&format!("upload {key}"), e))
    }

    async fn part(&self, key: &str, upload: &UploadId, index: usize, body: Bytes) -> Result<String> {
        let sent = self.bulk.put_part(&path(key)?, &upload.0, index, body.into()).await;
        sent.map(|part| part.content_id).map_err(|e| self.error(&format!("upload {key}"), e))
    }

    async fn complete(&self, key: &str, upload: &UploadId, parts: Vec<String>) -> Result<()> {
        let parts = parts.into_iter().map(|content_id| PartId { content_id }).collect();
        let completed = self.bulk.complete_multipart(&path(key)?, &upload.0, parts).await;
        completed.map(|_| ()).map_err(|e| self.error(&format!("upload {key}"), e))
    }

    async fn abort(&self, key: &str, upload: &UploadId) -> Result<()> {
        let aborted = self.bulk.abort_multipart(&path(key)?, &upload.0).await;
        aborted.map_err(|e| self.error(&format!("abort the upload of {key}"), e))
    }

    async fn read(
        &self,
        key: &str,
        range: Range<u64>,
        version: &ETag,
    ) -> Result<BoxStream<'static, Result<Bytes>>> {
        let action = format!("read {key}");
        // Reads accept quoted tags everywhere, even on servers that reject them for writes.
        let if_match = Some(version.0.clone());
        let options = GetOptions { range: Some(range.into()), if_match, ..GetOptions::default() };
        let found = self.bulk.get_opts(&path(key)?, options).await.map_err(|e| self.error(&action, e))?;
        let location = self.location.clone();
        let broken = move |e: object_store::Error| Error::Unavailable {
            location: location.clone(),
            detail: describe_failure(&e),
        };
        Ok(found.into_stream().map_err(broken).boxed())
    }
}

/// Maps a file as a request body: it is read from disk while it is sent, and again for a retry.
#[expect(unsafe_code, reason = "maps a file that this process created and no other process writes to")]
fn mapped(file: &FilePath) -> Result<PutPayload> {
    let failed = |e| Error::file("read", file, e);
    let opened = std::fs::File::open(file).map_err(failed)?;
    if opened.metadata().map_err(failed)?.len() == 0 {
        return Ok(PutPayload::new());
    }
    let content = Bytes::from_owner(unsafe { memmap2::Mmap::map(&opened) }.map_err(failed)?);
    let starts = (0..content.len()).step_by(CHUNK_BYTES);
    Ok(starts.map(|from| content.slice(from..(from + CHUNK_BYTES).min(content.len()))).collect())
}
