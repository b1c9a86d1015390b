//! Owners that die, and owners that only seemed to. The observers' clocks are the test's.

use std::time::Duration;

use jobs::lease::LeaseError;
use jobs::queue::Look;
use jobs::{Lease, Status, Timing};

use super::objects::text;
use crate::support::{Fresh, Party, id, progress, publish};

const SECOND: Duration = Duration::from_secs(1);

async fn nothing(queue: &mut jobs::queue::Queue) -> Duration {
    match queue.look().await.unwrap() {
        Look::Nothing { pause, n_processing: 1 } => pause,
        other => panic!("{other:?}"),
    }
}

async fn claimed(queue: &mut jobs::queue::Queue) -> Lease {
    match queue.look().await.unwrap() {
        Look::Claimed(lease) => *lease,
        nothing @ Look::Nothing { .. } => panic!("{nothing:?}"),
    }
}

fn why(result: Result<impl std::fmt::Debug, LeaseError>) -> String {
    match result {
        Err(LeaseError::Lost { why, .. }) => why,
        other => panic!("{other:?}"),
    }
}

/// A job that one worker owns and another has taken over: both leases.
async fn taken_over(fresh: &Fresh) -> (Lease, Lease) {
    let (owner, observer) = (Party::new(fresh.open()), Party::new(fresh.open()));
    owner.submit("a").await;
    let stale = owner.claim("stale").await;
    let mut queue = observer.queue("living");
    nothing(&mut queue).await;
    observer.host.advance(Timing::default().lease);
    (stale, claimed(&mut queue).await)
}

pub(super) async fn a_silent_owners_job_is_taken_over_and_it_learns_that(fresh: &Fresh) {
    let (owner, observer) = (Party::new(fresh.open()), Party::new(fresh.open()));
    owner.submit("a").await;
    let stale = owner.claim("stale").await;
    let mut queue = observer.queue("living");
    // The owner's clock says nothing to the observer.
    owner.host.advance(Duration::from_secs(1 << 20));
    assert!(nothing(&mut queue).await <= Timing::default().poll_watching);
    observer.host.advance(Timing::default().lease - SECOND);
    nothing(&mut queue).await;
    // Who begins to watch now has seen nothing of its silence.
    nothing(&mut observer.queue("latecomer")).await;
    observer.host.advance(SECOND);
    let lease = claimed(&mut queue).await;
    let job = lease.manifest().await;
    assert_eq!((job.attempt, job.failures, job.worker_id.as_deref()), (2, 1, Some("living")));
    assert_eq!(job.error.as_deref(), Some("attempt 1: stale stopped answering"));
    assert_eq!(why(stale.beat(&progress(1)).await), "is living's now");
}

pub(super) async fn an_owner_that_speaks_keeps_its_job(fresh: &Fresh) {
    let (owner, observer) = (Party::new(fresh.open()), Party::new(fresh.open()));
    owner.submit("a").await;
    let lease = owner.claim("owner").await;
    let mut queue = observer.queue("observer");
    for n in 0..4 {
        nothing(&mut queue).await;
        observer.host.advance(Timing::default().lease - SECOND);
        // The same progress every time: a heartbeat is another version all the same.
        lease.beat(&progress(7)).await.unwrap();
        assert_eq!(lease.manifest().await.heartbeat.unwrap().seq, n + 1);
    }
    publish(&lease, 1).await.unwrap();
    assert!(matches!(queue.look().await.unwrap(), Look::Nothing { n_processing: 0, .. }));
}

pub(super) async fn a_stale_owner_publishes_nothing(fresh: &Fresh) {
    let (stale, living) = taken_over(fresh).await;
    assert_eq!(why(publish(&stale, 1).await), "is living's now");
    let bucket = fresh.open();
    assert!(bucket.head(&id("a").results()).await.unwrap().is_none());
    assert_eq!(why(stale.fail("x", true).await), "is living's now");
    assert_eq!(why(stale.release("x").await), "is living's now");
    publish(&living, 2).await.unwrap();
}

pub(super) async fn a_stale_owner_replaces_no_results(fresh: &Fresh) {
    let (stale, living) = taken_over(fresh).await;
    publish(&living, 2).await.unwrap();
    let (bucket, a) = (fresh.open(), id("a"));
    let results = text(&*bucket, &a.results()).await;
    let register = text(&*bucket, &a.register()).await;
    assert_eq!(why(publish(&stale, 1).await), "is completed now");
    assert_eq!(text(&*bucket, &a.results()).await, results);
    assert_eq!(text(&*bucket, &a.register()).await, register);
}

pub(super) async fn a_job_whose_owners_all_die_fails(fresh: &Fresh) {
    let observer = Party::new(fresh.open());
    observer.submit("a").await;
    let mut queue = observer.queue("w");
    for attempt in 1..=3 {
        assert_eq!(claimed(&mut queue).await.attempt(), attempt);
        nothing(&mut queue).await;
        observer.host.advance(Timing::default().lease);
    }
    assert!(matches!(queue.look().await.unwrap(), Look::Nothing { n_processing: 0 | 1, .. }));
    let job = observer.admin().job(&id("a")).await.unwrap();
    assert_eq!((job.status, job.attempt, job.failures), (Status::Failed, 3, 3));
    assert_eq!(job.error.as_deref(), Some("attempt 3: w stopped answering"));
}
