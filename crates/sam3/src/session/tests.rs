//! What a session computes for many objects at once equals what it computes for each alone.

use candle_core::{Device, Tensor};

use super::{Compat, Frame, Mode, Session, SessionOptions};
use crate::ops::{Filter, Resizer};
use crate::parity::{CHECKPOINTS, Checkpoint, numbers, relative_difference};
use crate::tracker::bank::Bank;
use crate::tracker::{FrameFeatures, MemoryMask};

/// Products of more rows may be cut into other blocks, which changes the order of sums.
const BATCH_TOLERANCE: f32 = 1e-5;

/// A session some frames into its clip, and the tracker's view of the next one.
fn some_frames_in(checkpoint: &Checkpoint, n: usize) -> (Session, FrameFeatures) {
    let prompts: Vec<&str> = checkpoint.prompts.iter().map(String::as_str).collect();
    let options = SessionOptions::new(Mode::Streaming, checkpoint.frame_size());
    let mut session = Session::new(checkpoint.model.clone(), &prompts, options).unwrap();
    for t in 0..n {
        session.push(Frame::PixelValues(&checkpoint.pixel_values(t))).unwrap();
    }
    let picture = checkpoint.model.detector.backbone.forward(&checkpoint.pixel_values(n)).unwrap();
    let features = checkpoint.model.tracker.features(&picture).unwrap();
    (session, features)
}

/// Asserts that each row of `batch` equals the only row of `single(i)`.
fn assert_rows(what: &str, batch: &Tensor, single: impl Fn(usize) -> Tensor) {
    for i in 0..batch.dim(0).unwrap() {
        let (got, want) = (batch.narrow(0, i, 1).unwrap(), single(i));
        assert_eq!(got.dims(), want.dims());
        let off = relative_difference(&numbers(&got), &numbers(&want));
        assert!(off <= BATCH_TOLERANCE, "{what} of object {i}: off by {off:.1e}");
    }
}

#[test]
fn objects_are_propagated_together_as_alone() {
    for name in CHECKPOINTS {
        // Late enough for objects of different age.
        let n = 9;
        let checkpoint = Checkpoint::open(name);
        let (session, features) = some_frames_in(&checkpoint, n);
        let max_pointers = checkpoint.model.config.tracker_config.max_object_pointers_in_encoder;
        let propagate = |banks: &[&Bank]| {
            let tracker = &checkpoint.model.tracker;
            tracker.propagate(&features, banks, n, max_pointers, &session.limits, 16).unwrap()
        };
        let banks: Vec<&Bank> = session.state.tracks.iter().map(|t| &t.bank).collect();
        let sizes: Vec<usize> = banks.iter().map(|b| b.size_bytes()).collect();
        let differ = sizes.iter().any(|&size| size != sizes[0]);
        assert!(differ, "{name}: objects remember equally much: {sizes:?}");
        let together = propagate(&banks);
        assert_rows("masks", &together.masks, |i| propagate(&banks[i..=i]).masks);
        assert_rows("pointers", &together.pointers, |i| propagate(&banks[i..=i]).pointers);
        assert_rows("scores", &together.scores, |i| propagate(&banks[i..=i]).scores);
    }
}

#[test]
fn memories_are_encoded_together_as_alone() {
    for name in CHECKPOINTS {
        let checkpoint = Checkpoint::open(name);
        let n = 5;
        let (session, features) = some_frames_in(&checkpoint, n);
        let tracker = &checkpoint.model.tracker;
        let banks: Vec<&Bank> = session.state.tracks.iter().map(|t| &t.bank).collect();
        let logits = tracker.propagate(&features, &banks, n, 16, &session.limits, 16).unwrap().masks;
        let (from, to) = (logits.dim(1).unwrap(), 16 * checkpoint.model.config.grid());
        let resizer = Resizer::square(from, to, Filter::Antialiased, &Device::Cpu).unwrap();
        let masks = resizer.resize(&logits).unwrap();
        let masks = masks.clamp(-10.0, 10.0).unwrap();
        let encode = |masks: &Tensor| tracker.memory_encoder.forward(&features.top, masks).unwrap();
        assert_rows("memory", &encode(&masks), |i| encode(&masks.narrow(0, i, 1).unwrap()));

        let binary = logits.gt(0.0).unwrap().to_dtype(candle_core::DType::F32).unwrap();
        let init = |masks: &Tensor| tracker.init_from_masks(&features, masks).unwrap();
        let one = |i: usize| init(&binary.narrow(0, i, 1).unwrap());
        assert_rows("pointers of new objects", &init(&binary).0, |i| one(i).0);
        assert_rows("masks of new objects", &init(&binary).1, |i| one(i).1);
    }
}

#[test]
fn an_invisible_object_is_marked_in_its_own_memory_only() {
    let checkpoint = Checkpoint::open("wide");
    let (session, features) = some_frames_in(&checkpoint, 3);
    let side = session.model.config.low_res_mask_size;
    let masks = Tensor::full(-5f32, (2, side, side), &checkpoint.model.device).unwrap();
    let encode = |visible: &[bool]| {
        checkpoint.model.tracker.encode_memory(&features, MemoryMask::Soft(&masks), visible, 16).unwrap()
    };
    let (both, first) = (encode(&[true, true]), encode(&[true, false]));
    let row = |t: &Tensor, i: usize| numbers(&t.get(i).unwrap());
    assert_eq!(row(&both, 0), row(&first, 0));
    assert_ne!(row(&both, 1), row(&first, 1));
}

#[test]
fn a_failed_push_leaves_the_session_as_it_was() {
    let checkpoint = Checkpoint::open("narrow");
    let options = SessionOptions {
        compat: Compat::Fixed,
        ..SessionOptions::new(Mode::Streaming, checkpoint.frame_size())
    };
    let mut session = Session::new(checkpoint.model.clone(), &["Box"], options).unwrap();
    session.push(Frame::PixelValues(&checkpoint.pixel_values(0))).unwrap();
    let before = session.to_bytes().unwrap();
    let error = session.push(Frame::Rgb(&[0; 12])).unwrap_err();
    assert!(matches!(error, crate::Error::Frame { frame_idx: 1, .. }), "{error}");
    assert_eq!(session.to_bytes().unwrap(), before);
}
