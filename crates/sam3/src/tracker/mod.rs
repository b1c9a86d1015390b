//! The tracker: objects carried from frame to frame by memory (reference: `Sam3TrackerVideoModel` inside
//! `Sam3VideoModel`). All objects of a frame go through every stage together.

pub(crate) mod bank;
pub(crate) mod memory_attention;
pub(crate) mod memory_encoder;
pub(crate) mod prompt_encoder;
pub(crate) mod sam_head;

use std::collections::{BTreeMap, BTreeSet};

use candle_core::{DType, Result as TensorResult, Tensor};

use crate::config::{TrackerConfig, VideoConfig};
use crate::detector::neck::{Neck, Pyramid};
use crate::error::Result;
use crate::nn::{Conv2d, Linear, ReluStack};
use crate::ops::{self, Activation, ConvGeometry, Filter, Resizer};
use crate::position::{sine_1d, sine_2d};
use crate::trace;
use crate::weights::Weights;
use bank::{Bank, BankLimits};
use memory_attention::{MemoryAttention, MemoryBatch};
use memory_encoder::MemoryEncoder;
use prompt_encoder::PromptEncoder;
use sam_head::{SamHead, select};

/// Most objects that go through a stage together; more are done in turns, so that a crowd costs time and not
/// memory.
pub(crate) const OBJECTS_AT_ONCE: usize = 16;
/// Mask logit of an object that the SAM head does not see.
const NO_OBJECT_LOGIT: f64 = -1024.0;
/// A binary mask becomes logits by this scale and offset (`_use_mask_as_output`).
const MASK_SCALE: f64 = 20.0;
const MASK_OFFSET: f64 = -10.0;

/// `tracker_model` and `tracker_neck`.
pub(crate) struct Tracker {
    cfg: TrackerConfig,
    grid: usize,
    pub(crate) neck: Neck,
    pub(crate) memory_attention: MemoryAttention,
    pub(crate) memory_encoder: MemoryEncoder,
    pub(crate) prompt_encoder: PromptEncoder,
    pub(crate) sam_head: SamHead,
    object_pointer_proj: ReluStack,
    mask_downsample: Conv2d,
    temporal_projection: Option<Linear>,
    no_object_pointer: Tensor,
    occlusion_embedding: Option<Tensor>,
    /// Sine embedding of the grid in the picture's channels, `[g·g, c]`.
    picture_positions: Tensor,
    /// Random-frequency embedding of the grid for the SAM head, `[g·g, c]`.
    pub(crate) head_positions: Tensor,
    /// Sine embedding of the grid in the memory's channels, and of each temporal row, together: `num_maskmem` of
    /// `[g·g, m]`.
    memory_positions: Vec<Tensor>,
    resizers: Resizers,
}

/// Between the sizes of masks.
struct Resizers {
    /// From the SAM head's size to the picture's.
    low_to_picture: Resizer,
    /// The same without antialiasing.
    low_to_picture_plain: Resizer,
    /// From a quarter of the picture to the SAM head.
    quarter_to_low: Resizer,
    /// To the memory encoder.
    low_to_memory: Resizer,
    picture_to_memory: Resizer,
}

impl Resizers {
    fn new(grid: usize, picture: usize, quarter: usize, w: &Weights) -> Result<Self> {
        let (low, memory) = (4 * grid, 16 * grid);
        let square = |from, to, filter| Resizer::square(from, to, filter, w.device());
        Ok(Self {
            low_to_picture: square(low, picture, Filter::Antialiased)?,
            low_to_picture_plain: square(low, picture, Filter::Bilinear)?,
            quarter_to_low: square(quarter, low, Filter::Antialiased)?,
            low_to_memory: square(low, memory, Filter::Antialiased)?,
            picture_to_memory: square(picture, memory, Filter::Antialiased)?,
        })
    }
}

/// What the tracker reads of one picture.
pub(crate) struct FrameFeatures {
    /// `[1, 4g, 4g, c/8]`.
    s0: Tensor,
    /// `[1, 2g, 2g, c/4]`.
    s1: Tensor,
    /// `[1, g, g, c]`.
    pub(crate) top: Tensor,
}

/// n objects carried to the current frame.
pub(crate) struct Propagated {
    /// Mask logits as the SAM head gave them, `[n, 4g, 4g]` in f32.
    pub masks: Tensor,
    /// Logits of "the object is visible", `[n]` in f32.
    pub scores: Tensor,
    /// Pointers, `[n, c]`.
    pub pointers: Tensor,
}

/// A mask for the memory encoder.
#[derive(Clone, Copy)]
pub(crate) enum MemoryMask<'a> {
    /// Logits `[n, 4g, 4g]`, as probabilities.
    Soft(&'a Tensor),
    /// Logits `[n, s, s]` at the picture's size, cut at 0.
    Hard(&'a Tensor),
}

impl Tracker {
    /// `w` is the root of the checkpoint.
    pub(crate) fn new(config: &VideoConfig, w: &Weights) -> Result<Self> {
        let cfg = config.tracker_config.clone();
        let (c, m) = (cfg.vision_config.fpn_hidden_size, cfg.memory_encoder_output_channels);
        let (grid, device, dtype) = (config.grid(), w.device().clone(), w.activations());
        let picture = cfg.prompt_encoder_config.image_size;
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
            picture_positions: sine_2d(grid, c, &device)?.to_dtype(dtype)?,
            head_positions: image_wide_positions(grid, &frequencies)?.to_dtype(dtype)?,
            memory_positions,
            resizers: Resizers::new(grid, picture, quarter.output_len(picture), &w)?,
            grid,
            cfg,
        })
    }

    /// The tracker's view of a picture `[1, g, g, c]` from the ViT.
    pub(crate) fn features(&self, picture: &Tensor) -> TensorResult<FrameFeatures> {
        let Pyramid([fine, middle, top]) = self.neck.forward(picture)?;
        let (s0, s1) = (self.sam_head.conv_s0.forward(&fine)?, self.sam_head.conv_s1.forward(&middle)?);
        trace::note("conv_s0", &s0);
        trace::note("conv_s1", &s1);
        Ok(FrameFeatures { s0, s1, top })
    }

    /// Carries objects to frame `frame_idx` (`_run_single_frame_inference` without new inputs).
    /// `max_pointers` counts the current frame.
    pub(crate) fn propagate(
        &self,
        features: &FrameFeatures,
        banks: &[&Bank],
        frame_idx: usize,
        max_pointers: usize,
        limits: &BankLimits,
        at_once: usize,
    ) -> TensorResult<Propagated> {
        let mut parts = Vec::new();
        trace::needs_memory_for(at_once.min(banks.len()), banks.len())?;
        for banks in banks.chunks(at_once.max(1)) {
            let conditioned = self.condition(features, banks, frame_idx, max_pointers, limits)?;
            parts.push(self.read_masks(features, &conditioned)?);
        }
        let cat =
            |field: fn(&Propagated) -> &Tensor| Tensor::cat(&parts.iter().map(field).collect::<Vec<_>>(), 0);
        Ok(Propagated {
            masks: cat(|p| &p.masks)?,
            scores: cat(|p| &p.scores)?,
            pointers: cat(|p| &p.pointers)?,
        })
    }

    /// The picture as each object's memory sees it, `[n, g·g, c]`.
    pub(crate) fn condition(
        &self,
        features: &FrameFeatures,
        banks: &[&Bank],
        frame_idx: usize,
        max_pointers: usize,
        limits: &BankLimits,
    ) -> TensorResult<Tensor> {
        let memory = self.memory_batch(banks, frame_idx, max_pointers, limits)?;
        self.memory_attention.forward(&self.flat_top(features)?, &self.picture_positions, &memory)
    }

    /// The SAM head on conditioned pictures `[n, g·g, c]`.
    pub(crate) fn read_masks(
        &self,
        features: &FrameFeatures,
        conditioned: &Tensor,
    ) -> TensorResult<Propagated> {
        let pictures = ops::add(conditioned, &self.prompt_encoder.no_mask)?;
        let tokens = self.sam_head.read(&pictures, &self.head_positions, &self.prompt_encoder.no_points)?;
        let chosen = self.sam_head.choose(&tokens, &features.s0, &features.s1, self.cfg.multimask(false))?;
        let visible = tokens.object_score.gt(0f32)?.to_dtype(DType::F32)?;
        let absent = chosen.masks.zeros_like()?.affine(0.0, NO_OBJECT_LOGIT)?;
        let masks = select(&visible, &chosen.masks, &absent)?;
        let pointers = self.pointers(&chosen.tokens, &visible)?;
        Ok(Propagated { masks, scores: tokens.object_score, pointers })
    }

    /// Pointers `[n, c]` of tokens; an object that is not visible, 0 in `[n]`, gets the "no object" pointer.
    fn pointers(&self, tokens: &Tensor, visible: &Tensor) -> TensorResult<Tensor> {
        let pointers = self.object_pointer_proj.forward(tokens)?;
        trace::note("object_pointer_proj", &pointers);
        select(visible, &pointers, &self.no_object_pointer.repeat((pointers.dim(0)?, 1))?)
    }

    /// New objects from binary masks `[n, 4g, 4g]` of 0 and 1 (`_use_mask_as_output`): their pointers
    /// `[n, c]` and their masks as logits at the picture's size, `[n, s, s]`.
    pub(crate) fn init_from_masks(
        &self,
        features: &FrameFeatures,
        masks: &Tensor,
    ) -> TensorResult<(Tensor, Tensor)> {
        let dtype = self.picture_positions.dtype();
        let large = self.resizers.low_to_picture.resize(masks)?;
        let prompt = self.mask_downsample.forward(&large.unsqueeze(3)?.to_dtype(dtype)?)?.squeeze(3)?;
        trace::note("mask_downsample", &prompt);
        let prompt = self.resizers.quarter_to_low.resize(&prompt.to_dtype(DType::F32)?)?;
        let dense = self.prompt_encoder.embed_masks(&prompt.to_dtype(dtype)?)?;
        trace::note("mask_embed", &dense);
        let pictures = ops::add(&dense, &self.flat_top(features)?)?;
        let tokens = self.sam_head.read(&pictures, &self.head_positions, &self.prompt_encoder.no_points)?;
        let has_pixels = masks.flatten_from(1)?.max(1)?.gt(0f32)?.to_dtype(DType::F32)?;
        let visible = (tokens.object_score.gt(0f32)?.to_dtype(DType::F32)? * has_pixels)?;
        let pointers = self.pointers(&self.sam_head.best_tokens(&tokens)?, &visible)?;
        Ok((pointers, large.affine(MASK_SCALE, MASK_OFFSET)?))
    }

    /// Raw masks `[n, 4g, 4g]` enlarged to the picture's size.
    pub(crate) fn enlarge(&self, masks: &Tensor) -> TensorResult<Tensor> {
        self.resizers.low_to_picture_plain.resize(masks)
    }

    /// Memories `[n, g·g, m]` in bf16 (`_encode_new_memory`); an object that is not `visible` is marked.
    pub(crate) fn encode_memory(
        &self,
        features: &FrameFeatures,
        masks: MemoryMask<'_>,
        visible: &[bool],
        at_once: usize,
    ) -> TensorResult<Tensor> {
        let at_once = at_once.max(1);
        let parts = visible.chunks(at_once).enumerate().map(|(i, visible)| {
            let (start, n) = (i * at_once, visible.len());
            let probabilities = match masks {
                MemoryMask::Soft(logits) => self.soft_mask(&logits.narrow(0, start, n)?)?,
                MemoryMask::Hard(logits) => self.hard_mask(&logits.narrow(0, start, n)?)?,
            };
            self.encode_probabilities(features, &probabilities, visible)
        });
        Tensor::cat(&parts.collect::<TensorResult<Vec<_>>>()?, 0)
    }

    /// Logits as probabilities at the memory encoder's size.
    fn soft_mask(&self, logits: &Tensor) -> TensorResult<Tensor> {
        ops::activate(&self.resizers.low_to_memory.resize(logits)?, Activation::Sigmoid)
    }

    /// Logits as 0 and 1 at the memory encoder's size.
    fn hard_mask(&self, logits: &Tensor) -> TensorResult<Tensor> {
        self.resizers.picture_to_memory.resize(logits)?.gt(0f32)?.to_dtype(DType::F32)
    }

    fn encode_probabilities(
        &self,
        features: &FrameFeatures,
        probabilities: &Tensor,
        visible: &[bool],
    ) -> TensorResult<Tensor> {
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

    fn flat_top(&self, features: &FrameFeatures) -> TensorResult<Tensor> {
        let c = features.top.dim(3)?;
        features.top.reshape((1, self.grid * self.grid, c))
    }

    /// Everything the objects attend to (`_prepare_memory_conditioned_features`, steps 2 to 4).
    fn memory_batch(
        &self,
        banks: &[&Bank],
        frame_idx: usize,
        max_pointers: usize,
        limits: &BankLimits,
    ) -> TensorResult<MemoryBatch> {
        let pointers = banks.iter().map(|bank| bank.gather_pointers(frame_idx, max_pointers));
        let pointers: Vec<Vec<(usize, &Tensor)>> = pointers.collect();
        let ages = self.age_positions(pointers.iter().flatten().map(|(age, _)| *age), max_pointers)?;
        let tokens = |pointer: &Tensor| pointer.reshape(((), self.cfg.memory_encoder_output_channels));
        let tokens = pointers.iter().flatten().map(|(age, pointer)| Ok((tokens(pointer)?, &ages[age])));
        let tokens: Vec<(Tensor, &Tensor)> = tokens.collect::<TensorResult<_>>()?;
        let mut tokens = tokens.iter();

        let (mut parts, mut key_lens, mut n_rotated) = (Vec::new(), Vec::new(), Vec::new());
        for (bank, pointers) in banks.iter().zip(&pointers) {
            let memories = bank.gather_memories(frame_idx, limits);
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

    /// Positions `[1, m]` of pointers by their age in frames (`_process_object_pointers`).
    fn age_positions(
        &self,
        ages: impl Iterator<Item = usize>,
        max_pointers: usize,
    ) -> TensorResult<BTreeMap<usize, Tensor>> {
        let ages: BTreeSet<usize> = ages.collect();
        let (c, m) = (self.cfg.vision_config.fpn_hidden_size, self.cfg.memory_encoder_output_channels);
        let (device, dtype) = (self.picture_positions.device(), self.picture_positions.dtype());
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

/// Positions of the grid's cells through random frequencies: `[g·g, c]`, sines then cosines
/// (`get_image_wide_positional_embeddings`).
pub(crate) fn image_wide_positions(grid: usize, frequencies: &Tensor) -> TensorResult<Tensor> {
    let at = |i: usize| 2.0 * ((i as f32 + 0.5) / grid as f32) - 1.0;
    let coordinates: Vec<f32> =
        (0..grid * grid).flat_map(|cell| [at(cell % grid), at(cell / grid)]).collect();
    let coordinates = Tensor::from_vec(coordinates, (grid * grid, 2), frequencies.device())?;
    let angles = (coordinates.matmul(frequencies)? * (2.0 * std::f64::consts::PI))?;
    Tensor::cat(&[angles.sin()?, angles.cos()?], 1)
}
