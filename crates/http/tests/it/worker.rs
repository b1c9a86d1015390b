//! A worker that tracks nothing: it claims a job, says how far it is, and publishes what it was given.

use std::sync::Arc;

use jobs::bucket::Bucket;
use jobs::env::SystemEnv;
use jobs::manifest::{Heartbeat, Stage, Target};
use jobs::queue::{PollOutcome, Queue, Worker};
use jobs::results::{Detection, ResultsHead, ResultsWriter};
use jobs::{Lease, Timing};

use super::site::{Site, until};

/// Claims the one job that waits.
pub(super) async fn claim(site: &Site) -> Lease {
    let bucket: Arc<dyn Bucket> = site.client.bucket(site.client.default_target()).unwrap();
    let name = Worker { worker_id: "worker-1".to_owned(), host: None };
    let mut queue = Queue::new(bucket, SystemEnv::shared(), Timing::default(), name, |_| true);
    until("a job to claim", async || match queue.poll().await.unwrap() {
        PollOutcome::Claimed(lease) => Some(*lease),
        PollOutcome::Idle { .. } => None,
    })
    .await
}

/// So many frames of 14.
pub(super) fn tracked(current: u64) -> Heartbeat {
    Heartbeat { stage: Stage::Tracking, current, total: Some(14), fps: Some(2.5), ..Heartbeat::default() }
}

/// Two tracks on all 14 frames.
pub(super) fn found() -> Vec<Detection> {
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
    lease.publish(file.path(), &summary, 14, &tracked(14)).await.unwrap();
}

/// Does the one job that waits.
pub(super) async fn work(site: &Site) {
    publish(&claim(site).await, &found()).await;
}

/// The other place, where there are two.
pub(super) const LOCAL: Target = Target::Local;
