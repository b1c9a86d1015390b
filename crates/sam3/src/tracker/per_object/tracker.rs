//! The weights of the SAM 3 tracker, and how they follow objects to a frame.

use std::collections::HashMap;

use candle_core::{DType, Result as TensorResult, Tensor};

use super::bank::Bank;
use super::memory::{Memory, SavedRow, Settings, load_bank};
use super::resizers::Resizers;
use crate::error::Result;
use crate::model_files::Weights;
use crate::model_files::config::{TrackerConfig, VideoConfig};
use crate::nn::{Conv2d, Linear, ReluStack};
use crate::ops::{self, ConvGeometry};
use crate::options::{Mode, SessionOptions};
use crate::position::sine_2d;
use crate::trace;
use crate::tracker::parts::memory_attention::MemoryAttention;
use crate::tracker::parts::memory_encoder::MemoryEncoder;
use crate::tracker::parts::prompt_encoder::PromptEncoder;
use crate::tracker::parts::sam_head::{SamHead, select};
use crate::tracker::rows::Rows;
use crate::vision::neck::{Neck, Pyramid};

/// Mask logit of an object that the SAM head does not see.
const NO_OBJECT_LOGIT: f64 = -1024.0;

/// The modules `tracker_model` and `tracker_neck` of the model.
pub(crate) struct Tracker {
    pub(super) cfg: TrackerConfig,
    pub(super) grid: usize,
    pub(crate) neck: Neck,
    pub(crate) memory_attention: MemoryAttention,
    pub(crate) memory_encoder: MemoryEncoder,
    pub(crate) prompt_encoder: PromptEncoder,
    pub(crate) sam_head: SamHead,
    pub(super) object_pointer_proj: ReluStack,
    pub(super) mask_downsample: Conv2d,
    pub(super) temporal_projection: Option<Linear>,
    pub(super) no_object_pointer: Tensor,
    pub(super) occlusion_embedding: Option<Tensor>,
    /// Sine embedding of the grid in the image's channels, `[g·g, c]`.
    pub(super) image_positions: Tensor,
    /// Random-frequency embedding of the grid for the SAM head, `[g·g, c]`.
    pub(crate) head_positions: Tensor,
    /// Sine embedding of the grid in the memory's channels plus the embedding of a temporal row, `[g·g, m]` for each
    /// of `num_maskmem` rows.
    pub(super) memory_positions: Vec<Tensor>,
    pub(super) resizers: Resizers,
}

/// What the tracker reads of one frame.
pub(crate) struct Features {
    /// `[1, 4g, 4g, c/8]`.
    pub(super) s0: Tensor,
    /// `[1, 2g, 2g, c/4]`.
    pub(super) s1: Tensor,
    /// `[1, g, g, c]`.
    pub(crate) top: Tensor,
}

impl Tracker {
    /// `w` is the root of the model's parameters. The order in which they are read is part of the model's
    /// fingerprint, which saved sessions contain.
    pub(crate) fn new(config: &VideoConfig, w: &Weights) -> Result<Self> {
        let cfg = config.tracker_config.clone();
        let (c, m) = (cfg.vision_config.fpn_hidden_size, cfg.memory_encoder_output_channels);
        let (grid, device, dtype) = (config.grid(), w.device().clone(), w.activations());
        let image_size = cfg.prompt_encoder_config.image_size;
        let neck = Neck::new(&config.detector_config.vision_config, &w.pp("tracker_neck"))?;
        let w = w.pp("tracker_model");
        let quarter = ConvGeometry { kernel: 4, stride: 4, padding: 0 };
        let temporal = w.get_added((cfg.num_maskmem, 1, 1, m), "memory_temporal_positional_encoding")?;
        let temporal = temporal.reshape((cfg.num_maskmem, m))?;
        let cells = sine_2d(grid, m, &device)?.to_dtype(dtype)?;
        let memory_positions = (0..cfg.num_maskmem).map(|row| ops::add(&cells, &temporal.get(row)?));
        let memory_positions = memory_positions.collect::<TensorResult<_>>()?;
        let frequencies = w.pp("shared_image_embedding").get_f32((2, c / 2), "positional_embedding")?;
        Ok(Self {
            neck,
            memory_attention: MemoryAttention::new(&cfg, &w.pp("memory_attention"))?,
            memory_encoder: MemoryEncoder::new(&cfg, &w.pp("memory_encoder"))?,
            prompt_encoder: PromptEncoder::new(&cfg.prompt_encoder_config, &w.pp("prompt_encoder"))?,
            sam_head: SamHead::new(&cfg.mask_decoder_config, &w.pp("mask_decoder"))?,
            object_pointer_proj: ReluStack::feed_forward(c, c, c, 3, &w.pp("object_pointer_proj"))?,
            mask_downsample: Conv2d::new(1, 1, quarter, &w.pp("mask_downsample"))?,
            temporal_projection: cfg
                .enable_temporal_pos_encoding_for_object_pointers
                .then(|| Linear::new(c, m, &w.pp("temporal_positional_encoding_projection_layer")))
                .transpose()?,
            no_object_pointer: w.get_added((1, c), "no_object_pointer")?,
            occlusion_embedding: cfg
                .enable_occlusion_spatial_embedding
                .then(|| w.get_added((1, m), "occlusion_spatial_embedding_parameter"))
                .transpose()?,
            image_positions: sine_2d(grid, c, &device)?.to_dtype(dtype)?,
            head_positions: image_wide_positions(grid, &frequencies)?.to_dtype(dtype)?,
            memory_positions,
            resizers: Resizers::new(grid, image_size, quarter.output_len(image_size), &w)?,
            grid,
            cfg,
        })
    }

    /// The features of an image `[1, g, g, c]` from the ViT.
    pub(crate) fn features(&self, image: &Tensor) -> TensorResult<Features> {
        let Pyramid([fine, middle, top]) = self.neck.forward(image)?;
        let (s0, s1) = (self.sam_head.conv_s0.forward(&fine)?, self.sam_head.conv_s1.forward(&middle)?);
        trace::note("conv_s0", &s0);
        trace::note("conv_s1", &s1);
        Ok(Features { s0, s1, top })
    }

    pub(crate) fn memory(&self, options: &SessionOptions) -> Memory {
        Memory { settings: Settings::new(&self.cfg, options), banks: Vec::new() }
    }

    pub(crate) fn load(
        &self,
        options: &SessionOptions,
        rows: impl Iterator<Item = SavedRow>,
        tensors: &HashMap<String, Tensor>,
    ) -> Option<Memory> {
        let (m, c) = (self.cfg.memory_encoder_output_channels, self.cfg.vision_config.fpn_hidden_size);
        let memory = (vec![self.grid * self.grid, m], DType::BF16);
        let pointer = (vec![c], self.image_positions.dtype());
        let device = self.image_positions.device();
        let bank = |(i, row)| load_bank(i, &row, (&memory, &pointer), tensors, device);
        let banks = rows.enumerate().map(bank).collect::<Option<_>>()?;
        Some(Memory { banks, ..self.memory(options) })
    }

    /// Settings of a session with default options, for estimates and benchmarks.
    pub(super) fn default_settings(&self) -> Settings {
        Settings::new(&self.cfg, &SessionOptions::new(Mode::Streaming, (0, 0)))
    }

    /// Follows all objects to frame `frame_idx` (`_run_single_frame_inference` without new inputs).
    pub(crate) fn propagate(
        &self,
        features: &Features,
        memory: &Memory,
        frame_idx: usize,
    ) -> TensorResult<Rows> {
        let Memory { settings, banks } = memory;
        trace::needs_memory_for(settings.batch_size.min(banks.len()), banks.len())?;
        let banks: Vec<&Bank> = banks.iter().collect();
        let mut batches = Vec::new();
        for banks in banks.chunks(settings.batch_size) {
            let conditioned = self.condition(features, banks, settings, frame_idx)?;
            batches.push(self.read_masks(features, &conditioned)?);
        }
        let cat =
            |field: fn(&Rows) -> &Tensor| Tensor::cat(&batches.iter().map(field).collect::<Vec<_>>(), 0);
        Ok(Rows { masks: cat(|b| &b.masks)?, scores: cat(|b| &b.scores)?, pointers: cat(|b| &b.pointers)? })
    }

    /// The SAM head on conditioned images `[n, g·g, c]`.
    pub(super) fn read_masks(&self, features: &Features, conditioned: &Tensor) -> TensorResult<Rows> {
        let images = ops::add(conditioned, &self.prompt_encoder.no_mask)?;
        let tokens = self.sam_head.read(&images, &self.head_positions, &self.prompt_encoder.no_points)?;
        let chosen = self.sam_head.choose(&tokens, &features.s0, &features.s1, self.cfg.multimask(false))?;
        let visible = tokens.object_score.gt(0f32)?.to_dtype(DType::F32)?;
        let absent = chosen.masks.zeros_like()?.affine(0.0, NO_OBJECT_LOGIT)?;
        let masks = select(&visible, &chosen.masks, &absent)?;
        let pointers = self.pointers(&chosen.tokens, &visible)?;
        Ok(Rows { masks, scores: tokens.object_score, pointers })
    }

    /// Object pointers `[n, c]` of mask tokens `[n, c]`. Where `visible` `[n]` is 0, the learned "no object" pointer.
    pub(super) fn pointers(&self, tokens: &Tensor, visible: &Tensor) -> TensorResult<Tensor> {
        let pointers = self.object_pointer_proj.forward(tokens)?;
        trace::note("object_pointer_proj", &pointers);
        select(visible, &pointers, &self.no_object_pointer.repeat((pointers.dim(0)?, 1))?)
    }

    /// The coarsest features as a sequence, `[1, g·g, c]`.
    pub(super) fn flat_top(&self, features: &Features) -> TensorResult<Tensor> {
        let c = features.top.dim(3)?;
        features.top.reshape((1, self.grid * self.grid, c))
    }
}

/// Embeddings of the grid's cells by random frequencies, `[g·g, c]`: sines, then cosines
/// (`get_image_wide_positional_embeddings`).
pub(crate) fn image_wide_positions(grid: usize, frequencies: &Tensor) -> TensorResult<Tensor> {
    let at = |i: usize| 2.0 * ((i as f32 + 0.5) / grid as f32) - 1.0;
    let coordinates: Vec<f32> =
        (0..grid * grid).flat_map(|cell| [at(cell % grid), at(cell / grid)]).collect();
    let coordinates = Tensor::from_vec(coordinates, (grid * grid, 2), frequencies.device())?;
    let angles = (coordinates.matmul(frequencies)? * (2.0 * std::f64::consts::PI))?;
    Tensor::cat(&[angles.sin()?, angles.cos()?], 1)
}
