//! What the owner of a job may do with it, until it is done or lost.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;
use tokio::sync::Mutex;

use crate::bucket::{Bucket, Condition, Written};
use crate::error::Error;
use crate::keys::JobId;
use crate::manifest::{Checkpoint, Heartbeat, Manifest, ResultPointer, Timestamp};
use crate::protocol::{self, Decision};
use crate::register::{OnConflict, Outcome, Registers, Versioned};
use crate::results::ResultsSummary;
use crate::status::{self, StatusObject};
use crate::timing::Timing;

/// How often results are written before the bucket is taken for unreachable.
const PUBLISH_TRIES: u32 = 8;

/// Why the owner could not do something.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// It is not the owner any more. No error: it stops and looks for other work.
    #[error("job {id} {why}")]
    Lost {
        /// The job.
        id: JobId,
        /// What became of it.
        why: String,
    },
    /// The bucket.
    #[error(transparent)]
    Bucket(#[from] Error),
}

/// Ownership of a job. Dropping it does nothing: the lease runs out.
#[derive(Debug)]
pub struct Lease {
    registers: Registers,
    timing: Timing,
    claim_id: String,
    id: JobId,
    attempt: u32,
    current: Mutex<Versioned>,
}

impl Lease {
    pub(crate) fn new(registers: Registers, timing: Timing, claim_id: String, current: Versioned) -> Self {
        let (id, attempt) = (current.manifest.job_id.clone(), current.manifest.attempt);
        Self { registers, timing, claim_id, id, attempt, current: Mutex::new(current) }
    }

    /// The job.
    pub fn id(&self) -> &JobId {
        &self.id
    }

    /// This attempt's number, larger than that of all before.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Random, and no other attempt's: for what must not be mistaken for another attempt's.
    pub fn claim_id(&self) -> &str {
        &self.claim_id
    }

    /// The bucket that holds the job.
    pub fn bucket(&self) -> &Arc<dyn Bucket> {
        &self.registers.bucket
    }

    /// The register as it was last written or read.
    pub async fn manifest(&self) -> Manifest {
        self.current.lock().await.manifest.clone()
    }

    /// Gives signs of life until the job is lost, and returns why. An unreachable bucket is no loss: the next
    /// sign tells. Nor is a job that this claim completed: then it never returns.
    pub async fn keep_alive(&self, progress: impl Fn() -> Heartbeat + Send + Sync) -> String {
        // Whoever looks at a new job soon sees it move.
        let mut pause = self.timing.heartbeat / 6;
        loop {
            tokio::time::sleep(pause).await;
            self.write_status(&progress()).await;
            tokio::time::sleep(pause).await;
            pause = self.timing.heartbeat / 2;
            match self.beat(&progress()).await {
                Ok(()) => {}
                Err(LeaseError::Lost { .. }) if self.is_completed().await => std::future::pending().await,
                Err(LeaseError::Lost { why, .. }) => return why,
                Err(LeaseError::Bucket(error)) => {
                    tracing::warn!(job = %self.id, %error, "no sign of life could be given");
                }
            }
        }
    }

    /// One sign of life.
    pub async fn beat(&self, progress: &Heartbeat) -> Result<(), LeaseError> {
        self.change(|job, now| protocol::beat(job, &self.claim_id, progress, now)).await
    }

    /// Writes the status object; a failure is only logged.
    pub async fn write_status(&self, progress: &Heartbeat) {
        // While it downloads, progress counts bytes, and this object's readers count frames.
        let frames = (progress.stage != "downloading").then_some(progress);
        let status = StatusObject {
            job_id: self.id.clone(),
            current: frames.map_or(0, |frames| frames.current as i64),
            total: frames.and_then(|frames| frames.total).map_or(-1, |total| total as i64),
            message: progress.stage.clone(),
            updated_at: Timestamp::of(self.registers.host.utc()),
            attempt: Some(self.attempt),
            fps: progress.fps,
        };
        if let Err(error) = status::write(&*self.registers.bucket, &status).await {
            tracing::debug!(job = %self.id, %error, "the status object was not written");
        }
    }

    /// Points the register at a checkpoint whose files are in the bucket already.
    pub async fn checkpointed(&self, at: &Checkpoint) -> Result<(), LeaseError> {
        self.change(|job, now| protocol::checkpoint(job, &self.claim_id, at, now)).await
    }

    /// Publishes results and completes the job, in the order that keeps a stale owner from overwriting
    /// anything: see the [crate's documentation](crate#fencing). The results must contain
    /// [`Self::claim_id`], so that no other attempt's are equal to them.
    ///
    /// # Errors
    /// [`LeaseError::Lost`] if the job is somebody else's or finished.
    pub async fn publish(
        &self,
        results: &Path,
        summary: &ResultsSummary,
        frames_processed: u64,
        progress: &Heartbeat,
    ) -> Result<(), LeaseError> {
        let key = self.id.results();
        let bucket = &self.registers.bucket;
        let mut pause = Duration::from_millis(200);
        let mut last_error = None;
        for attempt in 0..PUBLISH_TRIES {
            if attempt > 0 {
                tokio::time::sleep(pause.mul_f64(0.5 + self.registers.host.random())).await;
                pause *= 2;
            }
            let there = match bucket.head(&key).await {
                Ok(there) => there.map(|(_, etag)| etag),
                Err(error) if error.is_transient() => {
                    last_error = Some(error);
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            match self.beat(progress).await {
                // An earlier try of ours, though its answer was lost.
                Err(LeaseError::Lost { .. }) if self.is_completed().await => return Ok(()),
                alive => alive?,
            }
            let condition = there.as_ref().map_or(Condition::Absent, Condition::Is);
            match bucket.put_file(&key, results, condition).await {
                Ok(Written::Done(etag)) => {
                    let result = ResultPointer {
                        key,
                        etag: Some(etag.0),
                        size_bytes: summary.size_bytes,
                        sha256: summary.sha256.clone(),
                        detections: summary.n_detections,
                        attempt: self.attempt,
                    };
                    return self.complete(&result, frames_processed).await;
                }
                // An earlier try of ours, or somebody else's: the sign of life of the next round tells.
                Ok(Written::Refused) => {}
                Err(error) if error.is_transient() => last_error = Some(error),
                Err(error) => return Err(error.into()),
            }
        }
        let detail = format!("{key} could not be written in {PUBLISH_TRIES} tries");
        Err(last_error.unwrap_or(Error::Unavailable { place: bucket.place(), detail }).into())
    }

    /// Whether this claim completed the job, as the register was last seen.
    async fn is_completed(&self) -> bool {
        protocol::completed_by(&self.current.lock().await.manifest, &self.claim_id)
    }

    async fn complete(&self, result: &ResultPointer, frames_processed: u64) -> Result<(), LeaseError> {
        self.change(|job, now| protocol::complete(job, &self.claim_id, result, frames_processed, now)).await
    }

    /// Ends the attempt badly. With `no_hope`, no other is made.
    pub async fn fail(&self, reason: &str, no_hope: bool) -> Result<(), LeaseError> {
        self.change(|job, now| protocol::fail(job, &self.claim_id, reason, no_hope, now)).await
    }

    /// Gives the job back.
    pub async fn release(&self, why: &str) -> Result<(), LeaseError> {
        self.change(|job, now| protocol::release(job, &self.claim_id, why, now)).await
    }

    async fn change(
        &self,
        decide: impl Fn(&Manifest, OffsetDateTime) -> Decision + Send,
    ) -> Result<(), LeaseError> {
        let mut current = self.current.lock().await;
        match self.registers.change(current.clone(), OnConflict::Rebase, decide).await {
            Ok(Outcome::Done(next)) => {
                *current = next;
                Ok(())
            }
            Ok(Outcome::Refused(next, why)) => {
                *current = next;
                Err(LeaseError::Lost { id: self.id.clone(), why })
            }
            Err(Error::NoJob { id }) => Err(LeaseError::Lost { id, why: "was removed".to_owned() }),
            Err(error) => Err(error.into()),
        }
    }
}
