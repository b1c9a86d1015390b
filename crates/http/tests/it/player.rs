//! `/stream`: ranges and conditions of RFC 9110, and where the bytes come from.

use axum::body::Body;
use axum::http::Method;
use s3_fixture::FakeR2;

use super::site::{Reply, Site, clip, request};

/// A site with one video.
async fn with_video() -> (Site, String, Vec<u8>) {
    let site = Site::new();
    let id = site.video("game.mkv").await;
    (site, format!("/api/videos/{id}/stream"), std::fs::read(clip()).unwrap())
}

async fn range(site: &Site, path: &str, range: &str) -> Reply {
    site.get_with(path, &[("range", range)]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_and_its_head() {
    let (site, path, content) = with_video().await;
    let whole = site.get(&path).await;
    assert_eq!(whole.status, 200);
    assert!(whole.body == content);
    let head = site.call(request(Method::HEAD, &path, &[], Body::empty())).await;
    assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
    for reply in [&whole, &head] {
        assert_eq!(reply.header("content-length"), content.len().to_string());
        assert_eq!(reply.header("content-type"), "video/x-matroska");
        assert_eq!(reply.header("accept-ranges"), "bytes");
        assert_eq!(reply.header("content-disposition"), "inline; filename*=UTF-8''game.mkv");
        assert_eq!(reply.header("x-content-type-options"), "nosniff");
    }
    // Ranges are defined for GET alone.
    let head = site.call(request(Method::HEAD, &path, &[("range", "bytes=0-9")], Body::empty())).await;
    assert_eq!((head.status.as_u16(), head.header("content-length")), (200, &*content.len().to_string()));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_range() {
    let (site, path, content) = with_video().await;
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
        let reply = range(&site, &path, &header).await;
        assert_eq!(reply.status, 206, "{header}");
        assert!(reply.body == content[start..end], "{header}");
        assert_eq!(reply.header("content-range"), format!("bytes {start}-{}/{size}", end - 1));
        assert_eq!(reply.header("content-length"), (end - start).to_string());
        assert_eq!(reply.header("content-type"), "video/x-matroska");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_ranges() {
    let (site, path, content) = with_video().await;
    let reply = range(&site, &path, "bytes=0-9, 5000-5999, -3").await;
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
async fn ranges_that_are_not_there_or_make_no_sense() {
    let (site, path, content) = with_video().await;
    let size = content.len();
    for header in [format!("bytes={size}-"), "bytes=-0".to_owned(), format!("bytes={size}-{},-0", size + 5)] {
        let reply = range(&site, &path, &header).await;
        assert!(reply.detail(416).contains(&size.to_string()), "{header}");
        assert_eq!(reply.header("content-range"), format!("bytes */{size}"));
    }
    for header in ["bytes=9-1", "lines=0-1", "bytes", "bytes=a-", "bytes=0-9,0-9"] {
        let reply = range(&site, &path, header).await;
        assert_eq!((reply.status.as_u16(), reply.body.len()), (200, size), "{header}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions() {
    let (site, path, content) = with_video().await;
    let file = std::fs::File::open(site.videos().join("game.mkv")).unwrap();
    let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(1_700_000_000_500);
    file.set_modified(old).unwrap();
    let first = site.get(&path).await;
    let (etag, date) = (first.header("etag").to_owned(), first.header("last-modified").to_owned());
    assert_eq!(date, "Tue, 14 Nov 2023 22:13:20 GMT");
    let weak = format!("W/{etag}");
    let earlier = "Tue, 14 Nov 2023 22:13:19 GMT";
    let ask = async |headers: &[(&str, &str)]| site.get_with(&path, headers).await.status.as_u16();
    for (headers, want) in [
        (&[("if-none-match", &*etag)][..], 304),
        (&[("if-none-match", &*weak)], 304),
        (&[("if-none-match", "\"a\", *")], 200),
        (&[("if-none-match", "*")], 304),
        (&[("if-none-match", "\"other\"")], 200),
        (&[("if-modified-since", &*date)], 304),
        (&[("if-modified-since", earlier)], 200),
        // The tag counts more than the date.
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
        assert_eq!(ask(headers).await, want, "{headers:?}");
    }
    // Another version has another tag.
    std::fs::write(site.videos().join("game.mkv"), &content[1..]).unwrap();
    assert_eq!(ask(&[("if-match", &etag)]).await, 412);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_gone() {
    let (site, path, content) = with_video().await;
    std::fs::remove_file(site.videos().join("game.mkv")).unwrap();
    assert!(site.get(&path).await.detail(404).contains("is gone"));
    // The bucket's copy plays in its place.
    std::fs::copy(clip(), site.videos().join("game.mkv")).unwrap();
    let job = site.detect(1).await;
    site.waiting(&job).await;
    std::fs::remove_file(site.videos().join("game.mkv")).unwrap();
    let reply = range(&site, &path, "bytes=10-19").await;
    assert_eq!((reply.status.as_u16(), &*reply.body), (206, &content[10..20]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_a_server_has_is_played_from_there() {
    let bucket = FakeR2::start();
    let site = Site::remote(&bucket);
    let id = site.video("game.mkv").await;
    let job = site.detect(id).await;
    site.waiting(&job).await;
    let path = format!("/api/videos/{id}/stream");
    assert_eq!(site.get(&path).await.status, 200);
    std::fs::remove_file(site.videos().join("game.mkv")).unwrap();
    let reply = site.get(&path).await;
    assert_eq!(reply.status, 302);
    assert_eq!(reply.header("cache-control"), "no-store");
    let address = reply.header("location");
    assert!(address.starts_with(&bucket.connection().endpoint), "{address}");
    assert!(
        address.contains(&format!("videos/{job}.mkv")) && address.contains("X-Amz-Signature="),
        "{address}"
    );
    assert!(!address.contains(&bucket.connection().secret_access_key));
    bucket.remove(&format!("videos/{job}.mkv"));
    assert!(site.get(&path).await.detail(404).contains("is gone"));
    bucket.stop();
    assert!(site.get(&path).await.detail(503).contains("bucket"));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_regular_files_are_played() {
    let site = Site::new();
    let mut library = site.library();
    let pipe = site.folder.path().join("pipe.mp4");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for path in [pipe.to_str().unwrap(), "/dev/zero", site.folder.path().to_str().unwrap(), "a\0b"] {
        let id = library.add_video(&store::NewVideo::at(path)).unwrap().id;
        assert!(
            site.get(&format!("/api/videos/{id}/stream")).await.detail(404).contains("is gone"),
            "{path}"
        );
    }
}
