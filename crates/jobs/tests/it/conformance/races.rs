//! Concurrent clients. Each has its own connection, as in a separate process.

use futures::future::join_all;
use jobs::bucket::{Condition, PutOutcome};
use jobs::queue::PollOutcome;
use jobs::{Error, Status};

use super::objects::{body, put};
use crate::support::{Fresh, Party, id, manifest, progress};

const KEY: &str = "jobs/a.json";

/// Performs sixteen concurrent writes and returns how many took effect, after checking that the object is the
/// winner's. The content differs in every `round`, because equal content may have an equal tag.
async fn winners(fresh: &Fresh, round: usize, condition: Condition<'_>) -> usize {
    let text = |i| format!("writer {i} in round {round}");
    let written = join_all((0..16).map(|i| {
        let (bucket, text) = (fresh.open(), text(i));
        async move { (i, bucket.put(KEY, body(&text), condition).await.unwrap()) }
    }))
    .await;
    let winners: Vec<_> = written.iter().filter(|(_, w)| *w != PutOutcome::ConditionFailed).collect();
    let found = fresh.open().get(KEY, 100).await.unwrap().unwrap();
    for (i, written) in &winners {
        assert_eq!(found.bytes, text(*i));
        assert_eq!(*written, PutOutcome::Written(found.etag.clone()));
    }
    winners.len()
}

pub(super) async fn one_of_sixteen_concurrent_creates_succeeds(fresh: &Fresh) {
    assert_eq!(winners(fresh, 0, Condition::Absent).await, 1);
}

pub(super) async fn one_of_sixteen_concurrent_replacements_succeeds(fresh: &Fresh) {
    let mut etag = put(&*fresh.open(), KEY, "initial", Condition::Absent).await;
    for round in 0..3 {
        assert_eq!(winners(fresh, round, Condition::Is(&etag)).await, 1);
        etag = fresh.open().head(KEY).await.unwrap().unwrap().1;
    }
}

/// All writers share a client, which may detect during the writes that the server requires unquoted tags.
pub(super) async fn concurrent_replacements_of_different_keys_all_succeed(fresh: &Fresh) {
    let bucket = &fresh.open();
    let keys: Vec<_> = (0..16).map(|i| format!("jobs/{i}.json")).collect();
    let tags = join_all(keys.iter().map(|key| put(&**bucket, key, "1", Condition::Absent))).await;
    let replaced = keys.iter().zip(&tags).map(|(key, tag)| put(&**bucket, key, "2", Condition::Is(tag)));
    join_all(replaced).await;
}

pub(super) async fn no_concurrent_increment_is_lost(fresh: &Fresh) {
    put(&*fresh.open(), KEY, "0", Condition::Absent).await;
    // Pairs of tasks share a client: what one task detects about the server must not break the other.
    let clients: Vec<_> = (0..4).map(|_| fresh.open()).collect();
    let increment = |bucket: std::sync::Arc<dyn jobs::bucket::Bucket>| async move {
        let mut n_done = 0;
        while n_done < 5 {
            let found = bucket.get(KEY, 100).await.unwrap().unwrap();
            let count: u32 = std::str::from_utf8(&found.bytes).unwrap().parse().unwrap();
            let next = body(&(count + 1).to_string());
            if bucket.put(KEY, next, Condition::Is(&found.etag)).await.unwrap() != PutOutcome::ConditionFailed
            {
                n_done += 1;
            }
        }
    };
    join_all((0..8).map(|i| tokio::spawn(increment(clients[i / 2].clone())))).await;
    let found = fresh.open().get(KEY, 100).await.unwrap().unwrap();
    assert_eq!(found.bytes, "40");
}

pub(super) async fn one_of_eight_workers_claims_the_job(fresh: &Fresh) {
    Party::new(fresh.open()).submit("a").await;
    let outcomes = join_all((0..8).map(|i| {
        let party = Party::new(fresh.open());
        tokio::spawn(async move { party.queue(&format!("worker-{i}")).poll().await.unwrap() })
    }))
    .await;
    let claimed: Vec<_> = outcomes
        .into_iter()
        .filter_map(|outcome| match outcome.unwrap() {
            PollOutcome::Claimed(lease) => Some(lease),
            PollOutcome::Idle { .. } => None,
        })
        .collect();
    assert_eq!(claimed.len(), 1);
    let job = Party::new(fresh.open()).admin().job(&id("a")).await.unwrap();
    assert_eq!((job.status, job.attempt), (Status::Processing, 1));
    assert_eq!(job.claim, claimed[0].manifest().await.claim);
}

pub(super) async fn each_job_is_claimed_by_one_worker(fresh: &Fresh) {
    let jobs: Vec<_> = (0..6).map(|i| format!("job-{i}")).collect();
    let submitter = Party::new(fresh.open());
    join_all(jobs.iter().map(|job| submitter.submit(job))).await;
    let workers = (0..3).map(|i| {
        let party = Party::new(fresh.open());
        tokio::spawn(async move {
            let mut queue = party.queue(&format!("worker-{i}"));
            let mut mine = Vec::new();
            while let PollOutcome::Claimed(lease) = queue.poll().await.unwrap() {
                mine.push(lease.id().to_string());
            }
            mine
        })
    });
    let mut claimed: Vec<_> = join_all(workers).await.into_iter().flat_map(Result::unwrap).collect();
    claimed.sort();
    assert_eq!(claimed, jobs);
}

pub(super) async fn concurrent_cancel_and_heartbeats_are_both_kept(fresh: &Fresh) {
    let owner = Party::new(fresh.open());
    owner.submit("a").await;
    let lease = owner.claim("worker").await;
    let admin = Party::new(fresh.open()).admin();
    let heartbeats = async {
        let mut n_heartbeats = 0;
        for _ in 0..10 {
            n_heartbeats += u64::from(lease.heartbeat(&progress(n_heartbeats)).await.is_ok());
        }
        n_heartbeats
    };
    let a = id("a");
    let (n_heartbeats, cancelled) = futures::future::join(heartbeats, admin.cancel(&a)).await;
    let cancelled = cancelled.unwrap();
    assert_eq!(admin.job(&a).await.unwrap(), cancelled);
    // One write each to create, claim and cancel the job; all others are heartbeats.
    assert_eq!((cancelled.status, cancelled.rev), (Status::Cancelled, n_heartbeats + 3));
}

pub(super) async fn concurrent_submissions_create_one_job(fresh: &Fresh) {
    let submitted = join_all((0..4).map(|i| {
        let admin = Party::new(fresh.open()).admin();
        let mut manifest = manifest("a");
        // Two submit the same job, the others different ones.
        manifest.video_id = [1, 1, 2, 3][i];
        async move { admin.submit(manifest).await }
    }))
    .await;
    let found = Party::new(fresh.open()).admin().job(&id("a")).await.unwrap();
    for (result, video_id) in submitted.into_iter().zip([1, 1, 2, 3]) {
        match result {
            Ok(manifest) => assert_eq!(manifest, found),
            Err(Error::Refused { id, .. }) => assert_eq!(id, found.job_id, "video {video_id}"),
            Err(error) => panic!("{error:?}"),
        }
    }
    assert_eq!((found.status, found.rev), (Status::Pending, 1));
}
