//! `/export`: the files that `courtside export` writes.

use std::path::Path;

use client::export::{ExportInfo, Format, LibraryDetections, Selection, Wanted, select_of_video};
use client::stop::Stop;
use store::{ImportJob, NewVideo, ResultsSummary, StoreError, StoredDetection};

use super::clips::{make, open};
use super::frames::{H264, add};
use super::test_server::{TestServer, file_names};

/// Imports two tracks on this many frames as the results of a job.
fn import(server: &TestServer, video_id: i64, job_id: &str, n_frames: i64) {
    let detection = |frame: i64, track_id: i64| StoredDetection {
        frame,
        track_id,
        bbox: [1.5, 2.25, 30.0, 60.5],
        confidence: if track_id == 1 { 0.9 } else { 0.4 },
    };
    let imported = server.library().import(&ImportJob::new(job_id, video_id, job_id), |writer| {
        for frame in 0..n_frames {
            writer.push(&[detection(frame, 1), detection(frame, 2)])?;
        }
        Ok::<_, StoreError>(ResultsSummary { frames_processed: Some(n_frames), completed_at: None })
    });
    imported.unwrap();
}

/// What the command line writes.
fn written(
    server: &TestServer,
    format: Format,
    video_id: i64,
    job: Option<&str>,
    times: Vec<f64>,
) -> Vec<u8> {
    let (selection, _, info) = select_of_video(&server.library(), video_id, job).unwrap();
    let info = ExportInfo { frame_times_s: times, ..info };
    write(server, format, selection, &info, 0.0)
}

fn write(
    server: &TestServer,
    format: Format,
    selection: Selection,
    info: &ExportInfo,
    min_confidence: f64,
) -> Vec<u8> {
    let mut out = Vec::new();
    let stop = Stop::default();
    let wanted = Wanted { selection, min_confidence, is_raw: false };
    let mut detections = LibraryDetections::start(server.library(), wanted, &stop);
    format.write(&mut out, info, &mut detections, server.folder.path()).unwrap();
    out
}

fn formats() -> impl Iterator<Item = Format> {
    Format::ALL.iter().copied().filter(|format| *format != Format::Video)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_format_is_the_file_of_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let server = TestServer::new();
    // With times that do not follow from the average rate.
    let vfr = "-vf settb=1/10000,setpts=N*400+N*N -fps_mode passthrough -enc_time_base 1:10000";
    let path =
        make(folder.path(), 90, &format!("{vfr} {H264} -video_track_timescale 10000"), "final game.mp4");
    let id = add(&server, &path);
    import(&server, id, "first", 90);
    import(&server, id, "second", 40);
    let video = open(&path);
    let times: Vec<f64> = (0..90).map(|frame| video.time_s(frame)).collect();
    for format in formats() {
        let times = if format.has_times() { times.clone() } else { Vec::new() };
        for (address, job) in [
            (format!("/api/videos/{id}/export?format={format}"), "second"),
            (format!("/api/videos/{id}/export?format={format}&job_id=first"), "first"),
            (format!("/api/jobs/first/export?format={format}"), "first"),
        ] {
            let reply = server.get(&address).await;
            assert_eq!(reply.status, 200, "{address}: {}", reply.text());
            assert!(reply.body == written(&server, format, id, Some(job), times.clone()), "{address}");
            assert_eq!(reply.header("content-length"), reply.body.len().to_string());
            assert_eq!(reply.header("content-type"), format.media_type());
            let name = format!("attachment; filename*=UTF-8''final%20game.{}", format.extension());
            assert_eq!(reply.header("content-disposition"), name);
            assert!(reply.headers.get("x-courtside-warning").is_none());
        }
    }
    assert!(!file_names(&server.video_folder().join(".courtside")).iter().any(|name| name.contains("tmp")));
}

#[tokio::test(flavor = "multi_thread")]
async fn detections_below_the_confidence_are_left_out() {
    let server = TestServer::new();
    let id = add(&server, Path::new("/games/final.mp4"));
    import(&server, id, "job", 10);
    for (query, n) in [("", 20), ("&min_confidence=0.5", 10), ("&min_confidence=1", 0)] {
        let reply = server.get(&format!("/api/videos/{id}/export?format=jsonl{query}")).await;
        assert_eq!(reply.text().lines().count(), n, "{query}");
    }
}

/// Without the file, times are approximate, and the response says so.
#[tokio::test(flavor = "multi_thread")]
async fn approximate_times_come_with_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let server = TestServer::new();
    let path = make(folder.path(), 20, H264, "a.mp4");
    let size = path.metadata().unwrap().len() as i64;
    let of_size = |size_bytes| store::FileFingerprint { size_bytes, ..store::FileFingerprint::default() };
    for (path, file, is_exact) in [
        (path.clone(), of_size(Some(size)), true),
        (path.clone(), of_size(Some(size + 1)), false),
        ("/games/gone.mp4".into(), of_size(None), false),
    ] {
        let new = NewVideo { fps: Some(25.0), n_frames: Some(20), file, ..NewVideo::at(path) };
        let id = server.library().add_video(&new).unwrap().id;
        import(&server, id, &format!("job-{id}"), 10);
        for (format, has_times) in [("csv", true), ("mot", false)] {
            let reply = server.get(&format!("/api/videos/{id}/export?format={format}")).await;
            assert_eq!(reply.status, 200);
            let warning = reply.headers.get("x-courtside-warning");
            assert_eq!(warning.is_some(), has_times && !is_exact, "video {id}, {format}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_exported_is_an_error_that_says_why() {
    let server = TestServer::new();
    let empty = add(&server, Path::new("/games/empty.mp4"));
    let id = add(&server, Path::new("/games/final.mp4"));
    import(&server, id, "job", 10);
    for (address, status, text) in [
        ("/api/videos/99/export?format=csv".to_owned(), 404, "Video 99 not found"),
        (format!("/api/videos/{id}/export?format=csv&job_id=other"), 404, "not an imported job"),
        (format!("/api/videos/{empty}/export?format=csv&job_id=job"), 404, "not an imported job"),
        (format!("/api/videos/{empty}/export?format=csv"), 409, "has no detections"),
        ("/api/jobs/none/export?format=csv".to_owned(), 404, "Job none not found"),
    ] {
        let detail = server.get(&address).await.detail(status);
        assert!(detail.contains(text), "{address}: {detail}");
    }
    for (query, want) in [
        ("", "query.format missing"),
        ("?format=avi", "query.format enum"),
        // It takes as long as the video.
        ("?format=video", "query.format enum"),
        ("?format=csv&min_confidence=2", "query.min_confidence less_than_equal"),
        ("?format=csv&prompt=ball", "query.prompt extra_forbidden"),
    ] {
        for path in [format!("/api/videos/{id}/export"), "/api/jobs/job/export".to_owned()] {
            assert_eq!(server.get(&format!("{path}{query}")).await.issues(), [want], "{path}{query}");
        }
    }
    let waiting = server.add_video("game.mkv").await;
    let job = server.detect(waiting).await;
    let detail = server.get(&format!("/api/jobs/{job}/export?format=csv")).await.detail(409);
    assert_eq!(detail, format!("Job {job} is not imported"));
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_downloads_are_safe() {
    let server = TestServer::new();
    let id = add(&server, Path::new("/games/a\"; x=\r\nSet-Cookie: ž.mp4"));
    import(&server, id, "job", 1);
    let reply = server.get(&format!("/api/videos/{id}/export?format=mot")).await;
    assert_eq!(
        reply.header("content-disposition"),
        "attachment; filename*=UTF-8''a%22%3B%20x%3D%0D%0ASet-Cookie%3A%20%C5%BE.mot.txt"
    );
}
