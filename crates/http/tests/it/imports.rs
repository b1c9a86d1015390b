//! Automatic import of results.

use courtside_http::ServerOptions;
use serde_json::{Value, json};

use super::fake_worker::{LOCAL, claim, complete_job, detections, publish};
use super::test_server::{TestServer, clip, default_options, until};

#[tokio::test(flavor = "multi_thread")]
async fn imports_results_automatically() {
    let server = TestServer::new().with_background_tasks();
    let id = server.add_video("game.mkv").await;
    let job = server.detect(id).await;
    complete_job(&server).await;
    // The import counter is updated last: after the detections, the row, and the manifest.
    until("the end of the import", async || {
        server.get("/metrics").await.text().contains("courtside_imports_total 1\n").then_some(())
    })
    .await;
    let done = server.job(&job).await;
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
    let video = server.get(&format!("/api/videos/{id}")).await.expect(200);
    assert_eq!((&video["processed"], &video["processing_status"]), (&json!(true), &json!("completed")));
    let detections = server.get(&format!("/api/videos/{id}/detections?frame_start=13")).await.expect(200);
    assert_eq!(
        detections["detections"][1]["bbox"],
        json!({ "x": 13.0, "y": 2.5, "width": 10.0, "height": 20.25 })
    );
    // The manifest is updated too, and the job can no longer be cancelled.
    let id = jobs::JobId::new(job.clone()).unwrap();
    let (_, manifest) = server.client.find_job(&id).await.unwrap();
    assert_eq!(manifest.status, jobs::Status::Imported);
    let refused = server.delete(&format!("/api/jobs/{job}")).await;
    assert!(refused.detail(409).contains("imported jobs cannot be cancelled"));
    let metrics = server.get("/metrics").await.text();
    assert!(metrics.contains("courtside_imports_total 1\n"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_processing_until_its_import_ends() {
    // Nothing is imported yet, because the background tasks are not running.
    let server = TestServer::new();
    let id = server.add_video("game.mkv").await;
    let job = server.detect(id).await;
    complete_job(&server).await;
    let importing = server.job(&job).await;
    assert_eq!(
        (&importing["status"], &importing["progress"]["message"]),
        (&json!("processing"), &json!("importing"))
    );
    assert_eq!(importing["metadata"]["state"], "importing");
    let list = server.get("/api/jobs?status=processing").await.expect(200);
    assert_eq!(list["total"], 1);
    let server = server.with_background_tasks();
    server.job_when(&job, |job| job["status"] == "completed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_automatic_import_results_stay_in_the_bucket() {
    let server =
        TestServer::with(ServerOptions { auto_import: false, ..default_options() }).with_background_tasks();
    let id = server.add_video("game.mkv").await;
    let job = server.detect(id).await;
    complete_job(&server).await;
    // Polling continues, and updates the library.
    until("the library's row", async || {
        let row = server.library().job(&job).unwrap().unwrap();
        (row.status == store::JobStatus::Completed).then_some(())
    })
    .await;
    let body = server.job(&job).await;
    assert_eq!(
        (&body["status"], &body["progress"]["message"]),
        (&json!("completed"), &json!("ready to import"))
    );
    assert_eq!(
        server.get(&format!("/api/videos/{id}/detections/stats")).await.expect(200)["total_detections"],
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn corrupt_results_fail_one_import_but_not_the_next() {
    let server = TestServer::new();
    let id = server.add_video("game.mkv").await;
    let job = server.detect(id).await;
    publish(&claim(&server).await, &detections()).await;
    let results = server.folder.path().join("basketball-analyzer/results").join(format!("{job}.json"));
    let intact = std::fs::read(&results).unwrap();
    std::fs::write(&results, &intact[..intact.len() / 2]).unwrap();
    let server = server.with_background_tasks();
    let failed = server.job_when(&job, |job| job["status"] == "failed").await;
    assert_eq!(
        (&failed["progress"]["message"], &failed["metadata"]["state"]),
        (&json!("import failed"), &json!("ready_to_import"))
    );
    assert!(failed["error"].as_str().unwrap().starts_with("cannot import the results: "), "{failed}");
    std::fs::copy(clip(), server.video_folder().join("other.mkv")).unwrap();
    let other = server.add_video("other.mkv").await;
    let next = server.detect(other).await;
    complete_job(&server).await;
    server.job_when(&next, |job| job["status"] == "completed").await;
    let metrics = server.get("/metrics").await.text();
    assert!(metrics.contains("courtside_import_failures_total 1\n"), "{metrics}");
    // Once the results are restored, a retry imports them.
    std::fs::write(&results, &intact).unwrap();
    server.post(&format!("/api/jobs/{job}/retry"), &Value::Null).await.expect(202);
    let done = server.job_when(&job, |job| job["status"] == "completed").await;
    assert_eq!(done["result"]["detections"], 28);
}

#[tokio::test(flavor = "multi_thread")]
async fn imports_from_the_folder_while_the_s3_server_is_down() {
    let bucket = s3_fixture::FakeR2::start();
    let server = TestServer::with_s3(&bucket);
    let id = server.add_video("game.mkv").await;
    let reply = server.post(&format!("/api/videos/{id}/detect?target=local"), &Value::Null).await.expect(202);
    let job = reply["job_id"].as_str().unwrap();
    server.job_when_queued(job).await;
    bucket.stop();
    let folder = server.client.bucket(LOCAL).unwrap();
    let name = jobs::queue::Worker { worker_id: "w".into(), host: None, machine: None };
    let env = jobs::env::SystemEnv::shared();
    let mut queue = jobs::queue::Queue::new(folder, env, jobs::Timing::default(), name, |_| true);
    let jobs::queue::PollOutcome::Claimed(lease) = queue.poll().await.unwrap() else {
        panic!("nothing to claim")
    };
    publish(&lease, &detections()).await;
    let server = server.with_background_tasks();
    let done = server.job_when(job, |job| job["status"] == "completed").await;
    assert_eq!((&done["metadata"]["target"], &done["result"]["detections"]), (&json!("local"), &json!(28)));
}
