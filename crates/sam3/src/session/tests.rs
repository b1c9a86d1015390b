//! What a session computes for many objects at once equals what it computes for each alone; a device without
//! memory costs time, then objects, and never the run.

use candle_core::{Device, Tensor};

use super::{Compat, Concession, Frame, FrameOutput, Mode, Session, SessionOptions};
use crate::ops::{Filter, Resizer};
use crate::parity::{CHECKPOINTS, Checkpoint, numbers, relative_difference};
use crate::trace::on_a_device_for;
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

/// The outputs of a whole clip in streaming mode, and the session after it.
fn track(checkpoint: &Checkpoint) -> (Vec<FrameOutput>, Session) {
    let prompts: Vec<&str> = checkpoint.prompts.iter().map(String::as_str).collect();
    let options = SessionOptions::new(Mode::Streaming, checkpoint.frame_size());
    let mut session = Session::new(checkpoint.model.clone(), &prompts, options).unwrap();
    let frame = |t| session.push(Frame::PixelValues(&checkpoint.pixel_values(t))).unwrap();
    let outputs = (0..checkpoint.n_frames()).flat_map(frame).collect();
    (outputs, session)
}

fn ids(outputs: &[FrameOutput]) -> Vec<Vec<u64>> {
    outputs.iter().map(|o| o.objects.iter().map(|object| object.id).collect()).collect()
}

#[test]
fn a_device_for_one_object_at_a_time_gives_the_same_tracks() {
    let checkpoint = Checkpoint::open("wide");
    let (want, session) = track(&checkpoint);
    assert!(session.concessions().is_empty());
    let (got, session) = on_a_device_for(1, usize::MAX, || track(&checkpoint));
    assert_eq!(ids(&got), ids(&want));
    let boxes = |outputs: &[FrameOutput]| -> Vec<[f32; 4]> {
        outputs.iter().flat_map(|o| o.objects.iter().map(|object| object.bbox)).collect()
    };
    assert_eq!(boxes(&got), boxes(&want));
    let last = session.concessions().last();
    assert!(matches!(last, Some(Concession::ObjectsAtOnce { n: 1, .. })), "{last:?}");
}

#[test]
fn a_device_too_small_for_all_objects_goes_on_with_fewer() {
    let checkpoint = Checkpoint::open("wide");
    let (want, _) = track(&checkpoint);
    let most = |outputs: &[FrameOutput]| outputs.iter().map(|o| o.low_res.len()).max();
    assert!(most(&want) > Some(2), "the clip has no crowd");
    let (got, session) = on_a_device_for(1, 2, || track(&checkpoint));
    assert_eq!(got.len(), want.len());
    let last = session.concessions().last();
    assert!(matches!(last, Some(Concession::MaxObjects { n: 2, .. })), "{last:?}");
    assert!(session.n_tracked() <= 2);
    // Whoever goes on from here keeps to it.
    let prompts: Vec<&str> = checkpoint.prompts.iter().map(String::as_str).collect();
    let bytes = session.to_bytes().unwrap();
    let options = SessionOptions::new(Mode::Streaming, checkpoint.frame_size());
    let model = checkpoint.model.clone();
    let restored = Session::from_bytes(model, &prompts, options, &bytes, "saved".as_ref()).unwrap();
    assert_eq!(restored.concessions(), session.concessions());
}

#[test]
fn a_device_too_small_for_one_object_is_an_error_and_nothing_is_lost() {
    let checkpoint = Checkpoint::open("narrow");
    let prompts: Vec<&str> = checkpoint.prompts.iter().map(String::as_str).collect();
    let options = SessionOptions::new(Mode::Streaming, checkpoint.frame_size());
    let mut session = Session::new(checkpoint.model.clone(), &prompts, options).unwrap();
    session.push(Frame::PixelValues(&checkpoint.pixel_values(0))).unwrap();
    let second = checkpoint.pixel_values(1);
    let error = on_a_device_for(0, 0, || session.push(Frame::PixelValues(&second))).unwrap_err();
    assert!(error.is_out_of_memory(), "{error}");
    assert_eq!(session.n_frames(), 1);
    session.push(Frame::PixelValues(&second)).unwrap();
}

#[test]
fn what_is_remembered_is_a_row_and_not_the_batch_it_came_from() {
    let checkpoint = Checkpoint::open("wide");
    let (session, _) = some_frames_in(&checkpoint, 6);
    let saved = session.to_bytes().unwrap();
    let prompts: Vec<&str> = checkpoint.prompts.iter().map(String::as_str).collect();
    let options = SessionOptions::new(Mode::Streaming, checkpoint.frame_size());
    let model = checkpoint.model.clone();
    let restored = Session::from_bytes(model, &prompts, options, &saved, "saved".as_ref()).unwrap();
    for session in [session, restored] {
        assert!(session.state.tracks.len() > 1);
        for bank in session.state.tracks.iter().map(|t| &t.bank) {
            let lists = [&bank.cond_memories, &bank.memories, &bank.cond_pointers, &bank.pointers];
            for tensor in lists.into_iter().flatten().map(|at| &at.value) {
                assert_eq!(n_stored(tensor), tensor.elem_count());
            }
        }
    }
}

/// Numbers in the memory that a tensor looks at.
fn n_stored(tensor: &Tensor) -> usize {
    match &*tensor.storage_and_layout().0 {
        candle_core::Storage::Cpu(candle_core::CpuStorage::F32(data)) => data.len(),
        candle_core::Storage::Cpu(candle_core::CpuStorage::BF16(data)) => data.len(),
        _ => panic!("{tensor:?}"),
    }
}

#[test]
fn memory_that_the_next_frame_takes_is_given_back_before_anything_is_conceded() {
    let checkpoint = Checkpoint::open("wide");
    let (mut session, _) = some_frames_in(&checkpoint, 6);
    let (now, next) = (checkpoint.pixel_values(6), checkpoint.pixel_values(7));
    let prepared = session.prepare(&Frame::PixelValues(&now)).unwrap();
    let next = Frame::PixelValues(&next);
    let (_, ahead) =
        on_a_device_for(1, usize::MAX, || session.push_prepared(&prepared, Some(&next))).unwrap();
    assert!(ahead.is_none());
    assert!(!session.concessions().is_empty());
}

#[test]
fn preparing_the_next_frame_meanwhile_changes_nothing() {
    let checkpoint = Checkpoint::open("narrow");
    let (want, session) = track(&checkpoint);
    let prompts: Vec<&str> = checkpoint.prompts.iter().map(String::as_str).collect();
    let options = SessionOptions::new(Mode::Streaming, checkpoint.frame_size());
    let mut ahead = Session::new(checkpoint.model.clone(), &prompts, options).unwrap();
    let pictures: Vec<Tensor> = (0..checkpoint.n_frames()).map(|t| checkpoint.pixel_values(t)).collect();
    let mut prepared = ahead.prepare(&Frame::PixelValues(&pictures[0])).unwrap();
    let mut got = Vec::new();
    for t in 0..pictures.len() {
        let next = pictures.get(t + 1).map(Frame::PixelValues);
        let (outputs, next) = ahead.push_prepared(&prepared, next.as_ref()).unwrap();
        got.extend(outputs);
        assert_eq!(next.is_some(), t + 1 < pictures.len());
        prepared = next.unwrap_or(prepared);
    }
    assert_eq!(got, want);
    assert_eq!(ahead.to_bytes().unwrap(), session.to_bytes().unwrap());
}
