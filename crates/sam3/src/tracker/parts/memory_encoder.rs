//! The memory encoder: combines a mask with the features under it into a memory (reference:
//! `Sam3TrackerVideoMemoryEncoder`).

use candle_core::{Result as TensorResult, Tensor};

use super::sam_head::CHANNEL_EPS;
use crate::error::Result;
use crate::model_files::Weights;
use crate::model_files::config::{TrackerConfig, activation};
use crate::nn::{Conv2d, LayerNorm, Linear};
use crate::ops::{self, Activation, ConvGeometry};
use crate::trace;

/// `Sam3TrackerVideoMemoryEncoder`: mask downsampler, fuser and projection.
pub(crate) struct MemoryEncoder {
    mask_downsampler: MaskDownsampler,
    feature_projection: Linear,
    memory_fuser: Vec<FuserBlock>,
    projection: Linear,
}

impl MemoryEncoder {
    pub(crate) fn new(cfg: &TrackerConfig, w: &Weights) -> Result<Self> {
        let c = cfg.memory_encoder_hidden_size;
        let fuser = w.pp("memory_fuser").pp("layers");
        Ok(Self {
            mask_downsampler: MaskDownsampler::new(cfg, &w.pp("mask_downsampler"))?,
            feature_projection: Linear::conv1x1(c, c, &w.pp("feature_projection"))?,
            memory_fuser: (0..cfg.memory_fuser_num_layers)
                .map(|i| FuserBlock::new(cfg, &fuser.pp(i)))
                .collect::<Result<_>>()?,
            projection: Linear::conv1x1(c, cfg.memory_encoder_output_channels, &w.pp("projection"))?,
        })
    }

    /// Features `[1, g, g, c]` and n masks `[n, 16g, 16g]` → `[n, g, g, m]`.
    pub(crate) fn forward(&self, features: &Tensor, masks: &Tensor) -> TensorResult<Tensor> {
        let masks = self.mask_downsampler.forward(&masks.unsqueeze(3)?)?;
        trace::note("mask_downsampler", &masks);
        let mut x = ops::add(&masks, &self.feature_projection.forward(features)?)?;
        for block in &self.memory_fuser {
            x = block.forward(&x)?;
        }
        trace::note("memory_fuser", &x);
        let memory = self.projection.forward(&x)?;
        trace::note("memory_encoder", &memory);
        Ok(memory)
    }
}

/// `Sam3TrackerVideoMaskDownSampler`: strided convolutions, each of which multiplies the channels by stride².
struct MaskDownsampler {
    layers: Vec<(Conv2d, LayerNorm)>,
    final_conv: Linear,
    activation: Activation,
}

impl MaskDownsampler {
    fn new(cfg: &TrackerConfig, w: &Weights) -> Result<Self> {
        let stride = cfg.mask_downsampler_stride;
        let geometry = ConvGeometry {
            kernel: cfg.mask_downsampler_kernel_size,
            stride,
            padding: cfg.mask_downsampler_padding,
        };
        let mut channels = 1;
        let mut layers = Vec::new();
        for i in 0..cfg.mask_downsampler_layers() {
            let layer = w.pp("layers").pp(i);
            let next = channels * stride * stride;
            let conv = Conv2d::new(channels, next, geometry, &layer.pp("conv"))?;
            layers.push((conv, LayerNorm::new(next, CHANNEL_EPS, &layer.pp("layer_norm"))?));
            channels = next;
        }
        Ok(Self {
            layers,
            final_conv: Linear::conv1x1(channels, cfg.mask_downsampler_embed_dim, &w.pp("final_conv"))?,
            activation: activation("hidden_act", &cfg.mask_downsampler_hidden_act)?,
        })
    }

    fn forward(&self, masks: &Tensor) -> TensorResult<Tensor> {
        let mut x = masks.clone();
        for (conv, norm) in &self.layers {
            x = ops::activate(&norm.forward(&conv.forward(&x)?)?, self.activation)?;
        }
        self.final_conv.forward(&x)
    }
}

/// Reference: `Sam3TrackerVideoMemoryFuserCXBlock`, a ConvNeXt block (arXiv:2201.03545) with layer scale.
struct FuserBlock {
    depthwise_weight: Tensor,
    depthwise_bias: Tensor,
    geometry: ConvGeometry,
    layer_norm: LayerNorm,
    pointwise_conv1: Linear,
    pointwise_conv2: Linear,
    scale: Tensor,
    activation: Activation,
}

impl FuserBlock {
    fn new(cfg: &TrackerConfig, w: &Weights) -> Result<Self> {
        let (c, k) = (cfg.memory_fuser_embed_dim, cfg.memory_fuser_kernel_size);
        let depthwise = w.pp("depthwise_conv");
        let weight = depthwise.get_f32((c, 1, k, k), "weight")?;
        Ok(Self {
            depthwise_weight: weight.reshape((c, k * k))?.t()?.contiguous()?,
            depthwise_bias: depthwise.get_f32(c, "bias")?,
            geometry: ConvGeometry { kernel: k, stride: 1, padding: cfg.memory_fuser_padding },
            layer_norm: LayerNorm::new(c, CHANNEL_EPS, &w.pp("layer_norm"))?,
            pointwise_conv1: Linear::new(c, cfg.memory_fuser_intermediate_dim, &w.pp("pointwise_conv1"))?,
            pointwise_conv2: Linear::new(cfg.memory_fuser_intermediate_dim, c, &w.pp("pointwise_conv2"))?,
            scale: w.get_added(c, "scale")?,
            activation: activation("hidden_act", &cfg.memory_fuser_hidden_act)?,
        })
    }

    fn forward(&self, x: &Tensor) -> TensorResult<Tensor> {
        let y = ops::depthwise_conv2d(x, &self.depthwise_weight, &self.depthwise_bias, self.geometry)?;
        let y = self.pointwise_conv1.forward_then(&self.layer_norm.forward(&y)?, self.activation)?;
        ops::add(x, &self.pointwise_conv2.forward(&y)?.broadcast_mul(&self.scale)?)
    }
}
