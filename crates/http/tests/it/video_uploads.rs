//! Uploading videos over HTTP.

use std::convert::Infallible;
use std::io::Error;

use axum::body::{Body, Bytes};
use axum::http::{Method, Request};
use courtside_http::ServerOptions;
use futures::StreamExt;

use super::clips::ffmpeg;
use super::test_server::{Reply, TestServer, clip, default_options, file_names, large_clip, request, until};

const BOUNDARY: &str = "a-boundary";

/// A form with one file field.
fn form(field: &str, name: &str, content: &[u8]) -> Vec<u8> {
    let mut form = head(field, name).into_bytes();
    form.extend_from_slice(content);
    form.extend_from_slice(format!("\r\n--{BOUNDARY}--\r\n").as_bytes());
    form
}

fn head(field: &str, name: &str) -> String {
    format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{field}\"; filename=\"{name}\"\r\nContent-Type: video/mp4\r\n\r\n"
    )
}

fn upload(body: impl Into<Body>) -> Request<Body> {
    let form = format!("multipart/form-data; boundary={BOUNDARY}");
    request(Method::POST, "/api/videos", &[("content-type", &form)], body.into())
}

async fn send(server: &TestServer, name: &str, content: &[u8]) -> Reply {
    server.call(upload(form("file", name, content))).await
}

/// Files in the video folder, once no temporary file is left.
async fn stored_files(server: &TestServer) -> Vec<String> {
    until("the end of all uploads", async || {
        let names = file_names(&server.video_folder());
        (!names.iter().any(|name| name.contains("upload"))).then_some(names)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_a_large_video_in_chunks() {
    let server = TestServer::new();
    let content = large_clip();
    assert!(content.len() > 3 << 20, "{} bytes", content.len());
    let form = form("file", "noise.mp4", content);
    let chunks: Vec<Result<Bytes, Infallible>> =
        form.chunks(10_007).map(|c| Ok(Bytes::copy_from_slice(c))).collect();
    let reply = server.call(upload(Body::from_stream(futures::stream::iter(chunks)))).await;
    let video = reply.expect(201);
    assert_eq!((video["n_frames"].as_i64(), video["resolution"].as_str()), (Some(50), Some("320x240")));
    assert_eq!(std::fs::read(server.video_folder().join("noise.mp4")).unwrap(), content);
    assert_eq!(stored_files(&server).await, ["noise.mp4"]);
    let streamed = server.get(&format!("/api/videos/{}/stream", video["id"])).await;
    assert_eq!((streamed.status.as_u16(), streamed.header("content-type")), (200, "video/mp4"));
    assert!(streamed.body == content);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_upload_leaves_no_file() {
    let server = TestServer::new();
    let complete = form("file", "noise.mp4", large_clip());
    for end in [head("file", "noise.mp4").len(), 100_000, 1 << 20, complete.len() - 40, complete.len() - 6] {
        let start = Bytes::copy_from_slice(&complete[..end]);
        // The connection is lost, or the client ends the body early.
        let broken = [Ok(start.clone()), Err(Error::other("connection reset"))];
        for body in [Body::from_stream(futures::stream::iter(broken)), Body::from(start)] {
            let reply = server.call(upload(body)).await;
            assert_eq!(reply.detail(400), "The form ended early, or is malformed", "{end}");
        }
    }
    assert_eq!(stored_files(&server).await, [""; 0]);
    assert_eq!(server.get("/api/videos").await.expect(200)["total"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disconnected_client_leaves_no_file() {
    let server = TestServer::new();
    let start = Bytes::copy_from_slice(&form("file", "noise.mp4", large_clip())[..1 << 20]);
    let body = futures::stream::iter([Ok::<_, Infallible>(start)]).chain(futures::stream::pending());
    let request = upload(Body::from_stream(body));
    let pending = server.send(request);
    // Drops the connection once the server has started to write the file.
    tokio::select! {
        _ = pending => panic!("the upload did not end"),
        () = until("the temporary file", async || file_names(&server.video_folder()).first().map(|_| ())) => {}
    }
    assert_eq!(stored_files(&server).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_not_videos_are_removed() {
    let server = TestServer::new();
    let reply = send(&server, "movie.mp4", b"<html>hello</html>").await;
    assert_eq!(reply.issues(), ["body.file value_error"]);
    assert_eq!(send(&server, "empty.mp4", b"").await.issues(), ["body.file value_error"]);
    assert_eq!(stored_files(&server).await, [""; 0]);
}

/// A video whose content differs from that of other names.
fn clip_named(name: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let clip = clip();
    ffmpeg(folder.path(), &format!("-i {} -c copy -metadata title=clip-{name} a.mkv", clip.display()));
    std::fs::read(folder.path().join("a.mkv")).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_uploaded_again_is_stored_once() {
    let server = TestServer::new();
    let content = clip_named("one");
    let first = send(&server, "game.mkv", &content).await.expect(201);
    assert_eq!((first["already"].as_bool(), first["sha256"].as_str().map(str::len)), (Some(false), Some(64)));
    let again = send(&server, "renamed.mkv", &content).await.expect(200);
    assert_eq!((&again["id"], again["already"].as_bool()), (&first["id"], Some(true)));
    assert_eq!(again["file_path"], first["file_path"]);
    assert_eq!(stored_files(&server).await, ["game.mkv"]);
    // Other content is another video.
    send(&server, "game.mkv", &clip_named("two")).await.expect(201);
    assert_eq!(server.get("/api/videos").await.expect(200)["total"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_added_from_the_folder_is_recognized() {
    let server = TestServer::new();
    let id = server.add_video("game.mkv").await;
    assert!(server.get(&format!("/api/videos/{id}")).await.expect(200)["sha256"].is_null());
    let again = send(&server, "upload.mkv", &std::fs::read(clip()).unwrap()).await.expect(200);
    assert_eq!((again["id"].as_i64(), again["already"].as_bool()), (Some(id), Some(true)));
    assert_eq!(stored_files(&server).await, ["game.mkv"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_of_one_file_at_the_same_time_store_it_once() {
    let server = TestServer::new();
    let content = large_clip();
    let names: Vec<String> = (0..6).map(|i| format!("{i}.mp4")).collect();
    let uploads = names.iter().map(|name| send(&server, name, content));
    let replies = futures::future::join_all(uploads).await;
    let mut statuses: Vec<u16> = replies.iter().map(|reply| reply.status.as_u16()).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 200, 200, 200, 201]);
    assert_eq!(stored_files(&server).await.len(), 1);
    assert_eq!(server.get("/api/videos").await.expect(200)["total"], 1);
}

/// The library's hash of a file that is gone, or that was replaced, does not stand in for the file.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_gone_or_replaced_is_stored_again() {
    let server = TestServer::new();
    let content = clip_named("one");
    let first = send(&server, "game.mkv", &content).await.expect(201);
    std::fs::remove_file(server.video_folder().join("game.mkv")).unwrap();
    let restored = send(&server, "again.mkv", &content).await.expect(201);
    assert_eq!((&restored["id"], restored["already"].as_bool()), (&first["id"], Some(false)));
    assert_eq!(stored_files(&server).await, ["again.mkv"]);
    std::fs::write(server.video_folder().join("again.mkv"), clip_named("two")).unwrap();
    let other = send(&server, "game.mkv", &content).await.expect(201);
    assert_ne!(other["id"], first["id"]);
    assert_eq!(stored_files(&server).await, ["again.mkv", "game.mkv"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn file_names_are_safe_and_unique() {
    let server = TestServer::new();
    for (i, (name, want)) in [
        ("../../escape.mkv", "escape.mkv"),
        ("escape.mkv", "escape-2.mkv"),
        (".hidden.mkv", "hidden.mkv"),
        ("", "video.mp4"),
    ]
    .into_iter()
    .enumerate()
    {
        let video = send(&server, name, &clip_named(&i.to_string())).await.expect(201);
        let path = server.video_folder().canonicalize().unwrap().join(want);
        assert_eq!(video["file_path"], path.to_str().unwrap(), "{name:?}");
    }
    assert_eq!(stored_files(&server).await, ["escape-2.mkv", "escape.mkv", "hidden.mkv", "video.mp4"]);
    assert_eq!(file_names(server.folder.path()).iter().filter(|n| n.ends_with(".mkv")).count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_have_a_size_limit() {
    let server = TestServer::with(ServerOptions { max_upload_bytes: 1 << 20, ..default_options() });
    let large = large_clip();
    assert_eq!(send(&server, "noise.mp4", large).await.detail(413), "The video is larger than 1048576 bytes");
    // With Content-Length, it is refused before it starts.
    let mut announced = upload(form("file", "noise.mp4", large));
    let length = large.len().to_string();
    announced.headers_mut().insert("content-length", length.parse().unwrap());
    assert_eq!(server.call(announced).await.detail(413), "The video is larger than 1048576 bytes");
    // The limit applies to other fields too.
    let reply = server.call(upload(form("other", "noise.mp4", large))).await;
    assert_eq!(reply.detail(413), "The video is larger than 1048576 bytes");
    assert_eq!(stored_files(&server).await, [""; 0]);
    send(&server, "small.mkv", &std::fs::read(clip()).unwrap()).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_forms_are_refused() {
    let server = TestServer::new();
    let reply = server.call(upload(form("film", "game.mkv", b"x"))).await;
    assert_eq!(reply.issues(), ["body.file missing"]);
    let no_boundary =
        request(Method::POST, "/api/videos", &[("content-type", "multipart/form-data")], Body::empty());
    assert!(server.call(no_boundary).await.detail(400).contains("boundary"));
    for kind in [&[("content-type", "text/plain")][..], &[]] {
        let reply = server.call(request(Method::POST, "/api/videos", kind, Body::from("{}"))).await;
        assert!(reply.detail(415).contains("multipart/form-data"), "{kind:?}");
    }
    let huge = serde_json::json!({ "file_path": "x".repeat(70_000) });
    assert_eq!(server.post("/api/videos", &huge).await.detail(413), "The body is larger than 65536 bytes");
}
