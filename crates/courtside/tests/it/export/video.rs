//! The annotated video.

use std::path::Path;
use std::process::Command;

use store::StoredDetection;

use super::{JOB, a_job, import, library};
use crate::sandbox::{Running, Sandbox};

/// Writes a grey video of 64x48 pixels to `game.mp4`.
fn write_grey_video(sandbox: &Sandbox, n_frames: usize) {
    let source = format!("color=c=gray:s=64x48:r=10:d={}", n_frames as f64 / 10.0);
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-hide_banner", "-v", "error", "-f", "lavfi", "-i", &source, "-pix_fmt", "yuv420p"]);
    assert!(ffmpeg.arg(sandbox.path("game.mp4")).status().unwrap().success());
}

/// For each frame of a video: whether it has any pixel that is not grey.
fn has_colour(path: &Path) -> Vec<bool> {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-hide_banner", "-v", "error", "-i"]).arg(path);
    let output = ffmpeg.args(["-f", "rawvideo", "-pix_fmt", "rgb24", "-"]).output().unwrap();
    let is_grey = |p: &[u8]| p.iter().max().unwrap() - p.iter().min().unwrap() < 24;
    output.stdout.chunks_exact(64 * 48 * 3).map(|frame| !frame.chunks_exact(3).all(is_grey)).collect()
}

/// A sandbox whose library has a grey video and an imported job with one track on these frames.
fn sandbox_with_track(n_frames: usize, frames: &[i64], sample_interval: u64) -> Sandbox {
    let sandbox = Sandbox::new();
    write_grey_video(&sandbox, n_frames);
    sandbox.run(&["videos", "add", "game.mp4"]).expect(0, &[]);
    let row =
        |&frame| StoredDetection { frame, track_id: 3, bbox: [10.5, 20.0, 30.0, 20.0], confidence: 0.5 };
    let mut job = a_job(JOB, 1);
    job.parameters["sample_interval"] = sample_interval.into();
    import(&mut library(&sandbox), &job, n_frames as i64, &frames.iter().map(row).collect::<Vec<_>>());
    sandbox
}

#[test]
fn boxes_are_drawn_on_their_frames() {
    let sandbox = sandbox_with_track(12, &[2, 3, 7], 1);
    sandbox.run(&["export", "1", "--format", "video"]).expect(0, &[]);
    let want: Vec<bool> = (0..12).map(|frame| [2, 3, 7].contains(&frame)).collect();
    assert_eq!(has_colour(&sandbox.path("game.annotated.mp4")), want);
    assert_eq!(has_colour(&sandbox.path("game.mp4")), [false; 12]);
}

#[test]
fn boxes_stay_until_the_next_sampled_frame() {
    let sandbox = sandbox_with_track(12, &[0, 8], 4);
    sandbox.run(&["export", JOB, "--format", "video", "--out", "drawn.mp4"]).expect(0, &[]);
    let want: Vec<bool> = (0..12).map(|frame| !(4..8).contains(&frame)).collect();
    assert_eq!(has_colour(&sandbox.path("drawn.mp4")), want);
}

#[test]
fn a_missing_or_changed_video_is_an_error() {
    let sandbox = sandbox_with_track(5, &[0], 1);
    let bytes = sandbox.read("game.mp4");
    sandbox.write("game.mp4", [&bytes[..], b"more"].concat());
    let export = ["export", "1", "--format", "video"];
    sandbox.run(&export).expect(1, &["game.mp4 changed since it was added", "videos add"]);
    std::fs::remove_file(sandbox.path("game.mp4")).unwrap();
    sandbox.run(&export).expect(1, &["does not exist"]);
    // Data formats do not need the video file.
    sandbox.run(&["export", "1", "--format", "csv"]).expect(0, &[]);
    assert!(!sandbox.path("game.annotated.mp4").exists());
}

#[test]
fn ctrl_c_leaves_no_partial_file() {
    let sandbox = sandbox_with_track(20_000, &[0], 1);
    let before = sandbox.names();
    let mut running = Running::start(sandbox.command(&["export", "1", "--format", "video"]));
    // The video is written under a temporary name.
    running.wait_for("a partial file", || sandbox.names().into_iter().find(|name| name.contains("partial")));
    running.signal("INT");
    running.wait().expect(130, &["stopped"]);
    let after: Vec<String> = sandbox.names().into_iter().filter(|name| !name.contains(".db")).collect();
    let before: Vec<String> = before.into_iter().filter(|name| !name.contains(".db")).collect();
    assert_eq!(after, before);
}
