//! The tracker: objects carried from frame to frame by memory (reference: `Sam3TrackerVideoModel` inside
//! `Sam3VideoModel`). All objects of a frame go through every stage together.

pub(crate) mod bank;
pub(crate) mod memory_attention;
pub(crate) mod memory_encoder;
pub(crate) mod prompt_encoder;
pub(crate) mod sam_head;

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
    /// `[num_maskmem, m]`.
    temporal_positions: Tensor,
    no_object_pointer: Tensor,
    occlusion_embedding: Option<Tensor>,
    /// Sine embedding of the grid in the picture's channels, `[g·g, c]`.
    picture_positions: Tensor,
    /// Random-frequency embedding of the grid for the SAM head, `[g·g, c]`.
    pub(crate) head_positions: Tensor,
    /// Sine embedding of the grid in the memory's channels, `[g·g, m]`.
    pub(crate) memory_positions: Tensor,
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
            temporal_positions: temporal.reshape((cfg.num_maskmem, m))?,
            no_object_pointer: w.get_added((1, c), "no_object_pointer")?,
            occlusion_embedding: cfg
                .enable_occlusion_spatial_embedding
                .then(|| w.get_added((1, m), "occlusion_spatial_embedding_parameter"))
                .transpose()?,
            picture_positions: sine_2d(grid, c, &device)?.to_dtype(dtype)?,
            head_positions: image_wide_positions(grid, &frequencies)?.to_dtype(dtype)?,
            memory_positions: sine_2d(grid, m, &device)?.to_dtype(dtype)?,
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
        let n_grid = self.grid * self.grid;
        // One table of positions for each temporal row, shared by all objects.
        let rows = (0..self.cfg.num_maskmem)
            .map(|row| ops::add(&self.memory_positions, &self.temporal_positions.get(row)?));
        let positions: Vec<Tensor> = rows.collect::<TensorResult<_>>()?;
        let (mut keys, mut values, mut n_rotated) = (Vec::new(), Vec::new(), Vec::new());
        for bank in banks {
            let (mut object_keys, mut object_values) = (Vec::new(), Vec::new());
            for (row, memory) in bank.gather_memories(frame_idx, limits) {
                let memory = memory.to_dtype(positions[row].dtype())?;
                object_keys.push((&memory + &positions[row])?);
                object_values.push(memory);
            }
            n_rotated.push(object_keys.len() * n_grid);
            let pointers = bank.gather_pointers(frame_idx, max_pointers);
            if let Some((tokens, positions)) = self.pointer_tokens(&pointers, max_pointers)? {
                object_keys.push((&tokens + positions)?);
                object_values.push(tokens);
            }
            keys.push(Tensor::cat(&object_keys, 0)?);
            values.push(Tensor::cat(&object_values, 0)?);
        }
        Ok(MemoryBatch { keys, n_rotated, values: Tensor::cat(&values, 0)? })
    }

    /// Pointers cut into tokens of the memory's width, and their positions, both `[tokens, m]`
    /// (`_process_object_pointers`).
    fn pointer_tokens(
        &self,
        pointers: &[(usize, &Tensor)],
        max_pointers: usize,
    ) -> TensorResult<Option<(Tensor, Tensor)>> {
        if pointers.is_empty() {
            return Ok(None);
        }
        let stacked = Tensor::stack(&pointers.iter().map(|(_, p)| *p).collect::<Vec<_>>(), 0)?;
        let (n, c) = stacked.dims2()?;
        let m = self.cfg.memory_encoder_output_channels;
        let splits = c / m;
        let tokens = stacked.reshape((n * splits, m))?;
        let Some(projection) = &self.temporal_projection else {
            let zeros = tokens.zeros_like()?;
            return Ok(Some((tokens, zeros)));
        };
        let longest = (max_pointers - 1) as f32;
        let ages: Vec<f32> = pointers.iter().map(|(age, _)| *age as f32 / longest).collect();
        let ages = sine_1d(&ages, c, stacked.device())?.to_dtype(stacked.dtype())?;
        let positions = projection.forward(&ages)?;
        trace::note("temporal_projection", &positions);
        let positions = positions.unsqueeze(1)?.broadcast_as((n, splits, m))?.contiguous()?;
        Ok(Some((tokens, positions.reshape((n * splits, m))?)))
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
