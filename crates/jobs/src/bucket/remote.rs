//! A bucket behind the `object_store` crate: any S3 server, R2 among them, and for tests a map in memory.

use std::fmt;
use std::ops::Range;
use std::path::Path as FilePath;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt;
use futures::stream::{BoxStream, StreamExt};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::memory::InMemory;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::signer::Signer;
use object_store::{
    BackoffConfig, ClientOptions, GetOptions, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload,
    RetryConfig, UpdateVersion,
};

use super::{Bucket, Bulk, Condition, ETag, Entry, Object, PartStore, S3Settings, UploadId, Written};
use crate::error::{Error, Result};

/// Size of the pieces in which a file is handed to the network.
const PIECE: usize = 1 << 20;

/// An object store that can do all that a bucket must.
pub trait S3: ObjectStore + MultipartStore {
    /// Itself, where it can sign addresses.
    fn signer(&self) -> Option<&dyn Signer>;
}

impl S3 for AmazonS3 {
    fn signer(&self) -> Option<&dyn Signer> {
        Some(self)
    }
}

impl S3 for InMemory {
    fn signer(&self) -> Option<&dyn Signer> {
        None
    }
}

/// A bucket behind an object store.
pub struct RemoteBucket<S> {
    place: String,
    /// For small requests: answers soon or not at all.
    control: S,
    /// For parts: patient.
    bulk: S,
    /// Whether the server wants tags in `If-Match` without their quotes, as Ceph's gateway does against RFC
    /// 9110 §8.8.3. Learned from a refusal that cannot be one.
    unquoted: AtomicBool,
}

impl<S> fmt::Debug for RemoteBucket<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteBucket").field("place", &self.place).finish_non_exhaustive()
    }
}

impl RemoteBucket<AmazonS3> {
    /// A bucket on a server.
    ///
    /// # Errors
    /// [`Error::Settings`] if the settings cannot be those of a server.
    pub fn s3(settings: &S3Settings) -> Result<Self> {
        // Fails only where one is installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let place = format!("bucket {} at {}", settings.bucket, settings.endpoint);
        let wrong = |e: object_store::Error| Error::Settings(format!("{place}: {e}"));
        let patience = settings.timeouts;
        let client = |timeout: Duration, max_retries: usize| {
            let options = ClientOptions::new()
                .with_timeout(timeout)
                .with_read_timeout(patience.silence)
                .with_connect_timeout(patience.connect)
                .with_allow_http(settings.endpoint.starts_with("http://"));
            let backoff = BackoffConfig {
                init_backoff: patience.first_pause,
                max_backoff: Duration::from_secs(10),
                base: 2.0,
            };
            // Below five minutes: a request keeps its signature.
            let retry = RetryConfig { backoff, max_retries, retry_timeout: Duration::from_secs(170) };
            AmazonS3Builder::new()
                .with_endpoint(settings.endpoint.trim_end_matches('/'))
                .with_region(&settings.region)
                .with_bucket_name(&settings.bucket)
                .with_access_key_id(&settings.access_key_id)
                .with_secret_access_key(settings.secret_access_key.reveal())
                .with_client_options(options)
                .with_retry(retry)
                .build()
        };
        let control = client(patience.control, 3).map_err(wrong)?;
        let bulk = client(patience.bulk, 8).map_err(wrong)?;
        Ok(Self { place, control, bulk, unquoted: AtomicBool::new(false) })
    }
}

impl RemoteBucket<InMemory> {
    /// A bucket in this process's memory, for tests. The clones share their content.
    pub fn memory() -> Self {
        let control = InMemory::new();
        let bulk = control.clone();
        Self { place: "bucket in memory".to_owned(), control, bulk, unquoted: AtomicBool::new(false) }
    }
}

impl Clone for RemoteBucket<InMemory> {
    fn clone(&self) -> Self {
        let (control, bulk) = (self.control.clone(), self.bulk.clone());
        Self { place: self.place.clone(), control, bulk, unquoted: AtomicBool::new(false) }
    }
}

fn path(key: &str) -> Result<Path> {
    Path::parse(key).map_err(|e| Error::Settings(format!("{key:?} is no key: {e}")))
}

impl<S: S3> RemoteBucket<S> {
    fn error(&self, action: &str, error: object_store::Error) -> Error {
        use object_store::Error as E;
        let place = self.place.clone();
        let detail = match &error {
            // It names the object, its cause does not.
            E::InvalidPath { .. } => error.to_string(),
            error => innermost(error),
        };
        match error {
            E::PermissionDenied { .. } | E::Unauthenticated { .. } => {
                Error::Denied { place, action: action.to_owned(), detail }
            }
            // What a server says to some requests comes as it is, under no error's name.
            _ if detail.contains("NoSuchBucket") => Error::NoBucket { place },
            E::Generic { .. }
                if detail.contains("status code: 403") || detail.contains("status code: 401") =>
            {
                Error::Denied { place, action: action.to_owned(), detail }
            }
            E::InvalidPath { .. } => Error::BadKey { place, detail },
            E::NotFound { path, .. } => Error::Missing { place, key: path },
            E::Precondition { path, .. } => {
                Error::Mismatch { place, key: path, detail: "it changed while it was read".to_owned() }
            }
            _ => Error::Unavailable { place, detail },
        }
    }

    /// A conditional write of whatever size, with one store or the other.
    async fn write(
        &self,
        store: &S,
        key: &str,
        body: PutPayload,
        condition: Condition<'_>,
    ) -> Result<Written> {
        let unquoted = self.unquoted.load(Ordering::Relaxed);
        let written = self.write_once(store, key, body.clone(), condition, unquoted).await?;
        let Condition::Is(etag) = condition else { return Ok(written) };
        if written != Written::Refused || unquoted {
            return Ok(written);
        }
        // Refused although exactly that version is there: the server compares spellings of the tag.
        let there = self.head(key).await?;
        if there.is_none_or(|(_, now)| now != *etag) {
            return Ok(Written::Refused);
        }
        let written = self.write_once(store, key, body, condition, true).await;
        if matches!(written, Ok(Written::Done(_))) {
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
    ) -> Result<Written> {
        let mode = match condition {
            Condition::Always => PutMode::Overwrite,
            Condition::Absent => PutMode::Create,
            Condition::Is(etag) => {
                let tag = if unquoted { etag.0.trim_matches('"') } else { etag.0.as_str() };
                PutMode::Update(UpdateVersion { e_tag: Some(tag.to_owned()), version: None })
            }
        };
        match store.put_opts(&path(key)?, body, PutOptions::from(mode)).await {
            Ok(put) => match put.e_tag {
                Some(etag) => Ok(Written::Done(ETag(etag))),
                None => Err(Error::Unavailable {
                    place: self.place.clone(),
                    detail: format!("it gave no entity tag for {key}"),
                }),
            },
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
                Ok(Written::Refused)
            }
            Err(error) => match self.error(&format!("write {key}"), error) {
                // A conditional write of what is gone: some servers say 404 instead of 412.
                Error::Missing { .. } if matches!(condition, Condition::Is(_)) => Ok(Written::Refused),
                error => Err(error),
            },
        }
    }
}

/// The last cause, which says what happened; the others repeat each other.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    let (last, whole) = (innermost.to_string(), error.to_string());
    // Short ones ("operation timed out") need the sentence around them.
    let text = if last.len() < 60 && whole.len() < 400 { whole } else { last };
    text.chars().take(400).collect()
}

#[async_trait]
impl<S: S3> Bucket for RemoteBucket<S> {
    fn place(&self) -> String {
        self.place.clone()
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
            let detail = format!("it has {} bytes, more than {limit_bytes}", found.meta.size);
            return Err(Error::Mismatch { place: self.place.clone(), key: key.to_owned(), detail });
        }
        let etag = ETag(found.meta.e_tag.clone().unwrap_or_default());
        let bytes = found.bytes().await.map_err(|e| self.error(&action, e))?;
        Ok(Some(Object { bytes, etag }))
    }

    async fn head(&self, key: &str) -> Result<Option<(u64, ETag)>> {
        match self.control.head(&path(key)?).await {
            Ok(meta) => Ok(Some((meta.size, ETag(meta.e_tag.unwrap_or_default())))),
            Err(error) => match self.error(&format!("look at {key}"), error) {
                Error::Missing { .. } => Ok(None),
                error => Err(error),
            },
        }
    }

    async fn put(&self, key: &str, body: Bytes, condition: Condition<'_>) -> Result<Written> {
        self.write(&self.control, key, body.into(), condition).await
    }

    async fn put_file(&self, key: &str, file: &FilePath, condition: Condition<'_>) -> Result<Written> {
        self.write(&self.bulk, key, mapped(file)?, condition).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Entry>> {
        let listing = self.control.list(Some(&path(prefix)?));
        let entry = |meta: object_store::ObjectMeta| Entry {
            key: meta.location.to_string(),
            size_bytes: meta.size,
            revision: meta.e_tag.unwrap_or_else(|| meta.last_modified.to_rfc3339()),
        };
        // Consoles show a folder by an empty object that has the prefix for its name.
        let below = |entry: &Entry| futures::future::ready(entry.key.starts_with(prefix));
        let listed = listing.map_ok(entry).try_filter(below).try_collect().await;
        listed.map_err(|e| match self.error(&format!("list {prefix}"), e) {
            // A listing of nothing is empty, never missing.
            Error::Missing { place, .. } => Error::NoBucket { place },
            error => error,
        })
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

    fn bulk(&self) -> Bulk<'_> {
        Bulk::Parts(self)
    }

    async fn presigned(&self, key: &str, valid: Duration) -> Result<Option<String>> {
        let Some(signer) = self.control.signer() else { return Ok(None) };
        let signed = signer.signed_url("GET".parse().unwrap_or_default(), &path(key)?, valid).await;
        Ok(Some(signed.map_err(|e| self.error(&format!("sign an address of {key}"), e))?.into()))
    }
}

#[async_trait]
impl<S: S3> PartStore for RemoteBucket<S> {
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
        aborted.map_err(|e| self.error(&format!("give up uploading {key}"), e))
    }

    async fn read(
        &self,
        key: &str,
        range: Range<u64>,
        version: &ETag,
    ) -> Result<BoxStream<'static, Result<Bytes>>> {
        let action = format!("read {key}");
        // A read's condition is understood with its quotes, also where a write's is not.
        let if_match = Some(version.0.clone());
        let options = GetOptions { range: Some(range.into()), if_match, ..GetOptions::default() };
        let found = self.bulk.get_opts(&path(key)?, options).await.map_err(|e| self.error(&action, e))?;
        let place = self.place.clone();
        let broken =
            move |e: object_store::Error| Error::Unavailable { place: place.clone(), detail: innermost(&e) };
        Ok(found.into_stream().map_err(broken).boxed())
    }
}

/// A file as a body that is read from disk as it is sent, and again if it is sent again.
#[expect(unsafe_code, reason = "maps a file of this process's own making, which nobody else writes to")]
fn mapped(file: &FilePath) -> Result<PutPayload> {
    let failed = |e| Error::file("read", file, e);
    let opened = std::fs::File::open(file).map_err(failed)?;
    if opened.metadata().map_err(failed)?.len() == 0 {
        return Ok(PutPayload::new());
    }
    let whole = Bytes::from_owner(unsafe { memmap2::Mmap::map(&opened) }.map_err(failed)?);
    let pieces = (0..whole.len()).step_by(PIECE);
    Ok(pieces.map(|from| whole.slice(from..(from + PIECE).min(whole.len()))).collect())
}
