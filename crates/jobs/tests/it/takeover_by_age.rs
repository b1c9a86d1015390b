//! A new observer learns from the bucket's clock how long an owner has been silent.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use jobs::Timing;
use jobs::bucket::FolderBucket;
use jobs::queue::PollOutcome;

use crate::support::{Fresh, Party, progress};

fn party(folder: &Path) -> Party {
    Party::new(Arc::new(FolderBucket::open(folder).unwrap()))
}

/// A folder with a job whose owner wrote its manifest this long ago.
async fn owned_since(age: Duration) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let owner = party(folder.path());
    owner.submit("a").await;
    owner.claim("owner").await.heartbeat(&progress(5)).await.unwrap();
    let manifest = std::fs::File::options().write(true).open(folder.path().join("jobs/a.json")).unwrap();
    manifest.set_modified(SystemTime::now() - age).unwrap();
    folder
}

#[tokio::test]
async fn a_new_worker_does_not_wait_for_a_lease_that_expired_before_it_started() {
    let folder = owned_since(Duration::from_secs(600)).await;
    let new = party(folder.path());
    let mut queue = new.queue("new");
    let PollOutcome::Idle { silent, .. } = queue.poll().await.unwrap() else { panic!("claimed at once") };
    assert_eq!(silent.len(), 1);
    assert_eq!(silent[0].takeover_in, Timing::default().least_watch());
    assert!(silent[0].silent_for >= Duration::from_secs(600));
    new.env.advance(Timing::default().least_watch());
    assert!(matches!(queue.poll().await.unwrap(), PollOutcome::Claimed(_)));
}

#[tokio::test]
async fn the_age_of_a_manifest_counts_towards_the_lease() {
    let folder = owned_since(Duration::from_secs(100)).await;
    let new = party(folder.path());
    let mut queue = new.queue("new");
    let PollOutcome::Idle { silent, .. } = queue.poll().await.unwrap() else { panic!("claimed at once") };
    assert!(silent[0].takeover_in <= Duration::from_secs(80), "{silent:?}");
    new.env.advance(Duration::from_secs(60));
    assert!(matches!(queue.poll().await.unwrap(), PollOutcome::Idle { .. }));
    new.env.advance(Duration::from_secs(20));
    assert!(matches!(queue.poll().await.unwrap(), PollOutcome::Claimed(_)));
}

#[tokio::test]
async fn an_owner_with_a_wrong_time_keeps_its_job_while_it_sends_heartbeats() {
    let folder = tempfile::tempdir().unwrap();
    let owner = party(folder.path());
    owner.submit("a").await;
    let lease = owner.claim("owner").await;
    let new = party(folder.path());
    let mut queue = new.queue("new");
    for i in 0..20 {
        lease.heartbeat(&progress(i)).await.unwrap();
        let manifest = std::fs::File::options().write(true).open(folder.path().join("jobs/a.json")).unwrap();
        manifest.set_modified(SystemTime::now() - Duration::from_secs(600 + i)).unwrap();
        let polled = queue.poll().await.unwrap();
        assert!(matches!(polled, PollOutcome::Idle { n_processing: 1, .. }), "{polled:?}");
        new.env.advance(Timing::default().heartbeat);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_tells_the_age_of_its_objects_by_its_own_clock() {
    let fresh = tokio::task::spawn_blocking(Fresh::fake_r2).await.unwrap();
    let party = Party::new(fresh.open());
    party.submit("a").await;
    let listed = party.bucket.list("jobs/").await.unwrap();
    assert!(listed[0].age.is_some_and(|age| age < Duration::from_secs(3600)), "{listed:?}");
}
