//! What a person does with jobs: submit, cancel, retry, mark as imported, remove.

use std::sync::Arc;

use time::OffsetDateTime;

use crate::bucket::Bucket;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::keys::{JobId, check_key};
use crate::manifest::{Manifest, Status};
use crate::protocol::{self, Decision};
use crate::register::{OnConflict, Outcome, Registers};

const MAX_LOG_BYTES: u64 = 16 << 20;

/// A person's hands in a bucket.
#[derive(Debug, Clone)]
pub struct Admin {
    registers: Registers,
}

impl Admin {
    /// For a bucket.
    pub fn new(bucket: Arc<dyn Bucket>, host: Arc<dyn Host>) -> Self {
        Self { registers: Registers::new(bucket, host) }
    }

    /// The bucket.
    pub fn bucket(&self) -> &Arc<dyn Bucket> {
        &self.registers.bucket
    }

    /// Creates the register of a job whose video is in the bucket. Doing it twice is no error.
    ///
    /// # Errors
    /// [`Error::Forbidden`] if the id is another job's.
    pub async fn submit(&self, manifest: Manifest) -> Result<Manifest> {
        let id = manifest.job_id.clone();
        let there = match self.registers.find(&id).await? {
            Some(there) => there,
            None => match self.registers.create(manifest.clone()).await {
                Ok(created) => return Ok(created.manifest),
                // Somebody submitted it at the same time: the same, perhaps.
                Err(Error::Forbidden { .. }) => self.registers.read(&id).await?,
                Err(error) => return Err(error),
            },
        };
        let same = there.manifest.video_id == manifest.video_id
            && there.manifest.parameters == manifest.parameters
            && there.manifest.created_at == manifest.created_at;
        match same {
            true => Ok(there.manifest),
            false => Err(Error::Forbidden { id, why: "exists already".to_owned() }),
        }
    }

    /// The register as it is now.
    pub async fn job(&self, id: &JobId) -> Result<Manifest> {
        Ok(self.registers.read(id).await?.manifest)
    }

    /// Cancels a job that waits or is being processed.
    pub async fn cancel(&self, id: &JobId) -> Result<Manifest> {
        self.change(id, protocol::cancel).await
    }

    /// Puts a failed or cancelled job back in the queue.
    pub async fn retry(&self, id: &JobId) -> Result<Manifest> {
        self.change(id, protocol::retry).await
    }

    /// Marks results as being in a library, and removes what the worker left behind.
    pub async fn imported(&self, id: &JobId) -> Result<Manifest> {
        let manifest = self.change(id, protocol::imported).await?;
        self.remove_checkpoints(id).await?;
        Ok(manifest)
    }

    /// Removes the checkpoints of a job; returns how many objects.
    pub async fn remove_checkpoints(&self, id: &JobId) -> Result<usize> {
        self.remove_all(&id.checkpoints()).await
    }

    /// Removes the video of a job from the bucket, unless the register names an object that is no video of its own;
    /// tells whether it did.
    pub async fn remove_video(&self, manifest: &Manifest) -> Result<bool> {
        let key = manifest.video_key();
        // Older programs name a video by its job, and so do we: anything else may be another job's.
        if !key.starts_with(&format!("videos/{}.", manifest.job_id)) {
            return Ok(false);
        }
        self.bucket().delete(check_key(&key)?).await?;
        Ok(true)
    }

    /// Removes everything of a job, its register last. A job that waits or is being processed is cancelled
    /// first, so that no worker claims it half removed. Tells whether the video went with it.
    pub async fn remove(&self, id: &JobId) -> Result<bool> {
        let manifest = match self.job(id).await {
            Ok(manifest) if manifest.status.is_finished() => Some(manifest),
            Ok(_) => Some(self.cancel(id).await?),
            // What cannot be read can still be removed.
            Err(Error::Unreadable { .. }) => None,
            Err(error) => return Err(error),
        };
        for key in [id.results(), id.status()] {
            self.bucket().delete(&key).await?;
        }
        self.remove_checkpoints(id).await?;
        self.remove_all(&id.logs()).await?;
        let has_removed_video = match manifest {
            Some(manifest) => self.remove_video(&manifest).await?,
            None => false,
        };
        self.bucket().delete(&id.register()).await?;
        Ok(has_removed_video)
    }

    /// The logs of a job's attempts, the first attempt first.
    pub async fn logs(&self, id: &JobId) -> Result<Vec<(String, bytes::Bytes)>> {
        let mut entries = self.bucket().list(&id.logs()).await?;
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
        let current = self.registers.read(id).await?;
        match self.registers.change(current, OnConflict::Rebase, decide).await? {
            Outcome::Done(done) => Ok(done.manifest),
            Outcome::Refused(_, why) => Err(Error::Forbidden { id: id.clone(), why }),
        }
    }
}

/// Whether the results of a job can be imported: completed, and not before.
pub fn is_importable(manifest: &Manifest) -> bool {
    manifest.status == Status::Completed
}
