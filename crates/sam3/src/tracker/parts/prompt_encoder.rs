//! The prompts of the SAM head that tracking needs: a mask, no mask, and no points (reference:
//! `Sam3TrackerVideoPromptEncoder`).

use candle_core::{Result as TensorResult, Tensor};

use crate::error::Result;
use crate::model_files::Weights;
use crate::model_files::config::{PromptEncoderConfig, activation};
use crate::nn::{Conv2d, LayerNorm, Linear};
use crate::ops::{self, Activation, ConvGeometry};

/// `Sam3TrackerVideoPromptEncoder`, without points and boxes.
pub(crate) struct PromptEncoder {
    mask_embed: MaskEmbedding,
    /// Dense prompt of an object without a mask, `[1, c]`.
    pub no_mask: Tensor,
    /// Two tokens `[2, c]` for "no point": the reference adds an empty point and pads it with another.
    pub no_points: Tensor,
}

impl PromptEncoder {
    pub(crate) fn new(cfg: &PromptEncoderConfig, w: &Weights) -> Result<Self> {
        let c = cfg.hidden_size;
        let not_a_point = w.pp("not_a_point_embed").get_added((1, c), "weight")?;
        Ok(Self {
            mask_embed: MaskEmbedding::new(cfg, &w.pp("mask_embed"))?,
            no_mask: w.pp("no_mask_embed").get_added((1, c), "weight")?,
            no_points: not_a_point.repeat((2, 1))?,
        })
    }

    /// Dense prompts `[n, g·g, c]` of masks `[n, 4g, 4g]`.
    pub(crate) fn embed_masks(&self, masks: &Tensor) -> TensorResult<Tensor> {
        self.mask_embed.forward(masks)
    }
}

/// `Sam3TrackerVideoMaskEmbedding`: two halving convolutions and a projection.
struct MaskEmbedding {
    conv1: Conv2d,
    layer_norm1: LayerNorm,
    conv2: Conv2d,
    layer_norm2: LayerNorm,
    conv3: Linear,
    activation: Activation,
}

impl MaskEmbedding {
    fn new(cfg: &PromptEncoderConfig, w: &Weights) -> Result<Self> {
        let (inner, eps) = (cfg.mask_input_channels, cfg.layer_norm_eps);
        let halving = ConvGeometry { kernel: 2, stride: 2, padding: 0 };
        Ok(Self {
            conv1: Conv2d::new(1, inner / 4, halving, &w.pp("conv1"))?,
            layer_norm1: LayerNorm::new(inner / 4, eps, &w.pp("layer_norm1"))?,
            conv2: Conv2d::new(inner / 4, inner, halving, &w.pp("conv2"))?,
            layer_norm2: LayerNorm::new(inner, eps, &w.pp("layer_norm2"))?,
            conv3: Linear::conv1x1(inner, cfg.hidden_size, &w.pp("conv3"))?,
            activation: activation("hidden_act", &cfg.hidden_act)?,
        })
    }

    fn forward(&self, masks: &Tensor) -> TensorResult<Tensor> {
        let x = self.layer_norm1.forward(&self.conv1.forward(&masks.unsqueeze(3)?)?)?;
        let x = self.layer_norm2.forward(&self.conv2.forward(&ops::activate(&x, self.activation)?)?)?;
        let x = self.conv3.forward(&ops::activate(&x, self.activation)?)?;
        let (n, h, w, c) = x.dims4()?;
        x.reshape((n, h * w, c))
    }
}
