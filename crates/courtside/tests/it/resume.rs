//! Runs that are stopped or killed and resumed from their checkpoint produce the same bytes as uninterrupted runs.

use std::path::Path;
use std::sync::OnceLock;

use serde_json::Value;

use crate::fixture::wide;
use crate::sandbox::{Running, Sandbox};

/// Frames of the video: enough to stop a run in the middle.
pub(crate) const N_FRAMES: usize = 30;

/// Arguments of a run with a checkpoint after every frame.
pub(crate) fn args(model: &str) -> Vec<&str> {
    let mut args = vec!["track", "game.mkv", "--model", model, "--prompt", "ball", "--mot", "mot.txt"];
    args.extend(["--checkpoint", "run.checkpoint", "--checkpoint-interval", "0"]);
    args
}

/// The number of frames in a checkpoint; `None` if the file does not exist. An existing file must always be complete.
pub(crate) fn frames_in(checkpoint: &Path) -> Option<u64> {
    let bytes = std::fs::read(checkpoint).ok()?;
    let mut lines = bytes.split(|&b| b == b'\n');
    assert_eq!(lines.next(), Some(&b"courtside checkpoint 1"[..]));
    let head: Value = serde_json::from_slice(lines.next().unwrap()).unwrap();
    head["position"]["n_frames"].as_u64()
}

/// Waits until the run's checkpoint has at least `n_frames` frames.
pub(crate) fn wait_for_frames(running: &mut Running, sandbox: &Sandbox, n_frames: u64) {
    let checkpoint = sandbox.path("run.checkpoint");
    running.wait_for("the checkpoint", || frames_in(&checkpoint).filter(|&n| n >= n_frames));
}

/// A sandbox with the video, the checkpoint and the partial results of a run that was stopped by Ctrl-C.
pub(crate) fn stopped_run() -> Sandbox {
    let sandbox = Sandbox::new();
    let fixture = wide();
    fixture.video(&sandbox, N_FRAMES, "game.mkv");
    let mut running = Running::start(sandbox.command(&args(&fixture.model())));
    wait_for_frames(&mut running, &sandbox, 12);
    running.signal("INT");
    running.wait().expect(130, &["stopped: tracked ", "run the same command again"]);
    sandbox
}

/// Results and MOT text of an uninterrupted run without a checkpoint.
fn uninterrupted() -> &'static [Vec<u8>; 2] {
    static FILES: OnceLock<[Vec<u8>; 2]> = OnceLock::new();
    FILES.get_or_init(|| {
        let sandbox = Sandbox::new();
        let fixture = wide();
        fixture.video(&sandbox, N_FRAMES, "game.mkv");
        let model = fixture.model();
        let args = ["track", "game.mkv", "--model", &model, "--prompt", "ball", "--mot", "mot.txt"];
        sandbox.run(&args).expect(0, &[]);
        [sandbox.read("tracks.json"), sandbox.read("mot.txt")]
    })
}

/// Checks that the output files are those of an uninterrupted run, and that no other files remain.
fn check_finished(sandbox: &Sandbox) {
    let [tracks, mot] = uninterrupted();
    assert!(sandbox.read("tracks.json") == *tracks, "tracks.json differs");
    assert!(sandbox.read("mot.txt") == *mot, "mot.txt differs");
    assert_eq!(sandbox.names(), ["game.mkv", "mot.txt", "tracks.json"]);
}

#[test]
fn a_stopped_run_resumes_to_the_same_bytes() {
    let sandbox = stopped_run();
    let names = ["game.mkv", "mot.txt", "run.checkpoint", "run.checkpoint.detections", "tracks.json"];
    assert_eq!(sandbox.names(), names);
    let partial = sandbox.json("tracks.json");
    let done = partial["frames_processed"].as_u64().unwrap();
    assert!((12..N_FRAMES as u64).contains(&done), "{done} frames");
    assert_eq!(frames_in(&sandbox.path("run.checkpoint")), Some(done));
    let last = partial["detections"].as_array().unwrap().last().unwrap()["frame"].as_u64();
    assert_eq!(last, Some(done - 1), "delayed frames are written when a run stops");

    sandbox.run(&args(&wide().model())).expect(0, &[&format!("resuming at frame {done} of game.mkv")]);
    check_finished(&sandbox);
}

#[test]
fn a_killed_run_resumes_to_the_same_bytes() {
    let sandbox = Sandbox::new();
    let fixture = wide();
    fixture.video(&sandbox, N_FRAMES, "game.mkv");
    let model = fixture.model();
    // Before, within and after the frames that are delayed by hotstart.
    for n_frames in [1, 4, 11, 22] {
        let mut running = Running::start(sandbox.command(&args(&model)));
        wait_for_frames(&mut running, &sandbox, n_frames);
        running.kill();
    }
    let summary =
        sandbox.run(&[&args(&model)[..], &["--json"]].concat()).expect(0, &["resuming at frame"]).json();
    assert_eq!(summary["frames_processed"], N_FRAMES);
    assert_eq!(summary["frames_missing"], 0);
    // A run that is killed while it writes a file leaves the temporary file.
    for name in sandbox.names().iter().filter(|n| n.starts_with(".courtside-") && n.ends_with(".partial")) {
        std::fs::remove_file(sandbox.path(name)).unwrap();
    }
    check_finished(&sandbox);
}

#[test]
fn a_run_stopped_while_drawing_resumes_with_drawing() {
    let sandbox = Sandbox::new();
    let fixture = wide();
    fixture.video(&sandbox, 300, "game.mkv");
    let model = fixture.model();
    // With the default interval, the only checkpoint is the one written before drawing starts.
    let mut args = vec!["track", "game.mkv", "--model", &model, "--prompt", "ball", "--mot", "mot.txt"];
    args.extend(["--checkpoint", "run.checkpoint", "--every", "50", "--annotated", "drawn.mp4"]);
    let mut running = Running::start(sandbox.command(&args));
    let tracks = sandbox.path("tracks.json");
    running.wait_for("the results", || tracks.exists().then_some(()));
    running.signal("INT");
    running.wait().expect(130, &["stopped: drawn.mp4 is not written", "run the same command again"]);
    let before = sandbox.read("tracks.json");
    assert_eq!(sandbox.json("tracks.json")["frames_processed"], 6);
    let names = ["game.mkv", "mot.txt", "run.checkpoint", "run.checkpoint.detections", "tracks.json"];
    assert_eq!(sandbox.names(), names);

    sandbox.run(&args).expect(0, &["resuming at frame 300"]);
    assert_eq!(sandbox.names(), ["drawn.mp4", "game.mkv", "mot.txt", "tracks.json"]);
    assert!(sandbox.read("tracks.json") == before, "tracks.json differs");
}

/// The file descriptor of a deleted file of the process that has at least `n_bytes`.
#[cfg(target_os = "linux")]
fn deleted_file(process: u32, n_bytes: u64) -> Option<std::path::PathBuf> {
    let files = std::fs::read_dir(format!("/proc/{process}/fd")).ok()?.flatten().map(|entry| entry.path());
    let is_deleted = |file: &std::path::PathBuf| {
        std::fs::read_link(file).is_ok_and(|target| target.to_string_lossy().ends_with("(deleted)"))
    };
    let is_long = |file: &std::path::PathBuf| std::fs::metadata(file).is_ok_and(|file| file.len() >= n_bytes);
    files.filter(is_deleted).find(is_long)
}

#[test]
#[cfg(target_os = "linux")]
fn a_run_whose_detections_are_truncated_writes_no_results() {
    let sandbox = Sandbox::new();
    let fixture = wide();
    fixture.video(&sandbox, 300, "game.mkv");
    let model = fixture.model();
    // In an unnamed file, and next to a checkpoint that has the truncated detections.
    for checkpoint in [&[][..], &["--checkpoint", "run.checkpoint", "--checkpoint-interval", "0.1"]] {
        let args = [&["track", "game.mkv", "--model", &model, "--prompt", "ball"], checkpoint].concat();
        let mut running = Running::start(sandbox.command(&args));
        let process = running.id();
        let named = sandbox.path("run.checkpoint.detections");
        let file = running.wait_for("detections on disk", || {
            let is_long = std::fs::metadata(&named).is_ok_and(|file| file.len() > 4000);
            if checkpoint.is_empty() { deleted_file(process, 4000) } else { is_long.then(|| named.clone()) }
        });
        std::fs::File::options().write(true).open(file).unwrap().set_len(2000).unwrap();
        running.wait().expect(1, &["detections", "hint"]);
        assert!(!sandbox.path("tracks.json").exists());
    }
    // The checkpoint stays for inspection; without it, the run starts over.
    for name in ["run.checkpoint", "run.checkpoint.detections"] {
        std::fs::remove_file(sandbox.path(name)).unwrap();
    }
    let checkpoint = ["--checkpoint", "run.checkpoint"];
    sandbox
        .run(&[&["track", "game.mkv", "--model", &model, "--prompt", "ball"], &checkpoint[..]].concat())
        .expect(0, &[]);
    assert_eq!(sandbox.json("tracks.json")["frames_processed"], 300);
}

#[test]
fn a_run_whose_video_is_truncated_writes_no_results() {
    let sandbox = Sandbox::new();
    let fixture = wide();
    fixture.video(&sandbox, 300, "game.mkv");
    let model = fixture.model();
    let mut running = Running::start(sandbox.command(&args(&model)));
    wait_for_frames(&mut running, &sandbox, 1);
    let video = std::fs::File::options().write(true).open(sandbox.path("game.mkv")).unwrap();
    video.set_len(video.metadata().unwrap().len() / 2).unwrap();
    running.wait().expect(5, &["game.mkv was changed while it was tracked"]);
    assert!(!sandbox.path("tracks.json").exists());
}
