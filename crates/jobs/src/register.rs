//! Reading and changing one register: the one loop that settles what became of a conditional write.

use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;

use crate::bucket::{Bucket, Condition, ETag, Written};
use crate::error::{Error, Result};
use crate::host::Host;
use crate::keys::JobId;
use crate::manifest::{MAX_REGISTER_BYTES, Manifest};
use crate::protocol::Decision;

/// How often a write whose fate is unknown is settled before the bucket is taken for unreachable.
const TRIES: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(300);

/// A register and the version of it that was read.
#[derive(Debug, Clone)]
pub(crate) struct Versioned {
    pub manifest: Manifest,
    pub etag: ETag,
}

/// What became of a change.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The register is as wished.
    Done(Versioned),
    /// It must not be; the register as it is now, and why.
    Refused(Versioned, String),
}

/// Whether a change may be asked for again on a register that somebody else changed meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnConflict {
    /// The change decides anew.
    Rebase,
    /// What it rests on, a register that did not change, is gone.
    Lose,
}

/// The registers of a bucket.
#[derive(Debug, Clone)]
pub(crate) struct Registers {
    pub bucket: Arc<dyn Bucket>,
    pub host: Arc<dyn Host>,
}

impl Registers {
    pub(crate) fn new(bucket: Arc<dyn Bucket>, host: Arc<dyn Host>) -> Self {
        Self { bucket, host }
    }

    /// Reads a register; `None` if there is none.
    pub(crate) async fn find(&self, id: &JobId) -> Result<Option<Versioned>> {
        let key = id.register();
        let Some(object) = self.bucket.get(&key, MAX_REGISTER_BYTES).await? else { return Ok(None) };
        Ok(Some(Versioned { manifest: Manifest::parse(&key, &object.bytes)?, etag: object.etag }))
    }

    /// Reads a register that must be there.
    pub(crate) async fn read(&self, id: &JobId) -> Result<Versioned> {
        self.find(id).await?.ok_or_else(|| Error::NoJob { id: id.clone() })
    }

    /// Creates a register.
    ///
    /// # Errors
    /// [`Error::Forbidden`] if there is one already.
    pub(crate) async fn create(&self, mut manifest: Manifest) -> Result<Versioned> {
        manifest.rev = 1;
        manifest.write_id = self.host.unique();
        let id = manifest.job_id.clone();
        match self.settle(&manifest, Condition::Absent).await? {
            Settled::Mine(there) => Ok(there),
            Settled::Other(_) => Err(Error::Forbidden { id, why: "exists already".to_owned() }),
            Settled::Gone => Err(Error::NoJob { id }),
        }
    }

    /// Changes a register as `change` decides, until it is in or refused.
    pub(crate) async fn change(
        &self,
        mut current: Versioned,
        on_conflict: OnConflict,
        change: impl Fn(&Manifest, OffsetDateTime) -> Decision + Send,
    ) -> Result<Outcome> {
        loop {
            let mut next = match change(&current.manifest, self.host.utc()) {
                Decision::Already => return Ok(Outcome::Done(current)),
                Decision::Refuse(why) => return Ok(Outcome::Refused(current, why)),
                Decision::Write(next) => *next,
            };
            next.rev = current.manifest.rev + 1;
            next.write_id = self.host.unique();
            match self.settle(&next, Condition::Is(&current.etag)).await? {
                Settled::Mine(there) => return Ok(Outcome::Done(there)),
                Settled::Other(there) if on_conflict == OnConflict::Lose => {
                    return Ok(Outcome::Refused(there, "was changed by somebody else".to_owned()));
                }
                Settled::Other(there) => current = there,
                Settled::Gone => return Err(Error::NoJob { id: next.job_id }),
            }
        }
    }

    /// Writes a register and finds out whether it is in. A refusal may be the echo of an earlier try whose
    /// answer was lost, and a failure may have happened: only what is there now tells.
    async fn settle(&self, next: &Manifest, condition: Condition<'_>) -> Result<Settled> {
        let key = next.job_id.register();
        let body = bytes::Bytes::from(next.to_bytes());
        let mut pause = FIRST_PAUSE;
        let mut last_error = None;
        for attempt in 0..TRIES {
            if attempt > 0 {
                tokio::time::sleep(pause.mul_f64(0.5 + self.host.random())).await;
                pause *= 2;
            }
            match self.bucket.put(&key, body.clone(), condition).await {
                Ok(Written::Done(etag)) => {
                    return Ok(Settled::Mine(Versioned { manifest: next.clone(), etag }));
                }
                Ok(Written::Refused) => {}
                Err(error) if error.is_transient() => last_error = Some(error),
                Err(error) => return Err(error),
            }
            let there = match self.find(&next.job_id).await {
                Ok(there) => there,
                Err(error) if error.is_transient() => {
                    last_error = Some(error);
                    continue;
                }
                Err(error) => return Err(error),
            };
            match (there, condition) {
                (Some(there), _) if there.manifest.write_id == next.write_id => {
                    return Ok(Settled::Mine(there));
                }
                // Nothing happened yet: the same bytes again, on the same condition.
                (Some(there), Condition::Is(etag)) if there.etag == *etag => {}
                (None, Condition::Absent) => {}
                (Some(there), _) => return Ok(Settled::Other(there)),
                (None, _) => return Ok(Settled::Gone),
            }
        }
        let detail = format!("{key} could not be written in {TRIES} tries");
        Err(last_error.unwrap_or(Error::Unavailable { place: self.bucket.place(), detail }))
    }
}

enum Settled {
    Mine(Versioned),
    Other(Versioned),
    Gone,
}
