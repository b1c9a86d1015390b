//! Jobs: asked for, looked at, listed, cancelled, retried.

use axum::body::Body;
use axum::http::Method;
use client::submit::{Submission, prepare, upload};
use courtside_http::Options;
use jobs::manifest::Parameters;
use s3_fixture::{FakeR2, Fault, Gate, Op};
use serde_json::{Value, json};
use store::{JobStatus, JobUpdate, NewJob};

use super::site::{Site, options, request, until};
use super::worker::{LOCAL, claim, found, publish, tracked, work};

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_there_at_once_and_waits_when_its_video_is_uploaded() {
    let site = Site::new();
    let id = site.video("game.mkv").await;
    let parameters = json!({
        "sample_interval": 2, "confidence_threshold": 0.4, "prompt": "referee", "max_seconds": 1.0,
    });
    let reply = site.post(&format!("/api/videos/{id}/detect?target=local"), &parameters).await.expect(202);
    let job_id = reply["job_id"].as_str().unwrap();
    assert_eq!(reply["video_id"], id);
    assert!(reply["message"].as_str().unwrap().contains(job_id));
    let at_once = site.job(job_id).await;
    assert_eq!((&at_once["status"], &at_once["job_type"]), (&json!("pending"), &json!("video_detection")));
    let job = site.waiting(job_id).await;
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
    let video = site.get(&format!("/api/videos/{id}")).await.expect(200);
    assert_eq!(video["r2_key"], format!("videos/{job_id}.mkv"));
}

/// A video whose upload, once it is asked for, waits at the gate.
async fn held() -> (FakeR2, Site, Gate, i64) {
    let bucket = FakeR2::start();
    let site = Site::remote(&bucket);
    let gate = Gate::new();
    bucket.fail_next(Op::UploadPart, "videos/", Fault::Hold(gate.clone()));
    let id = site.video("game.mkv").await;
    (bucket, site, gate, id)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_uploaded_says_so_and_outlives_its_request() {
    let (bucket, site, gate, id) = held().await;
    let job = site.detect(id).await;
    gate.arrived(1).await;
    let uploading = site.job(&job).await;
    assert_eq!(
        (&uploading["status"], &uploading["progress"]["message"]),
        (&json!("pending"), &json!("uploading"))
    );
    assert_eq!(
        (&uploading["metadata"]["state"], &uploading["metadata"]["target"]),
        (&json!("uploading"), &json!("cloud"))
    );
    assert!(uploading["metadata"]["upload"]["sent_bytes"].is_u64());
    // The same again is the same job.
    assert_eq!(site.detect(id).await, job);
    let other =
        site.post(&format!("/api/videos/{id}/detect"), &json!({ "sample_interval": 3 })).await.expect(202);
    assert_ne!(other["job_id"], job.as_str());
    gate.open();
    let waiting = site.waiting(&job).await;
    assert_eq!(waiting["metadata"]["upload"], Value::Null);
    assert!(bucket.object(&format!("jobs/{job}.json")).is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_outlives_a_client_that_goes_away() {
    let site = Site::new();
    let id = site.video("game.mkv").await;
    let path = format!("/api/videos/{id}/detect");
    let gone = site.post(&path, &Value::Null);
    // The video is looked at for longer than that.
    assert!(tokio::time::timeout(std::time::Duration::from_millis(5), gone).await.is_err());
    let job = until("the job", async || site.library().open_jobs().unwrap().pop()).await;
    site.waiting(&job.id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_who_ask_for_the_same_at_once_get_one_job() {
    let (_bucket, site, gate, id) = held().await;
    let (one, other) = tokio::join!(site.detect(id), site.detect(id));
    assert_eq!(one, other);
    gate.open();
    site.waiting(&one).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_waits_for_a_bucket_that_does_not_answer() {
    let bucket = FakeR2::start();
    let site = Site::remote(&bucket);
    let id = site.video("game.mkv").await;
    bucket.stop();
    let job = site.detect(id).await;
    let restarted = site.restarted().working();
    bucket.start_again();
    restarted.waiting(&job).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_cancelled_in_the_middle() {
    let (bucket, site, gate, id) = held().await;
    let job = site.detect(id).await;
    gate.arrived(1).await;
    assert_eq!(site.delete(&format!("/api/jobs/{job}")).await.status, 204);
    gate.open();
    let cancelled = site.job(&job).await;
    assert_eq!(
        (&cancelled["status"], &cancelled["metadata"]["state"]),
        (&json!("cancelled"), &json!("cancelled"))
    );
    assert!(bucket.object(&format!("jobs/{job}.json")).is_none());
    assert_eq!(site.delete(&format!("/api/jobs/{job}")).await.status, 204);
    // And taken up again.
    assert_eq!(
        site.post(&format!("/api/jobs/{job}/retry"), &Value::Null).await.expect(202)["status"],
        "pending"
    );
    site.waiting(&job).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_fails_fails_the_job_and_can_be_retried() {
    let bucket = FakeR2::start();
    let site = Site::remote(&bucket);
    let id = site.video("game.mkv").await;
    bucket.set_access(s3_fixture::Access::ReadOnly);
    let job = site.detect(id).await;
    let failed = site.job_when(&job, |job| job["status"] == "failed").await;
    let error = failed["error"].as_str().unwrap();
    assert!(error.contains("denied permission to upload"), "{error}");
    assert!(!error.contains(&bucket.connection().secret_access_key));
    assert_eq!(
        site.delete(&format!("/api/jobs/{job}")).await.detail(409),
        format!("Job {job}: a failed job cannot be cancelled")
    );
    bucket.set_access(s3_fixture::Access::Full);
    site.post(&format!("/api/jobs/{job}/retry"), &Value::Null).await.expect(202);
    let waiting = site.waiting(&job).await;
    assert_eq!((&waiting["status"], &waiting["error"]), (&json!("pending"), &Value::Null));
}

#[tokio::test(flavor = "multi_thread")]
async fn unfinished_uploads_go_on_when_the_server_starts_again() {
    let (_bucket, site, gate, id) = held().await;
    let job = site.detect(id).await;
    gate.arrived(1).await;
    let site = site.restarted();
    let unfinished = site.job(&job).await;
    assert_eq!(
        (&unfinished["status"], &unfinished["progress"]["message"]),
        (&json!("pending"), &json!("uploading"))
    );
    gate.open();
    // The lock of the old server's upload is gone when that upload is.
    let lock = site.client.settings.scratch().join("uploads").join(format!("{job}.lock"));
    until("the old server's end", async || (!lock.exists()).then_some(())).await;
    let site = site.working();
    site.waiting(&job).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_program_uploads_is_left_to_it() {
    let site = Site::new();
    let id = site.video("game.mkv").await;
    // As `courtside submit` does it, in the middle.
    let submission =
        Submission { video_id: id, target: None, parameters: Parameters::default(), max_attempts: 3 };
    let prepared = prepare(&site.client, &mut site.library(), submission).unwrap();
    let uploaded = upload(&site.client, &prepared, &|_, _| {}).await.unwrap();
    let job = prepared.job_id.to_string();
    // The same from here is the same job, and nobody comes in the other's way.
    assert_eq!(site.detect(id).await, job);
    let detail = format!("Job {job}: another courtside process is uploading its video");
    assert_eq!(site.delete(&format!("/api/jobs/{job}")).await.detail(409), detail);
    let body = site.job(&job).await;
    assert_eq!((&body["status"], &body["metadata"]["state"]), (&json!("pending"), &json!("uploading")));
    // It was interrupted: now the job may be cancelled.
    drop(uploaded);
    assert_eq!(site.delete(&format!("/api/jobs/{job}")).await.status, 204);
    assert_eq!(site.job(&job).await["status"], "cancelled");
    assert!(site.client.bucket(LOCAL).unwrap().head(&format!("videos/{job}.mkv")).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_started_says_why() {
    let site = Site::new();
    let id = site.video("game.mkv").await;
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
        assert_eq!(site.post(&path, &body).await.issues(), [want], "{path} {body}");
    }
    let send = async |kind: &str, body: &str| {
        site.call(request(Method::POST, &detect, &[("content-type", kind)], Body::from(body.to_owned())))
            .await
    };
    assert_eq!(send("application/json", "{").await.issues(), ["body json_invalid"]);
    assert_eq!(
        send("application/json; charset=utf-8", "{\"prompt\": null, \"more\": 1, \"sample_interval\": 2.0}")
            .await
            .status,
        202
    );
    assert!(send("text/plain", "{}").await.detail(415).contains("application/json"));
    let large = json!({ "prompt": "x".repeat(70_000) }).to_string();
    assert_eq!(send("application/json", &large).await.detail(413), "The body is larger than 65536 bytes");
    // The file must be the one that was added.
    std::fs::remove_file(site.videos().join("game.mkv")).unwrap();
    assert!(site.post(&detect, &Value::Null).await.detail(409).contains("is not there any more"));
    std::fs::write(site.videos().join("game.mkv"), "something else").unwrap();
    assert!(site.post(&detect, &Value::Null).await.detail(409).contains("not a readable video"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_followed_through_its_worker() {
    let site = Site::with(Options { auto_import: false, ..options() });
    let id = site.video("game.mkv").await;
    let job = site.detect(id).await;
    site.waiting(&job).await;
    let lease = claim(&site).await;
    lease.heartbeat(&tracked(7)).await.unwrap();
    let processing = site.job(&job).await;
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
    publish(&lease, &found()).await;
    let completed = site.job(&job).await;
    assert_eq!(
        (&completed["status"], &completed["progress"]["message"]),
        (&json!("completed"), &json!("ready to import"))
    );
    assert_eq!((&completed["progress"]["percentage"], &completed["result"]), (&json!(100.0), &Value::Null));
    for (reply, what) in [
        (site.delete(&format!("/api/jobs/{job}")).await, "cannot be cancelled"),
        (site.post(&format!("/api/jobs/{job}/retry"), &Value::Null).await, "cannot be retried"),
    ] {
        let detail = reply.detail(409);
        assert!(
            detail.starts_with(&format!("Job {job}: a completed job cannot be")) && detail.contains(what),
            "{detail}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_job_is_cancelled_and_retried() {
    let site = Site::new();
    let id = site.video("game.mkv").await;
    let job = site.detect(id).await;
    site.waiting(&job).await;
    let path = format!("/api/jobs/{job}");
    for _ in 0..2 {
        let reply = site.delete(&path).await;
        assert_eq!((reply.status.as_u16(), reply.body.len()), (204, 0));
        assert_eq!(site.job(&job).await["status"], "cancelled");
    }
    assert_eq!(site.library().job(&job).unwrap().unwrap().status, JobStatus::Cancelled);
    for _ in 0..2 {
        assert_eq!(site.post(&format!("{path}/retry"), &Value::Null).await.expect(202)["status"], "pending");
    }
    let lease = claim(&site).await;
    assert_eq!(site.delete(&path).await.status, 204);
    assert!(lease.heartbeat(&tracked(1)).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_jobs_are_not_found() {
    let site = Site::new();
    let path = "/api/jobs/0b8e6c5a-4a5b-4c1d-9b0a-000000000000";
    let detail = "Job 0b8e6c5a-4a5b-4c1d-9b0a-000000000000 not found";
    assert_eq!(site.get(path).await.detail(404), detail);
    assert_eq!(site.get(&format!("{path}/events")).await.detail(404), detail);
    assert_eq!(site.delete(path).await.detail(404), detail);
    assert_eq!(site.post(&format!("{path}/retry"), &Value::Null).await.detail(404), detail);
    for bad in ["..%2F..%2Fsecrets", ".hidden", "a..b", "%00", "%FF", "a%20b", &"x".repeat(129)] {
        for reply in
            [site.get(&format!("/api/jobs/{bad}")).await, site.delete(&format!("/api/jobs/{bad}")).await]
        {
            assert_eq!(reply.issues(), ["path.job_id string_pattern_mismatch"], "{bad}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_listed_newest_first() {
    let site = Site::new();
    let (a, b) = (site.video("a.mkv").await, site.video("b.mkv").await);
    let first = site.detect(a).await;
    site.waiting(&first).await;
    let second = site.detect(b).await;
    site.waiting(&second).await;
    site.delete(&format!("/api/jobs/{first}")).await;
    // One that never came into a bucket, and the analyzer app's own.
    site.library()
        .insert_job(&NewJob { created_at: time::OffsetDateTime::UNIX_EPOCH, ..NewJob::new("apps-own", a) })
        .unwrap();
    let update =
        JobUpdate { status: Some(JobStatus::Failed), error: Some("no GPU".into()), ..JobUpdate::default() };
    site.library().update_job("apps-own", &update).unwrap();
    let ids = async |query: &str| {
        let body = site.get(&format!("/api/jobs{query}")).await.expect(200);
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
        site.get("/api/jobs?status=done&limit=0").await.issues(),
        ["query.status enum", "query.limit greater_than_equal"]
    );
    let own = site.job("apps-own").await;
    assert_eq!((&own["status"], &own["error"]), (&json!("failed"), &json!("no GPU")));
}

#[tokio::test(flavor = "multi_thread")]
async fn registers_that_make_no_sense_are_named() {
    let site = Site::new();
    let bucket = site.client.bucket(LOCAL).unwrap();
    bucket.put("jobs/broken.json", "{".into(), jobs::bucket::Condition::Always).await.unwrap();
    let body = site.get("/api/jobs").await.expect(200);
    assert!(body["unreadable"][0].as_str().unwrap().starts_with("jobs/broken.json"), "{body}");
    assert_eq!(
        site.get("/api/jobs/broken").await.detail(409),
        "cannot read jobs/broken.json: it is not JSON (EOF while parsing an object at line 1 column 1)"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_bucket_the_last_known_is_told_with_a_warning() {
    let bucket = FakeR2::start();
    let site = Site::remote(&bucket);
    let id = site.video("game.mkv").await;
    let job = site.detect(id).await;
    site.waiting(&job).await;
    site.get("/api/jobs").await.expect(200);
    bucket.stop();
    let last = site.job(&job).await;
    assert_eq!((&last["status"], &last["id"]), (&json!("pending"), &json!(job)));
    assert!(last["metadata"]["warning"].as_str().unwrap().contains("could not be read"));
    let list = site.get("/api/jobs").await.expect(200);
    assert_eq!(list["total"], 1);
    assert!(list["warning"].as_str().unwrap().contains("cloud bucket does not answer"), "{list}");
    let unknown = site.get("/api/jobs/unknown").await;
    assert!(unknown.detail(503).contains("does not answer"));
    assert_eq!(unknown.header("retry-after"), "5");
    assert!(site.delete(&format!("/api/jobs/{job}")).await.detail(503).contains("does not answer"));
}

#[tokio::test(flavor = "multi_thread")]
async fn results_of_other_libraries_are_left_where_they_are() {
    let site = Site::new().working();
    let id = site.video("game.mkv").await;
    let job = site.detect(id).await;
    site.waiting(&job).await;
    let removed = site.library().remove_job(&job, true).unwrap();
    assert_eq!(removed.n_jobs, 1);
    work(&site).await;
    let body = site.job_when(&job, |body| body["status"] == "completed").await;
    assert_eq!(body["progress"]["message"], "ready to import");
    assert_eq!(
        site.get(&format!("/api/videos/{id}/detections/stats")).await.expect(200)["total_detections"],
        0
    );
}
