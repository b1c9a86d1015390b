//! The tracker: follows objects from frame to frame by what it remembers of them.
//!
//! SAM3 has several tracker families. They share layers ([`parts`]) but differ in what one memory holds: SAM 3 keeps
//! a memory for each object ([`per_object`]). [`Tracker`] is the family's weights, immutable and shared between
//! sessions; [`Memory`] is what one session remembers.
//!
//! Sessions and trackers exchange rows: row i of a [`Memory`], of [`Rows`] and of the session's own list is
//! the same track. How a family stores memories, and how many objects it computes together, is internal to the family.
//! The order of calls on a frame is [`Tracker::propagate`], [`Tracker::remember`], [`Tracker::birth`],
//! [`Memory::forget`]. A session makes them on a clone of its memory, which is cheap, and keeps the clone only if the
//! complete frame succeeds.
//!
//! To add a family: add a variant to the enums below. The compiler then lists every place that has to choose.

pub(crate) mod parts;
pub(crate) mod per_object;
pub(crate) mod rows;
pub(crate) mod rules;

use std::collections::{BTreeSet, HashMap};

use candle_core::{Result as TensorResult, Tensor};
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::model_files::Weights;
use crate::model_files::config::VideoConfig;
use crate::options::SessionOptions;
pub(crate) use rows::{FrameMasks, Rows, StageTimer};
pub(crate) use rules::Rules;

/// The weights of a tracker, by family.
pub(crate) enum Tracker {
    /// SAM 3: one memory for each object.
    PerObject(per_object::Tracker),
}

/// What a tracker reads of one frame, by family.
pub(crate) enum Features {
    PerObject(per_object::Features),
}

/// What one session remembers of its tracks, by family. Clones share tensors.
#[derive(Clone)]
pub(crate) enum Memory {
    PerObject(per_object::Memory),
}

/// The part of a saved row that is not a tensor, by family.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum SavedRow {
    PerObject(per_object::SavedRow),
}

/// A memory ready to be written: one entry for each row, and named tensors.
pub(crate) struct SavedMemory {
    pub rows: Vec<SavedRow>,
    pub tensors: Vec<(String, Tensor)>,
}

impl Tracker {
    /// Loads the tracker of the config's family. `w` is the root of the model's parameters.
    pub(crate) fn new(config: &VideoConfig, w: &Weights) -> Result<Self> {
        Ok(Self::PerObject(per_object::Tracker::new(config, w)?))
    }

    /// The rules of a session: the thresholds of the config, and what the family makes of the options.
    pub(crate) fn rules(&self, config: &VideoConfig, options: &SessionOptions) -> Rules {
        let Self::PerObject(_) = self;
        per_object::rules(config, options)
    }

    /// An empty memory for a session.
    pub(crate) fn memory(&self, options: &SessionOptions) -> Memory {
        let Self::PerObject(tracker) = self;
        Memory::PerObject(tracker.memory(options))
    }

    /// The tracker's view of an image `[1, g, g, c]` from the ViT.
    pub(crate) fn features(&self, image: &Tensor) -> TensorResult<Features> {
        let Self::PerObject(tracker) = self;
        Ok(Features::PerObject(tracker.features(image)?))
    }

    /// Masks and scores of all remembered tracks on frame `frame_idx`. The memory must not be empty.
    pub(crate) fn propagate(
        &self,
        features: &Features,
        memory: &Memory,
        frame_idx: usize,
    ) -> TensorResult<Rows> {
        let (Self::PerObject(tracker), Features::PerObject(features), Memory::PerObject(memory)) =
            (self, features, memory);
        tracker.propagate(features, memory, frame_idx)
    }

    /// Adds frame `frame_idx` to the memory of every row. `rows` is what [`Self::propagate`] returned for the frame,
    /// `masks` what the session made of it.
    pub(crate) fn remember(
        &self,
        memory: &mut Memory,
        features: &Features,
        frame_idx: usize,
        rows: &Rows,
        masks: &FrameMasks<'_>,
    ) -> TensorResult<()> {
        let (Self::PerObject(tracker), Features::PerObject(features), Memory::PerObject(memory)) =
            (self, features, memory);
        tracker.remember(memory, features, frame_idx, rows, masks)
    }

    /// Appends a row for each new track, given by the mask logits of its detection.
    pub(crate) fn birth(
        &self,
        memory: &mut Memory,
        features: &Features,
        frame_idx: usize,
        detections: &[&[f32]],
    ) -> TensorResult<()> {
        let (Self::PerObject(tracker), Features::PerObject(features), Memory::PerObject(memory)) =
            (self, features, memory);
        tracker.birth(memory, features, frame_idx, detections)
    }

    /// Restores a saved memory; `None` if the tensors do not match the rows.
    pub(crate) fn load(
        &self,
        options: &SessionOptions,
        rows: Vec<SavedRow>,
        tensors: &HashMap<String, Tensor>,
    ) -> Option<Memory> {
        let Self::PerObject(tracker) = self;
        let rows = rows.into_iter().map(|SavedRow::PerObject(row)| row);
        Some(Memory::PerObject(tracker.load(options, rows, tensors)?))
    }

    /// Bytes that a full memory of `n` tracks takes.
    pub(crate) fn memory_bytes(&self, n: usize) -> u64 {
        let Self::PerObject(tracker) = self;
        tracker.memory_bytes(n)
    }

    /// Estimated bytes of intermediate tensors while `n` tracks are computed.
    pub(crate) fn working_bytes(&self, n: usize) -> u64 {
        let Self::PerObject(tracker) = self;
        tracker.working_bytes(n)
    }

    /// Frames after which the memory of a steady track no longer grows.
    pub(crate) fn warm_up_frames(&self, recondition_every: usize) -> usize {
        let Self::PerObject(tracker) = self;
        tracker.warm_up_frames(recondition_every)
    }

    /// Times the stages of a frame with `n` tracks whose memory is full.
    pub(crate) fn time_stages(
        &self,
        features: &Features,
        n: usize,
        time: &mut StageTimer<'_>,
    ) -> TensorResult<()> {
        let (Self::PerObject(tracker), Features::PerObject(features)) = (self, features);
        tracker.time_stages(features, n, time)
    }

    /// The tracker of a SAM 3 model, for tests of its modules.
    #[cfg(test)]
    pub(crate) fn per_object(&self) -> &per_object::Tracker {
        let Self::PerObject(tracker) = self;
        tracker
    }
}

impl Memory {
    /// Drops rows. The rows after a dropped one move up.
    pub(crate) fn forget(&mut self, rows: &BTreeSet<usize>) {
        let Self::PerObject(memory) = self;
        memory.forget(rows);
    }

    /// Halves the number of objects that are computed together, to need less working memory. Returns the new
    /// number, or `None` if it was already 1.
    pub(crate) fn halve_batch(&mut self) -> Option<usize> {
        let Self::PerObject(memory) = self;
        memory.halve_batch()
    }

    /// Checks memory that was loaded: what it remembers of each row is from frames since `first_frames` and before
    /// `n_frames`. The error is the first contradiction.
    pub(crate) fn check(&self, first_frames: &[usize], n_frames: usize) -> Result<(), String> {
        let Self::PerObject(memory) = self;
        memory.check(first_frames, n_frames)
    }

    /// The memory in a form that [`Tracker::load`] restores bit for bit.
    pub(crate) fn save(&self) -> TensorResult<SavedMemory> {
        let Self::PerObject(memory) = self;
        let (rows, tensors) = memory.save()?;
        Ok(SavedMemory { rows: rows.into_iter().map(SavedRow::PerObject).collect(), tensors })
    }

    /// Bytes of the memory's tensors.
    pub(crate) fn size_bytes(&self) -> usize {
        let Self::PerObject(memory) = self;
        memory.size_bytes()
    }
}
