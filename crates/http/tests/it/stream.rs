//! `/stream`: ranges and conditional requests of RFC 9110, and the sources of the bytes.

use axum::body::Body;
use axum::http::Method;
use s3_fixture::FakeR2;

use super::test_server::{Reply, TestServer, clip, request};

/// A server with one video, the path of its stream, and its content.
async fn with_video() -> (TestServer, String, Vec<u8>) {
    let server = TestServer::new();
    let id = server.add_video("game.mkv").await;
    (server, format!("/api/videos/{id}/stream"), std::fs::read(clip()).unwrap())
}

async fn range(server: &TestServer, path: &str, range: &str) -> Reply {
    server.get_with(path, &[("range", range)]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn serves_a_file_whose_path_is_relative_to_the_storage_folder() {
    let (server, path, content) = with_video().await;
    std::fs::create_dir(server.video_folder().join("game_3")).unwrap();
    let moved = server.video_folder().join("game_3/clip.mkv");
    std::fs::rename(server.video_folder().join("game.mkv"), moved).unwrap();
    server.get(&path).await.detail(404);
    server.library().set_video_path(1, std::path::Path::new("game_3/clip.mkv")).unwrap();
    let reply = server.get(&path).await;
    assert_eq!((reply.status.as_u16(), reply.header("content-type")), (200, "video/x-matroska"));
    assert!(reply.body == content);
}

#[tokio::test(flavor = "multi_thread")]
async fn serves_the_complete_file_and_its_head() {
    let (server, path, content) = with_video().await;
    let complete = server.get(&path).await;
    assert_eq!(complete.status, 200);
    assert!(complete.body == content);
    let head = server.call(request(Method::HEAD, &path, &[], Body::empty())).await;
    assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
    for reply in [&complete, &head] {
        assert_eq!(reply.header("content-length"), content.len().to_string());
        assert_eq!(reply.header("content-type"), "video/x-matroska");
        assert_eq!(reply.header("accept-ranges"), "bytes");
        assert_eq!(reply.header("content-disposition"), "inline; filename*=UTF-8''game.mkv");
        assert_eq!(reply.header("x-content-type-options"), "nosniff");
    }
    // Only GET has ranges.
    let head = server.call(request(Method::HEAD, &path, &[("range", "bytes=0-9")], Body::empty())).await;
    assert_eq!((head.status.as_u16(), head.header("content-length")), (200, &*content.len().to_string()));
}

#[tokio::test(flavor = "multi_thread")]
async fn serves_one_range() {
    let (server, path, content) = with_video().await;
    let size = content.len();
    for (header, start, end) in [
        ("bytes=0-0".to_owned(), 0, 1),
        ("bytes=100-199".to_owned(), 100, 200),
        (format!("bytes={}-", size - 10), size - 10, size),
        ("bytes=-7".to_owned(), size - 7, size),
        ("bytes=0-".to_owned(), 0, size),
        (format!("bytes=5-{}", size * 9), 5, size),
        (format!("bytes=-{}", size * 9), 0, size),
    ] {
        let reply = range(&server, &path, &header).await;
        assert_eq!(reply.status, 206, "{header}");
        assert!(reply.body == content[start..end], "{header}");
        assert_eq!(reply.header("content-range"), format!("bytes {start}-{}/{size}", end - 1));
        assert_eq!(reply.header("content-length"), (end - start).to_string());
        assert_eq!(reply.header("content-type"), "video/x-matroska");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn serves_several_ranges() {
    let (server, path, content) = with_video().await;
    let reply = range(&server, &path, "bytes=0-9, 5000-5999, -3").await;
    assert_eq!(reply.status, 206);
    assert_eq!(reply.header("content-length"), reply.body.len().to_string());
    let boundary = reply.header("content-type").strip_prefix("multipart/byteranges; boundary=").unwrap();
    let size = content.len();
    let mut want = Vec::new();
    for part in [0..10, 5000..6000, size - 3..size] {
        let head = format!(
            "\r\n--{boundary}\r\nContent-Type: video/x-matroska\r\nContent-Range: bytes {}-{}/{size}\r\n\r\n",
            part.start,
            part.end - 1
        );
        want.extend_from_slice(head.as_bytes());
        want.extend_from_slice(&content[part]);
    }
    want.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    assert!(reply.body == want);
}

#[tokio::test(flavor = "multi_thread")]
async fn unsatisfiable_and_malformed_ranges() {
    let (server, path, content) = with_video().await;
    let size = content.len();
    for header in [format!("bytes={size}-"), "bytes=-0".to_owned(), format!("bytes={size}-{},-0", size + 5)] {
        let reply = range(&server, &path, &header).await;
        assert!(reply.detail(416).contains(&size.to_string()), "{header}");
        assert_eq!(reply.header("content-range"), format!("bytes */{size}"));
    }
    for header in ["bytes=9-1", "lines=0-1", "bytes", "bytes=a-", "bytes=0-9,0-9"] {
        let reply = range(&server, &path, header).await;
        assert_eq!((reply.status.as_u16(), reply.body.len()), (200, size), "{header}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn evaluates_preconditions() {
    let (server, path, content) = with_video().await;
    let file = std::fs::File::open(server.video_folder().join("game.mkv")).unwrap();
    let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(1_700_000_000_500);
    file.set_modified(old).unwrap();
    let first = server.get(&path).await;
    let (etag, date) = (first.header("etag").to_owned(), first.header("last-modified").to_owned());
    assert_eq!(date, "Tue, 14 Nov 2023 22:13:20 GMT");
    let weak = format!("W/{etag}");
    let earlier = "Tue, 14 Nov 2023 22:13:19 GMT";
    let status = async |headers: &[(&str, &str)]| server.get_with(&path, headers).await.status.as_u16();
    for (headers, want) in [
        (&[("if-none-match", &*etag)][..], 304),
        (&[("if-none-match", &*weak)], 304),
        (&[("if-none-match", "\"a\", *")], 200),
        (&[("if-none-match", "*")], 304),
        (&[("if-none-match", "\"other\"")], 200),
        (&[("if-modified-since", &*date)], 304),
        (&[("if-modified-since", earlier)], 200),
        // The tag takes precedence over the date.
        (&[("if-none-match", "\"other\""), ("if-modified-since", &*date)], 200),
        (&[("if-match", &*etag)], 200),
        (&[("if-match", &*weak)], 412),
        (&[("if-match", "\"other\"")], 412),
        (&[("if-unmodified-since", earlier)], 412),
        (&[("if-unmodified-since", &*date)], 200),
        (&[("range", "bytes=0-9"), ("if-range", &*etag)], 206),
        (&[("range", "bytes=0-9"), ("if-range", &*weak)], 200),
        (&[("range", "bytes=0-9"), ("if-range", "\"other\"")], 200),
        (&[("range", "bytes=0-9"), ("if-range", &*date)], 206),
        (&[("range", "bytes=0-9"), ("if-range", earlier)], 200),
        (&[("range", "bytes=0-9"), ("if-range", "yesterday")], 200),
        (&[("range", "bytes=0-9"), ("if-none-match", &*etag)], 304),
    ] {
        assert_eq!(status(headers).await, want, "{headers:?}");
    }
    // A changed file has another tag.
    std::fs::write(server.video_folder().join("game.mkv"), &content[1..]).unwrap();
    assert_eq!(status(&[("if-match", &etag)]).await, 412);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_file_is_served_from_the_bucket_folder() {
    let (server, path, content) = with_video().await;
    std::fs::remove_file(server.video_folder().join("game.mkv")).unwrap();
    assert!(server.get(&path).await.detail(404).contains("no longer exists"));
    // After a submission, the bucket has a copy.
    std::fs::copy(clip(), server.video_folder().join("game.mkv")).unwrap();
    let job = server.detect(1).await;
    server.job_when_queued(&job).await;
    std::fs::remove_file(server.video_folder().join("game.mkv")).unwrap();
    let reply = range(&server, &path, "bytes=10-19").await;
    assert_eq!((reply.status.as_u16(), &*reply.body), (206, &content[10..20]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_file_is_redirected_to_the_s3_server() {
    let bucket = FakeR2::start();
    let server = TestServer::with_s3(&bucket);
    let id = server.add_video("game.mkv").await;
    let job = server.detect(id).await;
    server.job_when_queued(&job).await;
    let path = format!("/api/videos/{id}/stream");
    assert_eq!(server.get(&path).await.status, 200);
    std::fs::remove_file(server.video_folder().join("game.mkv")).unwrap();
    let reply = server.get(&path).await;
    assert_eq!(reply.status, 302);
    assert_eq!(reply.header("cache-control"), "no-store");
    let url = reply.header("location");
    assert!(url.starts_with(&bucket.connection().endpoint), "{url}");
    assert!(url.contains(&format!("videos/{job}.mkv")) && url.contains("X-Amz-Signature="), "{url}");
    assert!(!url.contains(&bucket.connection().secret_access_key));
    bucket.remove(&format!("videos/{job}.mkv"));
    assert!(server.get(&path).await.detail(404).contains("no longer exists"));
    bucket.stop();
    assert!(server.get(&path).await.detail(503).contains("bucket"));
}

#[tokio::test(flavor = "multi_thread")]
async fn serves_only_regular_files() {
    let server = TestServer::new();
    let mut library = server.library();
    let pipe = server.folder.path().join("pipe.mp4");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for path in [pipe.to_str().unwrap(), "/dev/zero", server.folder.path().to_str().unwrap(), "a\0b"] {
        let id = library.add_video(&store::NewVideo::at(path)).unwrap().id;
        assert!(
            server.get(&format!("/api/videos/{id}/stream")).await.detail(404).contains("no longer exists"),
            "{path}"
        );
    }
}
