//! Codecs and containers: frame numbers are exact, as read from the pixels.

use crate::barcode::Turn;
use crate::clips::{Expected, RESUME, make, open};

const N: usize = 150;

/// Encodes and opens a clip, and checks all guarantees about frame numbers.
fn check(codec: &str, name: &str, options: &str) -> video::Video {
    let folder = tempfile::tempdir().unwrap();
    let path = make(folder.path(), N, options, name);
    let video = open(&path);
    assert_eq!(video.codec(), codec);
    assert_eq!((video.width(), video.height()), (320, 240));
    assert!((video.fps() - 25.0).abs() < 0.01, "{}", video.fps());
    assert!((video.duration_s() - 6.0).abs() < 0.05, "{}", video.duration_s());
    let number = |i| i as usize;
    let expected = Expected {
        n_frames: N as u64,
        number: &number,
        turn: Turn::No,
        resume: &RESUME,
        may_report_errors: false,
    };
    expected.check(&video);
    video
}

/// Also checks that timestamps are exact and that there are no warnings.
fn check_timed(codec: &str, name: &str, options: &str) {
    let video = check(codec, name, options);
    assert!(!video.is_counted());
    assert_eq!(video.warnings(), [""; 0]);
    let first = video.time_s(0);
    for i in 0..N as u64 {
        let error = video.time_s(i) - first - i as f64 / 25.0;
        assert!(error.abs() < 0.0011, "frame {i} is {error} s off");
    }
}

const H264: &str =
    "-pix_fmt yuv420p -c:v libx264 -preset veryfast -bf 3 -g 30 -keyint_min 30 -sc_threshold 0";

#[test]
fn h264_with_b_frames_in_mp4() {
    check_timed("h264", "a.mp4", H264);
}

#[test]
fn h264_with_open_gops_in_mp4() {
    check_timed("h264", "a.mp4", &format!("{H264} -x264-params open-gop=1"));
}

#[test]
fn h264_with_10_bits_in_mov() {
    check_timed("h264", "a.mov", &H264.replace("yuv420p", "yuv420p10le"));
}

#[test]
fn h264_in_mkv() {
    check_timed("h264", "a.mkv", H264);
}

#[test]
fn h264_in_transport_stream() {
    check_timed("h264", "a.ts", H264);
}

#[test]
fn h264_in_fragmented_mp4() {
    check_timed("h264", "a.mp4", &format!("{H264} -movflags frag_keyframe+empty_moov+default_base_moof"));
}

/// AVI has no timestamps for reordered frames, so they are counted.
#[test]
fn h264_in_avi() {
    assert!(check("h264", "a.avi", H264).is_counted());
}

const HEVC: &str = "-c:v libx265 -preset ultrafast -x265-params \
     log-level=error:bframes=4:keyint=30:min-keyint=30:scenecut=0:open-gop=1:pools=2";

#[test]
fn hevc_with_open_gops_in_mp4() {
    check_timed("hevc", "a.mp4", &format!("-pix_fmt yuv420p {HEVC}"));
}

#[test]
fn hevc_with_10_bits_in_mkv() {
    check_timed("hevc", "a.mkv", &format!("-pix_fmt yuv420p10le {HEVC}"));
}

#[test]
fn vp8_with_hidden_frames_in_webm() {
    let options = "-pix_fmt yuv420p -c:v libvpx -deadline realtime -cpu-used 4 -b:v 400k -g 30 -auto-alt-ref 1 \
         -lag-in-frames 16 -arnr-maxframes 7";
    check_timed("vp8", "a.webm", options);
}

#[test]
fn vp9_with_hidden_frames_in_webm() {
    let options = "-pix_fmt yuv420p -c:v libvpx-vp9 -deadline good -cpu-used 5 -b:v 400k -g 30 -auto-alt-ref 1 \
         -lag-in-frames 16 -row-mt 1";
    check_timed("vp9", "a.webm", options);
}

#[test]
fn av1_in_mp4() {
    check_timed(
        "av1",
        "a.mp4",
        "-pix_fmt yuv420p -c:v libaom-av1 -cpu-used 8 -usage realtime -g 30 -b:v 400k",
    );
}

#[test]
fn av1_with_hidden_frames_in_mkv() {
    check_timed("av1", "a.mkv", "-pix_fmt yuv420p -c:v libsvtav1 -preset 12 -g 30 -crf 40");
}

#[test]
fn mpeg4_in_avi() {
    check_timed("mpeg4", "a.avi", "-pix_fmt yuv420p -c:v mpeg4 -q:v 4 -g 30");
}

/// AVI has no timestamps for reordered frames, so they are counted.
#[test]
fn mpeg4_with_b_frames_in_avi() {
    assert!(check("mpeg4", "a.avi", "-pix_fmt yuv420p -c:v mpeg4 -q:v 4 -g 30 -bf 2").is_counted());
}

#[test]
fn msmpeg4_in_avi() {
    check_timed("msmpeg4v3", "a.avi", "-pix_fmt yuv420p -c:v msmpeg4 -q:v 4 -g 30");
}
