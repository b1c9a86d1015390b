//! The stages of a frame that depend on the number of tracks, one by one, for benchmarks.

use candle_core::{DType, Result as TensorResult, Tensor};

use super::bank::{At, Bank};
use super::encoding::MemoryMask;
use super::memory::Memory;
use super::tracker::{Features, Tracker};
use crate::tracker::rows::StageTimer;

impl Tracker {
    /// Times memory attention, the SAM head and the memory encoder for `n` objects together whose banks are full.
    pub(crate) fn time_stages(
        &self,
        features: &Features,
        n: usize,
        time: &mut StageTimer<'_>,
    ) -> TensorResult<()> {
        const FRAME_IDX: usize = 10_000;
        let settings = self.default_settings();
        let memory = Memory { banks: vec![self.full_bank(FRAME_IDX)?; n], settings };
        let banks: Vec<&Bank> = memory.banks.iter().collect();
        let conditioned =
            time("memory attention", &|| self.condition(features, &banks, &settings, FRAME_IDX))?;
        let masks = time("SAM head", &|| Ok(self.read_masks(features, &conditioned)?.masks))?;
        let visible = vec![true; n];
        time("memory encoder", &|| self.encode_memory(features, MemoryMask::Soft(&masks), &visible))?;
        Ok(())
    }

    /// The bank of a track that has been visible for a long time, of random numbers.
    fn full_bank(&self, frame_idx: usize) -> TensorResult<Bank> {
        let limits = self.default_settings().limits;
        let (device, dtype) = (self.image_positions.device(), self.image_positions.dtype());
        let (m, c) = (self.cfg.memory_encoder_output_channels, self.cfg.vision_config.fpn_hidden_size);
        let memory = Tensor::randn(0f32, 1.0, (self.grid * self.grid, m), device)?.to_dtype(DType::BF16)?;
        let pointer = Tensor::randn(0f32, 1.0, c, device)?.to_dtype(dtype)?;
        let n_cond = limits.cond_frames.unwrap_or(4);
        let cond_frames = (1..=n_cond).rev().map(|i| frame_idx - 100 * i);
        let recent = |n: usize| (1..=n).rev().map(|i| frame_idx - i);
        let at = |value: &Tensor| {
            let value = value.clone();
            move |frame_idx| At { frame_idx, value: value.clone() }
        };
        Ok(Bank {
            cond_memories: cond_frames.clone().map(at(&memory)).collect(),
            memories: recent(limits.recent_memories).map(at(&memory)).collect(),
            cond_pointers: cond_frames.map(at(&pointer)).collect(),
            pointers: recent(limits.recent_pointers).map(at(&pointer)).collect(),
        })
    }
}
