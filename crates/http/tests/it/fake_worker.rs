//! A worker without a tracker: it claims a job, sends heartbeats, and publishes given detections.

use std::sync::Arc;

use jobs::bucket::Bucket;
use jobs::env::SystemEnv;
use jobs::lease::RunReport;
use jobs::manifest::{Heartbeat, Stage, Target};
use jobs::queue::{PollOutcome, Queue, Worker};
use jobs::results::{Detection, ResultsHead, ResultsWriter};
use jobs::{Lease, Timing};

use super::test_server::{TestServer, until};

/// Claims the only queued job.
pub(super) async fn claim(server: &TestServer) -> Lease {
    let bucket: Arc<dyn Bucket> = server.client.bucket(server.client.default_target()).unwrap();
    let name = Worker { worker_id: "worker-1".to_owned(), host: None, machine: None };
    let mut queue = Queue::new(bucket, SystemEnv::shared(), Timing::default(), name, |_| true);
    until("a queued job", async || match queue.poll().await.unwrap() {
        PollOutcome::Claimed(lease) => Some(*lease),
        PollOutcome::Idle { .. } => None,
    })
    .await
}

/// A heartbeat after tracking this many of 14 frames.
pub(super) fn heartbeat(current: u64) -> Heartbeat {
    Heartbeat { stage: Stage::Tracking, current, total: Some(14), fps: Some(2.5), ..Heartbeat::default() }
}

/// Detections of two tracks on all 14 frames.
pub(super) fn detections() -> Vec<Detection> {
    let one = |frame: u64, track_id: u64| Detection {
        frame,
        track_id,
        bbox: [frame as f64, 2.5, 10.0, 20.25],
        confidence: 0.5 + 0.03 * frame as f64,
    };
    (0..14).flat_map(|frame| [one(frame, 1), one(frame, 2)]).collect()
}

/// Publishes detections as the job's results.
pub(super) async fn publish(lease: &Lease, detections: &[Detection]) {
    let manifest = lease.manifest().await;
    let head = ResultsHead {
        job_id: manifest.job_id.to_string(),
        video_id: manifest.video_id,
        completed_at: Some("2026-05-01T10:00:00Z".to_owned()),
        frames_processed: Some(14),
        ..ResultsHead::default()
    };
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let mut writer = ResultsWriter::new(&mut file, &head).unwrap();
    detections.iter().for_each(|detection| writer.push(detection).unwrap());
    let (_, summary) = writer.finish().unwrap();
    let report = RunReport { frames_processed: 14, ..RunReport::default() };
    lease.publish(file.path(), &summary, &report, &heartbeat(14)).await.unwrap();
}

/// Claims and completes the only queued job.
pub(super) async fn complete_job(server: &TestServer) {
    publish(&claim(server).await, &detections()).await;
}

/// The target of this machine, for tests with an S3 bucket as well.
pub(super) const LOCAL: Target = Target::Local;
