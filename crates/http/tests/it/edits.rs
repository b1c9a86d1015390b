//! Correcting tracks: what the routes show after edits, undo and redo.

use serde_json::{Value, json};

use super::detections::add_tracked_video;
use super::test_server::TestServer;

/// The ids and the numbers of detections of the tracks that a route lists.
async fn tracks(server: &TestServer, path: &str) -> Vec<(i64, i64)> {
    let body = server.get(path).await.expect(200);
    let track =
        |track: &Value| (track["tracking_id"].as_i64().unwrap(), track["n_detections"].as_i64().unwrap());
    body["tracks"].as_array().unwrap().iter().map(track).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn edits_change_what_every_route_shows_and_raw_shows_what_was_imported() {
    let server = TestServer::new();
    let id = add_tracked_video(&server, 10);
    let path = |rest: &str| format!("/api/videos/{id}/{rest}");
    let none =
        json!({ "video_id": id, "job_id": "job-1", "can_undo": false, "can_redo": false, "edits": [] });
    assert_eq!(server.get(&path("edits")).await.expect(200), none);
    let name = json!({ "kind": "name", "track": 1, "name": "Anna" });
    let body = server.post(&path("edits"), &name).await.expect(201);
    assert_eq!((&body["can_undo"], &body["edits"][0]["name"]), (&json!(true), &json!("Anna")));
    let split = json!({ "kind": "split", "track": 1, "frame": 6 });
    let body = server.post(&path("edits"), &split).await.expect(201);
    assert_eq!((&body["edits"][1]["other"], &body["edits"][1]["frame"]), (&json!(3), &json!(6)));
    server.post(&path("edits"), &json!({ "kind": "delete", "track": 2 })).await.expect(201);

    assert_eq!(tracks(&server, &path("tracks")).await, [(1, 6), (3, 4)]);
    assert_eq!(tracks(&server, &path("tracks?raw=true")).await, [(1, 10), (2, 5)]);
    let named = server.get(&path("tracks")).await.expect(200);
    assert_eq!((&named["tracks"][0]["name"], &named["tracks"][1]["name"]), (&json!("Anna"), &Value::Null));
    let listed = server.get(&path("detections?frame_start=6&limit=2")).await.expect(200);
    assert_eq!((&listed["total_detections"], &listed["next_frame"]), (&json!(10), &json!(8)));
    assert_eq!(listed["detections"][1]["tracking_id"], 3);
    let raw = server.get(&path("detections?raw=true")).await.expect(200);
    assert_eq!(raw["total_detections"], 15);
    assert_eq!(server.get(&path("detections/stats")).await.expect(200)["n_tracks"], 2);
    for (query, n_lines) in [("", 11), ("&raw=true", 16)] {
        for exported in
            [path(&format!("export?format=csv{query}")), format!("/api/jobs/job-1/export?format=csv{query}")]
        {
            let reply = server.get(&exported).await;
            assert_eq!(String::from_utf8(reply.body).unwrap().lines().count(), n_lines, "{exported}");
        }
    }

    server.post(&path("edits/undo"), &Value::Null).await.expect(200);
    assert_eq!(tracks(&server, &path("tracks")).await, [(1, 6), (2, 5), (3, 4)]);
    let body = server.post(&path("edits/redo"), &Value::Null).await.expect(200);
    assert_eq!(body["can_redo"], false);
    assert_eq!(tracks(&server, &path("tracks")).await, [(1, 6), (3, 4)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn edits_that_do_not_fit_are_refused_and_change_nothing() {
    let server = TestServer::new();
    let id = add_tracked_video(&server, 10);
    let path = format!("/api/videos/{id}/edits");
    let merge = json!({ "kind": "merge", "track": 1, "other": 2 });
    assert!(server.post(&path, &merge).await.detail(409).contains("both on frame 0"));
    let unknown = json!({ "kind": "delete", "track": 9 });
    assert_eq!(server.post(&path, &unknown).await.detail(409), "there is no track 9");
    let long = json!({ "kind": "name", "track": 1, "name": "x".repeat(101) });
    for invalid in
        [json!({}), json!({ "kind": "paint", "track": 1 }), json!({ "kind": null, "track": 1 }), long]
    {
        assert_eq!(server.post(&path, &invalid).await.status, 422, "{invalid}");
    }
    let half = json!({ "kind": "merge", "track": 1 });
    assert_eq!(server.post(&path, &half).await.detail(409), "an edit of this kind needs `other`");
    assert_eq!(server.post("/api/videos/99/edits", &merge).await.status, 404);
    assert_eq!(server.post(&format!("{path}?job_id=none"), &merge).await.status, 404);
    assert_eq!(server.get(&path).await.expect(200)["edits"], json!([]));
}
