//! Puts the results of an attempt into the bucket and completes the job.

use std::path::Path;

use jobs::Error;
use jobs::lease::{LeaseError, RunReport};
use jobs::manifest::{Manifest, Timestamp};
use jobs::results::{ResultsHead, ResultsSummary};
use jobs::transfer::FileDigest;

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
        let publish = || async {
            check_results(&out, &summary).await?;
            self.lease.publish(&out, &summary, &report, &progress).await
        };
        self.retry_transient(is_transient, publish).await?;
        self.log_line(format!("{} detections on {} frames", summary.n_detections, report.frames_processed));
        self.remove_checkpoints().await;
        Ok(())
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

/// Checks that the results on disk are those that were written: what is uploaded is read from there.
async fn check_results(file: &Path, written: &ResultsSummary) -> Result<(), LeaseError> {
    let path = file.to_owned();
    let found = tokio::task::spawn_blocking(move || FileDigest::of(&path)).await;
    let found = found.map_err(|e| Error::Settings(e.to_string()))??;
    if (found.size_bytes, &found.sha256) == (written.size_bytes, &written.sha256) {
        return Ok(());
    }
    Err(Error::FileChanged { path: file.to_owned() }.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::track::{Spool, SpoolRecord};

    #[tokio::test]
    async fn results_that_changed_since_they_were_written_are_not_uploaded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("results.json");
        let mut spool = Spool::unnamed(&path).unwrap();
        let record = SpoolRecord { frame: 0, track_id: 0, prompt: 0, bbox: [1.0; 4], confidence: 0.5 };
        spool.push(record).unwrap();
        let written = write_results(&path, &ResultsHead::default(), false, 0.0, &mut spool).unwrap();
        check_results(&path, &written).await.unwrap();
        let size = written.size_bytes;
        for change in [|bytes: &mut Vec<u8>| bytes.truncate(30), |bytes: &mut Vec<u8>| bytes.fill(0)] {
            let mut bytes = std::fs::read(&path).unwrap();
            assert_eq!(bytes.len() as u64, size);
            change(&mut bytes);
            let changed = folder.path().join("changed.json");
            std::fs::write(&changed, bytes).unwrap();
            let error = check_results(&changed, &written).await.unwrap_err();
            assert!(matches!(error, LeaseError::Bucket(Error::FileChanged { .. })), "{error:?}");
        }
    }
}
