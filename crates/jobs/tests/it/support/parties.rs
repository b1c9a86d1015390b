//! The parties to a job and the data that they exchange.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use jobs::admin::Admin;
use jobs::bucket::Bucket;
use jobs::lease::{LeaseError, RunReport};
use jobs::manifest::{Heartbeat, Parameters, Stage};
use jobs::queue::{PollOutcome, Queue, Worker};
use jobs::results::{Detection, ResultsHead, ResultsSummary, ResultsWriter};
use jobs::{JobId, Lease, Manifest, Timing};
use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};
use tempfile::NamedTempFile;
use time::OffsetDateTime;

use super::TestEnv;

/// A process with its own connection to the bucket and its own clock.
#[derive(Debug, Clone)]
pub(crate) struct Party {
    pub(crate) bucket: Arc<dyn Bucket>,
    pub(crate) env: Arc<TestEnv>,
}

impl Party {
    pub(crate) fn new(bucket: Arc<dyn Bucket>) -> Self {
        Self { bucket, env: TestEnv::new() }
    }

    pub(crate) fn admin(&self) -> Admin {
        Admin::new(self.bucket.clone(), self.env.clone())
    }

    pub(crate) fn queue(&self, worker_id: &str) -> Queue {
        self.queue_with(worker_id, Timing::default())
    }

    fn queue_with(&self, worker_id: &str, timing: Timing) -> Queue {
        let worker = Worker { worker_id: worker_id.to_owned(), host: None, machine: None };
        Queue::new(self.bucket.clone(), self.env.clone(), timing, worker, |_| true)
    }

    /// Claims the only claimable job.
    pub(crate) async fn claim(&self, worker_id: &str) -> Lease {
        self.claim_with(worker_id, Timing::default()).await
    }

    pub(crate) async fn claim_with(&self, worker_id: &str, timing: Timing) -> Lease {
        match self.queue_with(worker_id, timing).poll().await.unwrap() {
            PollOutcome::Claimed(lease) => *lease,
            nothing @ PollOutcome::Idle { .. } => panic!("{nothing:?}"),
        }
    }

    /// Submits the job that [`manifest`] makes.
    pub(crate) async fn submit(&self, job: &str) -> Manifest {
        self.admin().submit(manifest(job)).await.unwrap()
    }
}

pub(crate) fn id(text: &str) -> JobId {
    JobId::new(text).unwrap()
}

/// The manifest of a new job; always the same for the same id.
pub(crate) fn manifest(job: &str) -> Manifest {
    Manifest::new(id(job), 7, Parameters::default(), OffsetDateTime::UNIX_EPOCH)
}

pub(crate) fn progress(current: u64) -> Heartbeat {
    Heartbeat { stage: Stage::Tracking, current, total: Some(100), ..Heartbeat::default() }
}

/// A results file with `n_detections` detections.
pub(crate) fn results_of(job: &str, n_detections: u64) -> (NamedTempFile, ResultsSummary) {
    let file = NamedTempFile::new().unwrap();
    let head = ResultsHead { job_id: job.to_owned(), video_id: 7, ..ResultsHead::default() };
    let mut writer = ResultsWriter::new(File::create(file.path()).unwrap(), &head).unwrap();
    for frame in 0..n_detections {
        let detection = Detection { frame, track_id: 1, bbox: [1.0, 2.0, 3.0, 4.0], confidence: 0.5 };
        writer.push(&detection).unwrap();
    }
    let (_, summary) = writer.finish().unwrap();
    (file, summary)
}

/// Publishes results with `n_detections` detections.
pub(crate) async fn publish(lease: &Lease, n_detections: u64) -> Result<ResultsSummary, LeaseError> {
    let (file, summary) = results_of(lease.id().as_str(), n_detections);
    let report = RunReport { frames_processed: 100, ..RunReport::default() };
    lease.publish(file.path(), &summary, &report, &progress(100)).await?;
    Ok(summary)
}

/// Writes a file of random bytes that depend only on the seed.
pub(crate) fn random_file(path: &Path, size_bytes: u64, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut file = File::create(path).unwrap();
    let mut buffer = vec![0; 1 << 20];
    let mut left = size_bytes as usize;
    while left > 0 {
        let n = left.min(buffer.len());
        random.fill_bytes(&mut buffer[..n]);
        file.write_all(&buffer[..n]).unwrap();
        left -= n;
    }
}

/// A progress callback that does nothing.
pub(crate) fn ignore(_n_bytes: u64, _size_bytes: u64) {}
