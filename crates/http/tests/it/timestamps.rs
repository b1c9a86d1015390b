//! `/timestamps`: the times by which detections are placed.

use std::io::Read;

use serde_json::json;

use super::clips::{make, open};
use super::frames::{H264, add};
use super::test_server::TestServer;

const VFR: &str = "-vf settb=1/10000,setpts=N*400+N*N -fps_mode passthrough -enc_time_base 1:10000";

#[tokio::test(flavor = "multi_thread")]
async fn entry_n_is_the_time_of_frame_n() {
    let folder = tempfile::tempdir().unwrap();
    let server = TestServer::new();
    for (name, options) in [
        ("a.mp4", H264.to_owned()),
        ("vfr.mp4", format!("{VFR} {H264} -video_track_timescale 10000")),
        ("a.mpg", "-pix_fmt yuv420p -c:v mpeg2video -q:v 4 -g 30 -bf 2".to_owned()),
        ("a.ts", H264.to_owned()),
    ] {
        let path = make(folder.path(), 90, &options, name);
        let id = add(&server, &path);
        let video = open(&path);
        let body = server.get(&format!("/api/videos/{id}/timestamps")).await.expect(200);
        assert_eq!((&body["n_frames"], &body["time_base"]), (&json!(90), &json!([1, 1_000_000])), "{name}");
        let ticks: Vec<i64> = serde_json::from_value(body["ticks"].clone()).unwrap();
        let seconds: Vec<f64> = ticks.iter().map(|ticks| *ticks as f64 / 1e6).collect();
        let want: Vec<f64> = (0..90).map(|frame| video.time_s(frame)).collect();
        assert_eq!(seconds, want, "{name}");
        let binary = server.get(&format!("/api/videos/{id}/timestamps?format=binary")).await;
        assert_eq!(binary.header("content-type"), "application/vnd.courtside.timestamps");
        let (numbers, rest) = binary.body.as_chunks();
        let numbers: Vec<i64> = numbers.iter().map(|bytes| f64::from_le_bytes(*bytes) as i64).collect();
        assert_eq!((numbers, rest.len()), (ticks, 0), "{name}");
    }
    // Of the clip with a variable rate, frame 10 is at 410 ms and not at 400.
    let vfr = server.get("/api/videos/2/timestamps").await.expect(200);
    assert_eq!(vfr["ticks"][10], 410_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn timestamps_are_compressed_tagged_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let server = TestServer::new();
    let path = make(folder.path(), 300, H264, "a.mp4");
    let id = add(&server, &path);
    for query in ["", "?format=binary"] {
        let address = format!("/api/videos/{id}/timestamps{query}");
        let plain = server.get(&address).await;
        let tag = plain.header("etag").to_owned();
        assert_eq!(server.get_with(&address, &[("if-none-match", &tag)]).await.status, 304);
        let packed = server.get_with(&address, &[("accept-encoding", "gzip")]).await;
        assert_eq!(packed.header("content-encoding"), "gzip", "{query}");
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(&*packed.body).read_to_end(&mut unpacked).unwrap();
        assert!(unpacked == plain.body && packed.body.len() < plain.body.len() * 2 / 3, "{query}");
    }
    // They were computed once.
    let kept = server.video_folder().join(".courtside/images");
    let [name] = &super::test_server::file_names(&kept)[..] else { panic!("one file is kept") };
    std::fs::write(kept.join(name), 7_f64.to_le_bytes()).unwrap();
    let body = server.get(&format!("/api/videos/{id}/timestamps")).await.expect(200);
    assert_eq!(body["ticks"], json!([7]));
    let reply = server.get(&format!("/api/videos/{id}/timestamps?format=xml&from=3")).await;
    assert_eq!(reply.issues(), ["query.format enum", "query.from extra_forbidden"]);
}
