//! A worker's side of the queue: looking for a job, and claiming it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::bucket::{Bucket, ETag};
use crate::catalog::{Catalog, Sighting, Unreadable};
use crate::error::{Error, Result};
use crate::host::Host;
use crate::keys::JobId;
use crate::lease::Lease;
use crate::manifest::{Manifest, Status};
use crate::protocol::{self, Claimant, Seen};
use crate::register::{OnConflict, Outcome, Registers, Versioned};
use crate::timing::Timing;

/// A worker's name.
#[derive(Debug, Clone)]
pub struct Worker {
    /// Shown to people.
    pub worker_id: String,
    /// Its machine.
    pub host: Option<String>,
}

/// What a look at the bucket brought.
#[derive(Debug)]
pub enum Look {
    /// A job is ours.
    Claimed(Box<Lease>),
    /// There was nothing to claim. Look again after the pause.
    Nothing {
        /// How long.
        pause: Duration,
        /// Jobs that others are processing.
        n_processing: usize,
    },
}

/// The queue as one worker sees it.
pub struct Queue {
    registers: Registers,
    catalog: Catalog,
    timing: Timing,
    worker: Worker,
    accept: Box<dyn Fn(&Manifest) -> bool + Send + Sync>,
    pause: Duration,
    foreign: HashMap<JobId, ForeignWatch>,
}

/// Signs of life of a worker that knows nothing of leases.
#[derive(Debug)]
struct ForeignWatch {
    status: Option<ETag>,
    since: Duration,
    checked: Duration,
}

impl Queue {
    /// The jobs of a bucket that `accept` likes.
    pub fn new(
        bucket: Arc<dyn Bucket>,
        host: Arc<dyn Host>,
        timing: Timing,
        worker: Worker,
        accept: impl Fn(&Manifest) -> bool + Send + Sync + 'static,
    ) -> Self {
        let catalog = Catalog::new(bucket.clone(), host.clone());
        let registers = Registers::new(bucket, host);
        let (accept, pause) = (Box::new(accept), timing.poll);
        Self { registers, catalog, timing, worker, accept, pause, foreign: HashMap::new() }
    }

    /// Looks once, and claims the oldest job that there is to claim.
    ///
    /// # Errors
    /// When the bucket does not answer. A claim whose fate is unknown then may be in; its lease runs out.
    pub async fn look(&mut self) -> Result<Look> {
        self.catalog.refresh().await?;
        for (id, seen) in self.candidates().await? {
            let Some(current) = self.versioned(&id) else { continue };
            // Whatever comes of it, the register is another one afterwards.
            self.catalog.forget(&id);
            self.foreign.remove(&id);
            match self.claim(current, seen).await {
                Ok(Some(lease)) => {
                    self.pause = self.timing.poll;
                    return Ok(Look::Claimed(Box::new(lease)));
                }
                // Removed, or overwritten by nonsense, since the listing: the next look says which.
                Ok(None) | Err(Error::NoJob { .. } | Error::Unreadable { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self.nothing())
    }

    /// What lies among the registers and is none.
    pub fn unreadable(&self) -> Vec<&Unreadable> {
        self.catalog.unreadable()
    }

    /// Jobs to claim, the oldest first.
    async fn candidates(&mut self) -> Result<Vec<(JobId, Seen)>> {
        let now = self.registers.host.monotonic();
        let mut found = Vec::new();
        let mut silent = Vec::new();
        for seen in self.catalog.jobs().filter(|seen| (self.accept)(&seen.manifest)) {
            let job = &seen.manifest;
            let silence = now.saturating_sub(seen.since);
            match job.status {
                Status::Pending => found.push((job.created_at.moment(), job.job_id.clone(), Seen::Waiting)),
                Status::Processing if silence < self.timing.lease => {}
                Status::Processing if job.is_foreign() => {
                    silent.push((job.created_at.moment(), job.job_id.clone(), seen.since));
                }
                Status::Processing => {
                    found.push((job.created_at.moment(), job.job_id.clone(), Seen::Abandoned));
                }
                Status::Completed | Status::Imported | Status::Failed | Status::Cancelled => {}
            }
        }
        for (created, id, since) in silent {
            if self.foreign_is_dead(&id, since, now).await? {
                found.push((created, id, Seen::Abandoned));
            }
        }
        found.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
        Ok(found.into_iter().map(|(_, id, seen)| (id, seen)).collect())
    }

    /// Whether neither the register nor the status object of a foreign worker changed for long. The status
    /// object is looked at ten times in that time, no more.
    async fn foreign_is_dead(&mut self, id: &JobId, since: Duration, now: Duration) -> Result<bool> {
        let lease = self.timing.foreign_lease;
        let is_late = now.saturating_sub(since) >= lease;
        let due = self.foreign.get(id).is_none_or(|watch| {
            let is_quiet = now.saturating_sub(watch.since) >= lease;
            now.saturating_sub(watch.checked) >= lease / 10 || (is_late && is_quiet)
        });
        if due {
            let status = self.registers.bucket.head(&id.status()).await?.map(|(_, etag)| etag);
            let now = self.registers.host.monotonic();
            let watch = self.foreign.entry(id.clone()).or_insert_with(|| ForeignWatch {
                status: status.clone(),
                since: now,
                checked: now,
            });
            if watch.status != status {
                (watch.status, watch.since) = (status, now);
            }
            watch.checked = now;
        }
        let quiet = self.foreign.get(id).map_or(Duration::ZERO, |watch| now.saturating_sub(watch.since));
        Ok(is_late && quiet >= lease)
    }

    fn versioned(&self, id: &JobId) -> Option<Versioned> {
        let Sighting { manifest, etag, .. } = self.catalog.job(id)?;
        Some(Versioned { manifest: manifest.clone(), etag: etag.clone()? })
    }

    async fn claim(&self, current: Versioned, seen: Seen) -> Result<Option<Lease>> {
        let by = Claimant {
            claim_id: self.registers.host.unique(),
            worker_id: self.worker.worker_id.clone(),
            host: self.worker.host.clone(),
        };
        let id = current.manifest.job_id.clone();
        let decide = |job: &Manifest, now| protocol::claim(job, &by, seen, now);
        match self.registers.change(current, OnConflict::Lose, decide).await? {
            Outcome::Done(current) if protocol::owns(&current.manifest, &by.claim_id) => {
                Ok(Some(Lease::new(self.registers.clone(), self.timing, by.claim_id, current)))
            }
            Outcome::Done(current) => {
                let (status, error) = (current.manifest.status, current.manifest.error);
                tracing::warn!(job = %id, %status, error, "its last attempt is lost");
                Ok(None)
            }
            Outcome::Refused(_, why) => {
                tracing::debug!(job = %id, why, "somebody else was faster");
                Ok(None)
            }
        }
    }

    /// Pauses grow while nothing happens, are never in step with other workers', and stay short enough to
    /// notice a dead one in time.
    fn nothing(&mut self) -> Look {
        let watched =
            |seen: &&Sighting| seen.manifest.status == Status::Processing && (self.accept)(&seen.manifest);
        let n_processing = self.catalog.jobs().filter(watched).count();
        let longest = if n_processing > 0 { self.timing.poll_watching } else { self.timing.poll_idle };
        let pause = self.pause.min(longest.max(self.timing.poll));
        self.pause = pause.mul_f64(1.5);
        let jitter = 0.75 + 0.25 * self.registers.host.random();
        Look::Nothing { pause: pause.mul_f64(jitter), n_processing }
    }
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").field("worker", &self.worker).finish_non_exhaustive()
    }
}
