//! `models/courtside-mini` follows people in real footage that it was not trained on, as the reference implementation does
//! with the same weights (`fixtures/people/reference.json`).

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::sandbox::Sandbox;

/// Frames that the reference outputs have.
const N_FRAMES: usize = 24;
/// Largest difference of a box coordinate in pixels. The sign of a logit near 0 may differ, and with it an edge of the mask.
const PIXELS: f64 = 3.0;
const CONFIDENCE: f64 = 5e-3;

#[test]
fn offline() {
    compare("offline");
}

#[test]
fn streaming() {
    compare("streaming");
}

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

fn compare(mode: &str) {
    let sandbox = Sandbox::new();
    let clip = repository("fixtures/people/clip.mp4");
    let model = repository("models/courtside-mini");
    let last = (N_FRAMES - 1).to_string();
    let mut args = vec!["track", clip.to_str().unwrap(), "--model", model.to_str().unwrap()];
    args.extend(["--prompt", "person", "--to", &last, "--mode", mode, "--compat", "reference-kernels"]);
    args.extend(["--out", "tracks.json"]);
    sandbox.run(&args).expect(0, &[]);
    let tracks = sandbox.json("tracks.json");
    let reference = std::fs::read(repository("fixtures/people/reference.json")).unwrap();
    let reference: Value = serde_json::from_slice(&reference).unwrap();
    let frames = reference[mode].as_array().unwrap();
    assert_eq!(frames.len(), N_FRAMES);
    let mut people = std::collections::BTreeSet::new();
    for (t, expected) in frames.iter().enumerate() {
        let shown: Vec<&Value> =
            tracks["detections"].as_array().unwrap().iter().filter(|d| d["frame"] == t).collect();
        let expected = expected.as_array().unwrap();
        let ids: Vec<&Value> = expected.iter().map(|row| &row[0]).collect();
        assert_eq!(shown.iter().map(|d| &d["track_id"]).collect::<Vec<_>>(), ids, "{mode}, frame {t}");
        people.extend(ids.into_iter().filter_map(Value::as_i64));
        for (detection, row) in shown.iter().zip(expected) {
            let number = |i: usize| row[i].as_f64().unwrap();
            let want = [number(1), number(2), number(3) - number(1), number(4) - number(2)];
            for (i, want) in want.into_iter().enumerate() {
                let got = detection["bbox"][i].as_f64().unwrap();
                assert!((got - want).abs() <= PIXELS, "{mode}, frame {t}: {detection}, expected {want}");
            }
            let confidence = detection["confidence"].as_f64().unwrap();
            assert!((confidence - number(5)).abs() <= CONFIDENCE, "{mode}, frame {t}: {detection}, {row}");
        }
    }
    assert!(people.len() >= 2, "{mode}: {people:?}");
}
