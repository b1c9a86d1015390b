//! Submitting, showing, listing, cancelling and retrying jobs.

use axum::body::Body;
use axum::http::Method;
use courtside_http::ServerOptions;
use s3_fixture::FakeR2;
use serde_json::{Value, json};
use store::{JobStatus, JobUpdate, NewJob};

use super::fake_worker::{LOCAL, claim, complete_job, detections, heartbeat, publish};
use super::test_server::{TestServer, default_options, request};

#[tokio::test(flavor = "multi_thread")]
async fn a_submitted_job_is_visible_immediately_and_then_queued() {
    let server = TestServer::new();
    let id = server.add_video("game.mkv").await;
    let parameters = json!({
        "sample_interval": 2, "confidence_threshold": 0.4, "prompt": "referee", "max_seconds": 1.0,
    });
    let reply = server.post(&format!("/api/videos/{id}/detect?target=local"), &parameters).await.expect(202);
    let job_id = reply["job_id"].as_str().unwrap();
    assert_eq!(reply["video_id"], id);
    assert!(reply["message"].as_str().unwrap().contains(job_id));
    let submitted = server.job(job_id).await;
    assert_eq!(
        (&submitted["status"], &submitted["job_type"]),
        (&json!("pending"), &json!("video_detection"))
    );
    let job = server.job_when_queued(job_id).await;
    assert_eq!(job["id"], job_id);
    assert_eq!(
        job["progress"],
        json!({
            "current": 0, "total": 5, "percentage": 0.0, "message": "waiting for a worker",
        })
    );
    for (name, want) in [("result", Value::Null), ("error", Value::Null), ("completed_at", Value::Null)] {
        assert_eq!(job[name], want, "{name}");
    }
    let metadata = &job["metadata"];
    assert_eq!((&metadata["target"], &metadata["state"]), (&json!("local"), &json!("waiting")));
    assert_eq!((&metadata["video_id"], &metadata["attempt"]), (&json!(id), &json!(0)));
    for (name, want) in parameters.as_object().unwrap() {
        assert_eq!(metadata["parameters"][name], *want, "{name}");
    }
    let video = server.get(&format!("/api/videos/{id}")).await.expect(200);
    assert_eq!(video["r2_key"], format!("videos/{job_id}.mkv"));
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_submissions_are_refused() {
    let server = TestServer::new();
    let id = server.add_video("game.mkv").await;
    let detect = format!("/api/videos/{id}/detect");
    for (path, body, want) in [
        (format!("{detect}?target=moon"), json!({}), "query.target enum"),
        (detect.clone(), json!({ "sample_interval": 0 }), "body.sample_interval greater_than_equal"),
        (detect.clone(), json!({ "sample_interval": "2" }), "body.sample_interval int_parsing"),
        (detect.clone(), json!({ "sample_interval": 1.5 }), "body.sample_interval int_parsing"),
        (
            detect.clone(),
            json!({ "confidence_threshold": -0.1 }),
            "body.confidence_threshold greater_than_equal",
        ),
        (detect.clone(), json!({ "confidence_threshold": true }), "body.confidence_threshold float_parsing"),
        (detect.clone(), json!({ "prompt": "  " }), "body.prompt string_too_short"),
        (detect.clone(), json!({ "prompt": "é".repeat(501) }), "body.prompt string_too_long"),
        (detect.clone(), json!({ "prompt": ["ball"] }), "body.prompt string_type"),
        (detect.clone(), json!({ "max_seconds": 0 }), "body.max_seconds greater_than_equal"),
        (detect.clone(), json!([]), "body dict_type"),
    ] {
        assert_eq!(server.post(&path, &body).await.issues(), [want], "{path} {body}");
    }
    let send = async |kind: &str, body: &str| {
        server
            .call(request(Method::POST, &detect, &[("content-type", kind)], Body::from(body.to_owned())))
            .await
    };
    assert_eq!(send("application/json", "{").await.issues(), ["body json_invalid"]);
    assert_eq!(
        send("application/json; charset=utf-8", "{\"prompt\": null, \"sample_interval\": 2.0}").await.status,
        202
    );
    // A misspelt field is not ignored.
    assert_eq!(
        send("application/json", "{\"promt\": \"ball\"}").await.issues(),
        ["body.promt extra_forbidden"]
    );
    assert!(send("text/plain", "{}").await.detail(415).contains("application/json"));
    let large = json!({ "prompt": "x".repeat(70_000) }).to_string();
    assert_eq!(send("application/json", &large).await.detail(413), "The body is larger than 65536 bytes");
    // The file must still be the one that was added. Not that of the job above, which may be in the bucket by now.
    let other = server.add_video("other.mkv").await;
    let detect = format!("/api/videos/{other}/detect");
    std::fs::remove_file(server.video_folder().join("other.mkv")).unwrap();
    assert!(server.post(&detect, &Value::Null).await.detail(409).contains("does not exist"));
    std::fs::write(server.video_folder().join("other.mkv"), "something else").unwrap();
    assert!(server.post(&detect, &Value::Null).await.detail(409).contains("not a readable video"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_shows_the_progress_of_its_worker() {
    let server = TestServer::with(ServerOptions { auto_import: false, ..default_options() });
    let id = server.add_video("game.mkv").await;
    let job = server.detect(id).await;
    server.job_when_queued(&job).await;
    let lease = claim(&server).await;
    lease.heartbeat(&heartbeat(7)).await.unwrap();
    let processing = server.job(&job).await;
    assert_eq!(processing["status"], "processing");
    assert_eq!(
        (&processing["progress"]["current"], &processing["progress"]["total"]),
        (&json!(7), &json!(14))
    );
    assert_eq!(processing["progress"]["percentage"], 50.0);
    assert!(processing["progress"]["message"].as_str().unwrap().starts_with("7/14 frames, 2.5 fps"));
    let metadata = &processing["metadata"];
    assert_eq!(
        (&metadata["state"], &metadata["worker_id"], &metadata["attempt"], &metadata["fps"]),
        (&json!("tracking"), &json!("worker-1"), &json!(1), &json!(2.5))
    );
    assert!(processing["started_at"].is_string());
    publish(&lease, &detections()).await;
    let completed = server.job(&job).await;
    assert_eq!(
        (&completed["status"], &completed["progress"]["message"]),
        (&json!("completed"), &json!("ready to import"))
    );
    assert_eq!((&completed["progress"]["percentage"], &completed["result"]), (&json!(100.0), &Value::Null));
    for (reply, what) in [
        (server.delete(&format!("/api/jobs/{job}")).await, "cannot be cancelled"),
        (server.post(&format!("/api/jobs/{job}/retry"), &Value::Null).await, "cannot be retried"),
    ] {
        let detail = reply.detail(409);
        assert!(
            detail.starts_with(&format!("Job {job}: completed jobs cannot be")) && detail.contains(what),
            "{detail}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queued_job_can_be_cancelled_and_retried() {
    let server = TestServer::new();
    let id = server.add_video("game.mkv").await;
    let job = server.detect(id).await;
    server.job_when_queued(&job).await;
    let path = format!("/api/jobs/{job}");
    for _ in 0..2 {
        let reply = server.delete(&path).await;
        assert_eq!((reply.status.as_u16(), reply.body.len()), (204, 0));
        assert_eq!(server.job(&job).await["status"], "cancelled");
    }
    assert_eq!(server.library().job(&job).unwrap().unwrap().status, JobStatus::Cancelled);
    for _ in 0..2 {
        assert_eq!(
            server.post(&format!("{path}/retry"), &Value::Null).await.expect(202)["status"],
            "pending"
        );
    }
    let lease = claim(&server).await;
    assert_eq!(server.delete(&path).await.status, 204);
    assert!(lease.heartbeat(&heartbeat(1)).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_jobs_are_not_found() {
    let server = TestServer::new();
    let path = "/api/jobs/0b8e6c5a-4a5b-4c1d-9b0a-000000000000";
    let detail = "Job 0b8e6c5a-4a5b-4c1d-9b0a-000000000000 not found";
    assert_eq!(server.get(path).await.detail(404), detail);
    assert_eq!(server.get(&format!("{path}/events")).await.detail(404), detail);
    assert_eq!(server.delete(path).await.detail(404), detail);
    assert_eq!(server.post(&format!("{path}/retry"), &Value::Null).await.detail(404), detail);
    for bad in ["..%2F..%2Fsecrets", ".hidden", "a..b", "%00", "%FF", "a%20b", &"x".repeat(129)] {
        for reply in
            [server.get(&format!("/api/jobs/{bad}")).await, server.delete(&format!("/api/jobs/{bad}")).await]
        {
            assert_eq!(reply.issues(), ["path.job_id string_pattern_mismatch"], "{bad}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_listed_newest_first() {
    let server = TestServer::new();
    let (a, b) = (server.add_video("a.mkv").await, server.add_video("b.mkv").await);
    let first = server.detect(a).await;
    server.job_when_queued(&first).await;
    let second = server.detect(b).await;
    server.job_when_queued(&second).await;
    server.delete(&format!("/api/jobs/{first}")).await;
    // A job of the analyzer app, which is not in a bucket.
    server
        .library()
        .insert_job(&NewJob { created_at: time::OffsetDateTime::UNIX_EPOCH, ..NewJob::new("apps-own", a) })
        .unwrap();
    let update =
        JobUpdate { status: Some(JobStatus::Failed), error: Some("no GPU".into()), ..JobUpdate::default() };
    server.library().update_job("apps-own", &update).unwrap();
    let ids = async |query: &str| {
        let body = server.get(&format!("/api/jobs{query}")).await.expect(200);
        let jobs = body["jobs"].as_array().unwrap().clone();
        let ids: Vec<String> = jobs.iter().map(|job| job["id"].as_str().unwrap().to_owned()).collect();
        (ids, body["total"].as_u64().unwrap())
    };
    assert_eq!(ids("").await, (vec![second.clone(), first.clone(), "apps-own".into()], 3));
    assert_eq!(ids("?limit=1").await, (vec![second.clone()], 3));
    assert_eq!(ids("?status=cancelled").await, (vec![first.clone()], 1));
    assert_eq!(ids("?status=failed").await, (vec!["apps-own".into()], 1));
    assert_eq!(ids("?status=completed").await, (vec![], 0));
    assert_eq!(ids(&format!("?video_id={b}")).await, (vec![second], 1));
    assert_eq!(
        server.get("/api/jobs?status=done&limit=0").await.issues(),
        ["query.status enum", "query.limit greater_than_equal"]
    );
    let own = server.job("apps-own").await;
    assert_eq!((&own["status"], &own["error"]), (&json!("failed"), &json!("no GPU")));
}

#[tokio::test(flavor = "multi_thread")]
async fn unreadable_manifests_are_reported() {
    let server = TestServer::new();
    let bucket = server.client.bucket(LOCAL).unwrap();
    bucket.put("jobs/broken.json", "{".into(), jobs::bucket::Condition::Always).await.unwrap();
    let body = server.get("/api/jobs").await.expect(200);
    assert!(body["unreadable"][0].as_str().unwrap().starts_with("jobs/broken.json"), "{body}");
    assert_eq!(
        server.get("/api/jobs/broken").await.detail(409),
        "cannot read jobs/broken.json: it is not JSON (EOF while parsing an object at line 1 column 1)"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_bucket_the_last_known_state_is_returned_with_a_warning() {
    let bucket = FakeR2::start();
    let server = TestServer::with_s3(&bucket);
    let id = server.add_video("game.mkv").await;
    let job = server.detect(id).await;
    server.job_when_queued(&job).await;
    server.get("/api/jobs").await.expect(200);
    bucket.stop();
    let last = server.job(&job).await;
    assert_eq!((&last["status"], &last["id"]), (&json!("pending"), &json!(job)));
    assert!(last["metadata"]["warning"].as_str().unwrap().contains("could not be read"));
    let list = server.get("/api/jobs").await.expect(200);
    assert_eq!(list["total"], 1);
    assert!(list["warning"].as_str().unwrap().contains("cloud bucket does not respond"), "{list}");
    let unknown = server.get("/api/jobs/unknown").await;
    assert!(unknown.detail(503).contains("does not respond"));
    assert_eq!(unknown.header("retry-after"), "5");
    assert!(server.delete(&format!("/api/jobs/{job}")).await.detail(503).contains("does not respond"));
}

#[tokio::test(flavor = "multi_thread")]
async fn results_for_other_libraries_are_not_imported() {
    let server = TestServer::new().with_background_tasks();
    let id = server.add_video("game.mkv").await;
    let job = server.detect(id).await;
    server.job_when_queued(&job).await;
    let removed = server.library().remove_job(&job, true).unwrap();
    assert_eq!(removed.n_jobs, 1);
    complete_job(&server).await;
    let body = server.job_when(&job, |body| body["status"] == "completed").await;
    assert_eq!(body["progress"]["message"], "ready to import");
    assert_eq!(
        server.get(&format!("/api/videos/{id}/detections/stats")).await.expect(200)["total_detections"],
        0
    );
}
