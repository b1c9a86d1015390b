//! Conditioning: the frame's features as seen through each object's memory
//! (`_prepare_memory_conditioned_features`).

use std::collections::{BTreeMap, BTreeSet};

use candle_core::{Result as TensorResult, Tensor};

use super::bank::Bank;
use super::memory::Settings;
use super::tracker::{Features, Tracker};
use crate::ops;
use crate::position::sine_1d;
use crate::trace;
use crate::tracker::parts::memory_attention::MemoryBatch;

impl Tracker {
    /// The frame's features attending to the memory of each of n objects, `[n, g·g, c]`.
    pub(super) fn condition(
        &self,
        features: &Features,
        banks: &[&Bank],
        settings: &Settings,
        frame_idx: usize,
    ) -> TensorResult<Tensor> {
        let memory = self.memory_batch(banks, settings, frame_idx)?;
        self.memory_attention.forward(&self.flat_top(features)?, &self.image_positions, &memory)
    }

    /// Everything that the objects attend to: for each of them its memories, then its pointers.
    fn memory_batch(
        &self,
        banks: &[&Bank],
        settings: &Settings,
        frame_idx: usize,
    ) -> TensorResult<MemoryBatch> {
        let max_pointers = settings.max_pointers(frame_idx);
        let pointers = banks.iter().map(|bank| bank.gather_pointers(frame_idx, max_pointers));
        let pointers: Vec<Vec<(usize, &Tensor)>> = pointers.collect();
        let ages = self.age_positions(pointers.iter().flatten().map(|(age, _)| *age), max_pointers)?;
        // A pointer of c channels is split into c/m tokens as wide as a memory.
        let tokens = |pointer: &Tensor| pointer.reshape(((), self.cfg.memory_encoder_output_channels));
        let tokens = pointers.iter().flatten().map(|(age, pointer)| Ok((tokens(pointer)?, &ages[age])));
        let tokens: Vec<(Tensor, &Tensor)> = tokens.collect::<TensorResult<_>>()?;
        let mut tokens = tokens.iter();

        let (mut parts, mut key_lens, mut n_rotated) = (Vec::new(), Vec::new(), Vec::new());
        for (bank, pointers) in banks.iter().zip(&pointers) {
            let memories = bank.gather_memories(frame_idx, &settings.limits);
            n_rotated.push(memories.len() * self.grid * self.grid);
            parts.extend(memories.into_iter().map(|(row, memory)| (memory, &self.memory_positions[row])));
            let before = parts.len();
            parts.extend(tokens.by_ref().take(pointers.len()).map(|(tokens, position)| (tokens, *position)));
            let n_tokens =
                parts[before..].iter().map(|(tokens, _)| tokens.dim(0)).sum::<TensorResult<usize>>()?;
            key_lens.push(n_rotated[n_rotated.len() - 1] + n_tokens);
        }
        let (values, keys) = ops::cat_with_positions(&parts)?;
        Ok(MemoryBatch { values, keys, key_lens, n_rotated })
    }

    /// Position embeddings `[1, m]` of pointers, by their age in frames (`_process_object_pointers`).
    fn age_positions(
        &self,
        ages: impl Iterator<Item = usize>,
        max_pointers: usize,
    ) -> TensorResult<BTreeMap<usize, Tensor>> {
        let ages: BTreeSet<usize> = ages.collect();
        let (c, m) = (self.cfg.vision_config.fpn_hidden_size, self.cfg.memory_encoder_output_channels);
        let (device, dtype) = (self.image_positions.device(), self.image_positions.dtype());
        let positions = match &self.temporal_projection {
            Some(projection) if !ages.is_empty() => {
                let longest = (max_pointers - 1) as f32;
                let relative: Vec<f32> = ages.iter().map(|&age| age as f32 / longest).collect();
                let positions = projection.forward(&sine_1d(&relative, c, device)?.to_dtype(dtype)?)?;
                trace::note("temporal_projection", &positions);
                positions
            }
            _ => Tensor::zeros((ages.len(), m), dtype, device)?,
        };
        ages.iter().enumerate().map(|(i, &age)| Ok((age, positions.narrow(0, i, 1)?))).collect()
    }
}
