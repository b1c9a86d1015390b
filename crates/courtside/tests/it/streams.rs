//! Files with several video streams.

use std::process::Command;

use s3_fixture::FakeR2;

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

/// Tracks stream 1 of `two.mkv` on a machine. Returns the id of the job.
fn track_stream(machine: &Machine) -> String {
    two_streams(&machine.sandbox);
    let submit = ["--json", "submit", "two.mkv", "--stream", "1", "--prompt", "ball"];
    let job = machine.run(&submit).expect(0, &[]).json()["job_id"].as_str().unwrap().to_owned();
    machine.run_worker_once().expect(0, &[]);
    job
}

#[test]
fn the_stream_of_a_job_is_tracked_imported_and_remembered() {
    let machine = Machine::with_folder();
    let job = track_stream(&machine);
    machine.import(&job);
    assert_eq!(machine.detections(), detections_without_faults(14));
    let shown = machine.run(&["--json", "videos", "show", "1"]).expect(0, &[]).json();
    assert_eq!((&shown["videos"][0]["stream"], &shown["videos"][0]["n_frames"]), (&1.into(), &14.into()));
    // Without --stream, it is the same video with the same stream.
    let estimate = machine.run(&["--json", "submit", "two.mkv", "--dry-run"]).expect(0, &[]).json();
    assert_eq!((&estimate["video_id"], &estimate["n_frames"]), (&1.into(), &14.into()));
    machine.run(&["submit", "--video-id", "1", "--stream", "0"]).expect(2, &["--stream", "--video-id"]);
    // Another stream is another video. The one that players show is the same with and without its number.
    for args in [&["--stream", "0"][..], &[], &["--stream", "0"]] {
        let add = [&["--json", "videos", "add", "two.mkv"], args].concat();
        let added = machine.run(&add).expect(0, &[]).json()["videos"][0].clone();
        assert_eq!((&added["id"], &added["n_frames"]), (&2.into(), &9.into()), "{args:?}");
        assert!(added["stream"].is_null(), "{added}");
    }
    machine.run(&["videos", "add", "two.mkv", "--stream", "7"]).expect(1, &["has no video stream 7; it has"]);
    machine.run(&["submit", "two.mkv", "--stream", "7", "--dry-run"]).expect(1, &["has no video stream 7"]);
}

#[test]
fn results_of_one_stream_are_not_those_of_another() {
    let server = FakeR2::start();
    let machine = Machine::with_server(server.connection());
    let job = track_stream(&machine);
    let laptop = machine.another_machine();
    std::fs::copy(machine.sandbox.path("two.mkv"), laptop.sandbox.path("two.mkv")).unwrap();
    laptop.run(&["videos", "add", "two.mkv"]).expect(0, &["--stream NUMBER"]);
    let import = ["import", "--job-id", &job];
    let hint = "`courtside videos add FILE --stream 1`";
    laptop.run(&import).expect(1, &["it tracked stream 1 of two.mkv", hint]);
    assert!(laptop.detections().is_empty());
    laptop.run(&["videos", "add", "two.mkv", "--stream", "1"]).expect(0, &[]);
    laptop.run(&import).expect(0, &[]);
    let rows: Vec<_> = laptop.detections();
    assert_eq!(rows, detections_without_faults(14));
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
    assert_eq!(track(&["--stream", "0"]).expect(0, &[]).json()["frames_processed"], 9);
    track(&["--stream", "1"])
        .expect(1, &["has the results of another video or stream (track-two)", "--force"]);
    let chosen = track(&["--stream", "1", "--force"]).expect(0, &[]).json();
    assert_eq!((&chosen["frames_processed"], &chosen["warnings"]), (&14.into(), &serde_json::json!([])));
}
