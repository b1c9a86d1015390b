//! Older programs, with plain, unconditional writes and none of the additional fields; and objects that are
//! not manifests.

use std::time::Duration;

use jobs::admin::is_importable;
use jobs::bucket::{Bucket, Condition};
use jobs::catalog::Catalog;
use jobs::queue::PollOutcome;
use jobs::results::{Expected, read_results};
use jobs::{Error, Status, Timing};
use serde_json::{Value, json};

use super::objects::{body, put, text};
use crate::support::{Fresh, Party, id, progress, publish};

/// The manifest that an older submitter writes.
fn old_manifest() -> Value {
    json!({
        "job_id": "a", "video_id": 3, "status": "pending", "created_at": "2025-01-02T03:04:05.678901",
        "parameters": {"sample_interval": 2, "confidence_threshold": 0.4, "video_key": "videos/a.mov", "team": "home"},
        "started_at": null, "completed_at": null, "error": null, "frames_processed": null,
        "priority": {"level": 9}
    })
}

async fn write(bucket: &dyn Bucket, value: &Value) {
    put(bucket, "jobs/a.json", &value.to_string(), Condition::Always).await;
}

async fn read_manifest(bucket: &dyn Bucket) -> Value {
    serde_json::from_str(&text(bucket, "jobs/a.json").await.unwrap()).unwrap()
}

/// The manifest after an older worker took the job.
fn taken(mut value: Value) -> Value {
    value["status"] = json!("processing");
    value["worker_id"] = json!("old-worker");
    value["started_at"] = json!("2025-01-02T03:05:00Z");
    value
}

pub(super) async fn an_older_submitters_job_is_processed_and_its_fields_are_kept(fresh: &Fresh) {
    let party = Party::new(fresh.open());
    write(&*party.bucket, &old_manifest()).await;
    let lease = party.claim("worker").await;
    let job = lease.manifest().await;
    assert_eq!((job.parameters.sample_interval, job.video_key().as_str()), (2, "videos/a.mov"));
    lease.heartbeat(&progress(1)).await.unwrap();
    publish(&lease, 1).await.unwrap();
    party.admin().mark_imported(&id("a")).await.unwrap();
    let kept = read_manifest(&*party.bucket).await;
    assert_eq!(kept["status"], "imported");
    for field in ["job_id", "video_id", "created_at", "priority"] {
        assert_eq!(kept[field], old_manifest()[field], "{field}");
    }
    for field in ["sample_interval", "confidence_threshold", "video_key", "team"] {
        assert_eq!(kept["parameters"][field], old_manifest()["parameters"][field], "{field}");
    }
}

pub(super) async fn an_older_workers_results_can_be_imported(fresh: &Fresh) {
    let party = Party::new(fresh.open());
    let (bucket, admin) = (&*party.bucket, party.admin());
    party.submit("a").await;
    // It reads this program's manifest and writes back only the fields that it knows.
    let mut value = taken(old_manifest());
    value["video_id"] = json!(7);
    write(bucket, &value).await;
    assert!(admin.job(&id("a")).await.unwrap().is_foreign());
    let results = json!({
        "job_id": "a", "video_id": 7, "completed_at": "2025-01-02T04:00:00+00:00", "frames_processed": 10,
        "detections": [{"frame": 0, "track_id": 1, "bbox": [1.5, 2, 3, 4], "confidence": 0.75}]
    });
    put(bucket, "results/a.json", &results.to_string(), Condition::Always).await;
    value["status"] = json!("completed");
    value["completed_at"] = json!("2025-01-02T04:00:00.123456+00:00");
    write(bucket, &value).await;
    let job = admin.job(&id("a")).await.unwrap();
    assert!(is_importable(&job) && job.result.is_none());
    let found = bucket.get("results/a.json", 1 << 20).await.unwrap().unwrap();
    let mut n_detections = 0;
    let expected = Expected { video_id: Some(7), ..Expected::of_job("a") };
    read_results(&found.bytes[..], &expected, |batch| {
        n_detections += batch.len();
        Ok::<_, std::io::Error>(())
    })
    .unwrap();
    assert_eq!(n_detections, 1);
    assert_eq!(admin.mark_imported(&id("a")).await.unwrap().status, Status::Imported);
    assert_eq!(read_manifest(bucket).await["completed_at"], "2025-01-02T04:00:00.123456+00:00");
}

/// Polls for `time` as a worker would, and returns the last outcome.
async fn watch(queue: &mut jobs::queue::Queue, party: &Party, time: Duration) -> PollOutcome {
    let mut left = time;
    loop {
        let outcome = queue.poll().await.unwrap();
        let step = Duration::from_secs(60).min(left);
        if step.is_zero() || matches!(outcome, PollOutcome::Claimed(_)) {
            return outcome;
        }
        party.env.advance(step);
        left -= step;
    }
}

pub(super) async fn an_older_worker_that_reports_progress_keeps_its_job(fresh: &Fresh) {
    let party = Party::new(fresh.open());
    write(&*party.bucket, &taken(old_manifest())).await;
    let mut queue = party.queue("worker");
    let almost = Timing::default().foreign_lease - Duration::from_secs(240);
    for current in 0..2 {
        let status =
            json!({"job_id": "a", "current": current, "total": -1, "message": "", "updated_at": "x"});
        put(&*party.bucket, "status/a.json", &status.to_string(), Condition::Always).await;
        let outcome = watch(&mut queue, &party, almost).await;
        assert!(matches!(outcome, PollOutcome::Idle { n_processing: 1, .. }), "{outcome:?}");
    }
    // The observer did not change the manifest.
    assert_eq!(read_manifest(&*party.bucket).await, taken(old_manifest()));
}

pub(super) async fn an_older_worker_without_progress_loses_its_job(fresh: &Fresh) {
    let party = Party::new(fresh.open());
    write(&*party.bucket, &taken(old_manifest())).await;
    let mut queue = party.queue("worker");
    let outcome = watch(&mut queue, &party, Timing::default().foreign_lease - Duration::from_secs(60)).await;
    assert!(matches!(outcome, PollOutcome::Idle { n_processing: 1, .. }), "{outcome:?}");
    let outcome = watch(&mut queue, &party, Duration::from_secs(600)).await;
    let PollOutcome::Claimed(lease) = outcome else { panic!("{outcome:?}") };
    let job = lease.manifest().await;
    assert_eq!((job.attempt, job.failures), (1, 1));
    assert_eq!(job.error.as_deref(), Some("attempt 0: old-worker stopped responding"));
    // The older worker resumes and overwrites the manifest. The new owner notices that it lost the lease.
    write(&*party.bucket, &taken(old_manifest())).await;
    lease.heartbeat(&progress(1)).await.unwrap_err();
}

pub(super) async fn invalid_manifests_are_reported_and_do_not_affect_other_jobs(fresh: &Fresh) {
    let party = Party::new(fresh.open());
    let (bucket, admin) = (&*party.bucket, party.admin());
    party.submit("good").await;
    let without = |field: &str| {
        let mut value = old_manifest();
        value.as_object_mut().unwrap().remove(field);
        value.to_string()
    };
    let objects = [
        ("jobs/README.txt", "hello".to_owned()),
        ("jobs/a.json", without("video_id")),
        ("jobs/a b.json", old_manifest().to_string()),
        ("jobs/deeper/a.json", old_manifest().to_string()),
        ("jobs/empty.json", String::new()),
        ("jobs/huge.json", format!("{{\"x\": \"{}\"}}", "y".repeat(1 << 20))),
        ("jobs/list.json", "[1, 2]".to_owned()),
        ("jobs/other.json", old_manifest().to_string()),
        ("jobs/torn.json", without("status")[..50].to_owned()),
    ];
    for (key, content) in &objects {
        put(bucket, key, content, Condition::Always).await;
    }
    let mut catalog = Catalog::new(party.bucket.clone(), party.env.clone());
    for _ in 0..2 {
        catalog.refresh().await.unwrap();
        let named: Vec<_> = catalog.unreadable().iter().map(|u| u.key.as_str()).collect();
        let mut want = objects.each_ref().map(|(key, _)| *key);
        want.sort();
        assert_eq!(named, want);
        assert!(catalog.unreadable().iter().all(|u| !u.detail.is_empty()));
        assert_eq!(catalog.jobs().count(), 1);
    }
    let mut queue = party.queue("worker");
    let PollOutcome::Claimed(lease) = queue.poll().await.unwrap() else {
        panic!("the valid job was not claimed")
    };
    assert_eq!((lease.id(), queue.unreadable().len()), (&id("good"), objects.len()));
    assert!(matches!(admin.job(&id("torn")).await, Err(Error::Unreadable { .. })));
    for (key, content) in &objects {
        assert_eq!(text(bucket, key).await.map(|t| t.len()), Some(content.len()), "{key}");
    }
    // A fixed manifest is a job again; a removed one is no longer reported.
    put(bucket, "jobs/a.json", &old_manifest().to_string(), Condition::Always).await;
    admin.remove(&id("torn")).await.unwrap();
    catalog.refresh().await.unwrap();
    assert!(catalog.job(&id("a")).is_some());
    assert_eq!(catalog.unreadable().len(), objects.len() - 2);
}

pub(super) async fn a_manifest_with_a_newer_schema_is_not_changed(fresh: &Fresh) {
    let party = Party::new(fresh.open());
    let mut newer = old_manifest();
    newer["schema"] = json!(2);
    write(&*party.bucket, &newer).await;
    let mut queue = party.queue("worker");
    assert!(matches!(queue.poll().await.unwrap(), PollOutcome::Idle { .. }));
    assert!(queue.unreadable()[0].detail.contains("update courtside"));
    for result in [party.admin().cancel(&id("a")).await, party.admin().retry(&id("a")).await] {
        assert!(matches!(result, Err(Error::Unreadable { .. })), "{result:?}");
    }
    assert_eq!(read_manifest(&*party.bucket).await, newer);
}

/// Regression: a job whose manifest became invalid stayed in the catalog, and claiming it made every poll
/// fail.
pub(super) async fn a_manifest_that_became_invalid_is_not_claimed(fresh: &Fresh) {
    let party = Party::new(fresh.open());
    party.submit("a").await;
    let mut catalog = Catalog::new(party.bucket.clone(), party.env.clone());
    catalog.refresh().await.unwrap();
    assert!(catalog.job(&id("a")).is_some());
    party.bucket.put("jobs/a.json", body("nonsense"), Condition::Always).await.unwrap();
    catalog.refresh().await.unwrap();
    assert!(catalog.job(&id("a")).is_none());
    assert_eq!(catalog.unreadable().len(), 1);
}
