//! Owners that died, and owners that only appeared to. The test controls the observers' clocks.

use std::time::Duration;

use jobs::lease::LeaseError;
use jobs::queue::PollOutcome;
use jobs::{Lease, Refusal, Status, Timing};

use super::objects::text;
use crate::support::{Fresh, Party, id, progress, publish};

const SECOND: Duration = Duration::from_secs(1);

async fn nothing(queue: &mut jobs::queue::Queue) -> Duration {
    match queue.poll().await.unwrap() {
        PollOutcome::Idle { pause, n_processing: 1, .. } => pause,
        other => panic!("{other:?}"),
    }
}

async fn claimed(queue: &mut jobs::queue::Queue) -> Lease {
    match queue.poll().await.unwrap() {
        PollOutcome::Claimed(lease) => *lease,
        nothing @ PollOutcome::Idle { .. } => panic!("{nothing:?}"),
    }
}

fn refusal(result: Result<impl std::fmt::Debug, LeaseError>) -> Refusal {
    match result {
        Err(LeaseError::Lost { refusal, .. }) => refusal,
        other => panic!("{other:?}"),
    }
}

fn owned_by_living() -> Refusal {
    Refusal::OwnedBy { worker_id: "living".to_owned() }
}

/// A job that one worker owned and another took over. Returns both leases.
async fn taken_over(fresh: &Fresh) -> (Lease, Lease) {
    let (owner, observer) = (Party::new(fresh.open()), Party::new(fresh.open()));
    owner.submit("a").await;
    let stale = owner.claim("stale").await;
    let mut queue = observer.queue("living");
    nothing(&mut queue).await;
    observer.env.advance(Timing::default().lease);
    (stale, claimed(&mut queue).await)
}

pub(super) async fn a_job_without_heartbeats_is_taken_over(fresh: &Fresh) {
    let (owner, observer) = (Party::new(fresh.open()), Party::new(fresh.open()));
    owner.submit("a").await;
    let stale = owner.claim("stale").await;
    let mut queue = observer.queue("living");
    // The owner's clock has no influence on the observer.
    owner.env.advance(Duration::from_secs(1 << 20));
    assert!(nothing(&mut queue).await <= Timing::default().poll_watching);
    observer.env.advance(Timing::default().lease - SECOND);
    nothing(&mut queue).await;
    // An observer that starts now has to observe the full lease itself.
    nothing(&mut observer.queue("latecomer")).await;
    observer.env.advance(SECOND);
    let lease = claimed(&mut queue).await;
    let job = lease.manifest().await;
    assert_eq!((job.attempt, job.failures, job.worker_id.as_deref()), (2, 1, Some("living")));
    assert_eq!(job.error.as_deref(), Some("attempt 1: stale stopped responding"));
    assert_eq!(refusal(stale.heartbeat(&progress(1)).await), owned_by_living());
}

pub(super) async fn an_owner_with_heartbeats_keeps_its_job(fresh: &Fresh) {
    let (owner, observer) = (Party::new(fresh.open()), Party::new(fresh.open()));
    owner.submit("a").await;
    let lease = owner.claim("owner").await;
    let mut queue = observer.queue("observer");
    for n in 0..4 {
        nothing(&mut queue).await;
        observer.env.advance(Timing::default().lease - SECOND);
        // The progress does not change, but each heartbeat still is a new version.
        lease.heartbeat(&progress(7)).await.unwrap();
        assert_eq!(lease.manifest().await.heartbeat.unwrap().seq, n + 1);
    }
    publish(&lease, 1).await.unwrap();
    assert!(matches!(queue.poll().await.unwrap(), PollOutcome::Idle { n_processing: 0, .. }));
}

pub(super) async fn a_stale_owner_cannot_publish(fresh: &Fresh) {
    let (stale, living) = taken_over(fresh).await;
    assert_eq!(refusal(publish(&stale, 1).await), owned_by_living());
    let bucket = fresh.open();
    assert!(bucket.head(&id("a").results_key()).await.unwrap().is_none());
    assert_eq!(refusal(stale.fail("x", false).await), owned_by_living());
    assert_eq!(refusal(stale.release("x").await), owned_by_living());
    publish(&living, 2).await.unwrap();
}

pub(super) async fn a_stale_owner_cannot_replace_results(fresh: &Fresh) {
    let (stale, living) = taken_over(fresh).await;
    publish(&living, 2).await.unwrap();
    let (bucket, a) = (fresh.open(), id("a"));
    let results = text(&*bucket, &a.results_key()).await;
    let manifest = text(&*bucket, &a.manifest_key()).await;
    assert_eq!(refusal(publish(&stale, 1).await), Refusal::StatusChanged { status: Status::Completed });
    assert_eq!(text(&*bucket, &a.results_key()).await, results);
    assert_eq!(text(&*bucket, &a.manifest_key()).await, manifest);
}

pub(super) async fn a_job_fails_when_all_its_owners_died(fresh: &Fresh) {
    let observer = Party::new(fresh.open());
    observer.submit("a").await;
    let mut queue = observer.queue("w");
    for attempt in 1..=3 {
        assert_eq!(claimed(&mut queue).await.attempt(), attempt);
        nothing(&mut queue).await;
        observer.env.advance(Timing::default().lease);
    }
    assert!(matches!(queue.poll().await.unwrap(), PollOutcome::Idle { n_processing: 0 | 1, .. }));
    let job = observer.admin().job(&id("a")).await.unwrap();
    assert_eq!((job.status, job.attempt, job.failures), (Status::Failed, 3, 3));
    assert_eq!(job.error.as_deref(), Some("attempt 3: w stopped responding"));
}
