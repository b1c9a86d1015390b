//! Results that come home by themselves.

use courtside_http::Options;
use serde_json::{Value, json};

use super::site::{Site, clip, options, until};
use super::worker::{LOCAL, claim, found, publish, work};

#[tokio::test(flavor = "multi_thread")]
async fn results_are_imported_as_soon_as_they_are_there() {
    let site = Site::new().working();
    let id = site.video("game.mkv").await;
    let job = site.detect(id).await;
    work(&site).await;
    // The detections are there first, then what is told of them, then the register's word.
    until("the end of the import", async || {
        site.get("/metrics").await.text().contains("courtside_imports_total 1\n").then_some(())
    })
    .await;
    let done = site.job(&job).await;
    assert_eq!(done["status"], "completed");
    assert_eq!(
        (&done["metadata"]["state"], &done["progress"]["percentage"]),
        (&json!("imported"), &json!(100.0))
    );
    for (name, want) in
        [("detections", 28), ("total_detections", 28), ("frames_processed", 14), ("tracks", 2)]
    {
        assert_eq!(done["result"][name], want, "{name}");
    }
    let video = site.get(&format!("/api/videos/{id}")).await.expect(200);
    assert_eq!((&video["processed"], &video["processing_status"]), (&json!(true), &json!("completed")));
    let detections = site.get(&format!("/api/videos/{id}/detections?frame_start=13")).await.expect(200);
    assert_eq!(
        detections["detections"][1]["bbox"],
        json!({ "x": 13.0, "y": 2.5, "width": 10.0, "height": 20.25 })
    );
    // The register says so, too, and the job cannot be taken back.
    let id = jobs::JobId::new(job.clone()).unwrap();
    let (_, manifest) = site.client.find(&id).await.unwrap();
    assert_eq!(manifest.status, jobs::Status::Imported);
    assert!(site.delete(&format!("/api/jobs/{job}")).await.detail(409).contains("is imported"));
    let metrics = site.get("/metrics").await.text();
    assert!(metrics.contains("courtside_imports_total 1\n"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn until_then_a_job_is_not_completed() {
    // Nobody imports yet: the background work was not begun.
    let site = Site::new();
    let id = site.video("game.mkv").await;
    let job = site.detect(id).await;
    work(&site).await;
    let importing = site.job(&job).await;
    assert_eq!(
        (&importing["status"], &importing["progress"]["message"]),
        (&json!("processing"), &json!("importing"))
    );
    assert_eq!(importing["metadata"]["state"], "importing");
    let list = site.get("/api/jobs?status=processing").await.expect(200);
    assert_eq!(list["total"], 1);
    let site = site.working();
    site.job_when(&job, |job| job["status"] == "completed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_automatic_import_results_wait() {
    let site = Site::with(Options { auto_import: false, ..options() }).working();
    let id = site.video("game.mkv").await;
    let job = site.detect(id).await;
    work(&site).await;
    // The watch goes on: it notes in the library what it saw.
    until("the library's row", async || {
        let row = site.library().job(&job).unwrap().unwrap();
        (row.status == store::JobStatus::Completed).then_some(())
    })
    .await;
    let body = site.job(&job).await;
    assert_eq!(
        (&body["status"], &body["progress"]["message"]),
        (&json!("completed"), &json!("ready to import"))
    );
    assert_eq!(
        site.get(&format!("/api/videos/{id}/detections/stats")).await.expect(200)["total_detections"],
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_results_fail_the_import_and_not_the_next() {
    let site = Site::new();
    let id = site.video("game.mkv").await;
    let job = site.detect(id).await;
    publish(&claim(&site).await, &found()).await;
    let results = site.folder.path().join("basketball-analyzer/results").join(format!("{job}.json"));
    let whole = std::fs::read(&results).unwrap();
    std::fs::write(&results, &whole[..whole.len() / 2]).unwrap();
    let site = site.working();
    let failed = site.job_when(&job, |job| job["status"] == "failed").await;
    assert_eq!(
        (&failed["progress"]["message"], &failed["metadata"]["state"]),
        (&json!("import failed"), &json!("ready_to_import"))
    );
    assert!(failed["error"].as_str().unwrap().starts_with("the results could not be imported: "), "{failed}");
    std::fs::copy(clip(), site.videos().join("other.mkv")).unwrap();
    let other = site.video("other.mkv").await;
    let next = site.detect(other).await;
    work(&site).await;
    site.job_when(&next, |job| job["status"] == "completed").await;
    let metrics = site.get("/metrics").await.text();
    assert!(metrics.contains("courtside_import_failures_total 1\n"), "{metrics}");
    // Put right, it is imported when somebody asks for it.
    std::fs::write(&results, &whole).unwrap();
    site.post(&format!("/api/jobs/{job}/retry"), &Value::Null).await.expect(202);
    let done = site.job_when(&job, |job| job["status"] == "completed").await;
    assert_eq!(done["result"]["detections"], 28);
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_of_the_folder_are_imported_while_the_server_is_away() {
    let bucket = s3_fixture::FakeR2::start();
    let site = Site::remote(&bucket);
    let id = site.video("game.mkv").await;
    let reply = site.post(&format!("/api/videos/{id}/detect?target=local"), &Value::Null).await.expect(202);
    let job = reply["job_id"].as_str().unwrap();
    site.waiting(job).await;
    bucket.stop();
    let folder = site.client.bucket(LOCAL).unwrap();
    let name = jobs::queue::Worker { worker_id: "w".into(), host: None };
    let env = jobs::env::SystemEnv::shared();
    let mut queue = jobs::queue::Queue::new(folder, env, jobs::Timing::default(), name, |_| true);
    let jobs::queue::PollOutcome::Claimed(lease) = queue.poll().await.unwrap() else {
        panic!("nothing to claim")
    };
    publish(&lease, &found()).await;
    let site = site.working();
    let done = site.job_when(job, |job| job["status"] == "completed").await;
    assert_eq!((&done["metadata"]["target"], &done["result"]["detections"]), (&json!("local"), &json!(28)));
}
