//! Listing detections, their statistics and tracks.

use serde_json::json;
use store::{ImportJob, NewVideo, ResultsSummary, StoreError, StoredDetection};

use super::test_server::TestServer;

/// Adds a video with two tracks on this many frames; the second track is on even frames only. Returns its id.
pub(super) fn add_tracked_video(server: &TestServer, n_frames: i64) -> i64 {
    let id = server.library().add_video(&NewVideo::at("/games/final.mp4")).unwrap().id;
    import(server, id, "job-1", n_frames);
    id
}

fn import(server: &TestServer, video_id: i64, job_id: &str, n_frames: i64) {
    let mut library = server.library();
    let detection = |frame: i64, track_id: i64| StoredDetection {
        frame,
        track_id,
        bbox: [1.5, 2.25, 30.0, 60.5],
        confidence: if track_id == 1 { 0.9 } else { 0.4 },
    };
    let job = ImportJob::new(job_id, video_id, "sha256");
    let import = library.import(&job, |writer| {
        for frame in 0..n_frames {
            writer.push(&[detection(frame, 1)])?;
            if frame % 2 == 0 {
                writer.push(&[detection(frame, 2)])?;
            }
        }
        Ok::<_, StoreError>(ResultsSummary { frames_processed: Some(n_frames * 2), completed_at: None })
    });
    import.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn detections_have_the_documented_shape() {
    let server = TestServer::new();
    let id = add_tracked_video(&server, 10);
    let reply = server.get(&format!("/api/videos/{id}/detections?frame_start=4&frame_end=5")).await;
    assert_eq!(reply.header("content-type"), "application/json");
    let detection = |row: i64, frame: i64, track: i64, confidence: f64| {
        json!({
            "id": row, "video_id": id, "frame_number": frame, "player_id": null,
            "bbox": { "x": 1.5, "y": 2.25, "width": 30.0, "height": 60.5 },
            "tracking_id": track, "confidence_score": confidence, "job_id": "job-1",
        })
    };
    let body = reply.expect(200);
    let first = body["detections"][0]["id"].as_i64().unwrap();
    let detections =
        [detection(first, 4, 1, 0.9), detection(first + 1, 4, 2, 0.4), detection(first + 2, 5, 1, 0.9)];
    let want = json!({
        "video_id": id, "job_id": "job-1", "total_detections": 15, "frames_with_detections": 10, "next_frame": null,
        "detections": detections,
    });
    assert_eq!(body, want);
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_by_frame_confidence_and_limit_but_totals_are_of_all() {
    let server = TestServer::new();
    let id = add_tracked_video(&server, 3000);
    for (query, listed, next) in [
        ("", 4500, json!(null)),
        ("?frame_start=0&frame_end=0", 2, json!(null)),
        ("?frame_start=2999", 1, json!(null)),
        ("?frame_end=9", 15, json!(null)),
        ("?frame_start=9&frame_end=3", 0, json!(null)),
        ("?frame_start=5000", 0, json!(null)),
        ("?min_confidence=0.9", 3000, json!(null)),
        ("?min_confidence=1", 0, json!(null)),
        // Frames 0 and 2 have two detections each: no frame is cut in two.
        ("?limit=3", 3, json!(2)),
        ("?limit=4", 3, json!(2)),
        ("?limit=1024", 1023, json!(682)),
        ("?frame_start=682&limit=3", 3, json!(684)),
        ("?limit=500000", 4500, json!(null)),
    ] {
        let body = server.get(&format!("/api/videos/{id}/detections{query}")).await.expect(200);
        assert_eq!(body["total_detections"], 4500, "{query}");
        assert_eq!(body["frames_with_detections"], 3000, "{query}");
        assert_eq!(body["detections"].as_array().unwrap().len(), listed, "{query}");
        assert_eq!(body["next_frame"], next, "{query}");
        // As columns, with the same values.
        let separator = if query.is_empty() { "?" } else { "&" };
        let columns = format!("/api/videos/{id}/detections{query}{separator}format=columns");
        let columns = server.get(&columns).await.expect(200);
        let of_list = |name: &str| -> Vec<_> {
            body["detections"].as_array().unwrap().iter().map(|row| row[name].clone()).collect()
        };
        assert_eq!(columns["tracking_id"], json!(of_list("tracking_id")), "{query}");
        assert_eq!(columns["frame_number"], json!(of_list("frame_number")), "{query}");
        assert_eq!(columns["x"].as_array().unwrap().len(), listed, "{query}");
        assert_eq!(columns["next_frame"], next, "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_parameters_are_reported() {
    let server = TestServer::new();
    let id = add_tracked_video(&server, 1);
    for (query, want) in [
        ("limit=0", "query.limit greater_than_equal"),
        ("limit=500001", "query.limit less_than_equal"),
        ("frame_start=-1", "query.frame_start greater_than_equal"),
        ("frame_end=many", "query.frame_end int_parsing"),
        ("min_confidence=1.5", "query.min_confidence less_than_equal"),
        ("min_confidence=nan", "query.min_confidence float_parsing"),
        ("format=xml", "query.format enum"),
        ("frame_begin=5", "query.frame_begin extra_forbidden"),
    ] {
        assert_eq!(
            server.get(&format!("/api/videos/{id}/detections?{query}")).await.issues(),
            [want],
            "{query}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn returns_statistics_and_tracks() {
    let server = TestServer::new();
    let id = add_tracked_video(&server, 10);
    let stats = server.get(&format!("/api/videos/{id}/detections/stats")).await.expect(200);
    for (name, want) in [
        ("video_id", json!(id)),
        ("total_frames_processed", json!(20)),
        ("total_detections", json!(15)),
        ("frames_with_detections", json!(10)),
        ("avg_detections_per_frame", json!(0.75)),
        ("n_tracks", json!(2)),
        ("first_frame", json!(0)),
        ("last_frame", json!(9)),
    ] {
        assert_eq!(stats[name], want, "{name}");
    }
    let tracks = server.get(&format!("/api/videos/{id}/tracks")).await.expect(200);
    assert_eq!(tracks["tracks"][1]["tracking_id"], 2);
    assert_eq!(tracks["tracks"][1]["n_detections"], 5);
    assert_eq!(tracks["tracks"][1]["last_frame"], 8);
    let empty = server.library().add_video(&NewVideo::at("/games/other.mp4")).unwrap().id;
    let stats = server.get(&format!("/api/videos/{empty}/detections/stats")).await.expect(200);
    assert_eq!((&stats["total_detections"], &stats["avg_detections_per_frame"]), (&json!(0), &json!(0.0)));
    let none = server.get(&format!("/api/videos/{empty}/detections")).await.expect(200);
    assert_eq!(none["detections"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_video_that_was_tracked_twice_has_the_detections_of_the_latest_job_unless_another_is_named() {
    let server = TestServer::new();
    let id = add_tracked_video(&server, 10);
    import(&server, id, "job-2", 3);
    for (query, job, n_detections, n_frames) in
        [("", "job-2", 5, 3), ("?job_id=job-2", "job-2", 5, 3), ("?job_id=job-1", "job-1", 15, 10)]
    {
        let list = server.get(&format!("/api/videos/{id}/detections{query}")).await.expect(200);
        let n_listed = list["detections"].as_array().unwrap().len();
        assert_eq!((&list["job_id"], n_listed), (&json!(job), n_detections), "{query}");
        assert_eq!(list["total_detections"], n_detections, "{query}");
        let stats = server.get(&format!("/api/videos/{id}/detections/stats{query}")).await.expect(200);
        assert_eq!((&stats["job_id"], &stats["total_detections"]), (&json!(job), &json!(n_detections)));
        assert_eq!(stats["frames_with_detections"], n_frames, "{query}");
        assert_eq!((&stats["persons_detected"], &stats["balls_detected"]), (&json!(n_detections), &json!(0)));
        let tracks = server.get(&format!("/api/videos/{id}/tracks{query}")).await.expect(200);
        let ids: Vec<_> =
            tracks["tracks"].as_array().unwrap().iter().map(|t| t["tracking_id"].clone()).collect();
        assert_eq!((&tracks["job_id"], ids), (&json!(job), vec![json!(1), json!(2)]));
    }
    let other = server.library().add_video(&NewVideo::at("/games/other.mp4")).unwrap().id;
    for path in ["detections", "detections/stats", "tracks"] {
        for (video, job) in [(id, "job-3"), (other, "job-1")] {
            let reply = server.get(&format!("/api/videos/{video}/{path}?job_id={job}")).await;
            assert!(reply.detail(404).contains("not an imported job"), "{path}");
        }
        let issues = server.get(&format!("/api/videos/{id}/{path}?jobid=x")).await.issues();
        assert_eq!(issues, ["query.jobid extra_forbidden"], "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_client_has_is_not_sent_again_and_the_rest_is_compressed() {
    let server = TestServer::new();
    let id = add_tracked_video(&server, 3000);
    for path in ["detections?frame_end=300", "detections?format=columns", "detections/stats", "tracks"] {
        let path = format!("/api/videos/{id}/{path}");
        let plain = server.get(&path).await;
        let tag = plain.header("etag").to_owned();
        assert_eq!(plain.header("cache-control"), "private, no-cache", "{path}");
        let same = server.get_with(&path, &[("if-none-match", &tag)]).await;
        assert_eq!((same.status.as_u16(), same.body.len(), same.header("etag")), (304, 0, &*tag), "{path}");
        let packed = server.get_with(&path, &[("accept-encoding", "gzip")]).await;
        assert_eq!(packed.header("etag"), tag, "{path}");
        if plain.body.len() > 2000 {
            assert_eq!(packed.header("content-encoding"), "gzip", "{path}");
            assert!(packed.body.len() * 4 < plain.body.len(), "{path}: {} bytes", packed.body.len());
        }
    }
    import(&server, id, "job-2", 3);
    let path = format!("/api/videos/{id}/tracks");
    let tag = server.get(&path).await.header("etag").to_owned();
    server.library().remove_job("job-2", false).unwrap();
    assert_eq!(server.get_with(&path, &[("if-none-match", &tag)]).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_detections_of_a_video_can_be_removed() {
    let server = TestServer::new();
    let id = add_tracked_video(&server, 10);
    import(&server, id, "job-2", 3);
    assert_eq!(server.delete(&format!("/api/videos/{id}/detections")).await.status, 204);
    let none = server.get(&format!("/api/videos/{id}/detections")).await.expect(200);
    assert_eq!((&none["detections"], &none["total_detections"]), (&json!([]), &json!(0)));
    assert_eq!(server.get(&format!("/api/videos/{id}")).await.expect(200)["processed"], false);
    assert_eq!(server.delete(&format!("/api/videos/{id}/detections")).await.status, 204);
    assert_eq!(server.delete("/api/videos/77/detections").await.status, 404);
}
