//! Files with several video streams.

use std::process::Command;

use crate::fixture::wide;
use crate::sandbox::Sandbox;
use crate::system::{Machine, detections_without_faults};

/// Writes `two.mkv`: a small test picture, which is the default stream, and 14 frames of the fixture as stream 1.
fn two_streams(sandbox: &Sandbox) {
    let game = wide().video(sandbox, 14, "stream-1.mkv");
    let status = Command::new("ffmpeg")
        .args(["-v", "error", "-f", "lavfi", "-i", "testsrc2=s=64x48:r=10:d=0.9", "-i"])
        .arg(&game)
        .args(["-map", "0:v", "-map", "1:v", "-c:v:0", "libx264", "-c:v:1", "copy"])
        .args(["-disposition:v:0", "default", "-disposition:v:1", "0"])
        .arg(sandbox.path("two.mkv"))
        .status();
    assert!(status.unwrap().success());
    std::fs::remove_file(game).unwrap();
}

/// A machine with a job of stream 1 of `two.mkv` that is tracked, and its id.
fn tracked_stream() -> (Machine, String) {
    let machine = Machine::with_folder();
    two_streams(&machine.sandbox);
    let submit = ["--json", "submit", "two.mkv", "--stream", "1", "--prompt", "ball"];
    let job = machine.run(&submit).expect(0, &[]).json()["job_id"].as_str().unwrap().to_owned();
    machine.run_worker_once().expect(0, &[]);
    (machine, job)
}

#[test]
fn the_stream_of_a_job_is_tracked_imported_and_remembered() {
    let (machine, job) = tracked_stream();
    machine.import(&job);
    assert_eq!(machine.detections(), detections_without_faults(14));
    let shown = machine.run(&["--json", "videos", "show", "1"]).expect(0, &[]).json();
    assert_eq!((&shown["videos"][0]["stream"], &shown["videos"][0]["n_frames"]), (&1.into(), &14.into()));
    // Without --stream, it is the same video with the same stream.
    let estimate = machine.run(&["--json", "submit", "two.mkv", "--dry-run"]).expect(0, &[]).json();
    assert_eq!((&estimate["video_id"], &estimate["n_frames"]), (&1.into(), &14.into()));
    let copy = "ffmpeg -i ";
    let other = ["submit", "two.mkv", "--stream", "0"];
    let refused =
        machine.run(&other).expect(1, &["video 1 is this file, with stream 1 instead of stream 0", copy]);
    let command = refused.stderr.split_once(copy).unwrap().1.split('`').next().unwrap();
    let copied = machine.sandbox.shell(&format!("{copy}{command}"), &[]).status();
    assert!(copied.unwrap().success(), "{command}");
    let added = machine.run(&["--json", "videos", "add", "two.0.mkv"]).expect(0, &[]).json();
    assert_eq!((&added["videos"][0]["id"], &added["videos"][0]["n_frames"]), (&2.into(), &9.into()));
}

#[test]
fn results_of_one_stream_are_not_those_of_another() {
    let (machine, job) = tracked_stream();
    let laptop = machine.another_machine();
    std::fs::copy(machine.sandbox.path("two.mkv"), laptop.sandbox.path("two.mkv")).unwrap();
    laptop.run(&["videos", "add", "two.mkv"]).expect(0, &["--stream NUMBER"]);
    assert_ne!(laptop.run(&["import", "--job-id", &job]).code, Some(0));
    assert!(laptop.detections().is_empty());
}

#[test]
fn a_local_run_takes_a_stream_and_its_checkpoint_is_of_that_stream() {
    let sandbox = Sandbox::new();
    two_streams(&sandbox);
    let model = wide().model();
    let track = |more: &[&str]| {
        let base =
            ["--json", "track", "two.mkv", "--model", &model, "--prompt", "ball", "--checkpoint", "run"];
        sandbox.run(&[&base, more].concat())
    };
    let names = "has no video stream 2; it has stream 0 (h264, 64x48), stream 1 (h264, ";
    track(&["--stream", "2"]).expect(1, &[names]);
    let warned = track(&[]).expect(0, &["stream 0 is read, not stream 1", "add --stream NUMBER"]);
    assert_eq!(warned.json()["frames_processed"], 9);
    let chosen = track(&["--stream", "1", "--force"]).expect(0, &[]).json();
    assert_eq!((&chosen["frames_processed"], &chosen["warnings"]), (&14.into(), &serde_json::json!([])));
}
