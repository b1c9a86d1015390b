//! The annotated video.

use std::path::Path;
use std::process::Command;

use store::StoredDetection;

use super::{JOB, a_job, import, library};
use crate::program::{Place, Running};

/// A grey video of 64x48.
fn grey(place: &Place, n_frames: usize) {
    let source = format!("color=c=gray:s=64x48:r=10:d={}", n_frames as f64 / 10.0);
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-hide_banner", "-v", "error", "-f", "lavfi", "-i", &source, "-pix_fmt", "yuv420p"]);
    assert!(ffmpeg.arg(place.path("game.mp4")).status().unwrap().success());
}

/// The frames of a video: whether each has anything but grey.
fn coloured(path: &Path) -> Vec<bool> {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-hide_banner", "-v", "error", "-i"]).arg(path);
    let output = ffmpeg.args(["-f", "rawvideo", "-pix_fmt", "rgb24", "-"]).output().unwrap();
    let is_grey = |p: &[u8]| p.iter().max().unwrap() - p.iter().min().unwrap() < 24;
    output.stdout.chunks_exact(64 * 48 * 3).map(|frame| !frame.chunks_exact(3).all(is_grey)).collect()
}

/// A place whose library has the video and a job that saw one track on these frames.
fn place(n_frames: usize, frames: &[i64], sample_interval: u64) -> Place {
    let place = Place::new();
    grey(&place, n_frames);
    place.run(&["videos", "add", "game.mp4"]).expect(0, &[]);
    let row =
        |&frame| StoredDetection { frame, track_id: 3, bbox: [10.5, 20.0, 30.0, 20.0], confidence: 0.5 };
    let mut job = a_job(JOB, 1);
    job.parameters["sample_interval"] = sample_interval.into();
    import(&mut library(&place), &job, n_frames as i64, &frames.iter().map(row).collect::<Vec<_>>());
    place
}

#[test]
fn boxes_are_on_their_frames() {
    let place = place(12, &[2, 3, 7], 1);
    place.run(&["export", "1", "--format", "video"]).expect(0, &[]);
    let want: Vec<bool> = (0..12).map(|frame| [2, 3, 7].contains(&frame)).collect();
    assert_eq!(coloured(&place.path("game.annotated.mp4")), want);
    assert_eq!(coloured(&place.path("game.mp4")), [false; 12]);
}

#[test]
fn between_sampled_frames_boxes_stay() {
    let place = place(12, &[0, 8], 4);
    place.run(&["export", JOB, "--format", "video", "--out", "drawn.mp4"]).expect(0, &[]);
    let want: Vec<bool> = (0..12).map(|frame| !(4..8).contains(&frame)).collect();
    assert_eq!(coloured(&place.path("drawn.mp4")), want);
}

#[test]
fn a_video_that_is_gone_or_another_is_named() {
    let place = place(5, &[0], 1);
    let bytes = place.read("game.mp4");
    place.write("game.mp4", [&bytes[..], b"more"].concat());
    let export = ["export", "1", "--format", "video"];
    place.run(&export).expect(1, &["game.mp4 changed since it was added", "videos add"]);
    std::fs::remove_file(place.path("game.mp4")).unwrap();
    place.run(&export).expect(1, &["is not there any more"]);
    // The numbers need no video.
    place.run(&["export", "1", "--format", "csv"]).expect(0, &[]);
    assert!(!place.path("game.annotated.mp4").exists());
}

#[test]
fn ctrl_c_leaves_no_file() {
    let place = place(20_000, &[0], 1);
    let before = place.names();
    let mut running = Running::start(place.command(&["export", "1", "--format", "video"]));
    // The file being written has a name of its own.
    running.wait_for("it draws", || place.names().into_iter().find(|name| name.contains("partial")));
    running.signal("INT");
    running.end().expect(130, &["stopped"]);
    let after: Vec<String> = place.names().into_iter().filter(|name| !name.contains(".db")).collect();
    let before: Vec<String> = before.into_iter().filter(|name| !name.contains(".db")).collect();
    assert_eq!(after, before);
}
