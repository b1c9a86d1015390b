//! Compares complete runs with the reference, frame by frame, in its four modes.

use std::collections::BTreeSet;

use sam3::{Compat, Device, FrameOutput, Mode, Precision, Tensor};

use crate::fixture::{Fixture, NAMES, arithmetics};

/// Largest difference of a mask logit in f32. The reference rounds memories to bfloat16, where a last bit may differ.
/// With another attention kernel, the reference differs this much from itself.
pub(crate) const MASK_LOGIT_TOLERANCE: f32 = 5e-2;

/// Largest differences of a run from the reference in f32. Ids, removed and hidden objects must be equal, except for
/// [`Twins`] on a GPU.
struct Tolerances {
    /// Largest difference of a mask logit.
    mask_logit: f32,
    /// Largest difference of a probability.
    score: f32,
    /// Confidences with a smaller difference count as equal: an object may be on either side of one half, and either
    /// of two objects with the same mask may keep it ([`Twins`]).
    confidence: f32,
    /// Largest difference of a box coordinate in source pixels.
    box_side: f32,
    /// Largest number of different mask pixels at source size, over a complete clip.
    pixels: usize,
    /// Whether creation, hiding and removal of [`Twins`] are compared. They depend on the order of summation, which a
    /// GPU's library is free to choose.
    compare_twins: bool,
}

impl Tolerances {
    const F32: Self = Self {
        mask_logit: MASK_LOGIT_TOLERANCE,
        score: 1e-3,
        confidence: 0.0,
        box_side: 0.0,
        pixels: 2,
        compare_twins: true,
    };

    /// The differences between the reference in bfloat16 and in f32
    /// (`scripts/reference/make_fixture.py narrow --bf16`), plus a quarter for different rounding. They are 13.7 for
    /// logits (of several hundred), 0.051 for probabilities, 1 pixel for boxes, and 43 pixels per clip.
    const BF16: Self = Self {
        mask_logit: 17.1,
        score: 0.064,
        confidence: 0.064,
        box_side: 1.0,
        pixels: 53,
        compare_twins: true,
    };

    fn of(precision: Precision, device: &Device) -> Self {
        match precision {
            Precision::Bf16 => Self { compare_twins: device.is_cpu(), ..Self::BF16 },
            _ => Self::F32,
        }
    }
}

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
        for (precision, device) in arithmetics() {
            let model = fixture.model_on(precision, &device);
            let tolerances = Tolerances::of(precision, &device);
            for (tag, offline, compat) in TAGS {
                let mode = if offline { fixture.offline() } else { Mode::Streaming };
                let outputs = fixture.run(&model, fixture.options(mode, compat));
                assert_eq!(outputs.len(), fixture.n_frames());
                compare(&fixture, tag, &outputs, &tolerances);
            }
        }
    }
}

/// The largest differences of a run from the reference.
#[derive(Debug, Default)]
struct Differences {
    mask_logit: f32,
    score: f32,
    box_side: f32,
    pixels: usize,
}

fn compare(fixture: &Fixture, tag: &str, outputs: &[FrameOutput], tolerances: &Tolerances) {
    let mut removed = BTreeSet::new();
    let mut off = Differences::default();
    let mut twins = Twins::default();
    for (t, output) in outputs.iter().enumerate() {
        let at = format!("{} {tag} frame {t}", fixture.name);
        assert_eq!(output.frame_idx, t, "{at}");
        let facts = &fixture.frames[&format!("{tag}.{t}")];
        let frame = Stored { fixture, prefix: format!("{tag}.{t}.") };
        twins.note(&frame, tolerances);
        let compared = |ids: &BTreeSet<u64>| -> BTreeSet<u64> {
            ids.iter().copied().filter(|&id| tolerances.compare_twins || !twins.has(id)).collect()
        };
        removed.extend(output.removed.iter().copied());
        assert_eq!(compared(&removed), compared(&facts.removed), "{at}: removed");
        let suppressed: BTreeSet<u64> = output.hidden.iter().copied().collect();
        assert_eq!(compared(&suppressed), compared(&facts.suppressed), "{at}: suppressed");
        let known: BTreeSet<u64> = output.low_res.iter().map(|mask| mask.id).collect();
        let wanted = frame.ids("ids").into_iter().collect();
        assert_eq!(compared(&known), compared(&wanted), "{at}: ids");
        compare_masks(&frame, output, tolerances, &twins, &mut off);
        compare_objects(&frame, output, &twins, &at, &mut off);
    }
    println!("{} {tag}: {off:?}", fixture.name);
    let &Tolerances { mask_logit, score, box_side, pixels, .. } = tolerances;
    let within = off.mask_logit <= mask_logit && off.score <= score && off.box_side <= box_side;
    assert!(within && off.pixels <= pixels, "{} {tag}: {off:?}", fixture.name);
}

/// The reference's tensors of one frame.
struct Stored<'a> {
    fixture: &'a Fixture,
    prefix: String,
}

impl Stored<'_> {
    fn get(&self, key: &str) -> Option<&Tensor> {
        self.fixture.tensors.get(&format!("{}{key}", self.prefix))
    }

    fn ids(&self, key: &str) -> Vec<u64> {
        self.get(key).unwrap().to_vec1::<i64>().unwrap().into_iter().map(|id| id as u64).collect()
    }

    fn numbers(&self, key: &str) -> Vec<f32> {
        numbers(self.get(key).unwrap())
    }
}

/// Objects of the reference that had the same mask as another one and, within the tolerance, the same confidence.
/// Rounding decides which of them keeps the pixels, and their memories differ from then on, so that their numbers are
/// not compared. There are none in f32.
#[derive(Debug, Default)]
struct Twins(BTreeSet<u64>);

impl Twins {
    /// Adds the twins of a frame, if its masks before that decision are stored.
    fn note(&mut self, frame: &Stored, tolerances: &Tolerances) {
        let (ids, Some(masks)) = (frame.ids("ids"), frame.get("low_res_masks")) else { return };
        let (masks, scores) = (numbers(masks), frame.numbers("trk_scores"));
        let masks: Vec<&[f32]> = masks.chunks((masks.len() / ids.len().max(1)).max(1)).collect();
        for (i, k) in (0..ids.len()).flat_map(|i| (0..i).map(move |k| (i, k))) {
            let pixels = || masks[i].iter().zip(masks[k]).map(|(a, b)| (*a > 0.0, *b > 0.0));
            let both = pixels().filter(|(a, b)| *a && *b).count();
            let either = pixels().filter(|(a, b)| *a || *b).count();
            if 2 * both > either && (scores[i] - scores[k]).abs() < tolerances.confidence {
                self.0.extend([ids[i], ids[k]]);
            }
        }
    }

    fn has(&self, id: u64) -> bool {
        self.0.contains(&id)
    }
}

fn numbers(tensor: &Tensor) -> Vec<f32> {
    tensor.to_dtype(candle_core::DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// Compares logits and probabilities of all objects.
fn compare_masks(
    frame: &Stored,
    output: &FrameOutput,
    tolerances: &Tolerances,
    twins: &Twins,
    off: &mut Differences,
) {
    let (detected, tracked) = (frame.numbers("det_scores"), frame.numbers("trk_scores"));
    // Runs with kernels store them on every third frame, and some fixtures store them as f16.
    let logits = frame.get("low_res_masks").map(|masks| {
        let rounding = if masks.dtype() == candle_core::DType::F16 { 1e-2 } else { 0.0 };
        (numbers(masks), rounding)
    });
    for (i, id) in frame.ids("ids").into_iter().enumerate().filter(|(_, id)| !twins.has(*id)) {
        let mask = output.low_res.iter().find(|mask| mask.id == id).unwrap();
        // The reference's score of a removed object is -1e4, and NaN means that it has no score.
        for (got, want) in [(mask.score, detected[i]), (mask.tracker_score, tracked[i])] {
            if want >= 0.0 {
                off.score = off.score.max((got - want).abs());
            }
        }
        let Some((logits, rounding)) = &logits else { continue };
        let either_side = (tracked[i] - 0.5).abs() <= tolerances.confidence;
        if !either_side {
            let want = &logits[i * mask.logits.len()..][..mask.logits.len()];
            let worst = mask.logits.iter().zip(want).map(|(g, w)| (g - w).abs()).fold(0.0, f32::max);
            off.mask_logit = off.mask_logit.max(worst - rounding);
        }
    }
}

/// Compares ids, boxes and masks of the objects that are shown.
fn compare_objects(frame: &Stored, output: &FrameOutput, twins: &Twins, at: &str, off: &mut Differences) {
    let shown: Vec<_> = output.objects.iter().filter(|object| !twins.has(object.id)).collect();
    let wanted = frame.ids("post.object_ids");
    let wanted: Vec<(usize, u64)> =
        wanted.into_iter().enumerate().filter(|(_, id)| !twins.has(*id)).collect();
    let ids = |(_, id): &(usize, u64)| *id;
    assert_eq!(
        shown.iter().map(|object| object.id).collect::<Vec<_>>(),
        wanted.iter().map(ids).collect::<Vec<_>>(),
        "{at}: visible ids"
    );
    let boxes = frame.numbers("post.boxes");
    let (height, width) = frame.fixture.frame_size();
    // Eight pixels per byte, the leftmost in the highest bit.
    let masks = frame.get("post.masks_packed").unwrap().flatten_all().unwrap().to_vec1::<u8>().unwrap();
    let row_bytes = width.div_ceil(8);
    for (object, (i, _)) in shown.into_iter().zip(wanted) {
        for (got, want) in object.bbox.iter().zip(&boxes[4 * i..]) {
            off.box_side = off.box_side.max((got - want).abs());
        }
        let want = |x: usize, y: usize| masks[(i * height + y) * row_bytes + x / 8] >> (7 - x % 8) & 1 == 1;
        let pixels = (0..width * height).map(|p| (p % width, p / width));
        off.pixels += pixels.filter(|&(x, y)| object.mask.contains(x, y) != want(x, y)).count();
    }
}
