//! What it costs: requests, as they are billed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jobs::Timing;
use jobs::bucket::{Bucket, Bulk, Condition, ETag, Entry, Object, RemoteBucket, Written};
use jobs::catalog::Catalog;
use jobs::queue::Look;
use s3_fixture::{FakeR2, Op};

use crate::support::{Party, fake, id, manifest, progress, publish, remote, settings};

fn party(server: &FakeR2) -> Party {
    Party::new(remote(&settings(server.connection())))
}

/// Registers of jobs that were imported long ago.
fn put_finished(server: &FakeR2, n_jobs: usize) {
    for i in 0..n_jobs {
        let mut job = manifest(&format!("job-{i:05}"));
        job.status = jobs::Status::Imported;
        job.note("imported", time::OffsetDateTime::UNIX_EPOCH);
        server.put(&job.job_id.register(), job.to_bytes());
    }
}

/// Requests since the last call: lists, gets, all.
fn requests(server: &FakeR2) -> [usize; 3] {
    let counts = server.counts();
    server.clear_log();
    [counts.of(Op::ListObjects), counts.of(Op::GetObject), counts.total()]
}

#[tokio::test]
async fn an_idle_worker_lists_and_does_nothing_else() {
    for (n_jobs, n_pages) in [(0, 1), (1_500, 2)] {
        let server = fake();
        put_finished(&server, n_jobs);
        let party = party(&server);
        let mut queue = party.queue("worker");
        queue.look().await.unwrap();
        server.clear_log();
        for _ in 0..3 {
            assert!(matches!(queue.look().await.unwrap(), Look::Nothing { n_processing: 0, .. }));
            assert_eq!(requests(&server), [n_pages, 0, n_pages]);
        }
    }
}

#[tokio::test]
async fn a_new_reader_takes_finished_jobs_from_the_index() {
    let server = fake();
    put_finished(&server, 1_500);
    let party = party(&server);
    let mut first = Catalog::new(party.bucket.clone(), party.host.clone());
    first.refresh().await.unwrap();
    // Everything once, and the index: read in vain, then written.
    assert_eq!(requests(&server), [2, 1_501, 1_504]);
    let mut second = Catalog::new(party.bucket.clone(), party.host.clone());
    second.refresh().await.unwrap();
    assert_eq!(second.jobs().count(), 1_500);
    assert_eq!(requests(&server), [2, 1, 3]);
    // One that changed since is read, and only that.
    let mut job = manifest("job-00007");
    job.video_id = 99;
    server.put("jobs/job-00007.json", job.to_bytes());
    server.put("jobs/new.json", manifest("new").to_bytes());
    let mut third = Catalog::new(party.bucket.clone(), party.host.clone());
    third.refresh().await.unwrap();
    assert_eq!(requests(&server), [2, 3, 5]);
    assert_eq!(third.job(&id("job-00007")).unwrap().manifest.video_id, 99);
    assert_eq!(third.jobs().count(), 1_501);
}

#[tokio::test]
async fn an_index_that_is_nonsense_costs_requests_and_nothing_else() {
    for index in ["", "nonsense", "{\"layout\": 2, \"jobs\": []}", "{\"layout\": 1, \"jobs\": [{}]}"] {
        let server = fake();
        put_finished(&server, 3);
        server.put("index/jobs.json", index);
        let party = party(&server);
        let mut catalog = Catalog::new(party.bucket.clone(), party.host.clone());
        catalog.refresh().await.unwrap();
        assert_eq!((catalog.jobs().count(), requests(&server)), (3, [1, 4, 5]), "{index:?}");
    }
}

#[tokio::test]
async fn a_claim_costs_one_write() {
    let server = fake();
    let party = party(&server);
    party.submit("a").await;
    server.clear_log();
    party.claim("worker").await;
    // The list, the index, the register, and the claim.
    assert_eq!(requests(&server), [1, 2, 4]);
}

#[tokio::test]
async fn a_beat_costs_one_write_and_an_end_three() {
    let server = fake();
    let party = party(&server);
    party.submit("a").await;
    let lease = party.claim("worker").await;
    server.clear_log();
    lease.beat(&progress(1)).await.unwrap();
    assert_eq!((server.counts().class_a(), server.counts().total()), (1, 1));
    server.clear_log();
    publish(&lease, 1).await.unwrap();
    // A sign of life, the results, the completion; and a look whether results are there.
    assert_eq!((server.counts().class_a(), server.counts().class_b()), (3, 1));
}

/// Counts the writes of a bucket in memory, so that time can be the test's.
#[derive(Debug)]
struct Counting {
    inner: RemoteBucket<object_store::memory::InMemory>,
    n_writes: AtomicUsize,
}

#[async_trait::async_trait]
impl Bucket for Counting {
    fn place(&self) -> String {
        self.inner.place()
    }
    async fn get(&self, key: &str, limit_bytes: u64) -> jobs::Result<Option<Object>> {
        self.inner.get(key, limit_bytes).await
    }
    async fn head(&self, key: &str) -> jobs::Result<Option<(u64, ETag)>> {
        self.inner.head(key).await
    }
    async fn put(&self, key: &str, body: bytes::Bytes, condition: Condition<'_>) -> jobs::Result<Written> {
        self.n_writes.fetch_add(1, Ordering::Relaxed);
        self.inner.put(key, body, condition).await
    }
    async fn put_file(
        &self,
        key: &str,
        file: &std::path::Path,
        condition: Condition<'_>,
    ) -> jobs::Result<Written> {
        self.n_writes.fetch_add(1, Ordering::Relaxed);
        self.inner.put_file(key, file, condition).await
    }
    async fn list(&self, prefix: &str) -> jobs::Result<Vec<Entry>> {
        self.inner.list(prefix).await
    }
    async fn delete(&self, key: &str) -> jobs::Result<()> {
        self.inner.delete(key).await
    }
    fn bulk(&self) -> Bulk<'_> {
        self.inner.bulk()
    }
    async fn presigned(&self, key: &str, valid: Duration) -> jobs::Result<Option<String>> {
        self.inner.presigned(key, valid).await
    }
}

#[tokio::test(start_paused = true)]
async fn an_owner_writes_less_than_once_in_ten_seconds() {
    let bucket = Arc::new(Counting { inner: RemoteBucket::memory(), n_writes: AtomicUsize::new(0) });
    let party = Party::new(bucket.clone());
    party.submit("a").await;
    let lease = party.claim("worker").await;
    let before = bucket.n_writes.load(Ordering::Relaxed);
    let hour = Duration::from_secs(3600);
    tokio::time::timeout(hour, lease.keep_alive(|| progress(1))).await.unwrap_err();
    let n_writes = bucket.n_writes.load(Ordering::Relaxed) - before;
    let n_beats = (hour.as_secs() / Timing::default().heartbeat.as_secs()) as usize;
    // One register and one status object for each heartbeat, the first ones sooner.
    assert!((2 * n_beats - 2..=2 * n_beats + 1).contains(&n_writes), "{n_writes} writes");
    assert!(n_writes <= 360);
    // And none to speak of when the job is not its own any more.
    party.admin().cancel(&id("a")).await.unwrap();
    let why = tokio::time::timeout(hour, lease.keep_alive(|| progress(1))).await.unwrap();
    assert_eq!(why, "is cancelled now");
}

/// Ten minutes of idling, by the pauses that the queue asks for.
#[tokio::test]
async fn an_idle_worker_looks_less_and_less_often() {
    let party = Party::new(Arc::new(RemoteBucket::memory()));
    let mut queue = party.queue("worker");
    let timing = Timing::default();
    let mut pauses = Vec::new();
    for _ in 0..12 {
        match queue.look().await.unwrap() {
            Look::Nothing { pause, .. } => pauses.push(pause),
            claimed @ Look::Claimed(_) => panic!("{claimed:?}"),
        }
    }
    assert!(pauses.is_sorted(), "{pauses:?}");
    assert!(pauses[0] <= timing.poll && pauses[11] <= timing.poll_idle && pauses[11] > timing.poll);
    // While somebody works on a job, its death must be noticed in time.
    party.submit("a").await;
    party.claim("other").await;
    for _ in 0..4 {
        match queue.look().await.unwrap() {
            Look::Nothing { pause, .. } => assert!(pause <= timing.poll_watching, "{pause:?}"),
            claimed @ Look::Claimed(_) => panic!("{claimed:?}"),
        }
    }
}
