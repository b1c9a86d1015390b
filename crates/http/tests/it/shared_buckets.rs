//! Jobs that other programs and libraries change or own, in a bucket that this server shares with them.

use jobs::JobId;
use jobs::manifest::{Manifest, Parameters, Submitter, VideoInfo};
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::fake_worker::LOCAL;
use super::test_server::TestServer;

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_manifest_is_gone_is_closed_and_can_be_retried() {
    let server = TestServer::new().with_background_tasks();
    let id = server.add_video("game.mkv").await;
    let job = server.detect(id).await;
    server.job_when_queued(&job).await;
    let manifest = server.folder.path().join("basketball-analyzer/jobs").join(format!("{job}.json"));
    std::fs::remove_file(&manifest).unwrap();
    let closed = server.job_when(&job, |job| job["status"] == "failed").await;
    assert_eq!(closed["error"], "removed from the bucket");
    server.post(&format!("/api/jobs/{job}/retry"), &Value::Null).await.expect(202);
    server.job_when_queued(&job).await;
    assert!(manifest.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_another_library_is_not_listed_as_one_of_our_video_with_its_number() {
    let server = TestServer::new();
    let id = server.add_video("game.mkv").await;
    let theirs = JobId::new("theirs").unwrap();
    let mut manifest = Manifest::new(theirs, id, Parameters::default(), OffsetDateTime::UNIX_EPOCH);
    manifest.submitter = Some(Submitter { library_id: "other".into(), host: Some("laptop-2".into()) });
    manifest.video = Some(VideoInfo {
        name: Some("final.mp4".into()),
        size_bytes: Some(5),
        sha256: Some("ab".repeat(32)),
        ..VideoInfo::default()
    });
    server.client.admin(LOCAL).unwrap().submit(manifest).await.unwrap();
    let ours = server.get(&format!("/api/jobs?video_id={id}")).await.expect(200);
    assert_eq!(ours["total"], 0, "{ours}");
    let all = server.get("/api/jobs").await.expect(200);
    let listed = &all["jobs"][0]["metadata"];
    assert_eq!((&listed["video_id"], &listed["video"]), (&Value::Null, &json!("final.mp4")));
    assert_eq!(listed["video_sha256"], "ab".repeat(32));
    assert_eq!(listed["other_library"], json!({ "id": "other", "host": "laptop-2", "video_id": id }));
    assert_eq!(server.job("theirs").await["metadata"], *listed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_job_of_the_app_can_be_cancelled() {
    let server = TestServer::new();
    let id = server.add_video("game.mkv").await;
    let app = rusqlite::Connection::open(server.library().path()).unwrap();
    let insert = "INSERT INTO processing_jobs (id, job_type, status, video_id, parameters, progress_current,
        progress_total, progress_message, created_at) VALUES (?1, 'VIDEO_DETECTION', ?2, ?3, '{}', 0, 100, '',
        '2026-01-22 00:00:00.000000')";
    app.execute(insert, ("of-the-app", "PROCESSING", id)).unwrap();
    app.execute(insert, ("ended", "COMPLETED", id)).unwrap();
    assert_eq!(server.delete("/api/jobs/of-the-app").await.status, 204);
    let status: String = app
        .query_row("SELECT status FROM processing_jobs WHERE id = 'of-the-app'", [], |row| row.get(0))
        .unwrap();
    assert_eq!(status, "CANCELLED");
    assert_eq!(server.job("of-the-app").await["status"], "cancelled");
    assert_eq!(server.delete("/api/jobs/of-the-app").await.status, 204);
    assert_eq!(server.delete("/api/jobs/ended").await.status, 409);
}
