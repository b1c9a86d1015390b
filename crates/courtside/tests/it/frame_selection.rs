//! Which frames are tracked, and how many tracks a frame may have.

use std::collections::BTreeMap;

use safetensors::SafeTensors;

use crate::fixture::wide;
use crate::sandbox::Sandbox;

#[test]
fn sampled_frames_keep_their_number_in_the_video() {
    let sandbox = Sandbox::new();
    let fixture = wide();
    fixture.video(&sandbox, 25, "game.mkv");
    let model = fixture.model();
    let mut args = vec!["track", "game.mkv", "--model", &model, "--prompt", "ball", "--dump", "dump.st"];
    args.extend(["--every", "3", "--from", "2", "--to", "20"]);
    sandbox.run(&args).expect(0, &[]);
    let want = [2, 5, 8, 11, 14, 17, 20];
    let bytes = sandbox.read("dump.st");
    let dump = SafeTensors::deserialize(&bytes).unwrap();
    let frame = |name: &str| name.strip_suffix(".ids").and_then(|n| n.parse::<u64>().ok());
    let mut tracked: Vec<u64> = dump.names().into_iter().filter_map(frame).collect();
    tracked.sort_unstable();
    assert_eq!(tracked, want);
    let tracks = sandbox.json("tracks.json");
    assert_eq!(tracks["frames_processed"], 7);
    let mut shown: Vec<u64> =
        tracks["detections"].as_array().unwrap().iter().map(|d| d["frame"].as_u64().unwrap()).collect();
    shown.dedup();
    assert_eq!(shown, want, "the ball is visible on every frame");
}

#[test]
fn no_frame_has_more_than_max_tracks() {
    let sandbox = Sandbox::new();
    let fixture = wide();
    fixture.video(&sandbox, 14, "game.mkv");
    let model = fixture.model();
    let largest_count = |extra: &[&str]| {
        let args = ["track", "game.mkv", "--model", &model, "--prompt", "ball", "--prompt", "box"];
        sandbox.run(&[&args[..], extra].concat()).expect(0, &[]);
        let mut counts = BTreeMap::new();
        for d in sandbox.json("tracks.json")["detections"].as_array().unwrap() {
            *counts.entry(d["frame"].as_u64().unwrap()).or_insert(0) += 1;
        }
        counts.into_values().max()
    };
    assert!(largest_count(&[]) > Some(2), "the clip shows more than two objects");
    assert_eq!(largest_count(&["--max-tracks", "2"]), Some(2));
}
