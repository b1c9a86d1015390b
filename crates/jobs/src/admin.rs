//! The client's operations on jobs: submit, cancel, retry, mark as imported, remove.

use std::sync::Arc;

use time::OffsetDateTime;

use crate::bucket::Bucket;
use crate::catalog::Catalog;
use crate::env::Env;
use crate::error::{Error, Result};
use crate::keys::{JobId, check_key};
use crate::manifest::{Manifest, Status};
use crate::manifest_store::{ChangeOutcome, ManifestStore, OnConflict};
use crate::protocol::{self, Decision};
use crate::refusal::Refusal;

/// Largest log that is read, in bytes.
const MAX_LOG_BYTES: u64 = 16 << 20;

/// Changes the jobs of one bucket on behalf of a user.
#[derive(Debug, Clone)]
pub struct Admin {
    manifests: ManifestStore,
    /// Name of the user's machine, for the history of jobs.
    host: Option<String>,
}

impl Admin {
    /// Creates a handle; nothing is read from the bucket yet.
    pub fn new(bucket: Arc<dyn Bucket>, env: Arc<dyn Env>) -> Self {
        Self { manifests: ManifestStore::new(bucket, env), host: None }
    }

    /// Names the machine from which the user changes jobs.
    #[must_use]
    pub fn on(self, host: Option<String>) -> Self {
        Self { host, ..self }
    }

    /// The bucket that holds the jobs.
    pub fn bucket(&self) -> &Arc<dyn Bucket> {
        &self.manifests.bucket
    }

    /// Creates the manifest of a job whose video is already in the bucket. Submitting the same job twice is
    /// not an error; it returns the manifest as it is now.
    ///
    /// # Errors
    /// [`Error::Refused`] with [`Refusal::AlreadyExists`] if the id belongs to a different job.
    pub async fn submit(&self, manifest: Manifest) -> Result<Manifest> {
        let id = manifest.job_id.clone();
        let existing = match self.manifests.find(&id).await? {
            Some(existing) => existing,
            None => match self.manifests.create(manifest.clone()).await {
                Ok(created) => return Ok(created.manifest),
                // Another client created it at the same time, perhaps with the same content.
                Err(Error::Refused { .. }) => self.manifests.read(&id).await?,
                Err(error) => return Err(error),
            },
        };
        let is_same = existing.manifest.video_id == manifest.video_id
            && existing.manifest.parameters == manifest.parameters
            && existing.manifest.created_at == manifest.created_at;
        match is_same {
            true => Ok(existing.manifest),
            false => Err(Error::Refused { id, refusal: Refusal::AlreadyExists }),
        }
    }

    /// Reads the current manifest.
    ///
    /// # Errors
    /// [`Error::NoJob`] if the job does not exist; [`Error::Unreadable`] if its manifest cannot be parsed.
    pub async fn job(&self, id: &JobId) -> Result<Manifest> {
        Ok(self.manifests.read(id).await?.manifest)
    }

    /// Reads the manifest of a job in the archive; `None` if it is not there. The other operations, except
    /// [`Self::remove`] and [`Self::logs`], do not find such a job.
    pub async fn archived(&self, id: &JobId) -> Result<Option<Manifest>> {
        self.manifests.find_archived(id).await
    }

    /// Cancels a job that is pending or being processed. Does nothing if it is cancelled already.
    pub async fn cancel(&self, id: &JobId) -> Result<Manifest> {
        self.change(id, |job, now| protocol::cancel(job, self.host.as_deref(), now)).await
    }

    /// Puts a failed or cancelled job back in the queue. Does nothing if it is pending or being processed.
    pub async fn retry(&self, id: &JobId) -> Result<Manifest> {
        self.change(id, |job, now| protocol::retry(job, self.host.as_deref(), now)).await
    }

    /// Puts a completed job back in the queue because its results cannot be used: `why`.
    pub async fn retry_results(&self, id: &JobId, why: &str) -> Result<Manifest> {
        self.change(id, |job, now| protocol::retry_results(job, why, self.host.as_deref(), now)).await
    }

    /// Marks a completed job's results as stored in a library, and removes the worker's checkpoints.
    pub async fn mark_imported(&self, id: &JobId) -> Result<Manifest> {
        let manifest =
            self.change(id, |job, now| protocol::mark_imported(job, self.host.as_deref(), now)).await?;
        self.remove_checkpoints(id).await?;
        Ok(manifest)
    }

    /// Removes the checkpoints of a job; returns the number of objects removed.
    pub async fn remove_checkpoints(&self, id: &JobId) -> Result<usize> {
        self.remove_all(&id.checkpoints_prefix()).await
    }

    /// Removes the video of a job from the bucket, unless another job may still need it, or another program wrote it.
    /// Returns whether it was removed.
    pub async fn remove_video(&self, manifest: &Manifest) -> Result<bool> {
        let key = manifest.video_key();
        if !manifest.is_video_from_submitter() || self.is_video_needed(&key, &manifest.job_id).await? {
            return Ok(false);
        }
        self.bucket().delete(check_key(&key)?).await?;
        Ok(true)
    }

    /// Whether a job other than `besides` that is not imported uses the video with this key.
    pub async fn is_video_needed(&self, key: &str, besides: &JobId) -> Result<bool> {
        let mut catalog = Catalog::new(self.manifests.bucket.clone(), self.manifests.env.clone());
        catalog.refresh().await?;
        let mut others = catalog.jobs().map(|entry| &entry.manifest).filter(|job| job.job_id != *besides);
        Ok(others.any(|job| job.status != Status::Imported && job.video_key() == key))
    }

    /// Removes all objects of a job, its manifest last. A job that is pending or being processed is cancelled
    /// first, so that no worker claims it half removed. Returns whether the video was removed too.
    pub async fn remove(&self, id: &JobId) -> Result<bool> {
        let manifest = match self.job(id).await {
            Ok(manifest) if manifest.status.is_finished() => Some(manifest),
            Ok(_) => Some(self.cancel(id).await?),
            // A manifest that cannot be read can still be removed.
            Err(Error::Unreadable { .. }) => None,
            Err(error @ Error::NoJob { .. }) => Some(self.archived(id).await?.ok_or(error)?),
            Err(error) => return Err(error),
        };
        self.remove_leftovers(id).await?;
        let has_removed_video = match manifest {
            Some(manifest) => self.remove_video(&manifest).await?,
            None => false,
        };
        self.bucket().delete(&id.archive_key()).await?;
        self.bucket().delete(&id.manifest_key()).await?;
        Ok(has_removed_video)
    }

    /// Removes the objects of a job other than its manifest and its video. The job may have no manifest.
    pub async fn remove_leftovers(&self, id: &JobId) -> Result<()> {
        for key in [id.results_key(), id.status_key()] {
            self.bucket().delete(&key).await?;
        }
        self.remove_checkpoints(id).await?;
        self.remove_all(&id.logs_prefix()).await?;
        Ok(())
    }

    /// Reads the logs of a job: key and content, ordered by attempt.
    pub async fn logs(&self, id: &JobId) -> Result<Vec<(String, bytes::Bytes)>> {
        let mut entries = self.bucket().list(&id.logs_prefix()).await?;
        entries.sort_by(|a, b| a.key.cmp(&b.key));
        let mut logs = Vec::new();
        for entry in entries {
            if let Some(object) = self.bucket().get(&entry.key, MAX_LOG_BYTES).await? {
                logs.push((entry.key, object.bytes));
            }
        }
        Ok(logs)
    }

    async fn remove_all(&self, prefix: &str) -> Result<usize> {
        let entries = self.bucket().list(prefix).await?;
        for entry in &entries {
            self.bucket().delete(&entry.key).await?;
        }
        Ok(entries.len())
    }

    async fn change(
        &self,
        id: &JobId,
        decide: impl Fn(&Manifest, OffsetDateTime) -> Decision + Send,
    ) -> Result<Manifest> {
        let current = self.manifests.read(id).await?;
        match self.manifests.change(current, OnConflict::Reapply, decide).await? {
            ChangeOutcome::Applied(changed) => Ok(changed.manifest),
            ChangeOutcome::Refused(_, refusal) => Err(Error::Refused { id: id.clone(), refusal }),
        }
    }
}

/// Whether the job has results that are waiting to be imported.
pub fn is_importable(manifest: &Manifest) -> bool {
    manifest.status == Status::Completed
}
