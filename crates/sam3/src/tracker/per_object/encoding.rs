//! Encoding: how the masks of a frame become memories and pointers.

use candle_core::{DType, Result as TensorResult, Tensor};

use super::bank::Bank;
use super::memory::Memory;
use super::tracker::{Features, Tracker};
use crate::ops::{self, Activation};
use crate::trace;
use crate::tracker::rows::{FrameMasks, Rows};

/// Scale and offset that turn a binary mask into logits (`_use_mask_as_output`).
const MASK_SCALE: f64 = 20.0;
const MASK_OFFSET: f64 = -10.0;
/// Mask logit from which a pixel of a detection belongs to the new object.
const BIRTH_LOGIT: f32 = 0.5;

/// A mask for the memory encoder.
#[derive(Clone, Copy)]
pub(super) enum MemoryMask<'a> {
    /// Logits `[n, 4g, 4g]`, encoded as probabilities.
    Soft(&'a Tensor),
    /// Logits `[n, s, s]` at the image's size, cut at 0.
    Hard(&'a Tensor),
}

impl Tracker {
    /// Adds a frame to every bank. On a frame with births, the reference encodes the memory of all objects from their
    /// raw masks instead, except for those that were reconditioned.
    pub(crate) fn remember(
        &self,
        memory: &mut Memory,
        features: &Features,
        frame_idx: usize,
        rows: &Rows,
        masks: &FrameMasks<'_>,
    ) -> TensorResult<()> {
        let Memory { settings, banks } = memory;
        let is_raw = settings.encodes_again_on_births() && masks.has_births;
        let (raw, settled): (Vec<usize>, Vec<usize>) =
            (0..banks.len()).partition(|row| is_raw && !masks.reconditioned.contains(row));
        let mut encoded: Vec<Option<Tensor>> = vec![None; banks.len()];
        for which in settled.chunks(settings.batch_size) {
            let memories = self.encode_settled(features, masks, which)?;
            for (i, &row) in which.iter().enumerate() {
                encoded[row] = Some(memories.get(i)?);
            }
        }
        for which in raw.chunks(settings.batch_size) {
            let memories = self.encode_raw(features, rows, masks, which)?;
            for (i, &row) in which.iter().enumerate() {
                encoded[row] = Some(memories.get(i)?);
            }
        }
        for (row, (bank, encoded)) in banks.iter_mut().zip(encoded).enumerate() {
            if let Some(encoded) = encoded {
                let is_cond = masks.reconditioned.contains(&row);
                bank.store(frame_idx, is_cond, &encoded, &rows.pointers.get(row)?, &settings.limits)?;
            }
        }
        Ok(())
    }

    /// Memories of the masks that the session settled on.
    fn encode_settled(
        &self,
        features: &Features,
        masks: &FrameMasks<'_>,
        which: &[usize],
    ) -> TensorResult<Tensor> {
        let side = 4 * self.grid;
        let visible: Vec<bool> = which.iter().map(|&row| has_pixels(&masks.masks[row])).collect();
        let data = which.iter().map(|&row| &*masks.masks[row]).collect::<Vec<_>>().concat();
        let logits = Tensor::from_vec(data, (which.len(), side, side), self.image_positions.device())?;
        self.encode_memory(features, MemoryMask::Soft(&logits), &visible)
    }

    /// Memories of the masks that the tracker computed, made binary.
    fn encode_raw(
        &self,
        features: &Features,
        rows: &Rows,
        masks: &FrameMasks<'_>,
        which: &[usize],
    ) -> TensorResult<Tensor> {
        let indices: Vec<u32> = which.iter().map(|&row| row as u32).collect();
        let raw = rows.masks.index_select(&Tensor::new(indices, rows.masks.device())?, 0)?;
        let visible: Vec<bool> = which.iter().map(|&row| masks.scores[row] > 0.0).collect();
        let enlarged = self.resizers.low_to_image_plain.resize(&raw)?;
        self.encode_memory(features, MemoryMask::Hard(&enlarged), &visible)
    }

    /// Appends a bank for each new object, whose first frame is a conditioning frame. `detections` are their mask
    /// logits, `(4g)²` each.
    pub(crate) fn birth(
        &self,
        memory: &mut Memory,
        features: &Features,
        frame_idx: usize,
        detections: &[&[f32]],
    ) -> TensorResult<()> {
        let Memory { settings, banks } = memory;
        let side = 4 * self.grid;
        for detections in detections.chunks(settings.batch_size) {
            let n = detections.len();
            trace::needs_memory_for(n, n)?;
            let binary = |logits: &&[f32]| -> Vec<f32> {
                logits.iter().map(|&x| f32::from(u8::from(x >= BIRTH_LOGIT))).collect()
            };
            let data: Vec<f32> = detections.iter().flat_map(binary).collect();
            let visible: Vec<bool> = data.chunks(side * side).map(has_pixels).collect();
            let masks = Tensor::from_vec(data, (n, side, side), self.image_positions.device())?;
            let (pointers, enlarged) = self.init_from_masks(features, &masks)?;
            let encoded = self.encode_memory(features, MemoryMask::Hard(&enlarged), &visible)?;
            for i in 0..n {
                let mut bank = Bank::default();
                bank.store(frame_idx, true, &encoded.get(i)?, &pointers.get(i)?, &settings.limits)?;
                banks.push(bank);
            }
        }
        Ok(())
    }

    /// New objects from binary masks `[n, 4g, 4g]` of 0 and 1 (`_use_mask_as_output`): their pointers `[n, c]`, and
    /// their masks as logits at the image's size, `[n, s, s]`.
    pub(super) fn init_from_masks(
        &self,
        features: &Features,
        masks: &Tensor,
    ) -> TensorResult<(Tensor, Tensor)> {
        let dtype = self.image_positions.dtype();
        let large = self.resizers.low_to_image.resize(masks)?;
        let prompt = self.mask_downsample.forward(&large.unsqueeze(3)?.to_dtype(dtype)?)?.squeeze(3)?;
        trace::note("mask_downsample", &prompt);
        let prompt = self.resizers.quarter_to_low.resize(&prompt.to_dtype(DType::F32)?)?;
        let dense = self.prompt_encoder.embed_masks(&prompt.to_dtype(dtype)?)?;
        trace::note("mask_embed", &dense);
        let images = ops::add(&dense, &self.flat_top(features)?)?;
        let tokens = self.sam_head.read(&images, &self.head_positions, &self.prompt_encoder.no_points)?;
        let has_pixels = masks.flatten_from(1)?.max(1)?.gt(0f32)?.to_dtype(DType::F32)?;
        let visible = (tokens.object_score.gt(0f32)?.to_dtype(DType::F32)? * has_pixels)?;
        let pointers = self.pointers(&self.sam_head.best_tokens(&tokens)?, &visible)?;
        Ok((pointers, large.affine(MASK_SCALE, MASK_OFFSET)?))
    }

    /// Memories `[n, g·g, m]` in bf16 of n masks (`_encode_new_memory`). The memory of an object that is not
    /// `visible` is marked with a learned embedding.
    pub(super) fn encode_memory(
        &self,
        features: &Features,
        masks: MemoryMask<'_>,
        visible: &[bool],
    ) -> TensorResult<Tensor> {
        let probabilities = match masks {
            MemoryMask::Soft(logits) => {
                ops::activate(&self.resizers.low_to_memory.resize(logits)?, Activation::Sigmoid)?
            }
            MemoryMask::Hard(logits) => {
                self.resizers.image_to_memory.resize(logits)?.gt(0f32)?.to_dtype(DType::F32)?
            }
        };
        let scaled =
            probabilities.affine(self.cfg.sigmoid_scale_for_mem_enc, self.cfg.sigmoid_bias_for_mem_enc)?;
        let memory = self.memory_encoder.forward(&features.top, &scaled.to_dtype(features.top.dtype())?)?;
        let (n, _, _, m) = memory.dims4()?;
        let mut memory = memory.reshape((n, self.grid * self.grid, m))?;
        if let Some(embedding) = &self.occlusion_embedding {
            let absent: Vec<f32> = visible.iter().map(|&v| if v { 0.0 } else { 1.0 }).collect();
            let absent = Tensor::from_vec(absent, (n, 1, 1), memory.device())?.to_dtype(memory.dtype())?;
            memory = memory.broadcast_add(&absent.broadcast_mul(&embedding.unsqueeze(0)?)?)?;
        }
        memory.to_dtype(DType::BF16)
    }
}

fn has_pixels(logits: &[f32]) -> bool {
    logits.iter().any(|&x| x > 0.0)
}
