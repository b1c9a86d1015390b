//! The annotated copy: its frames, timestamps and sound, and that it is written atomically.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use video::{DecodeOptions, Frame, Overlay, Video, VideoError, annotate};

use crate::barcode::{self, Turn};
use crate::clips::{ffprobe, make, make_from, open, tools};

const H264: &str =
    "-pix_fmt yuv420p -c:v libx264 -preset veryfast -bf 3 -g 30 -keyint_min 30 -sc_threshold 0";
const IRREGULAR: &str = "-vf settb=1/1000,setpts=N*40+mod(N*N*7\\,37)+gt(N\\,70)*1000 -fps_mode passthrough \
     -enc_time_base 1:1000 -video_track_timescale 90000";

fn copy(video: &Video, out: &Path, range: std::ops::Range<u64>) -> Result<Vec<String>, VideoError> {
    annotate(tools(), video, out, range, &mut |_| Vec::new(), &mut |_, _| ControlFlow::Continue(()))
}

fn all(video: &Video) -> Vec<Frame> {
    video.frames(&DecodeOptions::default()).unwrap().map(Result::unwrap).collect()
}

/// The sorted names of the files in a folder.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Asserts that the copy has the same frames and, within one tick of an MP4, the same timestamps.
fn check_same(source: &Video, copy: &Video, from: u64) {
    let zero_s = if from == 0 { 0.0 } else { source.time_s(from) };
    for frame in all(copy) {
        let i = frame.frame_idx + from;
        let error = frame.time_s - (source.time_s(i) - zero_s);
        assert!(error.abs() < 1.0 / 90_000.0 + 2e-6, "frame {i} is {error} s off");
        assert_eq!(barcode::read(&frame, Turn::No), Ok(i as usize));
    }
}

#[test]
fn keeps_irregular_timestamps_and_sound() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.mp4", "late.mp4"] {
        let late = if name == "late.mp4" { "-af asetpts=PTS-0.7/TB -output_ts_offset 0.7" } else { "" };
        let options = format!("{IRREGULAR} {H264} -c:a aac {late}");
        let path = make_from(folder.path(), 0..150, "-f lavfi -i sine=d=7", &options, name);
        let source = open(&path);
        let out = folder.path().join("out.mp4");
        copy(&source, &out, 0..u64::MAX).unwrap();
        let copied = open(&out);
        assert_eq!((copied.n_frames(), copied.codec()), (150, "h264"));
        assert_eq!(copied.warnings(), [""; 0]);
        check_same(&source, &copied, 0);
        let sound =
            |path: &Path| ffprobe(path, "-select_streams a -show_entries packet=pts,size -of csv=p=0");
        assert_eq!(sound(&path), sound(&out), "{name}");
    }
    assert_eq!(names(folder.path()), ["a.mp4", "late.mp4", "out.mp4"]);
}

#[test]
fn a_range_from_the_middle_begins_at_zero_with_its_sound() {
    let folder = tempfile::tempdir().unwrap();
    let options = format!("{IRREGULAR} {H264} -c:a aac");
    let source = open(&make_from(folder.path(), 0..150, "-f lavfi -i sine=d=7", &options, "a.mp4"));
    let out = folder.path().join("out.mp4");
    copy(&source, &out, 40..100).unwrap();
    let copied = open(&out);
    assert_eq!(copied.n_frames(), 60);
    check_same(&source, &copied, 40);
    let sound = ffprobe(&out, "-select_streams a -show_entries packet=pts_time -of csv=p=0");
    let times: Vec<f64> = sound.lines().filter_map(|line| line.trim_end_matches(',').parse().ok()).collect();
    let duration_s = source.time_s(100) - source.time_s(40);
    assert!(times[0].abs() < 0.05, "sound begins at {}", times[0]);
    assert!(
        (times[times.len() - 1] - duration_s).abs() < 0.1,
        "sound ends at {:?} of {duration_s}",
        times.last()
    );
}

#[test]
fn draws_boxes_at_their_position_in_the_colour_of_their_track() {
    let folder = tempfile::tempdir().unwrap();
    let source = open(&make(folder.path(), 40, &format!("-vf lutyuv=y=16:u=128:v=128 {H264}"), "a.mp4"));
    let out = folder.path().join("out.mp4");
    let at =
        |track_id, x| Overlay { track_id, x, y: 100.0, width: 60.0, height: 80.0, label: String::from("p") };
    let mut seen = Vec::new();
    let mut done = Vec::new();
    let mut overlays = |frame_idx: u64| {
        seen.push(frame_idx);
        if frame_idx < 20 { vec![at(1, 40.0), at(2, 200.0)] } else { Vec::new() }
    };
    let mut progress = |now, total| {
        done.push((now, total));
        ControlFlow::Continue(())
    };
    annotate(tools(), &source, &out, 0..40, &mut overlays, &mut progress).unwrap();
    assert_eq!(seen, (0..40).collect::<Vec<_>>());
    assert_eq!(done, (1..=40).map(|now| (now, 40)).collect::<Vec<_>>());
    let brightest = |frame: &Frame, x: usize, y: usize| {
        let at = (y * frame.width as usize + x) * 3;
        frame.rgb[at..at + 3].iter().copied().max().unwrap()
    };
    for frame in all(&open(&out)) {
        let drawn = frame.frame_idx < 20;
        for (x, y, edge) in
            [(40, 140, true), (99, 140, true), (70, 179, true), (70, 140, false), (150, 140, false)]
        {
            let light = brightest(&frame, x, y) > 90;
            assert_eq!(light, drawn && edge, "frame {} at {x}, {y}", frame.frame_idx);
        }
        // The label is above the box.
        assert_eq!(brightest(&frame, 41, 92) > 90, drawn);
        if drawn {
            let colour = |x: usize| &frame.rgb[(140 * 320 + x) * 3..][..3];
            let distance: i32 =
                (0..3).map(|i| (i32::from(colour(40)[i]) - i32::from(colour(200)[i])).abs()).sum();
            assert!(distance > 60, "{:?} and {:?}", colour(40), colour(200));
        }
    }
}

/// Sound that MP4 does not support, odd frame sizes, and no sound.
#[test]
fn converts_other_sound_codecs_and_frame_sizes() {
    let folder = tempfile::tempdir().unwrap();
    let vp9 = "-vf scale=321:241 -pix_fmt yuv420p -c:v libvpx-vp9 -deadline realtime -cpu-used 8 -g 30";
    for (name, options, sound) in [
        ("a.webm", format!("{vp9} -c:a libvorbis"), "aac"),
        ("a.mov", format!("{H264} -c:a pcm_s16le"), "aac"),
        ("a.ts", format!("{H264} -c:a aac"), "aac"),
        ("a.avi", format!("{H264} -an"), ""),
    ] {
        let source = open(&make_from(folder.path(), 0..50, "-f lavfi -i sine=d=2", &options, name));
        let out = folder.path().join("out.mp4");
        copy(&source, &out, 0..u64::MAX).unwrap();
        let copied = open(&out);
        assert_eq!(copied.n_frames(), 50, "{name}");
        check_same(&source, &copied, 0);
        let codecs = ffprobe(&out, "-select_streams a -show_entries stream=codec_name -of csv=p=0");
        assert_eq!(codecs.trim().trim_end_matches(','), sound, "{name}");
    }
}

/// FLAC, and MP3 at 11,025 Hz, ended the annotated video after the whole run.
#[test]
fn sound_that_cannot_be_copied_is_converted_or_left_out_with_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    for (name, options, want) in [
        ("a.mkv", "-c:a flac", "is converted to AAC"),
        ("b.mkv", "-c:a libmp3lame -ar 11025", "is converted to AAC"),
        ("c.mkv", "-c:a pcm_s16le", ""),
        ("d.mkv", "-c:a wavpack", "is left out"),
    ] {
        let path =
            make_from(folder.path(), 0..50, "-f lavfi -i sine=d=2", &format!("{H264} {options}"), name);
        let out = folder.path().join("out.mp4");
        let warnings = copy(&open(&path), &out, 0..u64::MAX).unwrap();
        let codecs = ffprobe(&out, "-select_streams a -show_entries stream=codec_name -of default=nk=1:nw=1");
        match want {
            "" => assert_eq!(warnings, [""; 0], "{name}"),
            _ => assert!(warnings.len() == 1 && warnings[0].contains(want), "{name}: {warnings:?}"),
        }
        assert_eq!(codecs.trim(), if want == "is left out" { "" } else { "aac" }, "{name}");
    }
}

/// The copy of a video with pixels that are not square was narrow.
#[test]
fn the_shape_of_pixels_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let source = open(&make(folder.path(), 30, &format!("-vf setsar=64/45 {H264}"), "a.mp4"));
    assert_eq!(source.pixel_aspect(), (64, 45));
    let out = folder.path().join("out.mp4");
    copy(&source, &out, 0..u64::MAX).unwrap();
    assert_eq!(open(&out).pixel_aspect(), (64, 45));
}

/// A gap of hours ended the copy.
#[test]
fn a_gap_of_hours_is_copied() {
    let folder = tempfile::tempdir().unwrap();
    let gap = "-vf settb=1/1000,setpts=N*40+gt(N\\,20)*36000000 -fps_mode passthrough -enc_time_base 1:1000";
    let source = open(&make(folder.path(), 40, &format!("{gap} {H264}"), "a.mkv"));
    let out = folder.path().join("out.mp4");
    copy(&source, &out, 0..u64::MAX).unwrap();
    let copied = open(&out);
    for i in 0..40 {
        assert!((copied.time_s(i) - source.time_s(i)).abs() < 0.0011, "frame {i}: {}", copied.time_s(i));
    }
}

/// A name that leaves no room for a longer temporary name failed after the whole run.
#[test]
fn the_longest_file_name_can_be_written() {
    let folder = tempfile::tempdir().unwrap();
    let source = open(&make(folder.path(), 10, H264, "a.mp4"));
    let out = folder.path().join(format!("{}.mp4", "n".repeat(251)));
    copy(&source, &out, 0..u64::MAX).unwrap();
    assert_eq!(open(&out).n_frames(), 10);
}

#[test]
fn a_cancelled_copy_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let source = open(&make(folder.path(), 60, H264, "a.mp4"));
    let out = folder.path().join("out.mp4");
    fs::write(&out, "old content").unwrap();
    let mut progress = |done, _| if done == 7 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
    let error = annotate(tools(), &source, &out, 0..60, &mut |_| Vec::new(), &mut progress).unwrap_err();
    assert!(matches!(error, VideoError::Cancelled), "{error}");
    assert_eq!(names(folder.path()), ["a.mp4", "out.mp4"]);
    assert_eq!(fs::read(&out).unwrap(), b"old content");
}

#[test]
fn a_failed_copy_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = make(folder.path(), 60, H264, "a.mp4");
    let source = open(&path);
    let before = fs::read(&path).unwrap();
    assert!(matches!(copy(&source, &path, 0..60).unwrap_err(), VideoError::Encode { .. }), "over the source");
    assert!(
        copy(&source, &folder.path().join("none").join("out.mp4"), 0..60).is_err(),
        "into a missing folder"
    );
    assert!(copy(&source, folder.path(), 0..60).is_err(), "over a folder");
    assert!(copy(&source, &folder.path().join("out.mp4"), 60..90).is_err(), "an empty range");
    fs::remove_file(&path).unwrap();
    assert!(copy(&source, &folder.path().join("out.mp4"), 0..60).is_err(), "of a deleted source");
    assert_eq!(names(folder.path()), [""; 0]);
    fs::write(&path, before).unwrap();
    copy(&source, &folder.path().join("out.mp4"), 0..60).unwrap();
    assert_eq!(names(folder.path()), ["a.mp4", "out.mp4"]);
}
