//! Listing detections, their statistics and tracks.

use serde_json::json;
use store::{ImportJob, NewVideo, ResultsSummary, StoreError, StoredDetection};

use super::test_server::TestServer;

/// Adds a video with two tracks on this many frames; the second track is on even frames only. Returns its id.
fn add_tracked_video(server: &TestServer, n_frames: i64) -> i64 {
    let mut library = server.library();
    let video = library.add_video(&NewVideo::at("/games/final.mp4")).unwrap();
    let detection = |frame: i64, track_id: i64| StoredDetection {
        frame,
        track_id,
        bbox: [1.5, 2.25, 30.0, 60.5],
        confidence: if track_id == 1 { 0.9 } else { 0.4 },
    };
    let job = ImportJob::new("job-1", video.id, "sha256");
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
    video.id
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
        "video_id": id, "total_detections": 3, "frames_with_detections": 2, "detections": detections,
    });
    assert_eq!(body, want);
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_by_frame_confidence_and_limit() {
    let server = TestServer::new();
    let id = add_tracked_video(&server, 3000);
    for (query, total, frames, listed) in [
        ("", 4500, 3000, 4500),
        ("?frame_start=0&frame_end=0", 2, 1, 2),
        ("?frame_start=2999", 1, 1, 1),
        ("?frame_end=9", 15, 10, 15),
        ("?frame_start=9&frame_end=3", 0, 0, 0),
        ("?frame_start=5000", 0, 0, 0),
        ("?min_confidence=0.9", 3000, 3000, 3000),
        ("?min_confidence=1", 0, 0, 0),
        ("?limit=7", 4500, 3000, 7),
        ("?limit=1024", 4500, 3000, 1024),
        ("?limit=500000", 4500, 3000, 4500),
    ] {
        let body = server.get(&format!("/api/videos/{id}/detections{query}")).await.expect(200);
        assert_eq!(body["total_detections"], total, "{query}");
        assert_eq!(body["frames_with_detections"], frames, "{query}");
        assert_eq!(body["detections"].as_array().unwrap().len(), listed, "{query}");
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
