//! The worker's side of the queue: polls the bucket for a job and claims it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::bucket::{Bucket, ETag};
use crate::catalog::{Catalog, CatalogEntry, UnreadableManifest};
use crate::env::Env;
use crate::error::{Error, Result};
use crate::keys::JobId;
use crate::lease::Lease;
use crate::manifest::{Manifest, RentedMachine, Status};
use crate::manifest_store::{ChangeOutcome, ManifestStore, OnConflict, Versioned};
use crate::protocol::{self, Claimant, Observed};
use crate::timing::Timing;

/// The identity of a worker, as recorded in manifests.
#[derive(Debug, Clone)]
pub struct Worker {
    /// Name of the worker, shown to users.
    pub worker_id: String,
    /// Name of the worker's machine.
    pub host: Option<String>,
    /// The machine, if a provider rents it out.
    pub machine: Option<RentedMachine>,
}

/// The outcome of one poll of the bucket.
#[derive(Debug)]
pub enum PollOutcome {
    /// This worker claimed a job.
    Claimed(Box<Lease>),
    /// There was nothing to claim.
    Idle {
        /// How long to wait before the next poll.
        pause: Duration,
        /// Number of jobs that other workers are processing.
        n_processing: usize,
        /// Those of them whose owner sends no heartbeats.
        silent: Vec<SilentJob>,
    },
}

/// A job whose owner sends no heartbeats any more, and which is taken over unless that changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SilentJob {
    /// Id of the job.
    pub id: JobId,
    /// Name of the owner.
    pub worker_id: Option<String>,
    /// Time since the last heartbeat.
    pub silent_for: Duration,
    /// Time until another worker may take the job over.
    pub takeover_in: Duration,
}

/// The queue of one bucket, as one worker sees it.
pub struct Queue {
    manifests: ManifestStore,
    catalog: Catalog,
    timing: Timing,
    worker: Worker,
    accept: Box<dyn Fn(&Manifest) -> bool + Send + Sync>,
    /// Pause after the next poll without a claim, before capping and jitter.
    pause: Duration,
    foreign: HashMap<JobId, ForeignWatch>,
}

/// What is known of the status object of a worker that does not use leases. Times are by [`Env::monotonic`].
#[derive(Debug)]
struct ForeignWatch {
    status: Option<ETag>,
    /// When `status` was first read.
    unchanged_since: Duration,
    checked_at: Duration,
}

impl Queue {
    /// Creates the queue of those jobs in `bucket` for which `accept` returns true.
    pub fn new(
        bucket: Arc<dyn Bucket>,
        env: Arc<dyn Env>,
        timing: Timing,
        worker: Worker,
        accept: impl Fn(&Manifest) -> bool + Send + Sync + 'static,
    ) -> Self {
        let catalog = Catalog::new(bucket.clone(), env.clone());
        let manifests = ManifestStore::new(bucket, env);
        let (accept, pause) = (Box::new(accept), timing.poll);
        Self { manifests, catalog, timing, worker, accept, pause, foreign: HashMap::new() }
    }

    /// Polls the bucket once and claims the oldest claimable job.
    ///
    /// # Errors
    /// If the bucket is not responding. A claim with an unknown outcome may then have taken effect; its lease
    /// expires.
    pub async fn poll(&mut self) -> Result<PollOutcome> {
        self.catalog.refresh().await?;
        for (id, seen) in self.candidates().await? {
            let Some(current) = self.versioned(&id) else { continue };
            // Whatever the outcome, the cached manifest is outdated afterwards.
            self.catalog.forget(&id);
            self.foreign.remove(&id);
            match self.claim(current, seen).await {
                Ok(Some(lease)) => {
                    self.pause = self.timing.poll;
                    return Ok(PollOutcome::Claimed(Box::new(lease)));
                }
                // Removed or overwritten since the listing; the next poll shows which.
                Ok(None) | Err(Error::NoJob { .. } | Error::Unreadable { .. } | Error::Mismatch { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self.idle())
    }

    /// The objects below `jobs/` that are not valid manifests.
    pub fn unreadable(&self) -> Vec<&UnreadableManifest> {
        self.catalog.unreadable()
    }

    /// The claimable jobs, the oldest first.
    async fn candidates(&mut self) -> Result<Vec<(JobId, Observed)>> {
        let now = self.manifests.env.monotonic();
        let mut found = Vec::new();
        let mut foreign = Vec::new();
        for seen in self.catalog.jobs().filter(|seen| (self.accept)(&seen.manifest)) {
            let job = &seen.manifest;
            match job.status {
                Status::Pending => {
                    found.push((job.created_at.moment(), job.job_id.clone(), Observed::Pending))
                }
                Status::Processing if !self.takeover_in(seen, self.timing.lease).is_zero() => {}
                Status::Processing if job.is_foreign() => {
                    foreign.push((job.created_at.moment(), job.job_id.clone()));
                }
                Status::Processing => {
                    found.push((job.created_at.moment(), job.job_id.clone(), Observed::Abandoned));
                }
                Status::Completed | Status::Imported | Status::Failed | Status::Cancelled => {}
            }
        }
        for (created, id) in foreign {
            if self.is_foreign_owner_dead(&id, now).await? {
                found.push((created, id, Observed::Abandoned));
            }
        }
        found.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
        Ok(found.into_iter().map(|(_, id, seen)| (id, seen)).collect())
    }

    /// Whether neither the manifest nor the status object of a worker without leases has changed for
    /// [`Timing::foreign_lease`]. The status object is read at most ten times in that period, and once more
    /// before the decision.
    async fn is_foreign_owner_dead(&mut self, id: &JobId, now: Duration) -> Result<bool> {
        let lease = self.timing.foreign_lease;
        let Some(seen) = self.catalog.job(id) else { return Ok(false) };
        let is_manifest_old = self.takeover_in(seen, lease).is_zero();
        let is_check_due = self.foreign.get(id).is_none_or(|watch| {
            let is_status_old = now.saturating_sub(watch.unchanged_since) >= lease;
            now.saturating_sub(watch.checked_at) >= lease / 10 || (is_manifest_old && is_status_old)
        });
        if is_check_due {
            let status = self.manifests.bucket.head(&id.status_key()).await?.map(|(_, etag)| etag);
            let now = self.manifests.env.monotonic();
            let watch = self.foreign.entry(id.clone()).or_insert_with(|| ForeignWatch {
                status: status.clone(),
                unchanged_since: now,
                checked_at: now,
            });
            if watch.status != status {
                (watch.status, watch.unchanged_since) = (status, now);
            }
            watch.checked_at = now;
        }
        let status_unchanged_for =
            self.foreign.get(id).map_or(Duration::ZERO, |watch| now.saturating_sub(watch.unchanged_since));
        Ok(is_manifest_old && status_unchanged_for >= lease)
    }

    /// How long the owner of a job has been silent.
    fn silent_for(&self, seen: &CatalogEntry) -> Duration {
        self.manifests.env.monotonic().saturating_sub(seen.since) + seen.age
    }

    /// How long the owner of a job must stay silent until its lease has expired. A new observer, who knows the age of the
    /// manifest from the bucket's clock, watches it for longer than an owner ever pauses: the clock could be wrong.
    fn takeover_in(&self, seen: &CatalogEntry, lease: Duration) -> Duration {
        let watched = self.manifests.env.monotonic().saturating_sub(seen.since);
        let left = lease.saturating_sub(watched + seen.age);
        left.max(self.timing.least_watch().min(lease).saturating_sub(watched))
    }

    /// The jobs whose owners have missed two heartbeats, or for half of its lease, one that does not use leases.
    fn silent(&self) -> Vec<SilentJob> {
        let jobs = self
            .catalog
            .jobs()
            .filter(|seen| seen.manifest.status == Status::Processing && (self.accept)(&seen.manifest));
        let silent = jobs.filter_map(|seen| {
            let (job, silent_for) = (&seen.manifest, self.silent_for(seen));
            let (threshold, takeover_in) = match job.is_foreign() {
                false => (self.timing.heartbeat * 2, self.takeover_in(seen, self.timing.lease)),
                true => (self.timing.foreign_lease / 2, self.foreign_takeover_in(seen)?),
            };
            let is_silent = silent_for > threshold && (!job.is_foreign() || takeover_in <= threshold);
            let (id, worker_id) = (job.job_id.clone(), job.worker_id.clone());
            is_silent.then_some(SilentJob { id, worker_id, silent_for, takeover_in })
        });
        silent.collect()
    }

    /// The same as [`Self::takeover_in`] for an owner without leases; `None` before its status object was looked at.
    fn foreign_takeover_in(&self, seen: &CatalogEntry) -> Option<Duration> {
        let lease = self.timing.foreign_lease;
        let watch = self.foreign.get(&seen.manifest.job_id)?;
        let watched = self.manifests.env.monotonic().saturating_sub(watch.unchanged_since);
        Some(lease.saturating_sub(watched).max(self.takeover_in(seen, lease)))
    }

    fn versioned(&self, id: &JobId) -> Option<Versioned> {
        let CatalogEntry { manifest, etag, .. } = self.catalog.job(id)?;
        Some(Versioned { manifest: manifest.clone(), etag: etag.clone()? })
    }

    async fn claim(&self, current: Versioned, seen: Observed) -> Result<Option<Lease>> {
        let by = Claimant {
            claim_id: self.manifests.env.unique_id(),
            worker_id: self.worker.worker_id.clone(),
            host: self.worker.host.clone(),
            machine: self.worker.machine.clone(),
        };
        let id = current.manifest.job_id.clone();
        let decide = |job: &Manifest, now| protocol::claim(job, &by, seen, now);
        match self.manifests.change(current, OnConflict::Refuse, decide).await? {
            ChangeOutcome::Applied(current) if protocol::owns(&current.manifest, &by.claim_id) => {
                Ok(Some(Lease::new(self.manifests.clone(), self.timing, by.claim_id, current)))
            }
            ChangeOutcome::Applied(current) => {
                let (status, error) = (current.manifest.status, current.manifest.error);
                tracing::warn!(job = %id, %status, error, "failed; no further attempts");
                Ok(None)
            }
            ChangeOutcome::Refused(_, refusal) => {
                tracing::debug!(job = %id, %refusal, "not claimed");
                Ok(None)
            }
        }
    }

    /// Chooses the pause before the next poll. Pauses grow while there is nothing to claim, are jittered so
    /// that workers do not poll in step, and are capped so that a dead worker is noticed in time.
    fn idle(&mut self) -> PollOutcome {
        let watched = |seen: &&CatalogEntry| {
            seen.manifest.status == Status::Processing && (self.accept)(&seen.manifest)
        };
        let n_processing = self.catalog.jobs().filter(watched).count();
        let longest = if n_processing > 0 { self.timing.poll_watching } else { self.timing.poll_idle };
        let pause = self.pause.min(longest.max(self.timing.poll));
        self.pause = pause.mul_f64(1.5);
        let jitter = 0.75 + 0.25 * self.manifests.env.random();
        PollOutcome::Idle { pause: pause.mul_f64(jitter), n_processing, silent: self.silent() }
    }
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").field("worker", &self.worker).finish_non_exhaustive()
    }
}
