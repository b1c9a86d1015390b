//! What the tracker computes for many objects together equals what it computes for each alone.

use candle_core::{Device, Tensor};

use super::encoding::MemoryMask;
use super::{Features, Memory, Tracker};
use crate::ops::{Filter, Resizer};
use crate::options::{Mode, SessionOptions};
use crate::parity::{CHECKPOINTS, Checkpoint, numbers, relative_difference};
use crate::session::{Frame, Session};
use crate::tracker::{Memory as AnyMemory, Rows};

/// Products of more rows may be cut into other blocks, which changes the order of sums.
const BATCH_TOLERANCE: f32 = 1e-5;

fn tracker(checkpoint: &Checkpoint) -> &Tracker {
    checkpoint.model.tracker.per_object()
}

/// The memory of a session after `n` frames of its clip, and the features of the next one.
fn after_frames(checkpoint: &Checkpoint, n: usize) -> (Memory, Features) {
    let prompts: Vec<&str> = checkpoint.prompts.iter().map(String::as_str).collect();
    let options = SessionOptions::new(Mode::Streaming, checkpoint.frame_size());
    let mut session = Session::new(checkpoint.model.clone(), &prompts, options).unwrap();
    for t in 0..n {
        session.push(Frame::PixelValues(&checkpoint.pixel_values(t))).unwrap();
    }
    let image = checkpoint.model.detector.backbone.forward(&checkpoint.pixel_values(n)).unwrap();
    let features = tracker(checkpoint).features(&image).unwrap();
    let AnyMemory::PerObject(memory) = session.memory().clone();
    (memory, features)
}

fn only(memory: &Memory, row: usize) -> Memory {
    Memory { banks: vec![memory.banks[row].clone()], ..memory.clone() }
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
fn propagates_objects_together_as_alone() {
    for name in CHECKPOINTS {
        // Late enough for objects of different age.
        let n = 9;
        let checkpoint = Checkpoint::open(name);
        let (memory, features) = after_frames(&checkpoint, n);
        let sizes: Vec<usize> = memory.banks.iter().map(|b| b.size_bytes()).collect();
        assert!(sizes.iter().any(|&size| size != sizes[0]), "{name}: all banks are equally full: {sizes:?}");
        let propagate =
            |memory: &Memory| -> Rows { tracker(&checkpoint).propagate(&features, memory, n).unwrap() };
        let together = propagate(&memory);
        let alone = |i: usize| propagate(&only(&memory, i));
        assert_rows("masks", &together.masks, |i| alone(i).masks);
        assert_rows("pointers", &together.pointers, |i| alone(i).pointers);
        assert_rows("scores", &together.scores, |i| alone(i).scores);
    }
}

#[test]
fn encodes_memories_together_as_alone() {
    for name in CHECKPOINTS {
        let checkpoint = Checkpoint::open(name);
        let n = 5;
        let (memory, features) = after_frames(&checkpoint, n);
        let tracker = tracker(&checkpoint);
        let logits = tracker.propagate(&features, &memory, n).unwrap().masks;
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
fn marks_an_invisible_object_in_its_own_memory_only() {
    let checkpoint = Checkpoint::open("wide");
    let (_, features) = after_frames(&checkpoint, 3);
    let side = checkpoint.model.config.low_res_mask_size;
    let masks = Tensor::full(-5f32, (2, side, side), &checkpoint.model.device).unwrap();
    let encode = |visible: &[bool]| {
        tracker(&checkpoint).encode_memory(&features, MemoryMask::Soft(&masks), visible).unwrap()
    };
    let (both, first) = (encode(&[true, true]), encode(&[true, false]));
    let row = |t: &Tensor, i: usize| numbers(&t.get(i).unwrap());
    assert_eq!(row(&both, 0), row(&first, 0));
    assert_ne!(row(&both, 1), row(&first, 1));
}

#[test]
fn a_memory_does_not_keep_the_batch_alive_that_it_came_from() {
    let checkpoint = Checkpoint::open("wide");
    let (memory, _) = after_frames(&checkpoint, 6);
    let (rows, tensors) = memory.save().unwrap();
    let options = SessionOptions::new(Mode::Streaming, checkpoint.frame_size());
    let tensors = tensors.into_iter().collect();
    let restored = tracker(&checkpoint).load(&options, rows.into_iter(), &tensors).unwrap();
    for memory in [memory, restored] {
        assert!(memory.banks.len() > 1);
        for bank in &memory.banks {
            let lists = [&bank.cond_memories, &bank.memories, &bank.cond_pointers, &bank.pointers];
            for tensor in lists.into_iter().flatten().map(|at| &at.value) {
                assert_eq!(n_stored(tensor), tensor.elem_count());
            }
        }
    }
}

/// Number of elements in the storage that a tensor is a view of.
fn n_stored(tensor: &Tensor) -> usize {
    match &*tensor.storage_and_layout().0 {
        candle_core::Storage::Cpu(candle_core::CpuStorage::F32(data)) => data.len(),
        candle_core::Storage::Cpu(candle_core::CpuStorage::BF16(data)) => data.len(),
        _ => panic!("{tensor:?}"),
    }
}
