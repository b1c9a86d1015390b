//! Listing, showing and adding videos.

use serde_json::json;

use super::test_server::{TestServer, clip, file_names};

#[tokio::test(flavor = "multi_thread")]
async fn adds_lists_and_shows_a_video() {
    let server = TestServer::new();
    let id = server.add_video("game one.mkv").await;
    let video = server.get(&format!("/api/videos/{id}")).await.expect(200);
    let file = server.video_folder().canonicalize().unwrap().join("game one.mkv");
    assert_eq!(video["file_path"], file.to_str().unwrap());
    assert_eq!(video["n_frames"], 14);
    assert_eq!(video["processing_status"], "pending");
    assert_eq!(video["processed"], false);
    assert_eq!(video["size_bytes"], std::fs::metadata(clip()).unwrap().len());
    assert!(video["resolution"].as_str().unwrap().contains('x'));
    assert!(video["upload_date"].as_str().unwrap().ends_with('Z'));
    for name in
        ["r2_key", "thumbnail_path", "duration_seconds", "fps", "recorded_at", "sequence_order", "sha256"]
    {
        assert!(video.get(name).is_some(), "{name}");
    }
    let page = server.get("/api/videos").await.expect(200);
    assert_eq!(page, json!({ "videos": [video], "total": 1, "page": 1, "page_size": 20, "total_pages": 1 }));
    // Adding it again returns the same video.
    let again = server.post("/api/videos", &json!({ "file_path": file })).await.expect(201);
    assert_eq!(again["id"], id);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_paged() {
    let server = TestServer::new();
    let mut library = server.library();
    for i in 0..5 {
        library.add_video(&store::NewVideo::at(format!("/games/{i}.mp4"))).unwrap();
    }
    let page = server.get("/api/videos?page=2&page_size=2").await.expect(200);
    let ids: Vec<i64> =
        page["videos"].as_array().unwrap().iter().map(|v| v["id"].as_i64().unwrap()).collect();
    assert_eq!(ids, [3, 2]);
    assert_eq!((page["total"].as_i64(), page["total_pages"].as_i64()), (Some(5), Some(3)));
    let beyond = server.get("/api/videos?page=9&page_size=1000").await.expect(200);
    assert_eq!(beyond["videos"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_parameters_are_reported() {
    let server = TestServer::new();
    for (query, want) in [
        ("page=0", &["query.page greater_than_equal"][..]),
        ("page=x&page_size=1001", &["query.page int_parsing", "query.page_size less_than_equal"]),
        ("page=", &["query.page int_parsing"]),
        ("page=1.5", &["query.page int_parsing"]),
        ("page=99999999999999999999", &["query.page int_parsing"]),
        ("page=%FF", &["query.page int_parsing"]),
        ("page_size=0", &["query.page_size greater_than_equal"]),
    ] {
        assert_eq!(server.get(&format!("/api/videos?{query}")).await.issues(), want, "{query}");
    }
    // The last value of a parameter is used; unknown parameters are ignored.
    server.get("/api/videos?page=x&page=1&order=up").await.expect(200);
    for path in ["x", "1.0", "%FF", "99999999999999999999"] {
        for rest in ["", "/stream", "/detections", "/detections/stats", "/tracks"] {
            let reply = server.get(&format!("/api/videos/{path}{rest}")).await;
            assert_eq!(reply.issues(), ["path.video_id int_parsing"], "{path}{rest}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_videos_are_not_found() {
    let server = TestServer::new();
    for rest in ["", "/stream", "/detections", "/detections/stats", "/tracks"] {
        assert_eq!(server.get(&format!("/api/videos/7{rest}")).await.detail(404), "Video 7 not found");
    }
    let reply = server.post("/api/videos/7/detect", &serde_json::Value::Null).await;
    assert_eq!(reply.detail(404), "Video 7 not found");
    assert_eq!(server.get("/api/videos/-1").await.detail(404), "Video -1 not found");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_outside_the_video_folder_are_refused() {
    let server = TestServer::new();
    let outside = server.folder.path().join("secret.mkv");
    std::fs::copy(clip(), &outside).unwrap();
    std::os::unix::fs::symlink(&outside, server.video_folder().join("link.mkv")).unwrap();
    std::os::unix::fs::symlink(server.folder.path(), server.video_folder().join("up")).unwrap();
    let mut details = Vec::new();
    for path in [
        outside.to_str().unwrap(),
        "../secret.mkv",
        "link.mkv",
        "up/secret.mkv",
        "/etc/passwd",
        "/nowhere/at/all",
        "none.mkv",
        ".",
        "a\0b",
    ] {
        let reply = server.post("/api/videos", &json!({ "file_path": path })).await;
        assert_eq!(reply.issues(), ["body.file_path value_error"], "{path}");
        details.push(reply.text());
    }
    // The response does not reveal whether a file outside exists.
    details.dedup();
    assert_eq!(details.len(), 1, "{details:?}");
    assert_eq!(server.get("/api/videos").await.expect(200)["total"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_not_videos_are_refused() {
    let server = TestServer::new();
    std::fs::write(server.video_folder().join("notes.mp4"), "not a video").unwrap();
    let reply = server.post("/api/videos", &json!({ "file_path": "notes.mp4" })).await;
    assert_eq!(reply.issues(), ["body.file_path value_error"]);
    assert!(reply.text().contains("not a readable video"), "{}", reply.text());
    // The user's file is not removed.
    assert!(file_names(&server.video_folder()).contains(&"notes.mp4".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_add_requests_are_refused() {
    let server = TestServer::new();
    for (body, want) in [
        (json!({}), "body.file_path missing"),
        (json!({ "file_path": null }), "body.file_path missing"),
        (json!({ "file_path": 7 }), "body.file_path string_type"),
        (json!({ "file_path": " " }), "body.file_path string_too_short"),
        (json!({ "file_path": "x".repeat(501) }), "body.file_path string_too_long"),
        (json!([1]), "body dict_type"),
    ] {
        assert_eq!(server.post("/api/videos", &body).await.issues(), [want], "{body}");
    }
}
