//! End to end: what the reference tracked, frame by frame, in its four modes.

use std::collections::BTreeSet;

use sam3::{Compat, FrameOutput, Mode, Precision, Tensor};

use crate::fixture::{Fixture, NAMES};

/// Largest difference of a mask logit. The reference rounds memories to bfloat16, where a last bit may fall
/// either way; it differs this much from itself when its attention runs through another kernel.
pub(crate) const MASK_LOGIT_TOLERANCE: f32 = 5e-2;
/// Largest difference of a probability.
const SCORE_TOLERANCE: f32 = 1e-3;
/// Source pixels that may fall on the other side of a mask's edge, over a whole clip.
const PIXELS_TOLERANCE: usize = 2;

const TAGS: [(&str, bool, Compat); 4] = [
    ("preloaded", true, Compat::Reference),
    ("streaming", false, Compat::Reference),
    ("preloaded_kernels", true, Compat::ReferenceKernels),
    ("streaming_kernels", false, Compat::ReferenceKernels),
];

#[test]
fn every_mode_of_the_reference_is_reproduced() {
    for name in NAMES {
        let fixture = Fixture::open(name);
        let model = fixture.model(Precision::F32);
        for (tag, offline, compat) in TAGS {
            let mode = if offline { fixture.offline() } else { Mode::Streaming };
            let outputs = fixture.run(&model, fixture.options(mode, compat));
            assert_eq!(outputs.len(), fixture.n_frames());
            compare(&fixture, tag, &outputs);
        }
    }
}

fn compare(fixture: &Fixture, tag: &str, outputs: &[FrameOutput]) {
    let mut removed = BTreeSet::new();
    let mut pixels_off = 0;
    for (t, output) in outputs.iter().enumerate() {
        let at = format!("{} {tag} frame {t}", fixture.name);
        assert_eq!(output.frame_idx, t, "{at}");
        let facts = &fixture.frames[&format!("{tag}.{t}")];
        removed.extend(output.removed.iter().copied());
        assert_eq!(removed, facts.removed, "{at}: removed");
        let suppressed: BTreeSet<u64> = output.suppressed.iter().copied().collect();
        assert_eq!(suppressed, facts.suppressed, "{at}: suppressed");
        compare_masks(fixture, tag, t, output, &at);
        pixels_off += compare_objects(fixture, tag, t, output, &at);
    }
    assert!(pixels_off <= PIXELS_TOLERANCE, "{} {tag}: {pixels_off} pixels differ", fixture.name);
}

fn numbers(tensor: &Tensor) -> Vec<f32> {
    tensor.to_dtype(candle_core::DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

fn compare_masks(fixture: &Fixture, tag: &str, t: usize, output: &FrameOutput, at: &str) {
    let get = |key: &str| fixture.tensors.get(&format!("{tag}.{t}.{key}"));
    let ids: Vec<i64> = output.low_res.iter().map(|m| m.id as i64).collect();
    assert_eq!(ids, get("ids").unwrap().to_vec1::<i64>().unwrap(), "{at}: ids");
    if ids.is_empty() {
        return;
    }
    // Stored on every third frame of the runs with kernels.
    if let Some(want) = get("low_res_masks") {
        // Some are stored as f16.
        let rounding = if want.dtype() == candle_core::DType::F16 { 1e-2 } else { 0.0 };
        let want = numbers(want);
        let got: Vec<f32> = output.low_res.iter().flat_map(|m| m.logits.iter().copied()).collect();
        assert_eq!(got.len(), want.len());
        let worst = got.iter().zip(&want).map(|(g, w)| (g - w).abs()).fold(0.0, f32::max);
        assert!(worst <= MASK_LOGIT_TOLERANCE + rounding, "{at}: a mask logit differs by {worst}");
    }
    for (mask, want) in output.low_res.iter().zip(numbers(get("det_scores").unwrap())) {
        // Of a withdrawn object the reference lists -1e4; it is never shown.
        let is_withdrawn = want < 0.0;
        assert!(is_withdrawn || (mask.score - want).abs() <= SCORE_TOLERANCE, "{at}: score of {}", mask.id);
    }
    for (mask, want) in output.low_res.iter().zip(numbers(get("trk_scores").unwrap())) {
        let same = want.is_nan() || want < 0.0 || (mask.tracker_score - want).abs() <= SCORE_TOLERANCE;
        assert!(same, "{at}: tracker score of {}: {} instead of {want}", mask.id, mask.tracker_score);
    }
}

/// Returns how many pixels of the final masks differ.
fn compare_objects(fixture: &Fixture, tag: &str, t: usize, output: &FrameOutput, at: &str) -> usize {
    let get = |key: &str| &fixture.tensors[&format!("{tag}.{t}.post.{key}")];
    let ids: Vec<i64> = output.objects.iter().map(|o| o.id as i64).collect();
    assert_eq!(ids, get("object_ids").to_vec1::<i64>().unwrap(), "{at}: visible ids");
    let boxes: Vec<f32> = output.objects.iter().flat_map(|o| o.bbox).collect();
    assert_eq!(boxes, numbers(get("boxes")), "{at}: boxes");
    let (height, width) = fixture.frame_size();
    // Eight pixels to a byte, the leftmost in the highest bit.
    let masks = get("masks_packed").flatten_all().unwrap().to_vec1::<u8>().unwrap();
    let row_bytes = width.div_ceil(8);
    let differs = |(i, o): (usize, &sam3::TrackedObject)| {
        let want = |x: usize, y: usize| masks[(i * height + y) * row_bytes + x / 8] >> (7 - x % 8) & 1 == 1;
        let pixels = (0..width * height).map(|p| (p % width, p / width));
        pixels.filter(|&(x, y)| o.mask.contains(x, y) != want(x, y)).count()
    };
    output.objects.iter().enumerate().map(differs).sum()
}
