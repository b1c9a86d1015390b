//! Reads and changes manifests. This is the one loop that finds out whether a conditional write took effect.

use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;

use crate::bucket::{Bucket, Condition, ETag, PutOutcome};
use crate::env::Env;
use crate::error::{Error, Result};
use crate::keys::JobId;
use crate::manifest::{MAX_MANIFEST_BYTES, Manifest};
use crate::protocol::Decision;
use crate::refusal::Refusal;

/// How many times a write with an unknown outcome is retried before the bucket is reported as unavailable.
const MAX_TRIES: u32 = 5;
/// Pause before the second try; each later pause is twice as long. Jittered by a factor of 0.5 to 1.5.
const FIRST_PAUSE: Duration = Duration::from_millis(300);

/// A manifest and the version of the object that it was read from or written to.
#[derive(Debug, Clone)]
pub(crate) struct Versioned {
    pub manifest: Manifest,
    pub etag: ETag,
}

/// The outcome of [`ManifestStore::change`].
#[derive(Debug)]
pub(crate) enum ChangeOutcome {
    /// The manifest is as requested.
    Applied(Versioned),
    /// The transition is not allowed: the manifest as it is now, and the reason.
    Refused(Versioned, Refusal),
}

/// What to do when another client changed the manifest after it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnConflict {
    /// Apply the change to the new version.
    Reapply,
    /// Refuse the change: it is only valid for the version that was read.
    Refuse,
}

/// The manifests of one bucket.
#[derive(Debug, Clone)]
pub(crate) struct ManifestStore {
    pub bucket: Arc<dyn Bucket>,
    pub env: Arc<dyn Env>,
}

impl ManifestStore {
    pub(crate) fn new(bucket: Arc<dyn Bucket>, env: Arc<dyn Env>) -> Self {
        Self { bucket, env }
    }

    /// Reads a manifest; `None` if the job does not exist.
    pub(crate) async fn find(&self, id: &JobId) -> Result<Option<Versioned>> {
        let key = id.manifest_key();
        let Some(object) = self.bucket.get(&key, MAX_MANIFEST_BYTES).await? else { return Ok(None) };
        Ok(Some(Versioned { manifest: Manifest::parse(&key, &object.bytes)?, etag: object.etag }))
    }

    /// Reads a manifest from the archive; `None` if it is not there.
    pub(crate) async fn find_archived(&self, id: &JobId) -> Result<Option<Manifest>> {
        let Some(object) = self.bucket.get(&id.archive_key(), MAX_MANIFEST_BYTES).await? else {
            return Ok(None);
        };
        Manifest::parse(&id.manifest_key(), &object.bytes).map(Some)
    }

    /// Reads a manifest; [`Error::NoJob`] if the job does not exist.
    pub(crate) async fn read(&self, id: &JobId) -> Result<Versioned> {
        self.find(id).await?.ok_or_else(|| Error::NoJob { id: id.clone() })
    }

    /// Creates a manifest.
    ///
    /// # Errors
    /// [`Error::Refused`] if the job already exists.
    pub(crate) async fn create(&self, mut manifest: Manifest) -> Result<Versioned> {
        manifest.rev = 1;
        manifest.write_id = self.env.unique_id();
        let id = manifest.job_id.clone();
        match self.write(&manifest, Condition::Absent).await? {
            WriteOutcome::Written(created) => Ok(created),
            WriteOutcome::Conflict(_) => Err(Error::Refused { id, refusal: Refusal::AlreadyExists }),
            WriteOutcome::Missing => Err(Error::NoJob { id }),
        }
    }

    /// Applies `decide` to a manifest until the result is written or refused.
    pub(crate) async fn change(
        &self,
        mut current: Versioned,
        on_conflict: OnConflict,
        decide: impl Fn(&Manifest, OffsetDateTime) -> Decision + Send,
    ) -> Result<ChangeOutcome> {
        loop {
            let mut next = match decide(&current.manifest, self.env.utc()) {
                Decision::Already => return Ok(ChangeOutcome::Applied(current)),
                Decision::Refuse(refusal) => return Ok(ChangeOutcome::Refused(current, refusal)),
                Decision::Write(next) => *next,
            };
            next.rev = current.manifest.rev.saturating_add(1);
            next.write_id = self.env.unique_id();
            match self.write(&next, Condition::Is(&current.etag)).await? {
                WriteOutcome::Written(written) => return Ok(ChangeOutcome::Applied(written)),
                WriteOutcome::Conflict(found) if on_conflict == OnConflict::Refuse => {
                    return Ok(ChangeOutcome::Refused(found, Refusal::Conflict));
                }
                WriteOutcome::Conflict(found) => current = found,
                WriteOutcome::Missing => return Err(Error::NoJob { id: next.job_id }),
            }
        }
    }

    /// Writes a manifest and finds out whether the write took effect. A refusal may be the echo of an earlier
    /// try whose response was lost, and a failed request may have been executed; only reading the
    /// manifest back shows which.
    async fn write(&self, next: &Manifest, condition: Condition<'_>) -> Result<WriteOutcome> {
        let key = next.job_id.manifest_key();
        let body = bytes::Bytes::from(next.to_bytes());
        let mut pause = FIRST_PAUSE;
        let mut last_error = None;
        for attempt in 0..MAX_TRIES {
            if attempt > 0 {
                tokio::time::sleep(pause.mul_f64(0.5 + self.env.random())).await;
                pause *= 2;
            }
            match self.bucket.put(&key, body.clone(), condition).await {
                Ok(PutOutcome::Written(etag)) => {
                    return Ok(WriteOutcome::Written(Versioned { manifest: next.clone(), etag }));
                }
                Ok(PutOutcome::ConditionFailed) => {}
                Err(error) if error.is_transient() => last_error = Some(error),
                Err(error) => return Err(error),
            }
            let found = match self.find(&next.job_id).await {
                Ok(found) => found,
                Err(error) if error.is_transient() => {
                    last_error = Some(error);
                    continue;
                }
                Err(error) => return Err(error),
            };
            match (found, condition) {
                (Some(found), _) if found.manifest.write_id == next.write_id => {
                    return Ok(WriteOutcome::Written(found));
                }
                // Nothing has changed yet: send the same bytes again on the same condition.
                (Some(found), Condition::Is(etag)) if found.etag == *etag => {}
                (None, Condition::Absent) => {}
                (Some(found), _) => return Ok(WriteOutcome::Conflict(found)),
                (None, _) => return Ok(WriteOutcome::Missing),
            }
        }
        let detail = format!("cannot write {key} in {MAX_TRIES} tries");
        Err(last_error.unwrap_or(Error::Unavailable { location: self.bucket.location(), detail }))
    }
}

/// The outcome of one conditional write, after reading back.
enum WriteOutcome {
    /// This write took effect.
    Written(Versioned),
    /// Another client's write took effect instead.
    Conflict(Versioned),
    /// The manifest no longer exists.
    Missing,
}
