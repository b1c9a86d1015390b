//! The paths of a job through its states.

use jobs::admin::is_importable;
use jobs::bucket::Condition;
use jobs::lease::LeaseError;
use jobs::manifest::{Checkpoint, StoredObject};
use jobs::queue::PollOutcome;
use jobs::results::{Expected, read_results};
use jobs::{Error, Refusal, Status, Timing, status};

use super::objects::put;
use crate::support::{Fresh, Party, id, manifest, progress, publish};

fn checkpoint(attempt: u32, next_frame: u64) -> Checkpoint {
    let key = id("a").checkpoint_key(attempt, next_frame, "state");
    let files = vec![StoredObject { key, size_bytes: 5, sha256: "0".repeat(64) }];
    Checkpoint { next_frame, n_frames: next_frame, attempt, files }
}

pub(super) async fn a_job_is_submitted_processed_and_imported(fresh: &Fresh) {
    let (client, worker) = (Party::new(fresh.open()), Party::new(fresh.open()));
    let (admin, a) = (client.admin(), id("a"));
    let submitted = client.submit("a").await;
    assert_eq!((submitted.status, submitted.rev), (Status::Pending, 1));
    let lease = worker.claim("worker").await;
    assert_eq!((lease.id(), lease.attempt()), (&a, 1));
    lease.heartbeat(&progress(40)).await.unwrap();
    lease.write_status(&progress(40)).await;
    let job = admin.job(&a).await.unwrap();
    let heartbeat = job.heartbeat.unwrap();
    assert_eq!((heartbeat.seq, heartbeat.current, job.worker_id.as_deref()), (1, 40, Some("worker")));
    let shown = status::read(&*client.bucket, &a).await.unwrap().unwrap();
    assert_eq!((shown.current, shown.total, shown.attempt), (40, 100, Some(1)));
    let state = a.checkpoint_key(1, 50, "state");
    put(&*worker.bucket, &state, "state", Condition::Always).await;
    lease.record_checkpoint(&checkpoint(1, 50)).await.unwrap();
    let summary = publish(&lease, 12).await.unwrap();
    let job = admin.job(&a).await.unwrap();
    assert!(is_importable(&job) && job.claim.is_some() && job.heartbeat.is_none());
    assert_eq!(job.frames_processed, Some(100));
    let pointer = job.result.unwrap();
    let found = client.bucket.get(&pointer.key, 1 << 20).await.unwrap().unwrap();
    assert_eq!((pointer.etag, pointer.attempt), (Some(found.etag.0), 1));
    let expected = Expected {
        size_bytes: Some(pointer.size_bytes),
        sha256: Some(pointer.sha256),
        n_detections: Some(pointer.detections),
        ..Expected::of_job("a")
    };
    let (_, read) = read_results(&found.bytes[..], &expected, |_| Ok::<_, std::io::Error>(())).unwrap();
    assert_eq!(read, summary);
    let imported = admin.mark_imported(&a).await.unwrap();
    assert_eq!(imported.status, Status::Imported);
    assert_eq!(admin.mark_imported(&a).await.unwrap(), imported);
    assert_eq!(client.bucket.list(&a.checkpoints_prefix()).await.unwrap(), []);
    assert!(matches!(
        worker.queue("worker").poll().await.unwrap(),
        PollOutcome::Idle { n_processing: 0, .. }
    ));
}

pub(super) async fn the_next_attempt_gets_the_checkpoint(fresh: &Fresh) {
    let party = Party::new(fresh.open());
    party.submit("a").await;
    let first = party.claim("first").await;
    first.record_checkpoint(&checkpoint(1, 30)).await.unwrap();
    first.record_checkpoint(&checkpoint(1, 60)).await.unwrap();
    first.heartbeat(&progress(70)).await.unwrap();
    first.fail("the machine overheated", true).await.unwrap();
    let second = Party::new(fresh.open()).claim("second").await;
    assert_eq!(second.manifest().await.checkpoint, Some(checkpoint(1, 60)));
    publish(&second, 1).await.unwrap();
    assert_eq!(party.admin().job(&id("a")).await.unwrap().checkpoint, None);
}

fn refusal_of(result: Result<impl std::fmt::Debug, LeaseError>) -> Refusal {
    match result {
        Err(LeaseError::Lost { refusal, .. }) => refusal,
        other => panic!("{other:?}"),
    }
}

pub(super) async fn the_owner_of_a_cancelled_job_loses_its_lease(fresh: &Fresh) {
    let (client, worker) = (Party::new(fresh.open()), Party::new(fresh.open()));
    client.submit("a").await;
    let lease = worker.claim("worker").await;
    let cancelled = client.admin().cancel(&id("a")).await.unwrap();
    assert_eq!(
        refusal_of(lease.heartbeat(&progress(1)).await),
        Refusal::StatusChanged { status: Status::Cancelled }
    );
    assert_eq!(
        refusal_of(lease.record_checkpoint(&checkpoint(1, 1)).await),
        Refusal::StatusChanged { status: Status::Cancelled }
    );
    assert_eq!(refusal_of(publish(&lease, 1).await), Refusal::StatusChanged { status: Status::Cancelled });
    assert_eq!(
        refusal_of(lease.fail("x", false).await),
        Refusal::StatusChanged { status: Status::Cancelled }
    );
    assert_eq!(refusal_of(lease.release("x").await), Refusal::StatusChanged { status: Status::Cancelled });
    assert_eq!(client.admin().job(&id("a")).await.unwrap(), cancelled);
    assert!(client.bucket.head(&id("a").results_key()).await.unwrap().is_none());
}

pub(super) async fn the_owner_of_a_removed_job_loses_its_lease(fresh: &Fresh) {
    let (client, worker) = (Party::new(fresh.open()), Party::new(fresh.open()));
    client.submit("a").await;
    let lease = worker.claim("worker").await;
    client.admin().remove(&id("a")).await.unwrap();
    assert_eq!(refusal_of(lease.heartbeat(&progress(1)).await), Refusal::Removed);
    assert_eq!(refusal_of(publish(&lease, 1).await), Refusal::Removed);
    assert_eq!(client.bucket.list("jobs/").await.unwrap(), []);
    assert_eq!(client.bucket.list("results/").await.unwrap(), []);
}

pub(super) async fn completing_a_job_does_not_lose_the_lease(fresh: &Fresh) {
    let party = Party::new(fresh.open());
    party.submit("a").await;
    let timing = Timing::default().faster(3000);
    let lease = party.claim_with("worker", timing).await;
    let lost = {
        let alive = lease.keep_alive(|| progress(100));
        let work = async {
            publish(&lease, 12).await.unwrap();
            // Publish again, as after a lost response, and keep working until the next heartbeats are due.
            publish(&lease, 12).await.unwrap();
            tokio::time::sleep(50 * timing.heartbeat).await;
        };
        tokio::select! {
                        refusal = alive => Some(refusal),
            () = work => None,
        }
    };
    assert_eq!(lost, None);
    let job = party.admin().job(&id("a")).await.unwrap();
    assert_eq!(job.status, Status::Completed);
    assert_eq!(job.events.iter().filter(|event| event.what.starts_with("completed")).count(), 1);
}

pub(super) async fn a_cancelled_job_can_be_retried(fresh: &Fresh) {
    let (client, worker) = (Party::new(fresh.open()), Party::new(fresh.open()));
    let (admin, a) = (client.admin(), id("a"));
    client.submit("a").await;
    let first = worker.claim("first").await;
    first.record_checkpoint(&checkpoint(1, 30)).await.unwrap();
    admin.cancel(&a).await.unwrap();
    assert!(matches!(worker.queue("w").poll().await.unwrap(), PollOutcome::Idle { .. }));
    assert_eq!(admin.retry(&a).await.unwrap().status, Status::Pending);
    let second = worker.claim("second").await;
    assert_eq!((second.attempt(), second.manifest().await.checkpoint), (2, Some(checkpoint(1, 30))));
    // The owner from before the cancellation does not become the owner again.
    assert_eq!(
        refusal_of(first.heartbeat(&progress(1)).await),
        Refusal::OwnedBy { worker_id: "second".to_owned() }
    );
    publish(&second, 3).await.unwrap();
    assert_eq!(admin.job(&a).await.unwrap().result.unwrap().attempt, 2);
}

pub(super) async fn a_release_does_not_count_as_a_failure(fresh: &Fresh) {
    let party = Party::new(fresh.open());
    party.submit("a").await;
    for attempt in 1..=5 {
        let lease = party.claim("worker").await;
        assert_eq!((lease.attempt(), lease.manifest().await.failures), (attempt, 0));
        lease.release("told to stop").await.unwrap();
    }
    assert_eq!(party.admin().job(&id("a")).await.unwrap().status, Status::Pending);
}

pub(super) async fn the_third_failure_fails_the_job(fresh: &Fresh) {
    let party = Party::new(fresh.open());
    party.submit("a").await;
    for _ in 0..3 {
        party.claim("worker").await.fail("the video is corrupt", true).await.unwrap();
    }
    let job = party.admin().job(&id("a")).await.unwrap();
    assert_eq!((job.status, job.error.as_deref()), (Status::Failed, Some("attempt 3: the video is corrupt")));
    assert!(matches!(party.queue("worker").poll().await.unwrap(), PollOutcome::Idle { .. }));
    party.admin().retry(&id("a")).await.unwrap();
    let lease = party.claim("worker").await;
    assert_eq!(lease.attempt(), 4);
    lease.fail("the video has no frames", false).await.unwrap();
    assert_eq!(party.admin().job(&id("a")).await.unwrap().status, Status::Failed);
}

pub(super) async fn transitions_that_the_state_forbids_are_refused(fresh: &Fresh) {
    let party = Party::new(fresh.open());
    let (admin, a) = (party.admin(), id("a"));
    let refusal = |result: Result<_, Error>| match result {
        Err(Error::Refused { refusal, .. }) => refusal,
        other => panic!("{other:?}"),
    };
    for result in
        [admin.job(&a).await, admin.cancel(&a).await, admin.retry(&a).await, admin.mark_imported(&a).await]
    {
        assert!(matches!(&result, Err(Error::NoJob { id }) if *id == a), "{result:?}");
    }
    party.submit("a").await;
    assert_eq!(refusal(admin.mark_imported(&a).await), Refusal::NotImportable { status: Status::Pending });
    let lease = party.claim("worker").await;
    assert_eq!(refusal(admin.mark_imported(&a).await), Refusal::NotImportable { status: Status::Processing });
    publish(&lease, 1).await.unwrap();
    assert_eq!(refusal(admin.cancel(&a).await), Refusal::NotCancellable { status: Status::Completed });
    assert_eq!(refusal(admin.retry(&a).await), Refusal::NotRetryable { status: Status::Completed });
    admin.mark_imported(&a).await.unwrap();
    assert_eq!(refusal(admin.cancel(&a).await), Refusal::NotCancellable { status: Status::Imported });
}

pub(super) async fn submitting_twice_creates_one_job(fresh: &Fresh) {
    let party = Party::new(fresh.open());
    let first = party.submit("a").await;
    assert_eq!(party.submit("a").await, first);
    let lease = party.claim("worker").await;
    // Returns the current manifest, although the job is being processed.
    assert_eq!(party.submit("a").await, lease.manifest().await);
    let mut other = manifest("a");
    other.video_id = 8;
    let error = party.admin().submit(other).await.unwrap_err();
    assert_eq!(error.to_string(), "job a: already exists");
}

pub(super) async fn removing_a_job_removes_all_its_objects(fresh: &Fresh) {
    let party = Party::new(fresh.open());
    let (admin, a) = (party.admin(), id("a"));
    party.submit("a").await;
    let lease = party.claim("worker").await;
    lease.write_status(&progress(1)).await;
    for key in [
        a.checkpoint_key(1, 1, "state"),
        a.log_key(1),
        a.video_key(None),
        id("ab").video_key(None),
        id("a.b").log_key(1),
    ] {
        put(&*party.bucket, &key, "x", Condition::Always).await;
    }
    publish(&lease, 1).await.unwrap();
    admin.remove(&a).await.unwrap();
    let mut left = Vec::new();
    for prefix in ["jobs/", "videos/", "status/", "results/", "checkpoints/", "logs/"] {
        left.extend(party.bucket.list(prefix).await.unwrap().into_iter().map(|entry| entry.key));
    }
    left.sort();
    assert_eq!(left, ["logs/a.b/0001.log", "videos/ab.mp4"]);
    assert!(matches!(admin.remove(&a).await, Err(Error::NoJob { .. })));
}

pub(super) async fn logs_are_ordered_by_attempt(fresh: &Fresh) {
    let party = Party::new(fresh.open());
    for attempt in [3, 1, 12, 2] {
        put(&*party.bucket, &id("a").log_key(attempt), &format!("attempt {attempt}"), Condition::Always)
            .await;
    }
    let logs = party.admin().logs(&id("a")).await.unwrap();
    let texts: Vec<_> = logs.iter().map(|(_, text)| std::str::from_utf8(text).unwrap()).collect();
    assert_eq!(texts, ["attempt 1", "attempt 2", "attempt 3", "attempt 12"]);
}
