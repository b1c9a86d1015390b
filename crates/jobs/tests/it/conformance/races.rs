//! Many at the same time. Each is a client of its own, as in another process.

use futures::future::join_all;
use jobs::bucket::{Condition, Written};
use jobs::queue::Look;
use jobs::{Error, Status};

use super::objects::{body, put};
use crate::support::{Fresh, Party, id, manifest, progress};

const KEY: &str = "jobs/a.json";

/// Sixteen writes at once; how many are in, after the object was found to be the winner's. What is written is another
/// in every `round`: equal content may have an equal tag, and then nothing seems to have changed.
async fn winners(fresh: &Fresh, round: usize, condition: Condition<'_>) -> usize {
    let text = |i| format!("writer {i} in round {round}");
    let written = join_all((0..16).map(|i| {
        let (bucket, text) = (fresh.open(), text(i));
        async move { (i, bucket.put(KEY, body(&text), condition).await.unwrap()) }
    }))
    .await;
    let winners: Vec<_> = written.iter().filter(|(_, w)| *w != Written::Refused).collect();
    let there = fresh.open().get(KEY, 100).await.unwrap().unwrap();
    for (i, written) in &winners {
        assert_eq!(there.bytes, text(*i));
        assert_eq!(*written, Written::Done(there.etag.clone()));
    }
    winners.len()
}

pub(super) async fn of_sixteen_who_create_one_does(fresh: &Fresh) {
    assert_eq!(winners(fresh, 0, Condition::Absent).await, 1);
}

pub(super) async fn of_sixteen_who_replace_one_does(fresh: &Fresh) {
    let mut etag = put(&*fresh.open(), KEY, "nobody", Condition::Absent).await;
    for round in 0..3 {
        assert_eq!(winners(fresh, round, Condition::Is(&etag)).await, 1);
        etag = fresh.open().head(KEY).await.unwrap().unwrap().1;
    }
}

/// They share a client, which may just be learning how the server wants its entity tags.
pub(super) async fn sixteen_who_replace_one_each_all_do(fresh: &Fresh) {
    let bucket = &fresh.open();
    let keys: Vec<_> = (0..16).map(|i| format!("jobs/{i}.json")).collect();
    let tags = join_all(keys.iter().map(|key| put(&**bucket, key, "1", Condition::Absent))).await;
    let replaced = keys.iter().zip(&tags).map(|(key, tag)| put(&**bucket, key, "2", Condition::Is(tag)));
    join_all(replaced).await;
}

pub(super) async fn no_increment_of_a_counter_is_lost(fresh: &Fresh) {
    put(&*fresh.open(), KEY, "0", Condition::Absent).await;
    // Two share a client: what it learns of the server must not confuse the other.
    let clients: Vec<_> = (0..4).map(|_| fresh.open()).collect();
    let increment = |bucket: std::sync::Arc<dyn jobs::bucket::Bucket>| async move {
        let mut n_done = 0;
        while n_done < 5 {
            let there = bucket.get(KEY, 100).await.unwrap().unwrap();
            let count: u32 = std::str::from_utf8(&there.bytes).unwrap().parse().unwrap();
            let next = body(&(count + 1).to_string());
            if bucket.put(KEY, next, Condition::Is(&there.etag)).await.unwrap() != Written::Refused {
                n_done += 1;
            }
        }
    };
    join_all((0..8).map(|i| tokio::spawn(increment(clients[i / 2].clone())))).await;
    let there = fresh.open().get(KEY, 100).await.unwrap().unwrap();
    assert_eq!(there.bytes, "40");
}

pub(super) async fn of_eight_workers_one_gets_the_job(fresh: &Fresh) {
    Party::new(fresh.open()).submit("a").await;
    let looks = join_all((0..8).map(|i| {
        let party = Party::new(fresh.open());
        tokio::spawn(async move { party.queue(&format!("worker-{i}")).look().await.unwrap() })
    }))
    .await;
    let claimed: Vec<_> = looks
        .into_iter()
        .filter_map(|look| match look.unwrap() {
            Look::Claimed(lease) => Some(lease),
            Look::Nothing { .. } => None,
        })
        .collect();
    assert_eq!(claimed.len(), 1);
    let job = Party::new(fresh.open()).admin().job(&id("a")).await.unwrap();
    assert_eq!((job.status, job.attempt), (Status::Processing, 1));
    assert_eq!(job.claim, claimed[0].manifest().await.claim);
}

pub(super) async fn each_job_goes_to_one_worker(fresh: &Fresh) {
    let jobs: Vec<_> = (0..6).map(|i| format!("job-{i}")).collect();
    let submitter = Party::new(fresh.open());
    join_all(jobs.iter().map(|job| submitter.submit(job))).await;
    let workers = (0..3).map(|i| {
        let party = Party::new(fresh.open());
        tokio::spawn(async move {
            let mut queue = party.queue(&format!("worker-{i}"));
            let mut mine = Vec::new();
            while let Look::Claimed(lease) = queue.look().await.unwrap() {
                mine.push(lease.id().to_string());
            }
            mine
        })
    });
    let mut claimed: Vec<_> = join_all(workers).await.into_iter().flat_map(Result::unwrap).collect();
    claimed.sort();
    assert_eq!(claimed, jobs);
}

pub(super) async fn cancelling_while_the_owner_writes_loses_neither(fresh: &Fresh) {
    let owner = Party::new(fresh.open());
    owner.submit("a").await;
    let lease = owner.claim("worker").await;
    let admin = Party::new(fresh.open()).admin();
    let beats = async {
        let mut n_beats = 0;
        for _ in 0..10 {
            n_beats += u64::from(lease.beat(&progress(n_beats)).await.is_ok());
        }
        n_beats
    };
    let a = id("a");
    let (n_beats, cancelled) = futures::future::join(beats, admin.cancel(&a)).await;
    let cancelled = cancelled.unwrap();
    assert_eq!(admin.job(&a).await.unwrap(), cancelled);
    // Created, claimed, and then nothing but heartbeats and the end.
    assert_eq!((cancelled.status, cancelled.rev), (Status::Cancelled, n_beats + 3));
}

pub(super) async fn two_submitters_of_one_job_make_one(fresh: &Fresh) {
    let submitted = join_all((0..4).map(|i| {
        let admin = Party::new(fresh.open()).admin();
        let mut manifest = manifest("a");
        // Two want the same, the others something else each.
        manifest.video_id = [1, 1, 2, 3][i];
        async move { admin.submit(manifest).await }
    }))
    .await;
    let there = Party::new(fresh.open()).admin().job(&id("a")).await.unwrap();
    for (result, video_id) in submitted.into_iter().zip([1, 1, 2, 3]) {
        match result {
            Ok(manifest) => assert_eq!(manifest, there),
            Err(Error::Forbidden { id, .. }) => assert_eq!(id, there.job_id, "video {video_id}"),
            Err(error) => panic!("{error:?}"),
        }
    }
    assert_eq!((there.status, there.rev), (Status::Pending, 1));
}
