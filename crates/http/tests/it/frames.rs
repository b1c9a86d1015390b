//! `/frames`: exactly the frame that is asked for, from every kind of file, as much of it as is asked for.

use std::path::Path;
use std::process::{Command, Stdio};

use courtside_http::{Access, ServerOptions};
use jobs::bucket::Secret;
use s3_fixture::FakeR2;
use store::NewVideo;
use video::Frame;

use super::barcode::{self, Turn};
use super::clips::{ffmpeg, make, set_rotation};
use super::test_server::{Reply, TestServer, default_options, request, until};

/// H.264 with B-frames and a keyframe every 30 frames.
pub(super) const H264: &str =
    "-pix_fmt yuv420p -c:v libx264 -preset veryfast -bf 3 -g 30 -keyint_min 30 -sc_threshold 0";
const HEVC_OPEN_GOP: &str = "-pix_fmt yuv420p -c:v libx265 -preset ultrafast -x265-params \
     log-level=error:keyint=30:min-keyint=30:bframes=3:open-gop=1:scenecut=0:pools=2 -tag:v hvc1";
const VFR: &str = "-vf settb=1/10000,setpts=N*400+N*N -fps_mode passthrough -enc_time_base 1:10000";

/// Adds a file to the library without looking at it. Returns its id.
pub(super) fn add(server: &TestServer, path: &Path) -> i64 {
    server.library().add_video(&NewVideo::at(path)).unwrap().id
}

/// The picture of a response with a JPEG.
#[track_caller]
pub(super) fn picture(reply: &Reply) -> Frame {
    assert_eq!(
        (reply.status.as_u16(), reply.header("content-type")),
        (200, "image/jpeg"),
        "{}",
        reply.text()
    );
    let (width, height) = size(&reply.body);
    let mut decoder = Command::new("ffmpeg")
        .args(["-v", "error", "-f", "mjpeg", "-i", "pipe:0", "-f", "rawvideo", "-pix_fmt", "rgb24", "pipe:1"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = decoder.stdin.take().unwrap();
    let jpeg = reply.body.clone();
    let writer = std::thread::spawn(move || std::io::Write::write_all(&mut stdin, &jpeg).unwrap());
    let output = decoder.wait_with_output().unwrap();
    writer.join().unwrap();
    assert_eq!(output.stdout.len(), (width * height * 3) as usize);
    Frame { frame_idx: 0, time_s: 0.0, width, height, rgb: output.stdout }
}

/// Width and height in a JPEG's frame header (ITU-T T.81 §B.2.2).
fn size(jpeg: &[u8]) -> (u32, u32) {
    let at = jpeg.windows(2).position(|marker| matches!(marker, [0xff, 0xc0 | 0xc2])).unwrap();
    let number = |at: usize| u32::from(u16::from_be_bytes([jpeg[at], jpeg[at + 1]]));
    (number(at + 7), number(at + 5))
}

/// Checks that these frames show the numbers of `number`.
async fn check(path: &Path, frames: &[u64], turn: Turn, number: impl Fn(u64) -> usize) {
    let server = TestServer::new();
    let id = add(&server, path);
    for &frame in frames {
        let reply = server.get(&format!("/api/videos/{id}/frames/{frame}.jpg")).await;
        let picture = picture(&reply);
        assert_eq!(barcode::read(&picture, turn), Ok(number(frame)), "frame {frame} of {}", path.display());
    }
}

/// Frames on, before and after keyframes.
const FRAMES: [u64; 8] = [0, 1, 29, 30, 31, 57, 61, 89];

#[tokio::test(flavor = "multi_thread")]
async fn every_frame_has_the_number_of_the_detections() {
    let folder = tempfile::tempdir().unwrap();
    for (name, options) in [
        ("b-frames.mp4", H264.to_owned()),
        ("vfr.mkv", format!("{VFR} {H264}")),
        ("vfr.mp4", format!("{VFR} {H264} -video_track_timescale 10000")),
        ("open-gop.mp4", HEVC_OPEN_GOP.to_owned()),
        ("transport.ts", format!("{H264} -x264-params open-gop=1")),
        // Frames are counted, because only some packets have a timestamp.
        ("program.mpg", "-pix_fmt yuv420p -c:v mpeg2video -q:v 4 -g 30 -bf 2".to_owned()),
        ("old.avi", "-pix_fmt yuv420p -c:v mpeg4 -q:v 4 -g 30".to_owned()),
    ] {
        let path = make(folder.path(), 90, &options, name);
        check(&path, &FRAMES, Turn::No, |frame| frame as usize).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_are_turned_and_cut_as_a_player_shows_them() {
    let folder = tempfile::tempdir().unwrap();
    make(folder.path(), 90, H264, "a.mp4");
    let turned = make(folder.path(), 90, H264, "turned.mp4");
    set_rotation(&turned, [0, 1, -1, 0]);
    check(&turned, &[0, 31, 89], Turn::Quarter, |frame| frame as usize).await;
    // An edit list leaves out what is before the cut, though the file has it since the last keyframe.
    ffmpeg(folder.path(), "-ss 1.6 -i a.mp4 -c copy cut.mp4");
    check(&folder.path().join("cut.mp4"), &[0, 1, 20, 49], Turn::No, |frame| frame as usize + 40).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_past_the_end_is_an_error_that_names_the_number_of_frames() {
    let folder = tempfile::tempdir().unwrap();
    let server = TestServer::new();
    let id = add(&server, &make(folder.path(), 20, H264, "a.mp4"));
    for frame in ["20", "99999999999999999999"] {
        let detail = server.get(&format!("/api/videos/{id}/frames/{frame}.jpg")).await.detail(404);
        assert!(detail.contains(&format!("Video {id} has 20 frames")), "{detail}");
    }
    assert_eq!(server.get("/api/videos/99/frames/0.jpg").await.detail(404), "Video 99 not found");
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_parameters_of_frames_are_reported() {
    let folder = tempfile::tempdir().unwrap();
    let server = TestServer::new();
    let id = add(&server, &make(folder.path(), 20, H264, "a.mp4"));
    for (path, want) in [
        ("0", "path.frame string_pattern_mismatch"),
        ("-1.jpg", "path.frame string_pattern_mismatch"),
        ("x.jpg", "path.frame string_pattern_mismatch"),
        ("1.png", "path.frame string_pattern_mismatch"),
        ("0.jpg?width=15", "query.width greater_than_equal"),
        ("0.jpg?width=8193", "query.width less_than_equal"),
        ("0.jpg?height=100", "query.height extra_forbidden"),
        ("0.jpg?crop=0,0,10", "query.crop string_pattern_mismatch"),
        ("0.jpg?crop=0,0,0,10", "query.crop string_pattern_mismatch"),
        ("0.jpg?crop=1,0,320,240", "query.crop value_error"),
    ] {
        assert_eq!(server.get(&format!("/api/videos/{id}/frames/{path}")).await.issues(), [want], "{path}");
    }
    let reply = server.get("/api/videos/x/frames/y").await;
    assert_eq!(reply.issues(), ["path.video_id int_parsing", "path.frame string_pattern_mismatch"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_are_cropped_in_their_own_pixels_and_never_enlarged() {
    let folder = tempfile::tempdir().unwrap();
    let server = TestServer::new();
    let id = add(&server, &make(folder.path(), 20, H264, "a.mp4"));
    let get =
        async |query: &str| picture(&server.get(&format!("/api/videos/{id}/frames/5.jpg?{query}")).await);
    for (query, want) in [
        ("", (320, 240)),
        ("width=160", (160, 120)),
        ("width=8192", (320, 240)),
        ("crop=10,20,101,50", (101, 50)),
        ("crop=0,0,320,240&width=64", (64, 48)),
        ("crop=10,20,30,40&width=640", (30, 40)),
    ] {
        let picture = get(query).await;
        assert_eq!((picture.width, picture.height), want, "{query}");
    }
    assert_eq!(barcode::read(&get("width=160").await, Turn::No), Ok(5));
    // Bars are 26 or 27 pixels wide; 5 is 101 in binary, from the left, and the lower half is inverted.
    for (crop, is_light) in [
        ("2,2,22,112", true),
        ("30,2,20,112", false),
        ("56,2,20,112", true),
        ("2,124,22,112", false),
        ("30,124,20,112", true),
    ] {
        let part = get(&format!("crop={crop}")).await;
        assert!(part.rgb.iter().all(|value| (*value > 125) == is_light), "{crop}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_that_the_client_has_is_not_sent_again() {
    let folder = tempfile::tempdir().unwrap();
    let server = TestServer::new();
    let path = make(folder.path(), 20, H264, "a.mp4");
    let id = add(&server, &path);
    let address = format!("/api/videos/{id}/frames/5.jpg");
    let first = server.get(&address).await;
    let tag = first.header("etag").to_owned();
    let has_it = [("if-none-match", &*tag)];
    let again = server.get_with(&address, &has_it).await;
    assert_eq!((again.status.as_u16(), again.body.len()), (304, 0));
    for other in ["/frames/6.jpg", "/frames/5.jpg?width=100", "/frames/5.jpg?crop=0,0,9,9"] {
        let reply = server.get_with(&format!("/api/videos/{id}{other}"), &has_it).await;
        assert_eq!(reply.status, 200, "{other}");
    }
    // Another file at the same path.
    make(folder.path(), 15, H264, "b.mp4");
    std::fs::rename(folder.path().join("b.mp4"), &path).unwrap();
    assert_eq!(server.get_with(&address, &has_it).await.status, 200);
    assert!(server.get(&format!("/api/videos/{id}/frames/17.jpg")).await.detail(404).contains("15 frames"));
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_about_files_do_not_tell_where_they_are() {
    let server = TestServer::new();
    let folder = tempfile::tempdir().unwrap();
    let gone = add(&server, &folder.path().join("gone.mp4"));
    let text = folder.path().join("text.mp4");
    std::fs::write(&text, "this is no video").unwrap();
    let text = add(&server, &text);
    for what in ["frames/0.jpg", "thumbnail", "timestamps"] {
        let missing = server.get(&format!("/api/videos/{gone}/{what}")).await.detail(404);
        assert!(missing.contains("no longer exists"), "{what}: {missing}");
        let unreadable = server.get(&format!("/api/videos/{text}/{what}")).await.detail(409);
        assert!(unreadable.contains("text.mp4 is not a readable video"), "{what}: {unreadable}");
        for detail in [missing, unreadable] {
            assert!(!detail.contains(folder.path().to_str().unwrap()), "{what}: {detail}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_video_that_only_the_bucket_has_is_refused_with_the_reason() {
    let bucket = FakeR2::start();
    let server = TestServer::with_s3(&bucket);
    let id = server.add_video("game.mkv").await;
    let job = server.detect(id).await;
    server.job_when_queued(&job).await;
    assert_eq!(server.get(&format!("/api/videos/{id}/frames/0.jpg")).await.status, 200);
    std::fs::remove_file(server.video_folder().join("game.mkv")).unwrap();
    for what in ["frames/0.jpg", "thumbnail", "timestamps", "frame-url"] {
        let detail = server.get(&format!("/api/videos/{id}/{what}")).await.detail(409);
        assert!(detail.contains("only in the bucket"), "{what}: {detail}");
    }
    // Players still get the bucket's address.
    server.get(&format!("/api/videos/{id}/stream-url")).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_of_a_page_needs_no_token() {
    let folder = tempfile::tempdir().unwrap();
    let token = "a token that is long enough";
    let access = Access::Token(Secret::new(token));
    let server = TestServer::with(ServerOptions { access, ..default_options() });
    let id = add(&server, &make(folder.path(), 20, H264, "a.mp4"));
    let bearer = [("authorization", &*format!("Bearer {token}"))];
    let url = server.get_with(&format!("/api/videos/{id}/frame-url"), &bearer).await.expect(200);
    let url = url["url"].as_str().unwrap();
    for frame in ["0", "19"] {
        let reply = server.get(&format!("{}&width=100", url.replace("{frame}", frame))).await;
        assert_eq!(picture(&reply).width, 100);
    }
    let other = url.replace(&format!("videos/{id}"), &format!("videos/{}", id + 1));
    for refused in [other.replace("{frame}", "0"), format!("/api/videos/{id}/frames/0.jpg")] {
        assert_eq!(server.get(&refused).await.status, 401, "{refused}");
    }
    let listed = server.get_with("/api/videos", &bearer).await.expect(200);
    let thumbnail = listed["videos"][0]["thumbnail_url"].as_str().unwrap().to_owned();
    assert_eq!(picture(&server.get(&format!("{thumbnail}&width=64")).await).width, 64);
    assert_eq!(server.get(thumbnail.split('?').next().unwrap()).await.status, 401);
}

/// The processes with this file in their arguments.
#[cfg(target_os = "linux")]
fn processes_of(path: &Path) -> Vec<String> {
    let name = path.as_os_str().as_encoded_bytes();
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let reads_it = |process: &std::fs::DirEntry| {
        // A process that has exited since it was listed has no command line.
        let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        line.split(|&byte| byte == 0).any(|word| word == name)
    };
    processes.filter(reads_it).map(|process| process.file_name().into_string().unwrap()).collect()
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_decoder_is_killed_when_its_client_has_gone() {
    let folder = tempfile::tempdir().unwrap();
    let server = TestServer::new();
    // Frames are counted, so the last one takes long.
    let options = "-vf scale=960:720 -pix_fmt yuv420p -c:v mpeg2video -q:v 9 -g 30 -bf 2";
    let path = make(folder.path(), 500, options, "a.mpg").canonicalize().unwrap();
    let id = add(&server, &path);
    // The index is ready, so the next process is the decoder.
    server.get(&format!("/api/videos/{id}/timestamps")).await.expect(200);
    let address = format!("/api/videos/{id}/frames/499.jpg");
    let frame = server.send(request(axum::http::Method::GET, &address, &[], axum::body::Body::empty()));
    let stopped = until("the decoder", async || {
        let id = processes_of(&path).pop()?;
        // A process that is stopped does not end by itself.
        Command::new("kill").args(["-STOP", &id]).status().unwrap().success().then_some(id)
    });
    tokio::select! {
        response = frame => panic!("the frame was decoded: {}", response.status()),
        _ = stopped => {}
    }
    until("the end of the decoder", async || processes_of(&path).is_empty().then_some(())).await;
    // Its permit is free again, as often as there are permits.
    for _ in 0..8 {
        assert_eq!(server.get(&format!("/api/videos/{id}/frames/1.jpg")).await.status, 200);
    }
}
