//! Frame truth: for every container, codec and oddity, a frame's number is its place in what a decoder
//! delivers, read from the pixels, whole and from the middle, and the count is what ffmpeg reads.

use std::path::{Path, PathBuf};

use crate::barcode::Turn;
use crate::clips::{Expected, ffmpeg, ffprobe, hide_box, make, make_from, open};
use crate::field_pictures;

const N: usize = 90;
const H264: &str =
    "-pix_fmt yuv420p -c:v libx264 -preset veryfast -bf 3 -g 30 -keyint_min 30 -sc_threshold 0";
const HEVC_ONE_KEY: &str = "-pix_fmt yuv420p -c:v libx265 -preset ultrafast -x265-params \
     log-level=error:keyint=60:min-keyint=60:bframes=0:scenecut=0:pools=2 -tag:v hvc1";
const MPEG4: &str = "-pix_fmt yuv420p -c:v mpeg4 -q:v 4 -g 30";
const MPEG2: &str = "-pix_fmt yuv420p -c:v mpeg2video -q:v 4 -g 30";

/// Checks that frame `i` shows `numbers(i)`, from the start and from the middle, and that ffmpeg delivers as many.
fn check(path: &Path, n_frames: usize, number: &dyn Fn(u64) -> usize) -> video::Video {
    check_turned(path, n_frames, Turn::No, number)
}

/// As [`check`], for a rotated video.
pub(crate) fn check_turned(
    path: &Path,
    n_frames: usize,
    turn: Turn,
    number: &dyn Fn(u64) -> usize,
) -> video::Video {
    let video = open(path);
    let resume = [1, 29, 30, 31, 45, n_frames as u64 - 20];
    Expected { n_frames: n_frames as u64, number, turn, resume: &resume, may_report_errors: true }
        .check(&video);
    let options =
        "-select_streams V:0 -count_frames -show_entries stream=nb_read_frames -of default=nk=1:nw=1";
    let counted: usize = ffprobe(path, options).lines().next().unwrap().parse().unwrap();
    // ffmpeg 5.1 delivers AV1 frames that an edit list hides; a player does not show them.
    let hidden = if video.codec() == "av1" { counted.saturating_sub(n_frames) } else { 0 };
    assert_eq!(counted - hidden, n_frames, "ffmpeg delivers another number of frames for {}", path.display());
    let times: Vec<f64> = (0..n_frames as u64).map(|i| video.time_s(i)).collect();
    assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "the times do not increase");
    video
}

fn concat(folder: &Path, parts: &[PathBuf], name: &str) -> PathBuf {
    let bytes: Vec<u8> = parts.iter().flat_map(|part| std::fs::read(part).unwrap()).collect();
    std::fs::write(folder.join(name), bytes).unwrap();
    folder.join(name)
}

#[test]
fn containers_and_codecs_of_capture_cards_and_editors() {
    let folder = tempfile::tempdir().unwrap();
    let prores = "-pix_fmt yuv422p10le -c:v prores_ks -profile:v 0";
    let dnxhr = "-pix_fmt yuv422p -c:v dnxhd -profile:v dnxhr_lb";
    let mjpeg = "-pix_fmt yuvj420p -c:v mjpeg -q:v 4";
    for (name, options) in [
        ("a.flv", H264),
        ("a.mpg", MPEG2),
        ("b.mpg", &format!("{MPEG2} -bf 2")),
        ("a.vob", MPEG2),
        ("c.mpg", "-pix_fmt yuv420p -c:v mpeg1video -q:v 4 -g 30"),
        ("a.ts", &format!("{MPEG2} -bf 2")),
        ("a.mov", MPEG2),
        ("a.mkv", &format!("{MPEG2} -bf 2")),
        ("a.avi", mjpeg),
        ("b.mov", mjpeg),
        ("c.mov", prores),
        ("b.mkv", prores),
        ("d.mov", dnxhr),
        ("e.mov", &format!("{MPEG4} -bf 2")),
    ] {
        let video = check(&make(folder.path(), N, options, name), N, &|i| i as usize);
        // In program streams only some packets have a timestamp.
        assert_eq!(video.is_counted(), name.ends_with("mpg") || name.ends_with("vob"), "{name}");
    }
}

/// HEVC in MP4 whose container marks every sample as a sync sample gave gray images to the next keyframe.
#[test]
fn keyframe_flags_of_the_container_are_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    let intra_refresh = format!("{H264} -x264-params intra-refresh=1");
    for (name, options) in [
        ("a.mp4", HEVC_ONE_KEY),
        ("b.mp4", MPEG4),
        ("c.mov", MPEG2),
        ("d.mp4", H264),
        ("e.mp4", &intra_refresh),
    ] {
        let path = make(folder.path(), N, options, name);
        hide_box(&path, b"stss");
        check(&path, N, &|i| i as usize);
        if !name.ends_with("mov") {
            ffmpeg(folder.path(), &format!("-i {name} -c copy {name}.mkv"));
            check(&folder.path().join(format!("{name}.mkv")), N, &|i| i as usize);
        }
    }
    let fragmented = format!("{HEVC_ONE_KEY} -movflags +empty_moov+default_base_moof -frag_duration 200000");
    check(&make(folder.path(), N, &fragmented, "f.mp4"), N, &|i| i as usize);
    make(folder.path(), N, "-pix_fmt yuv420p -c:v msmpeg4 -q:v 4 -g 30", "g.avi");
    ffmpeg(folder.path(), "-i g.avi -c copy g.mkv");
    check(&folder.path().join("g.mkv"), N, &|i| i as usize);
}

/// 200 field pictures are 100 frames, and frame k is not frame 2k.
#[test]
fn two_field_pictures_are_one_frame() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("fields.264"), field_pictures::encode(0..N, |_| false)).unwrap();
    for name in ["a.ts", "a.mkv", "a.mp4"] {
        ffmpeg(folder.path(), &format!("-r 25 -i fields.264 -c copy {name}"));
        let video = check(&folder.path().join(name), N, &|i| i as usize);
        assert!(!video.is_counted(), "{name}");
    }
}

/// A stream that begins with whole frames, and one with a few field pictures between them.
#[test]
fn field_pictures_may_follow_whole_frames() {
    let folder = tempfile::tempdir().unwrap();
    type IsWhole = fn(usize) -> bool;
    for is_whole in [(|i| i < 25) as IsWhole, |i| i % 5 != 0, |i| !(30..33).contains(&i)] {
        std::fs::write(folder.path().join("mixed.264"), field_pictures::encode(0..N, is_whole)).unwrap();
        for name in ["a.ts", "a.mkv", "a.mp4"] {
            ffmpeg(folder.path(), &format!("-r 25 -i mixed.264 -c copy {name}"));
            check(&folder.path().join(name), N, &|i| i as usize);
        }
    }
}

/// Recordings joined into one transport stream, whose clocks have different phases, or are far apart.
#[test]
fn joined_transport_streams_have_one_sequence_of_frames() {
    let folder = tempfile::tempdir().unwrap();
    let part = |name: &str, numbers, offset: f64| {
        make_from(folder.path(), numbers, "", &format!("{H264} -output_ts_offset {offset}"), name)
    };
    for (first, second) in [(0.0, 0.215), (1000.0, 0.0), (0.0, 1000.0), (0.0, 3.0)] {
        let parts = [part("a.ts", 0..N, first), part("b.ts", N..2 * N, second)];
        let video = check(&concat(folder.path(), &parts, "joined.ts"), 2 * N, &|i| i as usize);
        if second < first || second == 0.215 {
            let step = video.time_s(N as u64) - video.time_s(N as u64 - 1);
            assert!((step - 0.04).abs() < 0.001, "{first} and {second}: {step} s");
        }
    }
}

/// A recording that begins in the middle of a group: frames before the first keyframe have no number.
#[test]
fn frames_that_no_decoder_delivers_are_not_numbered() {
    let folder = tempfile::tempdir().unwrap();
    let open_gop = format!("{H264} -x264-params open-gop=1");
    for (name, options) in [("a.ts", H264), ("b.ts", &open_gop), ("c.ts", MPEG2)] {
        let bytes = std::fs::read(make(folder.path(), 150, options, name)).unwrap();
        for percent in [8, 12, 20] {
            let path = folder.path().join("cut.ts");
            std::fs::write(&path, &bytes[bytes.len() / 188 * percent / 100 * 188..]).unwrap();
            let first = 150 - open(&path).n_frames() as usize;
            let video = check(&path, 150 - first, &|i| i as usize + first);
            assert!(first > 0, "{name}");
            assert!(
                video.warnings().iter().any(|w| w.contains("the middle of a group")),
                "{:?}",
                video.warnings()
            );
        }
    }
}

/// One repeated timestamp made all times k / average rate.
#[test]
fn a_repeated_timestamp_does_not_lose_the_times_of_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let options = "-vf settb=1/10000,setpts=N*400+N*N-gt(N\\,49)*(400+99-3) -fps_mode passthrough \
         -enc_time_base 1:10000 -pix_fmt yuv420p -c:v libx264 -preset veryfast -bf 0 -g 30";
    let video = check(&make(folder.path(), N, options, "a.mkv"), N, &|i| i as usize);
    for i in 0..N as u64 {
        let want = (i * 400 + i * i) as f64 / 1e4 - if i > 49 { 0.0496 } else { 0.0 };
        let error = video.time_s(i) - want;
        assert!(error.abs() < 0.0015, "frame {i} is {error} s off");
    }
}

/// A small first stream was read although another is the default, or larger.
#[test]
fn the_default_video_stream_is_read() {
    let folder = tempfile::tempdir().unwrap();
    make(folder.path(), N, H264, "game.mp4");
    make(folder.path(), 20, "-vf scale=160:120 -pix_fmt yuvj420p -c:v mjpeg", "small.mov");
    for (name, disposition) in [
        ("default.mov", "-disposition:v:0 0 -disposition:v:1 default"),
        ("larger.mkv", "-disposition:v:0 0 -disposition:v:1 0"),
    ] {
        ffmpeg(
            folder.path(),
            &format!("-i small.mov -i game.mp4 -map 0 -map 1 -c copy {disposition} {name}"),
        );
        let video = open(&folder.path().join(name));
        assert_eq!((video.codec(), video.width(), video.n_frames()), ("h264", 320, N as u64), "{name}");
        assert!(
            video.warnings().iter().any(|w| w.contains("stream 0 (mjpeg, 160x120)")),
            "{:?}",
            video.warnings()
        );
    }
}

/// Adds an edit (ISO/IEC 14496-12 §8.6.6) to an MP4 whose tables are at its end.
fn add_edit(path: &Path, duration: u32, media_time: u32) {
    let mut bytes = std::fs::read(path).unwrap();
    let find =
        |bytes: &[u8], name: &[u8; 4]| bytes.windows(4).rposition(|window| window == name).unwrap() - 4;
    let boxes = [b"moov", b"trak", b"edts", b"elst"].map(|name| find(&bytes, name));
    let size = |bytes: &[u8], at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
    let end = boxes[3] + size(&bytes, boxes[3]) as usize;
    for at in boxes {
        let larger = size(&bytes, at) + 12;
        bytes[at..at + 4].copy_from_slice(&larger.to_be_bytes());
    }
    let n_edits = size(&bytes, boxes[3] + 12) + 1;
    bytes[boxes[3] + 12..boxes[3] + 16].copy_from_slice(&n_edits.to_be_bytes());
    let edit = [duration, media_time, 1 << 16].map(u32::to_be_bytes).concat();
    bytes.splice(end..end, edit);
    std::fs::write(path, bytes).unwrap();
}

/// A phone's trim with several edits warned of frames that are not missing.
#[test]
fn frames_left_out_by_several_edits_are_not_missing() {
    let folder = tempfile::tempdir().unwrap();
    let path = make(folder.path(), 150, &format!("{H264} -movie_timescale 1000"), "a.mp4");
    // The edit shows everything: make it the first second, then add 1.8 seconds from the fourth on.
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(4).rposition(|window| window == b"elst").unwrap() + 12;
    bytes[at..at + 4].copy_from_slice(&1000_u32.to_be_bytes());
    std::fs::write(&path, bytes).unwrap();
    add_edit(&path, 1800, 3 * 12800 + 1024);
    let video = check(&path, 70, &|i| if i < 25 { i as usize } else { i as usize + 50 });
    assert_eq!(video.warnings(), [""; 0]);
}

/// A container that is not accepted is named, with the command that converts it.
#[test]
fn refused_containers_are_named() {
    let folder = tempfile::tempdir().unwrap();
    for (name, options, want) in [
        ("it's a.wmv", "-pix_fmt yuv420p -c:v wmv2", "is in the WMV (ASF) format"),
        ("a.ogv", "-pix_fmt yuv420p -c:v libtheora", "is in the Ogg format"),
        ("a.mxf", MPEG2, "is in the MXF format"),
        ("a.dv", "-vf scale=720:576 -pix_fmt yuv420p -c:v dvvideo", "is in the raw DV format"),
    ] {
        let path = make(folder.path(), 25, options, name);
        let error = video::Video::open(crate::clips::tools(), &path, &video::Limits::default()).unwrap_err();
        let message = error.to_string();
        assert!(message.contains(want), "{message}");
        let command = message.split_once("Convert it first: ").unwrap().1.trim_matches('`');
        let done = std::process::Command::new("sh")
            .current_dir(folder.path())
            .args(["-c", &command.replace("ffmpeg ", "ffmpeg -nostdin -v error -y ")])
            .status()
            .unwrap();
        assert!(done.success(), "{command}");
        assert_eq!(open(&path.with_extension("converted.mp4")).n_frames(), 25, "{name}");
    }
}
