//! `courtside track --compat reference` agrees with the reference implementation, from video file to output files.

use safetensors::SafeTensors;
use serde_json::Value;

use crate::fixture::{Fixture, floats, integers, narrow, wide};
use crate::sandbox::Sandbox;

/// Largest difference of a mask logit. Memories are rounded to bf16, and later layers amplify a difference of one unit.
const LOGITS: f32 = 5e-2;
/// Largest difference of a box coordinate in pixels. The sign of a logit near 0 may differ, and with it a pixel of the
/// mask.
const PIXELS: f64 = 1.0;
/// Largest difference of a confidence, which the file has with four decimals.
const CONFIDENCE: f64 = 1e-3;

#[test]
fn offline_wide() {
    compare(&wide(), "offline", "reference", "preloaded");
}

#[test]
fn streaming_wide() {
    compare(&wide(), "streaming", "reference", "streaming");
}

#[test]
fn offline_wide_with_kernels() {
    compare(&wide(), "offline", "reference-kernels", "preloaded_kernels");
}

#[test]
fn streaming_wide_with_kernels() {
    compare(&wide(), "streaming", "reference-kernels", "streaming_kernels");
}

#[test]
fn offline_narrow() {
    compare(&narrow(), "offline", "reference", "preloaded");
}

#[test]
fn streaming_narrow() {
    compare(&narrow(), "streaming", "reference", "streaming");
}

#[test]
fn offline_narrow_with_kernels() {
    compare(&narrow(), "offline", "reference-kernels", "preloaded_kernels");
}

#[test]
fn streaming_narrow_with_kernels() {
    compare(&narrow(), "streaming", "reference-kernels", "streaming_kernels");
}

fn compare(fixture: &Fixture, mode: &str, compat: &str, tag: &str) {
    let sandbox = Sandbox::new();
    let [n_frames, ..] = fixture.clip_size();
    fixture.video(&sandbox, n_frames, "clip.mkv");
    let model = fixture.model();
    let mut args = vec!["track", "clip.mkv", "--model", &model, "--mode", mode, "--compat", compat];
    args.extend(["--dump", "dump.safetensors"]);
    let prompts = fixture.prompts();
    args.extend(prompts.iter().flat_map(|p| ["--prompt", p]));
    sandbox.run(&args).expect(0, &[]);

    let bytes = sandbox.read("dump.safetensors");
    let (got, want) = (SafeTensors::deserialize(&bytes).unwrap(), fixture.tensors());
    assert_eq!(got.len(), 3 * n_frames, "three tensors for each frame");
    let tracks = sandbox.json("tracks.json");
    for t in 0..n_frames {
        compare_masks(&got, &want, tag, t);
        compare_detections(&tracks, &want, tag, t);
    }
}

fn compare_masks(got: &SafeTensors<'_>, want: &SafeTensors<'_>, tag: &str, t: usize) {
    let ids = integers(got, &format!("{t}.ids"));
    assert_eq!(ids, integers(want, &format!("{tag}.{t}.ids")), "{tag}, frame {t}");
    assert_eq!(floats(got, &format!("{t}.scores")).len(), ids.len());
    if tag.ends_with("kernels") && !t.is_multiple_of(3) {
        return;
    }
    let (mask, expected) = (format!("{t}.low_res_masks"), format!("{tag}.{t}.low_res_masks"));
    if !ids.is_empty() {
        assert_eq!(got.tensor(&mask).unwrap().shape(), want.tensor(&expected).unwrap().shape());
    }
    let (mask, expected) = (floats(got, &mask), floats(want, &expected));
    let worst = mask.iter().zip(&expected).map(|(g, w)| (g - w).abs()).fold(0.0, f32::max);
    assert!(mask.len() == expected.len() && worst <= LOGITS, "{tag}, frame {t}: {worst}");
}

fn compare_detections(tracks: &Value, want: &SafeTensors<'_>, tag: &str, t: usize) {
    let ids = integers(want, &format!("{tag}.{t}.post.object_ids"));
    let boxes = floats(want, &format!("{tag}.{t}.post.boxes"));
    let scores = floats(want, &format!("{tag}.{t}.post.scores"));
    let shown = tracks["detections"].as_array().unwrap().iter().filter(|d| d["frame"] == t);
    let shown: Vec<&Value> = shown.collect();
    let shown_ids: Vec<i64> = shown.iter().map(|d| d["track_id"].as_i64().unwrap()).collect();
    assert_eq!(shown_ids, ids, "{tag}, frame {t}");
    for (k, detection) in shown.iter().enumerate() {
        let [left, top, right, bottom] = std::array::from_fn(|i| f64::from(boxes[4 * k + i]));
        for (i, side) in [left, top, right - left, bottom - top].into_iter().enumerate() {
            let got = detection["bbox"][i].as_f64().unwrap();
            assert!((got - side).abs() <= PIXELS, "{tag}, frame {t}: {detection}, expected {side}");
        }
        let confidence = detection["confidence"].as_f64().unwrap();
        let expected = f64::from(scores[k]);
        assert!((confidence - expected).abs() <= CONFIDENCE, "{tag}, frame {t}: {detection}, {expected}");
    }
}
