//! Videos that are uploaded over HTTP: whole or not at all.

use std::convert::Infallible;
use std::io::Error;

use axum::body::{Body, Bytes};
use axum::http::{Method, Request};
use courtside_http::Options;
use futures::StreamExt;

use super::site::{Reply, Site, clip, large_clip, names, options, request, until};

const BOUNDARY: &str = "a-boundary";

/// A form with one file.
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

async fn send(site: &Site, name: &str, content: &[u8]) -> Reply {
    site.call(upload(form("file", name, content))).await
}

/// Files of the video folder, once there is nothing temporary any more.
async fn kept(site: &Site) -> Vec<String> {
    until("the end of all uploads", async || {
        let names = names(&site.videos());
        (!names.iter().any(|name| name.contains("upload"))).then_some(names)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_video_of_megabytes_arrives_whole() {
    let site = Site::new();
    let content = large_clip();
    assert!(content.len() > 3 << 20, "{} bytes", content.len());
    // In pieces, as a network brings it.
    let form = form("file", "noise.mp4", content);
    let pieces: Vec<Result<Bytes, Infallible>> =
        form.chunks(10_007).map(|c| Ok(Bytes::copy_from_slice(c))).collect();
    let reply = site.call(upload(Body::from_stream(futures::stream::iter(pieces)))).await;
    let video = reply.expect(201);
    assert_eq!((video["n_frames"].as_i64(), video["resolution"].as_str()), (Some(50), Some("320x240")));
    assert_eq!(std::fs::read(site.videos().join("noise.mp4")).unwrap(), content);
    assert_eq!(kept(&site).await, ["noise.mp4"]);
    let played = site.get(&format!("/api/videos/{}/stream", video["id"])).await;
    assert_eq!((played.status.as_u16(), played.header("content-type")), (200, "video/mp4"));
    assert!(played.body == content);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_breaks_off_leaves_nothing() {
    let site = Site::new();
    let whole = form("file", "noise.mp4", large_clip());
    for end in [head("file", "noise.mp4").len(), 100_000, 1 << 20, whole.len() - 40, whole.len() - 6] {
        let start = Bytes::copy_from_slice(&whole[..end]);
        // The connection breaks, or the client ends the body early.
        let broken = [Ok(start.clone()), Err(Error::other("connection reset"))];
        for body in [Body::from_stream(futures::stream::iter(broken)), Body::from(start)] {
            let reply = site.call(upload(body)).await;
            assert_eq!(reply.detail(400), "The form ended early, or is malformed", "{end}");
        }
    }
    assert_eq!(kept(&site).await, [""; 0]);
    assert_eq!(site.get("/api/videos").await.expect(200)["total"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_leaves_nothing() {
    let site = Site::new();
    let start = Bytes::copy_from_slice(&form("file", "noise.mp4", large_clip())[..1 << 20]);
    let body = futures::stream::iter([Ok::<_, Infallible>(start)]).chain(futures::stream::pending());
    let request = upload(Body::from_stream(body));
    let pending = site.send(request);
    // The server is at it, and then the connection is dropped.
    tokio::select! {
        _ = pending => panic!("the upload did not end"),
        () = until("the temporary file", async || names(&site.videos()).first().map(|_| ())) => {}
    }
    assert_eq!(kept(&site).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_video_is_not_kept() {
    let site = Site::new();
    let reply = send(&site, "movie.mp4", b"<html>hello</html>").await;
    assert_eq!(reply.issues(), ["body.file value_error"]);
    assert_eq!(send(&site, "empty.mp4", b"").await.issues(), ["body.file value_error"]);
    assert_eq!(kept(&site).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_made_harmless_and_never_taken_twice() {
    let site = Site::new();
    let content = std::fs::read(clip()).unwrap();
    for (name, want) in [
        ("../../escape.mkv", "escape.mkv"),
        ("escape.mkv", "escape-2.mkv"),
        (".hidden.mkv", "hidden.mkv"),
        ("", "video.mp4"),
    ] {
        let video = send(&site, name, &content).await.expect(201);
        let path = site.videos().canonicalize().unwrap().join(want);
        assert_eq!(video["file_path"], path.to_str().unwrap(), "{name:?}");
    }
    assert_eq!(kept(&site).await, ["escape-2.mkv", "escape.mkv", "hidden.mkv", "video.mp4"]);
    assert_eq!(names(site.folder.path()).iter().filter(|n| n.ends_with(".mkv")).count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_has_a_limit() {
    let site = Site::with(Options { max_upload_bytes: 1 << 20, ..options() });
    let large = large_clip();
    assert_eq!(send(&site, "noise.mp4", large).await.detail(413), "The video is larger than 1048576 bytes");
    // Announced, it is not even begun.
    let mut announced = upload(form("file", "noise.mp4", large));
    let length = large.len().to_string();
    announced.headers_mut().insert("content-length", length.parse().unwrap());
    assert_eq!(site.call(announced).await.detail(413), "The video is larger than 1048576 bytes");
    // Nor is the limit passed by other fields.
    let reply = site.call(upload(form("other", "noise.mp4", large))).await;
    assert_eq!(reply.detail(413), "The video is larger than 1048576 bytes");
    assert_eq!(kept(&site).await, [""; 0]);
    send(&site, "small.mkv", &std::fs::read(clip()).unwrap()).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn forms_are_checked() {
    let site = Site::new();
    let reply = site.call(upload(form("film", "game.mkv", b"x"))).await;
    assert_eq!(reply.issues(), ["body.file missing"]);
    let no_boundary =
        request(Method::POST, "/api/videos", &[("content-type", "multipart/form-data")], Body::empty());
    assert!(site.call(no_boundary).await.detail(400).contains("boundary"));
    for kind in [&[("content-type", "text/plain")][..], &[]] {
        let reply = site.call(request(Method::POST, "/api/videos", kind, Body::from("{}"))).await;
        assert!(reply.detail(415).contains("multipart/form-data"), "{kind:?}");
    }
    let huge = serde_json::json!({ "file_path": "x".repeat(70_000) });
    assert_eq!(site.post("/api/videos", &huge).await.detail(413), "The body is larger than 65536 bytes");
}
