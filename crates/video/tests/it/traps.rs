//! Properties of real files that make frame numbers difficult: variable frame rates, rotation, trims,
//! late first frames, concatenated streams, changing sizes.

use std::path::Path;

use crate::barcode::Turn;
use crate::clips::{Expected, RESUME, ffmpeg, make, make_from, open, set_rotation};

const N: usize = 150;
const H264: &str =
    "-pix_fmt yuv420p -c:v libx264 -preset veryfast -bf 3 -g 30 -keyint_min 30 -sc_threshold 0";

fn check(path: &Path, n_frames: u64, number: &dyn Fn(u64) -> usize) -> video::Video {
    let video = open(path);
    Expected { n_frames, number, turn: Turn::No, resume: &RESUME, may_report_errors: false }.check(&video);
    video
}

/// Presentation time of frame `i` of the clip with a variable frame rate, in milliseconds.
fn irregular_ms(i: u64) -> u64 {
    i * 40 + i * i * 7 % 37 + if i > 70 { 3000 } else { 0 }
}

#[test]
fn variable_frame_rate() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.mp4", "a.mkv"] {
        let options = format!(
            "-vf settb=1/1000,setpts=N*40+mod(N*N*7\\,37)+gt(N\\,70)*3000 -fps_mode passthrough \
             -enc_time_base 1:1000 -video_track_timescale 90000 {H264}"
        );
        let options =
            if name.ends_with("mkv") { options.replace("-video_track_timescale 90000", "") } else { options };
        let path = make(folder.path(), N, &options, name);
        let video = check(&path, N as u64, &|i| i as usize);
        assert!(!video.is_counted());
        for i in 0..N as u64 {
            let error = video.time_s(i) - video.time_s(0) - irregular_ms(i) as f64 / 1000.0;
            assert!(error.abs() < 2e-6, "{name}: frame {i} is {error} s off");
        }
    }
}

#[test]
fn rotation_is_applied() {
    let folder = tempfile::tempdir().unwrap();
    let path = make(folder.path(), N, H264, "a.mp4");
    let turns = [
        (Turn::Quarter, [0, 1, -1, 0], (240, 320)),
        (Turn::Half, [-1, 0, 0, -1], (320, 240)),
        (Turn::ThreeQuarters, [0, -1, 1, 0], (240, 320)),
        (Turn::No, [1, 0, 0, 1], (320, 240)),
    ];
    for (turn, matrix, size) in turns {
        set_rotation(&path, matrix);
        let video = open(&path);
        assert_eq!((video.width(), video.height()), size, "{turn:?}");
        let expected = Expected {
            n_frames: N as u64,
            number: &|i| i as usize,
            turn,
            resume: &[31],
            may_report_errors: false,
        };
        expected.check(&video);
    }
}

/// Trimming without re-encoding keeps all frames from the previous keyframe and hides some with an
/// edit list; the header counts all of them.
#[test]
fn frames_hidden_by_a_trim_are_not_numbered() {
    let folder = tempfile::tempdir().unwrap();
    make(folder.path(), 200, H264, "a.mp4");
    ffmpeg(folder.path(), "-ss 1.72 -i a.mp4 -c copy b.mp4");
    let video = check(&folder.path().join("b.mp4"), 157, &|i| i as usize + 43);
    assert_eq!(video.warnings(), [""; 0]);
    assert!(video.time_s(0).abs() < 0.001, "{}", video.time_s(0));
}

/// The start time of the file is that of the sound, and seeking is relative to it.
#[test]
fn frames_may_begin_after_the_sound() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.mp4", "a.mkv", "a.ts"] {
        let inputs = "-f lavfi -i sine=d=8";
        let options = format!("-af asetpts=PTS-1.5/TB -c:a aac {H264} -output_ts_offset 1.5");
        let path = make_from(folder.path(), 0..N, inputs, &options, name);
        let video = check(&path, N as u64, &|i| i as usize);
        assert!((video.time_s(0) - 1.5).abs() < 0.05, "{name}: {}", video.time_s(0));
    }
}

/// Concatenated streams repeat timestamps, which then do not identify frames.
#[test]
fn frames_with_repeated_timestamps_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let once = std::fs::read(make(folder.path(), 90, H264, "a.ts")).unwrap();
    let path = folder.path().join("b.ts");
    std::fs::write(&path, [once.clone(), once].concat()).unwrap();
    let video = check(&path, 180, &|i| i as usize % 90);
    assert!(video.is_counted());
    assert!(video.warnings().iter().any(|warning| warning.contains("repeat")));
    assert!((video.time_s(100) - 4.0).abs() < 1e-6);
}

#[test]
fn the_frame_size_may_change() {
    let folder = tempfile::tempdir().unwrap();
    let first = make(folder.path(), 75, H264, "a.ts");
    let options = format!("-vf scale=480:360 {H264} -output_ts_offset 3.2");
    let second = make_from(folder.path(), 75..150, "", &options, "b.ts");
    let path = folder.path().join("c.ts");
    std::fs::write(&path, [std::fs::read(first).unwrap(), std::fs::read(second).unwrap()].concat()).unwrap();
    let video = open(&path);
    // After a seek into the second half, the decoder is set up for the size of the first.
    let number = |i| i as usize;
    let expected = Expected {
        n_frames: N as u64,
        number: &number,
        turn: Turn::No,
        resume: &RESUME,
        may_report_errors: true,
    };
    expected.check(&video);
    assert!(!video.is_counted());
    assert_eq!((video.width(), video.height()), (320, 240));
}

/// AVI fills gaps with empty packets, which are not frames.
#[test]
fn empty_packets_in_an_avi_are_not_frames() {
    let folder = tempfile::tempdir().unwrap();
    let options =
        "-vf select=lt(mod(n\\,5)\\,3) -fps_mode passthrough -pix_fmt yuv420p -c:v mpeg4 -q:v 4 -g 30";
    let path = make(folder.path(), 200, options, "a.avi");
    let video = check(&path, 120, &|i| (i / 3 * 5 + i % 3) as usize);
    assert!((video.time_s(3) - video.time_s(0) - 0.2).abs() < 1e-6);
}

/// AVI has no presentation times for these codecs, so frames are counted; the times are those of the packets.
#[test]
fn gaps_in_an_avi_without_presentation_times_are_in_the_times() {
    let folder = tempfile::tempdir().unwrap();
    let gaps = "-vf select=lt(mod(n\\,5)\\,3)*not(between(n\\,50\\,74)) -fps_mode passthrough";
    let numbers: Vec<usize> = (0..200).filter(|n| n % 5 < 3 && !(50..75).contains(n)).collect();
    for codec in ["-c:v libx264 -bf 0 -g 30 -sc_threshold 0", "-c:v mpeg4 -bf 2 -q:v 4 -g 30"] {
        let path = make(folder.path(), 200, &format!("{gaps} -pix_fmt yuv420p {codec}"), "a.avi");
        let video = check(&path, numbers.len() as u64, &|i| numbers[i as usize]);
        assert!(video.is_counted());
        let seconds = |i: usize| video.time_s(i as u64) - video.time_s(0);
        for (i, number) in numbers.iter().enumerate() {
            // A B-frame may be shown one period off: the file has only the times of decoding.
            let error = seconds(i) - *number as f64 / 25.0;
            assert!(error.abs() < 0.041, "{codec}: frame {i} is {error} s off");
        }
        assert!((video.fps() - 15.0 * 7.0 / 8.0).abs() < 0.5, "{codec}: {}", video.fps());
        let is_about_damage = |warning: &String| warning.contains("copied completely");
        assert!(!video.warnings().iter().any(is_about_damage), "{:?}", video.warnings());
    }
}

#[test]
fn cover_art_is_not_the_video_stream() {
    let folder = tempfile::tempdir().unwrap();
    ffmpeg(folder.path(), "-f lavfi -i color=red:s=64x64 -frames:v 1 cover.png");
    make(folder.path(), N, H264, "a.mp4");
    ffmpeg(folder.path(), "-i cover.png -i a.mp4 -map 0 -map 1 -c copy -disposition:v:0 attached_pic b.mp4");
    check(&folder.path().join("b.mp4"), N as u64, &|i| i as usize);
}

#[test]
fn odd_frame_sizes() {
    let folder = tempfile::tempdir().unwrap();
    let options = "-vf scale=321:241 -pix_fmt yuv420p -c:v libvpx-vp9 -deadline realtime -cpu-used 8 -g 30";
    let video = check(&make(folder.path(), N, options, "a.webm"), N as u64, &|i| i as usize);
    assert_eq!((video.width(), video.height()), (321, 241));
}
