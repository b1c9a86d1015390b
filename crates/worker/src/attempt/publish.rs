//! Puts the results of an attempt into the bucket and completes the job.

use client::terminal::counted;
use jobs::lease::{LeaseError, RunReport};
use jobs::manifest::{Manifest, RentedMachine, Timestamp};
use jobs::results::{ResultsHead, ResultsSummary};
use serde_json::Value;

use super::RunningAttempt;
use super::background::{in_thread, joined};
use super::outcome::AttemptError;
use crate::track::{ResultFacts, TrackRequest, TrackedVideo, write_results};

impl RunningAttempt<'_> {
    /// Writes the results file, puts it into the bucket, completes the job, and removes its checkpoints.
    ///
    /// # Errors
    /// [`OnDisk::Damaged`](super::outcome::OnDisk) if the detections, or the results, on disk are not those that were
    /// written.
    pub(super) async fn publish(
        &self,
        manifest: &Manifest,
        request: &TrackRequest,
        mut tracked: TrackedVideo,
    ) -> Result<(), AttemptError> {
        let facts = ResultFacts {
            prompts: &request.prompts,
            memory_fallbacks: &tracked.memory_fallbacks,
            missing_frames: tracked.missing_frames.clone(),
            pixel_aspect: tracked.pixel_aspect,
        };
        let mut extra = facts.fields();
        extra.insert("attempt".to_owned(), self.lease.attempt().into());
        extra.insert("claim_id".to_owned(), self.lease.claim_id().into());
        extra.extend(self.machine(manifest).map(|machine| ("machine".to_owned(), machine)));
        let head = ResultsHead {
            job_id: manifest.job_id.to_string(),
            video_id: manifest.video_id,
            completed_at: Some(Timestamp::of(self.env.utc()).as_str().to_owned()),
            frames_processed: Some(tracked.n_frames),
            extra,
        };
        let (out, min_confidence) = (request.out.clone(), manifest.parameters.confidence_threshold);
        let report = RunReport {
            frames_processed: tracked.n_frames,
            missing_frames: tracked.missing_frames.clone(),
            warnings: tracked.warnings.clone(),
        };
        let summary: ResultsSummary = joined(in_thread("write", {
            let out = out.clone();
            move || write_results(&out, &head, false, min_confidence, &mut tracked.spool)
        }))
        .await??;
        let is_transient = |e: &LeaseError| matches!(e, LeaseError::Bucket(e) if e.is_transient());
        let progress = self.progress.get();
        let publish = || self.lease.publish(&out, &summary, &report, &progress);
        self.retry_transient(is_transient, publish).await?;
        let (detections, frames) =
            (counted(summary.n_detections, "detection"), counted(report.frames_processed, "frame"));
        self.log_line(format!("{detections} on {frames}"));
        self.remove_checkpoints().await;
        Ok(())
    }

    /// The rented machine, with what it has cost since the claim.
    fn machine(&self, manifest: &Manifest) -> Option<Value> {
        let claim = manifest.claim.as_ref()?;
        let machine = claim.machine.clone()?;
        let seconds = (self.env.utc() - claim.claimed_at.moment()).as_seconds_f64();
        let cost_dollars = machine.cost(seconds);
        serde_json::to_value(RentedMachine { cost_dollars, ..machine }).ok()
    }

    /// Removes the job's checkpoints. The importer removes what stays.
    pub(super) async fn remove_checkpoints(&self) {
        let bucket = self.lease.bucket();
        for entry in bucket.list(&self.lease.id().checkpoints_prefix()).await.unwrap_or_default() {
            if bucket.delete(&entry.key).await.is_err() {
                break;
            }
        }
    }
}
