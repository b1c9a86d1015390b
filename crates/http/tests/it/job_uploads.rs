//! Uploads of submitted videos to the bucket.

use client::submit::{Submission, prepare, upload};
use jobs::manifest::Parameters;
use s3_fixture::{FakeR2, Fault, Gate, Op};
use serde_json::{Value, json};

use super::fake_worker::{LOCAL, claim, complete_job, detections, publish};
use super::test_server::{TestServer, until};

/// A server with a video whose upload is held until the gate is opened.
async fn with_held_upload() -> (FakeR2, TestServer, Gate, i64) {
    let bucket = FakeR2::start();
    let server = TestServer::with_s3(&bucket);
    let gate = Gate::new();
    bucket.fail_next(Op::UploadPart, "videos/", Fault::Hold(gate.clone()));
    let id = server.add_video("game.mkv").await;
    (bucket, server, gate, id)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_reports_progress_and_outlives_its_request() {
    let (bucket, server, gate, id) = with_held_upload().await;
    let job = server.detect(id).await;
    gate.arrived(1).await;
    let uploading = server.job(&job).await;
    assert_eq!(
        (&uploading["status"], &uploading["progress"]["message"]),
        (&json!("pending"), &json!("uploading"))
    );
    assert_eq!(
        (&uploading["metadata"]["state"], &uploading["metadata"]["target"]),
        (&json!("uploading"), &json!("cloud"))
    );
    assert!(uploading["metadata"]["upload"]["sent_bytes"].is_u64());
    // The same submission returns the same job.
    assert_eq!(server.detect(id).await, job);
    let other =
        server.post(&format!("/api/videos/{id}/detect"), &json!({ "sample_interval": 3 })).await.expect(202);
    assert_ne!(other["job_id"], job.as_str());
    gate.open();
    let waiting = server.job_when_queued(&job).await;
    assert_eq!(waiting["metadata"]["upload"], Value::Null);
    assert!(bucket.object(&format!("jobs/{job}.json")).is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_request_returns_the_same_job_until_it_ends() {
    let server = TestServer::new();
    let id = server.add_video("game.mkv").await;
    let job = server.detect(id).await;
    server.job_when_queued(&job).await;
    assert_eq!(server.detect(id).await, job);
    let other =
        server.post(&format!("/api/videos/{id}/detect"), &json!({ "prompt": "ball" })).await.expect(202);
    assert_ne!(other["job_id"], job.as_str());
    assert_eq!(server.delete(&format!("/api/jobs/{job}")).await.status, 204);
    assert_ne!(server.detect(id).await, job);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_submission_outlives_a_client_that_disconnects() {
    let server = TestServer::new();
    let id = server.add_video("game.mkv").await;
    let path = format!("/api/videos/{id}/detect");
    let request = server.post(&path, &Value::Null);
    // Reading the video takes longer than this.
    assert!(tokio::time::timeout(std::time::Duration::from_millis(5), request).await.is_err());
    let job = until("the job", async || server.library().open_jobs().unwrap().pop()).await;
    server.job_when_queued(&job.id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn simultaneous_equal_submissions_create_one_job() {
    let (_bucket, server, gate, id) = with_held_upload().await;
    let (one, other) = tokio::join!(server.detect(id), server.detect(id));
    assert_eq!(one, other);
    gate.open();
    server.job_when_queued(&one).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_waits_for_a_bucket_that_is_down() {
    let bucket = FakeR2::start();
    let server = TestServer::with_s3(&bucket);
    let id = server.add_video("game.mkv").await;
    bucket.stop();
    let job = server.detect(id).await;
    let restarted = server.restarted().with_background_tasks();
    bucket.start_again();
    restarted.job_when_queued(&job).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_upload_can_be_cancelled_and_retried() {
    let (bucket, server, gate, id) = with_held_upload().await;
    let job = server.detect(id).await;
    gate.arrived(1).await;
    assert_eq!(server.delete(&format!("/api/jobs/{job}")).await.status, 204);
    gate.open();
    let cancelled = server.job(&job).await;
    assert_eq!(
        (&cancelled["status"], &cancelled["metadata"]["state"]),
        (&json!("cancelled"), &json!("cancelled"))
    );
    assert!(bucket.object(&format!("jobs/{job}.json")).is_none());
    assert_eq!(server.delete(&format!("/api/jobs/{job}")).await.status, 204);
    assert_eq!(
        server.post(&format!("/api/jobs/{job}/retry"), &Value::Null).await.expect(202)["status"],
        "pending"
    );
    server.job_when_queued(&job).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_upload_fails_the_job_and_can_be_retried() {
    let bucket = FakeR2::start();
    let server = TestServer::with_s3(&bucket);
    let id = server.add_video("game.mkv").await;
    bucket.set_access(s3_fixture::Access::ReadOnly);
    let job = server.detect(id).await;
    let failed = server.job_when(&job, |job| job["status"] == "failed").await;
    let error = failed["error"].as_str().unwrap();
    assert!(error.contains("denied permission to upload"), "{error}");
    assert!(!error.contains(&bucket.connection().secret_access_key));
    assert_eq!(
        server.delete(&format!("/api/jobs/{job}")).await.detail(409),
        format!("Job {job}: failed jobs cannot be cancelled")
    );
    bucket.set_access(s3_fixture::Access::Full);
    server.post(&format!("/api/jobs/{job}/retry"), &Value::Null).await.expect(202);
    let waiting = server.job_when_queued(&job).await;
    assert_eq!((&waiting["status"], &waiting["error"]), (&json!("pending"), &Value::Null));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_video_that_vanishes_during_its_upload_fails_the_job_and_can_be_retried() {
    let (_bucket, server, gate, id) = with_held_upload().await;
    let job = server.detect(id).await;
    gate.arrived(1).await;
    let (video, elsewhere) = (server.video_folder().join("game.mkv"), server.folder.path().join("game.mkv"));
    std::fs::rename(&video, &elsewhere).unwrap();
    gate.open();
    let failed = server.job_when(&job, |job| job["status"] == "failed").await;
    let error = failed["error"].as_str().unwrap();
    assert!(error.contains(video.to_str().unwrap()) && error.contains("No such file"), "{error}");
    let refused = server.post(&format!("/api/jobs/{job}/retry"), &Value::Null).await.detail(409);
    assert!(refused.contains("does not exist"), "{refused}");
    std::fs::rename(&elsewhere, &video).unwrap();
    server.post(&format!("/api/jobs/{job}/retry"), &Value::Null).await.expect(202);
    server.job_when_queued(&job).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unfinished_uploads_resume_when_the_server_restarts() {
    let (_bucket, server, gate, id) = with_held_upload().await;
    let job = server.detect(id).await;
    gate.arrived(1).await;
    let server = server.restarted();
    let unfinished = server.job(&job).await;
    assert_eq!(
        (&unfinished["status"], &unfinished["progress"]["message"]),
        (&json!("pending"), &json!("uploading"))
    );
    gate.open();
    // The old server's upload removes its lock when it ends.
    let lock = server.client.settings.scratch().join("uploads").join(format!("{job}.lock"));
    until("the end of the old server's upload", async || (!lock.exists()).then_some(())).await;
    let server = server.with_background_tasks();
    server.job_when_queued(&job).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_by_another_program_is_not_disturbed() {
    let server = TestServer::new();
    let id = server.add_video("game.mkv").await;
    // The state in the middle of `courtside submit`.
    let submission =
        Submission { video_id: id, target: None, parameters: Parameters::default(), max_attempts: 3 };
    let prepared = prepare(&server.client, &mut server.library(), submission).unwrap();
    let uploaded = upload(&server.client, &prepared, &|_, _| {}).await.unwrap();
    let job = prepared.job_id.to_string();
    // Submitting the same here returns the same job, and it cannot be cancelled.
    assert_eq!(server.detect(id).await, job);
    let detail = format!("Job {job}: another courtside process is uploading its video");
    assert_eq!(server.delete(&format!("/api/jobs/{job}")).await.detail(409), detail);
    let body = server.job(&job).await;
    assert_eq!((&body["status"], &body["metadata"]["state"]), (&json!("pending"), &json!("uploading")));
    // Once the other program was interrupted, the job can be cancelled.
    drop(uploaded);
    assert_eq!(server.delete(&format!("/api/jobs/{job}")).await.status, 204);
    assert_eq!(server.job(&job).await["status"], "cancelled");
    assert!(server.client.bucket(LOCAL).unwrap().head(&format!("videos/{job}.mkv")).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_a_command_left_unfinished_is_not_resumed_by_the_server() {
    let server = TestServer::new();
    let id = server.add_video("game.mkv").await;
    let submission =
        Submission { video_id: id, target: None, parameters: Parameters::default(), max_attempts: 3 };
    let left = prepare(&server.client, &mut server.library(), submission).unwrap().job_id;
    let server = server.with_background_tasks();
    // A job that is submitted later is uploaded.
    let path = format!("/api/videos/{id}/detect");
    let later = server.post(&path, &json!({ "sample_interval": 3 })).await.expect(202);
    server.job_when_queued(later["job_id"].as_str().unwrap()).await;
    assert_eq!(server.job(left.as_str()).await["metadata"]["state"], "uploading");
    assert!(server.client.bucket(LOCAL).unwrap().head(&left.manifest_key()).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn corrupt_results_are_tracked_again_by_a_retry() {
    let server = TestServer::new();
    let id = server.add_video("game.mkv").await;
    let job = server.detect(id).await;
    publish(&claim(&server).await, &detections()).await;
    let results = server.folder.path().join("basketball-analyzer/results").join(format!("{job}.json"));
    let intact = std::fs::read(&results).unwrap();
    std::fs::write(&results, &intact[..intact.len() / 2]).unwrap();
    let server = server.with_background_tasks();
    server.job_when(&job, |job| job["status"] == "failed").await;
    server.post(&format!("/api/jobs/{job}/retry"), &Value::Null).await.expect(202);
    let waiting = server.job_when(&job, |job| job["status"] == "pending").await;
    assert_eq!(waiting["metadata"]["state"], "waiting");
    complete_job(&server).await;
    server.job_when(&job, |job| job["status"] == "completed").await;
}
