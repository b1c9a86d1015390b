//! The number of requests per operation, which is what R2 bills.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jobs::bucket::{Bucket, BulkTransfer, Condition, ETag, Entry, Object, PutOutcome, RemoteBucket};
use jobs::catalog::Catalog;
use jobs::queue::PollOutcome;
use jobs::transfer::FileDigest;
use jobs::{Refusal, Status, Timing};
use s3_fixture::{FakeR2, Op};

use crate::support::{Party, fake, id, manifest, progress, publish, remote, settings};

fn party(server: &FakeR2) -> Party {
    Party::new(remote(&settings(server.connection())))
}

/// Adds manifests of imported jobs.
fn put_finished(server: &FakeR2, n_jobs: usize) {
    for i in 0..n_jobs {
        let mut job = manifest(&format!("job-{i:05}"));
        job.status = jobs::Status::Imported;
        job.note("imported", time::OffsetDateTime::UNIX_EPOCH);
        server.put(&job.job_id.manifest_key(), job.to_bytes());
    }
}

/// The numbers of list, get and all requests since the last call.
fn requests(server: &FakeR2) -> [usize; 3] {
    let counts = server.counts();
    server.clear_log();
    [counts.of(Op::ListObjects), counts.of(Op::GetObject), counts.total()]
}

#[tokio::test]
async fn an_idle_worker_only_lists() {
    for (n_jobs, n_pages) in [(0, 1), (1_500, 2)] {
        let server = fake();
        put_finished(&server, n_jobs);
        let party = party(&server);
        let mut queue = party.queue("worker");
        queue.poll().await.unwrap();
        server.clear_log();
        for _ in 0..3 {
            assert!(matches!(queue.poll().await.unwrap(), PollOutcome::Idle { n_processing: 0, .. }));
            assert_eq!(requests(&server), [n_pages, 0, n_pages]);
        }
    }
}

#[tokio::test]
async fn a_new_reader_gets_finished_jobs_from_the_index() {
    let server = fake();
    put_finished(&server, 1_500);
    let party = party(&server);
    let mut first = Catalog::new(party.bucket.clone(), party.env.clone());
    first.refresh().await.unwrap();
    // Every manifest once, and the index twice: a read that finds nothing, and a write.
    assert_eq!(requests(&server), [2, 1_501, 1_504]);
    let mut second = Catalog::new(party.bucket.clone(), party.env.clone());
    second.refresh().await.unwrap();
    assert_eq!(second.jobs().count(), 1_500);
    assert_eq!(requests(&server), [2, 1, 3]);
    // Only manifests that are new or have changed are read.
    let mut job = manifest("job-00007");
    job.video_id = 99;
    server.put("jobs/job-00007.json", job.to_bytes());
    server.put("jobs/new.json", manifest("new").to_bytes());
    let mut third = Catalog::new(party.bucket.clone(), party.env.clone());
    third.refresh().await.unwrap();
    assert_eq!(requests(&server), [2, 3, 5]);
    assert_eq!(third.job(&id("job-00007")).unwrap().manifest.video_id, 99);
    assert_eq!(third.jobs().count(), 1_501);
}

#[tokio::test]
async fn an_invalid_index_is_ignored() {
    for index in ["", "nonsense", "{\"layout\": 2, \"jobs\": []}", "{\"layout\": 1, \"jobs\": [{}]}"] {
        let server = fake();
        put_finished(&server, 3);
        server.put("index/jobs.json", index);
        let party = party(&server);
        let mut catalog = Catalog::new(party.bucket.clone(), party.env.clone());
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
    // The list, the index, the manifest, and the claim.
    assert_eq!(requests(&server), [1, 2, 4]);
}

#[tokio::test]
async fn a_heartbeat_costs_one_write_and_publishing_three() {
    let server = fake();
    let party = party(&server);
    party.submit("a").await;
    let lease = party.claim("worker").await;
    server.clear_log();
    lease.heartbeat(&progress(1)).await.unwrap();
    assert_eq!((server.counts().class_a(), server.counts().total()), (1, 1));
    server.clear_log();
    publish(&lease, 1).await.unwrap();
    // Writes: heartbeat, results, completion. Reads: whether results exist.
    assert_eq!((server.counts().class_a(), server.counts().class_b()), (3, 1));
}

/// Counts the writes to a bucket in memory, which works with paused time.
#[derive(Debug)]
struct Counting {
    inner: RemoteBucket<object_store::memory::InMemory>,
    n_writes: AtomicUsize,
}

#[async_trait::async_trait]
impl Bucket for Counting {
    fn location(&self) -> String {
        self.inner.location()
    }
    async fn get(&self, key: &str, limit_bytes: u64) -> jobs::Result<Option<Object>> {
        self.inner.get(key, limit_bytes).await
    }
    async fn head(&self, key: &str) -> jobs::Result<Option<(u64, ETag)>> {
        self.inner.head(key).await
    }
    async fn put(&self, key: &str, body: bytes::Bytes, condition: Condition<'_>) -> jobs::Result<PutOutcome> {
        self.n_writes.fetch_add(1, Ordering::Relaxed);
        self.inner.put(key, body, condition).await
    }
    async fn put_file(
        &self,
        key: &str,
        file: &std::path::Path,
        content: &FileDigest,
        condition: Condition<'_>,
    ) -> jobs::Result<PutOutcome> {
        self.n_writes.fetch_add(1, Ordering::Relaxed);
        self.inner.put_file(key, file, content, condition).await
    }
    async fn list(&self, prefix: &str) -> jobs::Result<Vec<Entry>> {
        self.inner.list(prefix).await
    }
    async fn delete(&self, key: &str) -> jobs::Result<()> {
        self.inner.delete(key).await
    }
    fn bulk_transfer(&self) -> BulkTransfer<'_> {
        self.inner.bulk_transfer()
    }
    async fn presigned(&self, key: &str, valid: Duration) -> jobs::Result<Option<String>> {
        self.inner.presigned(key, valid).await
    }
}

#[tokio::test(start_paused = true)]
async fn an_owner_writes_less_than_once_per_ten_seconds() {
    let bucket = Arc::new(Counting { inner: RemoteBucket::memory(), n_writes: AtomicUsize::new(0) });
    let party = Party::new(bucket.clone());
    party.submit("a").await;
    let lease = party.claim("worker").await;
    let before = bucket.n_writes.load(Ordering::Relaxed);
    let hour = Duration::from_secs(3600);
    tokio::time::timeout(hour, lease.keep_alive(|| progress(1))).await.unwrap_err();
    let n_writes = bucket.n_writes.load(Ordering::Relaxed) - before;
    let n_heartbeats = (hour.as_secs() / Timing::default().heartbeat.as_secs()) as usize;
    // One manifest and one status object per heartbeat; the first ones come sooner.
    assert!((2 * n_heartbeats - 2..=2 * n_heartbeats + 1).contains(&n_writes), "{n_writes} writes");
    assert!(n_writes <= 360);
    // It stops when it no longer owns the job.
    party.admin().cancel(&id("a")).await.unwrap();
    let refusal = tokio::time::timeout(hour, lease.keep_alive(|| progress(1))).await.unwrap();
    assert_eq!(refusal, Refusal::StatusChanged { status: Status::Cancelled });
}

#[tokio::test]
async fn an_idle_worker_polls_less_and_less_often() {
    let party = Party::new(Arc::new(RemoteBucket::memory()));
    let mut queue = party.queue("worker");
    let timing = Timing::default();
    let mut pauses = Vec::new();
    for _ in 0..12 {
        match queue.poll().await.unwrap() {
            PollOutcome::Idle { pause, .. } => pauses.push(pause),
            claimed @ PollOutcome::Claimed(_) => panic!("{claimed:?}"),
        }
    }
    assert!(pauses.is_sorted(), "{pauses:?}");
    assert!(pauses[0] <= timing.poll && pauses[11] <= timing.poll_idle && pauses[11] > timing.poll);
    // While another worker processes a job, its death must be noticed in time.
    party.submit("a").await;
    party.claim("other").await;
    for _ in 0..4 {
        match queue.poll().await.unwrap() {
            PollOutcome::Idle { pause, .. } => assert!(pause <= timing.poll_watching, "{pause:?}"),
            claimed @ PollOutcome::Claimed(_) => panic!("{claimed:?}"),
        }
    }
}
