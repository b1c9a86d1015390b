//! A job's ways through its states.

use jobs::admin::is_importable;
use jobs::bucket::Condition;
use jobs::lease::LeaseError;
use jobs::manifest::{Checkpoint, Stored};
use jobs::queue::Look;
use jobs::results::{Expected, read_results};
use jobs::{Error, Status, Timing, status};

use super::objects::put;
use crate::support::{Fresh, Party, id, manifest, progress, publish};

fn checkpoint(attempt: u32, next_frame: u64) -> Checkpoint {
    let key = id("a").checkpoint(attempt, next_frame, "state");
    let files = vec![Stored { key, size_bytes: 5, sha256: "0".repeat(64) }];
    Checkpoint { next_frame, n_frames: next_frame, attempt, files }
}

pub(super) async fn a_job_goes_from_submission_to_import(fresh: &Fresh) {
    let (person, worker) = (Party::new(fresh.open()), Party::new(fresh.open()));
    let (admin, a) = (person.admin(), id("a"));
    let submitted = person.submit("a").await;
    assert_eq!((submitted.status, submitted.rev), (Status::Pending, 1));
    let lease = worker.claim("worker").await;
    assert_eq!((lease.id(), lease.attempt()), (&a, 1));
    lease.beat(&progress(40)).await.unwrap();
    lease.write_status(&progress(40)).await;
    let job = admin.job(&a).await.unwrap();
    let beat = job.heartbeat.unwrap();
    assert_eq!((beat.seq, beat.current, job.worker_id.as_deref()), (1, 40, Some("worker")));
    let shown = status::read(&*person.bucket, &a).await.unwrap().unwrap();
    assert_eq!((shown.current, shown.total, shown.attempt), (40, 100, Some(1)));
    let state = a.checkpoint(1, 50, "state");
    put(&*worker.bucket, &state, "state", Condition::Always).await;
    lease.checkpointed(&checkpoint(1, 50)).await.unwrap();
    let summary = publish(&lease, 12).await.unwrap();
    let job = admin.job(&a).await.unwrap();
    assert!(is_importable(&job) && job.claim.is_some() && job.heartbeat.is_none());
    assert_eq!(job.frames_processed, Some(100));
    let pointer = job.result.unwrap();
    let there = person.bucket.get(&pointer.key, 1 << 20).await.unwrap().unwrap();
    assert_eq!((pointer.etag, pointer.attempt), (Some(there.etag.0), 1));
    let expected = Expected {
        size_bytes: Some(pointer.size_bytes),
        sha256: Some(pointer.sha256),
        n_detections: Some(pointer.detections),
        ..Expected::of_job("a")
    };
    let (_, read) = read_results(&there.bytes[..], &expected, |_| Ok::<_, std::io::Error>(())).unwrap();
    assert_eq!(read, summary);
    let imported = admin.imported(&a).await.unwrap();
    assert_eq!(imported.status, Status::Imported);
    assert_eq!(admin.imported(&a).await.unwrap(), imported);
    assert_eq!(person.bucket.list(&a.checkpoints()).await.unwrap(), []);
    assert!(matches!(worker.queue("worker").look().await.unwrap(), Look::Nothing { n_processing: 0, .. }));
}

pub(super) async fn a_checkpoint_reaches_the_next_attempt(fresh: &Fresh) {
    let party = Party::new(fresh.open());
    party.submit("a").await;
    let first = party.claim("first").await;
    first.checkpointed(&checkpoint(1, 30)).await.unwrap();
    first.checkpointed(&checkpoint(1, 60)).await.unwrap();
    first.beat(&progress(70)).await.unwrap();
    first.fail("the machine is hot", false).await.unwrap();
    let second = Party::new(fresh.open()).claim("second").await;
    assert_eq!(second.manifest().await.checkpoint, Some(checkpoint(1, 60)));
    publish(&second, 1).await.unwrap();
    assert_eq!(party.admin().job(&id("a")).await.unwrap().checkpoint, None);
}

fn lost(result: Result<impl std::fmt::Debug, LeaseError>) -> String {
    match result {
        Err(LeaseError::Lost { why, .. }) => why,
        other => panic!("{other:?}"),
    }
}

pub(super) async fn the_owner_of_a_cancelled_job_finds_out(fresh: &Fresh) {
    let (person, worker) = (Party::new(fresh.open()), Party::new(fresh.open()));
    person.submit("a").await;
    let lease = worker.claim("worker").await;
    let cancelled = person.admin().cancel(&id("a")).await.unwrap();
    assert_eq!(lost(lease.beat(&progress(1)).await), "is cancelled now");
    assert_eq!(lost(lease.checkpointed(&checkpoint(1, 1)).await), "is cancelled now");
    assert_eq!(lost(publish(&lease, 1).await), "is cancelled now");
    assert_eq!(lost(lease.fail("x", true).await), "is cancelled now");
    assert_eq!(lost(lease.release("x").await), "is cancelled now");
    assert_eq!(person.admin().job(&id("a")).await.unwrap(), cancelled);
    assert!(person.bucket.head(&id("a").results()).await.unwrap().is_none());
}

pub(super) async fn the_owner_of_a_removed_job_finds_out(fresh: &Fresh) {
    let (person, worker) = (Party::new(fresh.open()), Party::new(fresh.open()));
    person.submit("a").await;
    let lease = worker.claim("worker").await;
    person.admin().remove(&id("a")).await.unwrap();
    assert_eq!(lost(lease.beat(&progress(1)).await), "was removed");
    assert_eq!(lost(publish(&lease, 1).await), "was removed");
    assert_eq!(person.bucket.list("jobs/").await.unwrap(), []);
    assert_eq!(person.bucket.list("results/").await.unwrap(), []);
}

pub(super) async fn a_job_that_its_owner_completed_is_not_lost(fresh: &Fresh) {
    let party = Party::new(fresh.open());
    party.submit("a").await;
    let timing = Timing::default().faster(3000);
    let lease = party.claim_with("worker", timing).await;
    let lost = {
        let alive = lease.keep_alive(|| progress(100));
        let work = async {
            publish(&lease, 12).await.unwrap();
            // As after a lost answer; and something is still to do when the next signs of life are due.
            publish(&lease, 12).await.unwrap();
            tokio::time::sleep(50 * timing.heartbeat).await;
        };
        tokio::select! {
            why = alive => Some(why),
            () = work => None,
        }
    };
    assert_eq!(lost, None);
    let job = party.admin().job(&id("a")).await.unwrap();
    assert_eq!(job.status, Status::Completed);
    assert_eq!(job.events.iter().filter(|event| event.what.starts_with("completed")).count(), 1);
}

pub(super) async fn a_cancelled_job_can_be_retried(fresh: &Fresh) {
    let (person, worker) = (Party::new(fresh.open()), Party::new(fresh.open()));
    let (admin, a) = (person.admin(), id("a"));
    person.submit("a").await;
    let first = worker.claim("first").await;
    first.checkpointed(&checkpoint(1, 30)).await.unwrap();
    admin.cancel(&a).await.unwrap();
    assert!(matches!(worker.queue("w").look().await.unwrap(), Look::Nothing { .. }));
    assert_eq!(admin.retry(&a).await.unwrap().status, Status::Pending);
    let second = worker.claim("second").await;
    assert_eq!((second.attempt(), second.manifest().await.checkpoint), (2, Some(checkpoint(1, 30))));
    // The owner from before it was cancelled is not the owner again.
    assert_eq!(lost(first.beat(&progress(1)).await), "is second's now");
    publish(&second, 3).await.unwrap();
    assert_eq!(admin.job(&a).await.unwrap().result.unwrap().attempt, 2);
}

pub(super) async fn a_released_job_is_claimed_again_and_nothing_is_counted(fresh: &Fresh) {
    let party = Party::new(fresh.open());
    party.submit("a").await;
    for attempt in 1..=5 {
        let lease = party.claim("worker").await;
        assert_eq!((lease.attempt(), lease.manifest().await.failures), (attempt, 0));
        lease.release("told to stop").await.unwrap();
    }
    assert_eq!(party.admin().job(&id("a")).await.unwrap().status, Status::Pending);
}

pub(super) async fn the_third_failure_is_the_last(fresh: &Fresh) {
    let party = Party::new(fresh.open());
    party.submit("a").await;
    for _ in 0..3 {
        party.claim("worker").await.fail("the video is damaged", false).await.unwrap();
    }
    let job = party.admin().job(&id("a")).await.unwrap();
    assert_eq!((job.status, job.error.as_deref()), (Status::Failed, Some("attempt 3: the video is damaged")));
    assert!(matches!(party.queue("worker").look().await.unwrap(), Look::Nothing { .. }));
    party.admin().retry(&id("a")).await.unwrap();
    let lease = party.claim("worker").await;
    assert_eq!(lease.attempt(), 4);
    lease.fail("nothing will help", true).await.unwrap();
    assert_eq!(party.admin().job(&id("a")).await.unwrap().status, Status::Failed);
}

pub(super) async fn what_a_state_forbids_is_refused(fresh: &Fresh) {
    let party = Party::new(fresh.open());
    let (admin, a) = (party.admin(), id("a"));
    let forbidden = |result: Result<_, Error>| match result {
        Err(Error::Forbidden { why, .. }) => why,
        other => panic!("{other:?}"),
    };
    for result in
        [admin.job(&a).await, admin.cancel(&a).await, admin.retry(&a).await, admin.imported(&a).await]
    {
        assert!(matches!(&result, Err(Error::NoJob { id }) if *id == a), "{result:?}");
    }
    party.submit("a").await;
    assert_eq!(forbidden(admin.imported(&a).await), "is pending; there is nothing to import");
    let lease = party.claim("worker").await;
    assert_eq!(forbidden(admin.imported(&a).await), "is processing; there is nothing to import");
    publish(&lease, 1).await.unwrap();
    assert_eq!(forbidden(admin.cancel(&a).await), "is completed; there is nothing to cancel");
    assert!(forbidden(admin.retry(&a).await).starts_with("is completed; only"));
    admin.imported(&a).await.unwrap();
    assert_eq!(forbidden(admin.cancel(&a).await), "is imported; there is nothing to cancel");
}

pub(super) async fn submitting_twice_makes_one_job(fresh: &Fresh) {
    let party = Party::new(fresh.open());
    let first = party.submit("a").await;
    assert_eq!(party.submit("a").await, first);
    let lease = party.claim("worker").await;
    // As it is now: somebody works on it already.
    assert_eq!(party.submit("a").await, lease.manifest().await);
    let mut other = manifest("a");
    other.video_id = 8;
    let error = party.admin().submit(other).await.unwrap_err();
    assert_eq!(error.to_string(), "job a exists already");
}

pub(super) async fn removing_leaves_nothing(fresh: &Fresh) {
    let party = Party::new(fresh.open());
    let (admin, a) = (party.admin(), id("a"));
    party.submit("a").await;
    let lease = party.claim("worker").await;
    lease.write_status(&progress(1)).await;
    for key in [a.checkpoint(1, 1, "state"), a.log(1), a.video(None), id("ab").video(None), id("a.b").log(1)]
    {
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

pub(super) async fn logs_come_in_the_order_of_attempts(fresh: &Fresh) {
    let party = Party::new(fresh.open());
    for attempt in [3, 1, 12, 2] {
        put(&*party.bucket, &id("a").log(attempt), &format!("attempt {attempt}"), Condition::Always).await;
    }
    let logs = party.admin().logs(&id("a")).await.unwrap();
    let texts: Vec<_> = logs.iter().map(|(_, text)| std::str::from_utf8(text).unwrap()).collect();
    assert_eq!(texts, ["attempt 1", "attempt 2", "attempt 3", "attempt 12"]);
}
