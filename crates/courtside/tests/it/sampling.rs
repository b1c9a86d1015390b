//! Which frames are tracked, and how many objects.

use std::collections::BTreeMap;

use safetensors::SafeTensors;

use crate::fixture::wide;
use crate::program::Place;

#[test]
fn every_third_frame_keeps_its_source_number() {
    let place = Place::new();
    let fixture = wide();
    fixture.video(&place, 25, "game.mkv");
    let model = fixture.model();
    let mut args = vec!["track", "game.mkv", "--model", &model, "--prompt", "ball", "--dump", "dump.st"];
    args.extend(["--every", "3", "--from", "2", "--to", "20"]);
    place.run(&args).expect(0, &[]);
    let want = [2, 5, 8, 11, 14, 17, 20];
    let bytes = place.read("dump.st");
    let dump = SafeTensors::deserialize(&bytes).unwrap();
    let frame = |name: &str| name.strip_suffix(".ids").and_then(|n| n.parse::<u64>().ok());
    let mut tracked: Vec<u64> = dump.names().into_iter().filter_map(frame).collect();
    tracked.sort_unstable();
    assert_eq!(tracked, want);
    let tracks = place.json("tracks.json");
    assert_eq!(tracks["frames_processed"], 7);
    let mut shown: Vec<u64> =
        tracks["detections"].as_array().unwrap().iter().map(|d| d["frame"].as_u64().unwrap()).collect();
    shown.dedup();
    assert_eq!(shown, want, "the ball is on every frame");
}

#[test]
fn no_frame_has_more_objects_than_allowed() {
    let place = Place::new();
    let fixture = wide();
    fixture.video(&place, 14, "game.mkv");
    let model = fixture.model();
    let most = |extra: &[&str]| {
        let args = ["track", "game.mkv", "--model", &model, "--prompt", "ball", "--prompt", "box"];
        place.run(&[&args[..], extra].concat()).expect(0, &[]);
        let mut counts = BTreeMap::new();
        for d in place.json("tracks.json")["detections"].as_array().unwrap() {
            *counts.entry(d["frame"].as_u64().unwrap()).or_insert(0) += 1;
        }
        counts.into_values().max()
    };
    assert!(most(&[]) > Some(2), "the clip has more than two objects");
    assert_eq!(most(&["--max-objects", "2"]), Some(2));
}
