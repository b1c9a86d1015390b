//! A worker's ownership of a job, from the claim until the job is completed, failed, released or lost.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;
use tokio::sync::Mutex;

use crate::bucket::{Bucket, Condition, PutOutcome};
use crate::error::Error;
use crate::keys::JobId;
use crate::manifest::{Checkpoint, Heartbeat, Manifest, MissingFrames, ResultPointer, Stage, Timestamp};
use crate::manifest_store::{ChangeOutcome, ManifestStore, OnConflict, Versioned};
use crate::protocol::{self, Decision};
use crate::refusal::Refusal;
use crate::results::ResultsSummary;
use crate::status::{self, StatusObject};
use crate::timing::Timing;

/// How many times writing the results is tried before the bucket is reported as unavailable.
const PUBLISH_TRIES: u32 = 8;

/// Why an operation on a lease failed.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// The worker no longer owns the job. It should stop working on it and poll for other work.
    #[error("job {id}: lease lost: {refusal}")]
    Lost {
        /// The job that was lost.
        id: JobId,
        /// Why the job is no longer this worker's.
        refusal: Refusal,
    },
    /// The bucket operation failed; the worker may still own the job.
    #[error(transparent)]
    Bucket(#[from] Error),
}

/// What a worker reports about a run in addition to its results.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RunReport {
    /// Number of frames tracked.
    pub frames_processed: u64,
    /// Frames that could not be decoded, if any.
    pub missing_frames: Option<MissingFrames>,
    /// What is unusual about the video or the results, as messages for the user.
    pub warnings: Vec<String>,
}

/// Ownership of a job. Dropping it writes nothing; the lease then expires.
#[derive(Debug)]
pub struct Lease {
    manifests: ManifestStore,
    timing: Timing,
    claim_id: String,
    id: JobId,
    attempt: u32,
    current: Mutex<Versioned>,
}

impl Lease {
    pub(crate) fn new(
        manifests: ManifestStore,
        timing: Timing,
        claim_id: String,
        current: Versioned,
    ) -> Self {
        let (id, attempt) = (current.manifest.job_id.clone(), current.manifest.attempt);
        Self { manifests, timing, claim_id, id, attempt, current: Mutex::new(current) }
    }

    /// Id of the owned job.
    pub fn id(&self) -> &JobId {
        &self.id
    }

    /// Number of this attempt, larger than that of any earlier attempt at the job.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Random id of this claim. Results must contain it, so that no two attempts produce equal bytes.
    pub fn claim_id(&self) -> &str {
        &self.claim_id
    }

    /// The bucket that holds the job.
    pub fn bucket(&self) -> &Arc<dyn Bucket> {
        &self.manifests.bucket
    }

    /// The manifest as it was last written or read by this lease.
    pub async fn manifest(&self) -> Manifest {
        self.current.lock().await.manifest.clone()
    }

    /// Sends heartbeats until the job is lost, and returns the reason. Failed requests are logged and retried
    /// with the next heartbeat. Never returns once this claim has completed the job.
    pub async fn keep_alive(&self, progress: impl Fn() -> Heartbeat + Send + Sync) -> Refusal {
        // The first heartbeat comes after a third of the interval, so that users soon see progress.
        let mut pause = self.timing.heartbeat / 6;
        loop {
            tokio::time::sleep(pause).await;
            self.write_status(&progress()).await;
            tokio::time::sleep(pause).await;
            pause = self.timing.heartbeat / 2;
            match self.heartbeat(&progress()).await {
                Ok(()) => {}
                Err(LeaseError::Lost { .. }) if self.is_completed().await => std::future::pending().await,
                Err(LeaseError::Lost { refusal, .. }) => return refusal,
                Err(LeaseError::Bucket(error)) => {
                    tracing::warn!(job = %self.id, %error, "heartbeat failed");
                }
            }
        }
    }

    /// Sends one heartbeat, which carries the progress.
    pub async fn heartbeat(&self, progress: &Heartbeat) -> Result<(), LeaseError> {
        self.change(|job, now| protocol::heartbeat(job, &self.claim_id, progress, now)).await
    }

    /// Writes the status object. It is advisory, so a failure is only logged.
    pub async fn write_status(&self, progress: &Heartbeat) {
        // During the download progress is in bytes, but readers of the status object expect frames.
        let frames = (progress.stage != Stage::Downloading).then_some(progress);
        let status = StatusObject {
            job_id: self.id.clone(),
            current: frames.map_or(0, |frames| frames.current as i64),
            total: frames.and_then(|frames| frames.total).map_or(-1, |total| total as i64),
            message: match &progress.notice {
                Some(notice) => format!("{}: {notice}", progress.stage),
                None => progress.stage.to_string(),
            },
            updated_at: Timestamp::of(self.manifests.env.utc()),
            attempt: Some(self.attempt),
            fps: progress.fps,
        };
        if let Err(error) = status::write(&*self.manifests.bucket, &status).await {
            tracing::debug!(job = %self.id, %error, "cannot write the status object");
        }
    }

    /// Points the manifest at a checkpoint, whose files must be in the bucket already.
    pub async fn record_checkpoint(&self, at: &Checkpoint) -> Result<(), LeaseError> {
        self.change(|job, now| protocol::checkpoint(job, &self.claim_id, at, now)).await
    }

    /// Publishes results and completes the job, in the order that prevents a stale owner from overwriting
    /// anything; see the [crate's documentation](crate#fencing). The results must contain [`Self::claim_id`].
    /// Succeeds if an earlier call completed the job.
    ///
    /// # Errors
    /// [`LeaseError::Lost`] if another worker owns the job or it was finished otherwise. [`Error::FileChanged`] if the
    /// file is not what `summary` describes; the job is not completed then.
    pub async fn publish(
        &self,
        results: &Path,
        summary: &ResultsSummary,
        report: &RunReport,
        progress: &Heartbeat,
    ) -> Result<(), LeaseError> {
        let key = self.id.results_key();
        let bucket = &self.manifests.bucket;
        let content = summary.digest();
        let mut pause = Duration::from_millis(200);
        let mut last_error = None;
        for attempt in 0..PUBLISH_TRIES {
            if attempt > 0 {
                tokio::time::sleep(pause.mul_f64(0.5 + self.manifests.env.random())).await;
                pause *= 2;
            }
            let existing = match bucket.head(&key).await {
                Ok(existing) => existing.map(|(_, etag)| etag),
                Err(error) if error.is_transient() => {
                    last_error = Some(error);
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            match self.heartbeat(progress).await {
                // An earlier call completed the job, but its response was lost.
                Err(LeaseError::Lost { .. }) if self.is_completed().await => return Ok(()),
                alive => alive?,
            }
            let condition = existing.as_ref().map_or(Condition::Absent, Condition::Is);
            match bucket.put_file(&key, results, &content, condition).await {
                Ok(PutOutcome::Written(etag)) => {
                    let result = ResultPointer {
                        key,
                        etag: Some(etag.0),
                        size_bytes: summary.size_bytes,
                        sha256: summary.sha256.clone(),
                        detections: summary.n_detections,
                        attempt: self.attempt,
                        missing_frames: report.missing_frames.clone(),
                        warnings: report.warnings.clone(),
                    };
                    return self.complete(&result, report.frames_processed).await;
                }
                // Either an earlier try of this claim or another owner wrote them; the next heartbeat shows
                // which.
                Ok(PutOutcome::ConditionFailed) => {}
                Err(error) if error.is_transient() => last_error = Some(error),
                Err(error) => return Err(error.into()),
            }
        }
        let detail = format!("cannot write {key} in {PUBLISH_TRIES} tries");
        Err(last_error.unwrap_or(Error::Unavailable { location: bucket.location(), detail }).into())
    }

    /// Whether this claim completed the job, according to the manifest as it was last seen.
    async fn is_completed(&self) -> bool {
        protocol::completed_by(&self.current.lock().await.manifest, &self.claim_id)
    }

    async fn complete(&self, result: &ResultPointer, frames_processed: u64) -> Result<(), LeaseError> {
        self.change(|job, now| protocol::complete(job, &self.claim_id, result, frames_processed, now)).await
    }

    /// Ends the attempt as failed. If the failure is not `retryable`, the job fails immediately.
    pub async fn fail(&self, reason: &str, retryable: bool) -> Result<(), LeaseError> {
        self.change(|job, now| protocol::fail(job, &self.claim_id, reason, retryable, now)).await
    }

    /// Releases the job: it becomes pending again, and the attempt does not count as a failure.
    pub async fn release(&self, why: &str) -> Result<(), LeaseError> {
        self.change(|job, now| protocol::release(job, &self.claim_id, why, now)).await
    }

    async fn change(
        &self,
        decide: impl Fn(&Manifest, OffsetDateTime) -> Decision + Send,
    ) -> Result<(), LeaseError> {
        let mut current = self.current.lock().await;
        match self.manifests.change(current.clone(), OnConflict::Reapply, decide).await {
            Ok(ChangeOutcome::Applied(next)) => {
                *current = next;
                Ok(())
            }
            Ok(ChangeOutcome::Refused(next, refusal)) => {
                *current = next;
                Err(LeaseError::Lost { id: self.id.clone(), refusal })
            }
            Err(Error::NoJob { id }) => Err(LeaseError::Lost { id, refusal: Refusal::Removed }),
            Err(error) => Err(error.into()),
        }
    }
}
