//! Injects every kind of fault into each request of a job's lifetime in turn. The outcome must be the same as
//! without faults: the job is done once, and its manifest records every change exactly once.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use jobs::admin::Admin;
use jobs::bucket::{Bucket, Condition, S3Settings, Timeouts};
use jobs::lease::LeaseError;
use jobs::manifest::{Checkpoint, StoredObject};
use jobs::results::{Expected, read_results};
use jobs::{Error, Lease, Status};
use s3_fixture::{Call, FakeR2, Fault, Op, RandomFaults};

use crate::support::{Party, fake, id, manifest, progress, publish, remote, settings};

/// Writes in a job's lifetime: submission, claim, heartbeat, status object, checkpoint file, checkpoint
/// pointer, heartbeat before the results, results, completion, import.
const N_WRITES: usize = 10;
/// How many times an operation is tried while its errors are transient.
const MAX_TRIES: usize = 30;

/// The name of a test case and its fault plan.
type Plan = (String, Box<dyn FnMut(&Call) -> Option<Fault> + Send>);

/// Repeats an operation until it succeeds.
async fn retry<T>(what: impl AsyncFn() -> Result<T, LeaseError>) -> T {
    for _ in 0..MAX_TRIES {
        match what().await {
            Ok(done) => return done,
            Err(LeaseError::Bucket(error)) if error.is_transient() => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    panic!("no success in {MAX_TRIES} tries")
}

/// Claims the job. A claim with an unknown outcome may have taken effect without a worker knowing it; then
/// this waits until its lease has expired.
async fn claim(party: &Party) -> Lease {
    let mut queue = party.queue("worker");
    for _ in 0..MAX_TRIES {
        match queue.poll().await {
            Ok(jobs::queue::PollOutcome::Claimed(lease)) => return *lease,
            Ok(jobs::queue::PollOutcome::Idle { .. }) => party.env.advance(Duration::from_secs(60)),
            Err(error) if error.is_transient() => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    panic!("no claim in {MAX_TRIES} polls")
}

/// Takes a job from submission to import, with retries.
async fn run_job(bucket: Arc<dyn Bucket>) {
    let party = Party::new(bucket);
    let (admin, a): (Admin, _) = (party.admin(), id("a"));
    retry(async || Ok(admin.submit(manifest("a")).await?)).await;
    let lease = claim(&party).await;
    retry(async || lease.heartbeat(&progress(10)).await).await;
    lease.write_status(&progress(15)).await;
    let key = a.checkpoint_key(lease.attempt(), 1, "state");
    let state = || bytes::Bytes::from_static(b"state");
    retry(async || Ok(party.bucket.put(&key, state(), Condition::Always).await.map(|_| ())?)).await;
    let files = vec![StoredObject { key: key.clone(), size_bytes: 5, sha256: "0".repeat(64) }];
    let at = Checkpoint { next_frame: 20, n_frames: 20, attempt: lease.attempt(), files };
    retry(async || lease.record_checkpoint(&at).await).await;
    retry(async || publish(&lease, 12).await).await;
    retry(async || Ok(admin.mark_imported(&a).await?)).await;
}

/// Checks the final state of the bucket.
fn check_bucket(server: &FakeR2) {
    let manifest = server.object("jobs/a.json").unwrap();
    let job = jobs::Manifest::parse("jobs/a.json", &manifest.body).unwrap();
    assert_eq!(job.status, Status::Imported);
    let pointer = job.result.clone().unwrap();
    let results = server.object("results/a.json").unwrap();
    assert_eq!(pointer.etag.as_deref().map(|tag| tag.trim_matches('"')), Some(results.etag.as_str()));
    let expected = Expected { sha256: Some(pointer.sha256), ..Expected::of_job("a") };
    let (_, read) = read_results(&results.body[..], &expected, |_| Ok::<_, std::io::Error>(())).unwrap();
    assert_eq!((read.n_detections, pointer.attempt), (12, job.attempt));
    let n_events = |what: &str| job.events.iter().filter(|event| event.what.starts_with(what)).count();
    assert_eq!((n_events("completed"), n_events("imported")), (1, 1), "{:?}", job.events);
    assert_eq!(n_events("claimed"), job.attempt as usize);
    // The status object is advisory and may be missing.
    let keys: Vec<_> = server.keys().into_iter().filter(|key| key != "status/a.json").collect();
    assert_eq!(keys, ["jobs/a.json", "results/a.json"]);
    assert_eq!(server.open_uploads(), []);
}

/// A client with short timeouts.
fn with_short_timeouts(server: &FakeR2) -> Arc<dyn Bucket> {
    let timeouts = Timeouts {
        control: Duration::from_millis(400),
        bulk: Duration::from_millis(400),
        ..settings(server.connection()).timeouts
    };
    remote(&S3Settings { timeouts, ..settings(server.connection()) })
}

/// A plan that injects the fault into the `n`-th request that `matches`, and into the `n_more` after it.
fn nth(
    matches: impl Fn(&Call) -> bool + Send + 'static,
    n: usize,
    n_more: usize,
    fault: Fault,
) -> impl FnMut(&Call) -> Option<Fault> + Send {
    let n_seen = AtomicUsize::new(0);
    move |call| {
        let hit = matches(call) && (n..=n + n_more).contains(&n_seen.fetch_add(1, Ordering::Relaxed));
        hit.then(|| fault.clone())
    }
}

fn is_put(call: &Call) -> bool {
    call.op == Op::PutObject
}

/// Runs a job with each plan, a few at a time, and checks the outcomes.
async fn run_all(plans: Vec<Plan>, short_timeouts: bool) {
    let runs = plans.into_iter().map(|(name, plan)| async move {
        let server = fake();
        server.set_faults(plan);
        let bucket = match short_timeouts {
            true => with_short_timeouts(&server),
            false => remote(&settings(server.connection())),
        };
        let run = async {
            run_job(bucket).await;
            check_bucket(&server);
        };
        (name, AssertUnwindSafe(run).catch_unwind().await)
    });
    let runs: Vec<_> = futures::stream::iter(runs).buffer_unordered(8).collect().await;
    let failed: Vec<_> = runs.iter().filter(|(_, run)| run.is_err()).map(|(name, _)| name).collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

#[tokio::test]
async fn a_job_without_faults_takes_the_expected_number_of_writes() {
    let server = fake();
    run_job(remote(&settings(server.connection()))).await;
    check_bucket(&server);
    assert_eq!(server.counts().of(Op::PutObject), N_WRITES);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_write_may_fail_or_appear_to_fail() {
    let faults =
        [Fault::Drop, Fault::ServerError, Fault::SlowDown, Fault::CommitThenError, Fault::CommitThenDrop];
    let mut plans: Vec<Plan> = Vec::new();
    for fault in faults {
        for n in 0..N_WRITES {
            // Once, and more often than the client retries by itself.
            for n_more in [0, 4] {
                let name = format!("{fault:?} at write {n} and {n_more} more");
                plans.push((name, Box::new(nth(is_put, n, n_more, fault.clone()))));
            }
        }
    }
    run_all(plans, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_response_to_a_write_may_never_arrive() {
    let mut plans: Vec<Plan> = Vec::new();
    for fault in [Fault::Hang, Fault::CommitThenHang] {
        for n in 0..N_WRITES {
            plans.push((format!("{fault:?} at write {n}"), Box::new(nth(is_put, n, 0, fault.clone()))));
        }
    }
    run_all(plans, true).await;
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
    run_all(plans, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_request_may_fail_at_random() {
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
    run_all(plans, false).await;
}

/// R2 refuses a second write of one key within a second; this test uses a shorter interval.
#[tokio::test]
async fn rate_limited_writes_are_retried() {
    let server = fake();
    server.set_min_write_interval(Duration::from_millis(30));
    run_job(remote(&settings(server.connection()))).await;
    check_bucket(&server);
    assert!(server.log().iter().any(|entry| entry.status == Some(429)), "no write was rate limited");
}

/// If all responses are lost, a claim fails with an error although it took effect. Its lease expires like any
/// other.
#[tokio::test]
async fn a_claim_with_an_unknown_outcome_is_taken_over_later() {
    let server = fake();
    let party = Party::new(remote(&settings(server.connection())));
    party.submit("a").await;
    let mut queue = party.queue("unlucky");
    server.set_faults(|call| match call.op {
        Op::PutObject => Some(Fault::CommitThenDrop),
        Op::GetObject if call.key == "jobs/a.json" => None,
        _ => None,
    });
    // Reading back shows that the claim took effect.
    let outcome = queue.poll().await.unwrap();
    assert!(matches!(outcome, jobs::queue::PollOutcome::Claimed(_)), "{outcome:?}");
    server.clear_faults();
    party.admin().cancel(&id("a")).await.unwrap();
    party.admin().retry(&id("a")).await.unwrap();
    // If reading back fails too, the outcome stays unknown.
    let mut queue = party.queue("unlucky");
    server.set_faults(|call| match call.op {
        Op::PutObject => Some(Fault::CommitThenDrop),
        Op::GetObject if call.seq > 0 && call.key == "jobs/a.json" => Some(Fault::Drop),
        _ => None,
    });
    let error = queue.poll().await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    server.clear_faults();
    let lease = claim(&party).await;
    publish(&lease, 1).await.unwrap();
}
