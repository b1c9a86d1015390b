//! The DETR encoder: image features attend to each other and to the prompt (reference: `Sam3DetrEncoder`).

use candle_core::{Result as TensorResult, Tensor};

use super::text::PromptFeatures;
use crate::error::Result;
use crate::model_files::Weights;
use crate::model_files::config::{DetrEncoderConfig, activation};
use crate::nn::{Attention, DEFAULT_EPS, LayerNorm, Mlp};
use crate::ops;
use crate::trace;

/// `Sam3DetrEncoder`: a stack of layers.
pub(crate) struct DetrEncoder {
    pub(crate) layers: Vec<Layer>,
}

impl DetrEncoder {
    pub(crate) fn new(cfg: &DetrEncoderConfig, w: &Weights) -> Result<Self> {
        let layers =
            (0..cfg.num_layers).map(|i| Layer::new(cfg, &w.pp("layers").pp(i))).collect::<Result<_>>()?;
        Ok(Self { layers })
    }

    /// Image features and their positions, both `[1, g·g, c]` → `[1, g·g, c]`.
    pub(crate) fn forward(
        &self,
        features: &Tensor,
        positions: &Tensor,
        prompt: &PromptFeatures,
    ) -> TensorResult<Tensor> {
        let mut x = features.clone();
        for layer in &self.layers {
            x = layer.forward(&x, positions, prompt)?;
            trace::note("detr_encoder.layer", &x);
        }
        Ok(x)
    }
}

/// Reference: `Sam3DetrEncoderLayer`. Pre-norm: the input of each sublayer is normalized.
pub(crate) struct Layer {
    layer_norm1: LayerNorm,
    self_attn: Attention,
    layer_norm2: LayerNorm,
    cross_attn: Attention,
    layer_norm3: LayerNorm,
    mlp: Mlp,
}

impl Layer {
    pub(crate) fn new(cfg: &DetrEncoderConfig, w: &Weights) -> Result<Self> {
        let (c, heads) = (cfg.hidden_size, cfg.num_attention_heads);
        let act = activation("hidden_act", &cfg.hidden_act)?;
        Ok(Self {
            layer_norm1: LayerNorm::new(c, DEFAULT_EPS, &w.pp("layer_norm1"))?,
            self_attn: Attention::new(c, c, heads, &w.pp("self_attn"))?,
            layer_norm2: LayerNorm::new(c, DEFAULT_EPS, &w.pp("layer_norm2"))?,
            cross_attn: Attention::new(c, c, heads, &w.pp("cross_attn"))?,
            layer_norm3: LayerNorm::new(c, DEFAULT_EPS, &w.pp("layer_norm3"))?,
            mlp: Mlp::new(c, cfg.intermediate_size, act, &w.pp("mlp"))?,
        })
    }

    pub(crate) fn forward(
        &self,
        x: &Tensor,
        positions: &Tensor,
        prompt: &PromptFeatures,
    ) -> TensorResult<Tensor> {
        let normed = self.layer_norm1.forward(x)?;
        let positioned = ops::add(&normed, positions)?;
        let x = self.self_attn.forward_onto(x, (&positioned, &positioned, &normed), None)?;
        let normed = self.layer_norm2.forward(&x)?;
        let text = &prompt.tokens;
        let x = self.cross_attn.forward_onto(&x, (&normed, text, text), Some(&prompt.mask))?;
        self.mlp.forward_onto(&x, &self.layer_norm3.forward(&x)?)
    }
}
