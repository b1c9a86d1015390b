//! Sweeping a bucket: what is old and needed by no job is moved or removed, and nothing else.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use jobs::bucket::{Condition, FolderBucket};
use jobs::env::Env;
use jobs::sweep::{SweepReport, sweep};

use crate::support::{Party, id, publish};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Makes every object of a folder appear as old as this.
fn make_older(folder: &Path, age: Duration) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => make_older(&path, age),
            false => {
                let file = std::fs::File::options().write(true).open(path).unwrap();
                file.set_modified(SystemTime::now() - age).unwrap();
            }
        }
    }
}

async fn put(party: &Party, key: &str) {
    party.bucket.put(key, "x".into(), Condition::Always).await.unwrap();
}

async fn exists(party: &Party, key: &str) -> bool {
    party.bucket.head(key).await.unwrap().is_some()
}

async fn swept(party: &Party) -> SweepReport {
    let env: Arc<dyn Env> = party.env.clone();
    sweep(&party.bucket, &env).await.unwrap()
}

/// A folder with an imported job `imported`, a completed one and a pending one.
async fn with_jobs(folder: &Path) -> Party {
    let party = Party::new(Arc::new(FolderBucket::open(folder).unwrap()));
    for (job, is_imported) in [("imported", true), ("completed", false)] {
        party.submit(job).await;
        publish(&party.claim("worker").await, 1).await.unwrap();
        if is_imported {
            party.admin().mark_imported(&id(job)).await.unwrap();
        }
    }
    party.submit("pending").await;
    party
}

#[tokio::test]
async fn manifests_that_were_imported_a_week_ago_are_moved_to_the_archive() {
    let folder = tempfile::tempdir().unwrap();
    let party = with_jobs(folder.path()).await;
    let before = std::fs::read(folder.path().join("jobs/imported.json")).unwrap();
    // As an older importer leaves it, without any of our fields.
    let theirs = r#"{"job_id":"theirs","video_id":1,"status":"imported","created_at":"2025-01-02T03:04:05Z",
        "parameters":{}}"#;
    party.bucket.put("jobs/theirs.json", theirs.into(), Condition::Always).await.unwrap();
    make_older(folder.path(), DAY * 6);
    assert_eq!(swept(&party).await, SweepReport::default());
    make_older(folder.path(), DAY * 8);
    assert_eq!(swept(&party).await, SweepReport { n_archived: 1, n_removed: 0 });
    assert!(!exists(&party, "jobs/imported.json").await);
    assert_eq!(std::fs::read(folder.path().join("archive/jobs/imported.json")).unwrap(), before);
    for kept in ["jobs/completed.json", "jobs/pending.json", "jobs/theirs.json", "results/imported.json"] {
        assert!(exists(&party, kept).await, "{kept}");
    }
    assert_eq!(swept(&party).await, SweepReport::default());
    // It is still found, and can be removed.
    let admin = party.admin();
    assert_eq!(admin.archived(&id("imported")).await.unwrap().unwrap().job_id, id("imported"));
    admin.remove(&id("imported")).await.unwrap();
    assert!(!exists(&party, "archive/jobs/imported.json").await);
    assert!(!exists(&party, "results/imported.json").await);
}

#[tokio::test]
async fn a_sweep_that_was_interrupted_is_completed_by_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let party = with_jobs(folder.path()).await;
    std::fs::create_dir_all(folder.path().join("archive/jobs")).unwrap();
    std::fs::copy(folder.path().join("jobs/imported.json"), folder.path().join("archive/jobs/imported.json"))
        .unwrap();
    make_older(folder.path(), DAY * 8);
    assert_eq!(swept(&party).await.n_archived, 1);
    assert!(!exists(&party, "jobs/imported.json").await);
    assert!(exists(&party, "archive/jobs/imported.json").await);
}

#[tokio::test]
async fn old_logs_and_checkpoints_are_removed_once_no_job_needs_them() {
    let folder = tempfile::tempdir().unwrap();
    let party = with_jobs(folder.path()).await;
    put(&party, "jobs/unreadable.json").await;
    let cases = [
        ("gone", false, false),
        ("completed", false, true),
        ("pending", true, true),
        ("unreadable", true, true),
    ];
    for (job, ..) in cases {
        put(&party, &format!("checkpoints/{job}/0001-000001/state")).await;
        put(&party, &format!("logs/{job}/0001.log")).await;
    }
    assert_eq!(swept(&party).await.n_removed, 0);
    make_older(folder.path(), DAY * 8);
    put(&party, "checkpoints/pending-soon/0001-000001/state").await;
    assert_eq!(swept(&party).await.n_removed, 3);
    for (job, keeps_checkpoints, keeps_logs) in cases {
        let checkpoint = exists(&party, &format!("checkpoints/{job}/0001-000001/state")).await;
        assert_eq!(checkpoint, keeps_checkpoints, "{job}");
        assert_eq!(exists(&party, &format!("logs/{job}/0001.log")).await, keeps_logs, "{job}");
    }
    assert!(exists(&party, "checkpoints/pending-soon/0001-000001/state").await);
}
