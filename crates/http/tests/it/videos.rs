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
    let again = server.post("/api/videos", &json!({ "file_path": file })).await.expect(200);
    assert_eq!((&again["id"], &again["already"]), (&json!(id), &json!(true)));
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
    // The last value of a parameter is used.
    server.get("/api/videos?page=x&page=1").await.expect(200);
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

#[tokio::test(flavor = "multi_thread")]
async fn videos_are_filtered_by_game_and_state() {
    let server = TestServer::new();
    let mut library = server.library();
    let ids: Vec<i64> = ["a", "b", "c"]
        .iter()
        .map(|name| library.add_video(&store::NewVideo::at(format!("/games/{name}.mp4"))).unwrap().id)
        .collect();
    library.set_processing_status(ids[1], store::ProcessingStatus::Completed).unwrap();
    library.set_processing_status(ids[2], store::ProcessingStatus::Failed).unwrap();
    let game = library.video(ids[0]).unwrap().unwrap().game_id;
    for (query, want) in [
        (format!("game_id={game}"), vec![ids[0]]),
        ("processed=true".into(), vec![ids[1]]),
        ("processed=0".into(), vec![ids[2], ids[0]]),
        ("processing_status=failed".into(), vec![ids[2]]),
        ("processing_status=pending&processed=false".into(), vec![ids[0]]),
        (format!("game_id={game}&processed=true"), vec![]),
    ] {
        let page = server.get(&format!("/api/videos?{query}")).await.expect(200);
        let found: Vec<_> =
            page["videos"].as_array().unwrap().iter().map(|v| v["id"].as_i64().unwrap()).collect();
        assert_eq!((&found, page["total"].as_u64().unwrap()), (&want, want.len() as u64), "{query}");
    }
    for (query, want) in [
        ("processed=maybe", "query.processed bool_parsing"),
        ("processing_status=lost", "query.processing_status enum"),
        ("game=1", "query.game extra_forbidden"),
    ] {
        assert_eq!(server.get(&format!("/api/videos?{query}")).await.issues(), [want]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn games_have_a_date_and_videos() {
    let server = TestServer::new();
    let recorded_at = Some(time::OffsetDateTime::from_unix_timestamp(1_769_100_000).unwrap());
    let new = store::NewVideo { recorded_at, ..store::NewVideo::at("/games/Final.mp4") };
    let video = server.library().add_video(&new).unwrap();
    let games = server.get("/api/games").await.expect(200);
    assert_eq!(games.as_array().unwrap().len(), 1);
    let game = server.get(&format!("/api/games/{}", video.game_id)).await.expect(200);
    assert_eq!(game, games[0]);
    assert_eq!((&game["name"], &game["date"]), (&json!("Final"), &json!("2026-01-22")));
    assert_eq!((&game["home_team"], &game["location"]), (&json!("Home"), &json!(null)));
    let videos = server.get(&format!("/api/games/{}/videos", video.game_id)).await.expect(200);
    assert_eq!((&videos["videos"][0]["id"], &videos["total"]), (&json!(video.id), &json!(1)));
    assert_eq!(server.get("/api/games/99").await.status, 404);
    assert_eq!(server.get("/api/games/99/videos").await.status, 404);
    assert_eq!(server.get("/api/games/x").await.issues(), ["path.game_id int_parsing"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_video_is_changed_and_removed() {
    let server = TestServer::new();
    let id = server.add_video("a.mkv").await;
    let other = server.add_video("b.mkv").await;
    let game = server.get(&format!("/api/videos/{other}")).await.expect(200)["game_id"].clone();
    let edit = json!({
        "game_id": game, "sequence_order": 2, "game_time_offset": 12.5, "recorded_at": "2026-01-22T18:00:00Z",
    });
    let path = format!("/api/videos/{id}");
    let video = server.patch(&path, &edit).await.expect(200);
    assert_eq!((&video["game_id"], &video["sequence_order"]), (&game, &json!(2)));
    assert_eq!((&video["game_time_offset"], &video["n_frames"]), (&json!(12.5), &json!(14)));
    assert!(video["recorded_at"].as_str().unwrap().starts_with("2026-01-22T18:00:00"));
    // Fields that are not given keep their value.
    assert_eq!(server.patch(&path, &json!({ "sequence_order": 3 })).await.expect(200)["game_id"], game);
    assert_eq!(
        server.patch(&path, &json!({ "file_path": "/etc/passwd" })).await.issues(),
        ["body.file_path extra_forbidden"]
    );
    assert_eq!(
        server.patch(&path, &json!({ "recorded_at": "noon" })).await.issues(),
        ["body.recorded_at datetime_parsing"]
    );
    assert!(server.patch(&path, &json!({ "game_id": 99 })).await.detail(409).contains("no game 99"));
    assert_eq!(server.patch("/api/videos/99", &json!({})).await.status, 404);

    assert_eq!(server.delete(&path).await.status, 204);
    assert_eq!(server.delete(&path).await.status, 404);
    assert_eq!(server.get(&path).await.status, 404);
    assert!(server.video_folder().join("a.mkv").exists(), "the file stays");
    server.detect(other).await;
    assert_eq!(server.delete(&format!("/api/videos/{other}")).await.status, 409);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_player_gets_an_address_of_the_video() {
    let server = TestServer::new();
    let id = server.add_video("a.mkv").await;
    let found = server.get(&format!("/api/videos/{id}/stream-url")).await.expect(200);
    assert_eq!(found["expires_in"], 21_600);
    let url = found["url"].as_str().unwrap();
    assert_eq!(server.get(url).await.body, std::fs::read(clip()).unwrap());
    assert_eq!(server.get("/api/videos/99/stream-url").await.detail(404), "Video 99 not found");
    // An address that cannot be played is not given out.
    std::fs::remove_file(server.video_folder().join("a.mkv")).unwrap();
    let detail = server.get(&format!("/api/videos/{id}/stream-url")).await.detail(404);
    assert!(detail.contains("no longer exists"), "{detail}");
}
