//! One request of a job's life goes wrong, each in turn and in every way. The end is the same: the job is done once,
//! and the register counts every change of it exactly once.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use jobs::admin::Admin;
use jobs::bucket::{Bucket, Condition, S3Settings, Timeouts};
use jobs::lease::LeaseError;
use jobs::manifest::{Checkpoint, Stored};
use jobs::results::{Expected, read_results};
use jobs::{Error, Lease, Status};
use s3_fixture::{Call, FakeR2, Fault, Op, RandomFaults};

use crate::support::{Party, fake, id, manifest, progress, publish, remote, settings};

/// Writes of one life: submission, claim, heartbeat, status object, checkpoint, pointer to it, sign of life, results,
/// completion, import.
const N_WRITES: usize = 10;
/// How often a person or a worker tries again what failed for the moment.
const PATIENCE: usize = 30;

/// A plan of faults and its name.
type Plan = (String, Box<dyn FnMut(&Call) -> Option<Fault> + Send>);

/// Does it until the bucket answers.
async fn persist<T>(what: impl AsyncFn() -> Result<T, LeaseError>) -> T {
    for _ in 0..PATIENCE {
        match what().await {
            Ok(done) => return done,
            Err(LeaseError::Bucket(error)) if error.is_transient() => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    panic!("not done in {PATIENCE} tries")
}

/// Claims the job. A claim whose fate was not known may be in under a lease that nobody holds: then the observer waits
/// until it has run out.
async fn claimed(party: &Party) -> Lease {
    let mut queue = party.queue("worker");
    for _ in 0..PATIENCE {
        match queue.look().await {
            Ok(jobs::queue::Look::Claimed(lease)) => return *lease,
            Ok(jobs::queue::Look::Nothing { .. }) => party.host.advance(Duration::from_secs(60)),
            Err(error) if error.is_transient() => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    panic!("not claimed in {PATIENCE} looks")
}

/// From submission to import, whatever it takes.
async fn live(bucket: Arc<dyn Bucket>) {
    let party = Party::new(bucket);
    let (admin, a): (Admin, _) = (party.admin(), id("a"));
    persist(async || Ok(admin.submit(manifest("a")).await?)).await;
    let lease = claimed(&party).await;
    persist(async || lease.beat(&progress(10)).await).await;
    lease.write_status(&progress(15)).await;
    let key = a.checkpoint(lease.attempt(), 1, "state");
    let state = || bytes::Bytes::from_static(b"state");
    persist(async || Ok(party.bucket.put(&key, state(), Condition::Always).await.map(|_| ())?)).await;
    let files = vec![Stored { key: key.clone(), size_bytes: 5, sha256: "0".repeat(64) }];
    let at = Checkpoint { next_frame: 20, n_frames: 20, attempt: lease.attempt(), files };
    persist(async || lease.checkpointed(&at).await).await;
    persist(async || publish(&lease, 12).await).await;
    persist(async || Ok(admin.imported(&a).await?)).await;
}

/// What must be true in the end.
fn check(server: &FakeR2) {
    let register = server.object("jobs/a.json").unwrap();
    let job = jobs::Manifest::parse("jobs/a.json", &register.body).unwrap();
    assert_eq!(job.status, Status::Imported);
    let pointer = job.result.clone().unwrap();
    let results = server.object("results/a.json").unwrap();
    assert_eq!(pointer.etag.as_deref().map(|tag| tag.trim_matches('"')), Some(results.etag.as_str()));
    let expected = Expected { sha256: Some(pointer.sha256), ..Expected::of_job("a") };
    let (_, read) = read_results(&results.body[..], &expected, |_| Ok::<_, std::io::Error>(())).unwrap();
    assert_eq!((read.n_detections, pointer.attempt), (12, job.attempt));
    let happened = |what: &str| job.events.iter().filter(|event| event.what.starts_with(what)).count();
    assert_eq!((happened("completed"), happened("imported")), (1, 1), "{:?}", job.events);
    assert_eq!(happened("claimed"), job.attempt as usize);
    // The status object is advice: it may be missing.
    let keys: Vec<_> = server.keys().into_iter().filter(|key| key != "status/a.json").collect();
    assert_eq!(keys, ["jobs/a.json", "results/a.json"]);
    assert_eq!(server.open_uploads(), []);
}

/// A bucket that gives up soon.
fn hasty(server: &FakeR2) -> Arc<dyn Bucket> {
    let timeouts = Timeouts {
        control: Duration::from_millis(400),
        bulk: Duration::from_millis(400),
        ..settings(server.connection()).timeouts
    };
    remote(&S3Settings { timeouts, ..settings(server.connection()) })
}

/// The `n`-th of the requests that `counts`, and the `n_more` after it, meet the fault.
fn nth(
    counts: impl Fn(&Call) -> bool + Send + 'static,
    n: usize,
    n_more: usize,
    fault: Fault,
) -> impl FnMut(&Call) -> Option<Fault> + Send {
    let n_seen = AtomicUsize::new(0);
    move |call| {
        let hit = counts(call) && (n..=n + n_more).contains(&n_seen.fetch_add(1, Ordering::Relaxed));
        hit.then(|| fault.clone())
    }
}

fn is_put(call: &Call) -> bool {
    call.op == Op::PutObject
}

/// Runs a life for each plan, a few at a time, and checks each end.
async fn lives(plans: Vec<Plan>, hasty_client: bool) {
    let lives = plans.into_iter().map(|(name, plan)| async move {
        let server = fake();
        server.set_faults(plan);
        let bucket = if hasty_client { hasty(&server) } else { remote(&settings(server.connection())) };
        let lived = async {
            live(bucket).await;
            check(&server);
        };
        (name, AssertUnwindSafe(lived).catch_unwind().await)
    });
    let lives: Vec<_> = futures::stream::iter(lives).buffer_unordered(8).collect().await;
    let bad: Vec<_> = lives.iter().filter(|(_, lived)| lived.is_err()).map(|(name, _)| name).collect();
    assert!(bad.is_empty(), "{bad:#?}");
}

#[tokio::test]
async fn a_life_without_faults_has_the_writes_that_are_counted_here() {
    let server = fake();
    live(remote(&settings(server.connection()))).await;
    check(&server);
    assert_eq!(server.counts().of(Op::PutObject), N_WRITES);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_write_may_fail_or_seem_to() {
    let faults =
        [Fault::Drop, Fault::ServerError, Fault::SlowDown, Fault::CommitThenError, Fault::CommitThenDrop];
    let mut plans: Vec<Plan> = Vec::new();
    for fault in faults {
        for n in 0..N_WRITES {
            // Once, and for longer than the client tries by itself.
            for n_more in [0, 4] {
                let name = format!("{fault:?} at write {n} and {n_more} more");
                plans.push((name, Box::new(nth(is_put, n, n_more, fault.clone()))));
            }
        }
    }
    lives(plans, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_answer_to_a_write_may_never_come() {
    let mut plans: Vec<Plan> = Vec::new();
    for fault in [Fault::Hang, Fault::CommitThenHang] {
        for n in 0..N_WRITES {
            plans.push((format!("{fault:?} at write {n}"), Box::new(nth(is_put, n, 0, fault.clone()))));
        }
    }
    lives(plans, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_read_may_fail() {
    let faults = [Fault::Drop, Fault::ServerError, Fault::SlowDown, Fault::Truncate(3)];
    let mut plans: Vec<Plan> = Vec::new();
    for fault in faults {
        for n in 0..8 {
            for n_more in [0, 4] {
                let name = format!("{fault:?} at read {n} and {n_more} more");
                plans.push((name, Box::new(nth(|call| !call.op.is_write(), n, n_more, fault.clone()))));
            }
        }
    }
    lives(plans, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn anything_may_fail_again_and_again() {
    let plan = |seed| RandomFaults {
        seed,
        drop: 0.08,
        server_error: 0.08,
        slow_down: 0.08,
        commit_then_error: 0.1,
        commit_then_drop: 0.1,
        truncate: 0.05,
        ..RandomFaults::default()
    };
    let mut plans: Vec<Plan> = Vec::new();
    for seed in 0..40 {
        plans.push((format!("seed {seed}"), Box::new(plan(seed).plan())));
    }
    lives(plans, false).await;
}

/// R2 refuses a second write of one key within a second; here it is a fraction of that.
#[tokio::test]
async fn writes_that_come_too_soon_are_made_later() {
    let server = fake();
    server.set_min_write_interval(Duration::from_millis(30));
    live(remote(&settings(server.connection()))).await;
    check(&server);
    assert!(server.log().iter().any(|entry| entry.status == Some(429)), "nothing came too soon");
}

/// With every answer lost, a claim ends with an error that says so; it is in, and its lease runs out like any other.
#[tokio::test]
async fn a_claim_whose_every_answer_is_lost_is_taken_over_later() {
    let server = fake();
    let party = Party::new(remote(&settings(server.connection())));
    party.submit("a").await;
    let mut queue = party.queue("unlucky");
    server.set_faults(|call| match call.op {
        Op::PutObject => Some(Fault::CommitThenDrop),
        Op::GetObject if call.key == "jobs/a.json" => None,
        _ => None,
    });
    // Reading back settles it.
    let look = queue.look().await.unwrap();
    assert!(matches!(look, jobs::queue::Look::Claimed(_)), "{look:?}");
    server.clear_faults();
    party.admin().cancel(&id("a")).await.unwrap();
    party.admin().retry(&id("a")).await.unwrap();
    // Nothing can be read back: nobody knows.
    let mut queue = party.queue("unlucky");
    server.set_faults(|call| match call.op {
        Op::PutObject => Some(Fault::CommitThenDrop),
        Op::GetObject if call.seq > 0 && call.key == "jobs/a.json" => Some(Fault::Drop),
        _ => None,
    });
    let error = queue.look().await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    server.clear_faults();
    let lease = claimed(&party).await;
    publish(&lease, 1).await.unwrap();
}
