//! Runs that are stopped or killed and go on from their checkpoint end in the same bytes.

use std::path::Path;
use std::sync::OnceLock;

use serde_json::Value;

use crate::fixture::wide;
use crate::program::{Place, Running};

/// Frames of the video: enough to be stopped in the middle.
pub(crate) const N_FRAMES: usize = 30;

/// Arguments of a run with a checkpoint after every frame.
pub(crate) fn args(model: &str) -> Vec<&str> {
    let mut args = vec!["track", "game.mkv", "--model", model, "--prompt", "ball", "--mot", "mot.txt"];
    args.extend(["--checkpoint", "run.checkpoint", "--checkpoint-interval", "0"]);
    args
}

/// Frames that a checkpoint counts, once it is there. It must be whole whenever it is looked at.
pub(crate) fn frames_of(checkpoint: &Path) -> Option<u64> {
    let bytes = std::fs::read(checkpoint).ok()?;
    let mut lines = bytes.split(|&b| b == b'\n');
    assert_eq!(lines.next(), Some(&b"courtside checkpoint 1"[..]));
    let head: Value = serde_json::from_slice(lines.next().unwrap()).unwrap();
    head["position"]["n_frames"].as_u64()
}

/// Waits until the run's checkpoint counts so many frames.
pub(crate) fn wait_for_frames(running: &mut Running, place: &Place, n_frames: u64) {
    let checkpoint = place.path("run.checkpoint");
    running.wait_for("the checkpoint", || frames_of(&checkpoint).filter(|&n| n >= n_frames));
}

/// A place with the video, and a run of it stopped by Ctrl-C after a few frames.
pub(crate) fn stopped_run() -> Place {
    let place = Place::new();
    let fixture = wide();
    fixture.video(&place, N_FRAMES, "game.mkv");
    let mut running = Running::start(place.command(&args(&fixture.model())));
    wait_for_frames(&mut running, &place, 12);
    running.signal("INT");
    running.end().expect(130, &["stopped: after ", "run the same command again"]);
    place
}

/// Results and MOT text of a run that was never stopped and kept no checkpoint.
fn never_stopped() -> &'static [Vec<u8>; 2] {
    static FILES: OnceLock<[Vec<u8>; 2]> = OnceLock::new();
    FILES.get_or_init(|| {
        let place = Place::new();
        let fixture = wide();
        fixture.video(&place, N_FRAMES, "game.mkv");
        let model = fixture.model();
        let args = ["track", "game.mkv", "--model", &model, "--prompt", "ball", "--mot", "mot.txt"];
        place.run(&args).expect(0, &[]);
        [place.read("tracks.json"), place.read("mot.txt")]
    })
}

/// Checks that the files are those of a run that was never stopped, and that no others are there.
fn check_finished(place: &Place) {
    let [tracks, mot] = never_stopped();
    assert!(place.read("tracks.json") == *tracks, "tracks.json differs");
    assert!(place.read("mot.txt") == *mot, "mot.txt differs");
    assert_eq!(place.names(), ["game.mkv", "mot.txt", "tracks.json"]);
}

#[test]
fn a_stopped_run_goes_on_to_the_same_bytes() {
    let place = stopped_run();
    let names = ["game.mkv", "mot.txt", "run.checkpoint", "run.checkpoint.detections", "tracks.json"];
    assert_eq!(place.names(), names);
    let partial = place.json("tracks.json");
    let done = partial["frames_processed"].as_u64().unwrap();
    assert!((12..N_FRAMES as u64).contains(&done), "{done} frames");
    assert_eq!(frames_of(&place.path("run.checkpoint")), Some(done));
    let last = partial["detections"].as_array().unwrap().last().unwrap()["frame"].as_u64();
    assert_eq!(last, Some(done - 1), "the last frames are forced out");

    place.run(&args(&wide().model())).expect(0, &[&format!("continuing at frame {done} of game.mkv")]);
    check_finished(&place);
}

#[test]
fn a_killed_run_goes_on_to_the_same_bytes() {
    let place = Place::new();
    let fixture = wide();
    fixture.video(&place, N_FRAMES, "game.mkv");
    let model = fixture.model();
    // Before, within and after the frames that wait for what follows.
    for n_frames in [1, 4, 11, 22] {
        let mut running = Running::start(place.command(&args(&model)));
        wait_for_frames(&mut running, &place, n_frames);
        running.kill();
    }
    let summary = place.run(&[&args(&model)[..], &["--json"]].concat()).expect(0, &["continuing"]).json();
    assert_eq!(summary["frames_processed"], N_FRAMES);
    assert_eq!(summary["frames_missing"], 0);
    // A kill in the middle of writing leaves the temporary file.
    for name in place.names().iter().filter(|n| n.starts_with(".courtside-") && n.ends_with(".partial")) {
        std::fs::remove_file(place.path(name)).unwrap();
    }
    check_finished(&place);
}

#[test]
fn a_run_stopped_while_drawing_goes_on_with_the_drawing() {
    let place = Place::new();
    let fixture = wide();
    fixture.video(&place, 300, "game.mkv");
    let model = fixture.model();
    // By default the first checkpoint is a minute away: the one before the drawing is meant.
    let mut args = vec!["track", "game.mkv", "--model", &model, "--prompt", "ball", "--mot", "mot.txt"];
    args.extend(["--checkpoint", "run.checkpoint", "--every", "50", "--annotated", "drawn.mp4"]);
    let mut running = Running::start(place.command(&args));
    let tracks = place.path("tracks.json");
    running.wait_for("the results", || tracks.exists().then_some(()));
    running.signal("INT");
    running.end().expect(130, &["stopped: drawn.mp4 is not written", "run the same command again"]);
    let before = place.read("tracks.json");
    assert_eq!(place.json("tracks.json")["frames_processed"], 6);
    let names = ["game.mkv", "mot.txt", "run.checkpoint", "run.checkpoint.detections", "tracks.json"];
    assert_eq!(place.names(), names);

    place.run(&args).expect(0, &["continuing at frame 300"]);
    assert_eq!(place.names(), ["drawn.mp4", "game.mkv", "mot.txt", "tracks.json"]);
    assert!(place.read("tracks.json") == before, "tracks.json differs");
}
