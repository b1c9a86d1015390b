//! The prompt encoder: a CLIP text tower and a projection to the detector's width (reference:
//! `CLIPTextModelWithProjection`, `Sam3Model.get_text_features`). It runs once for each prompt of a session.

use candle_core::{Device, Result as TensorResult, Tensor};

use crate::error::Result;
use crate::model_files::Weights;
use crate::model_files::config::{DetectorConfig, TextConfig, activation};
use crate::nn::{Attention, LayerNorm, Linear, Mlp};
use crate::trace;

/// A prompt as the detector reads it.
#[derive(Debug, Clone)]
pub(crate) struct PromptFeatures {
    /// Embeddings of the tokens, `[1, tokens, c]`.
    pub tokens: Tensor,
    /// Additive mask `[1, 1, 1, tokens]`: 0 for words, negative infinity for padding.
    pub mask: Tensor,
    /// Weights of the mean over tokens, `[1, tokens]` in f32: equal for all words, 0 for padding.
    pub shares: Tensor,
}

/// The modules `text_encoder` and `text_projection` of the detector.
pub(crate) struct TextEncoder {
    token_embedding: Tensor,
    position_embedding: Tensor,
    layers: Vec<Layer>,
    final_layer_norm: LayerNorm,
    text_projection: Linear,
}

impl TextEncoder {
    /// `w` is the root of the detector's parameters.
    pub(crate) fn new(cfg: &DetectorConfig, w: &Weights) -> Result<Self> {
        let text = &cfg.text_config;
        let model = w.pp("text_encoder").pp("text_model");
        let embeddings = model.pp("embeddings");
        let layers = (0..text.num_hidden_layers)
            .map(|i| Layer::new(text, &model.pp("encoder").pp("layers").pp(i)))
            .collect::<Result<_>>()?;
        let eps = text.layer_norm_eps;
        Ok(Self {
            token_embedding: embeddings
                .pp("token_embedding")
                .get((text.vocab_size, text.hidden_size), "weight")?,
            position_embedding: embeddings
                .pp("position_embedding")
                .get_added((text.max_position_embeddings, text.hidden_size), "weight")?,
            layers,
            final_layer_norm: LayerNorm::new(text.hidden_size, eps, &model.pp("final_layer_norm"))?,
            text_projection: Linear::new(
                text.hidden_size,
                cfg.detr_encoder_config.hidden_size,
                &w.pp("text_projection"),
            )?,
        })
    }

    /// Encodes padded token ids; `is_word` is false for padding.
    pub(crate) fn forward(&self, ids: &[u32], is_word: &[bool]) -> TensorResult<PromptFeatures> {
        let (n, device) = (ids.len(), self.position_embedding.device());
        let embedded = self.token_embedding.index_select(&Tensor::new(ids, device)?, 0)?;
        let embedded = embedded.to_dtype(self.position_embedding.dtype())?;
        let mut x = (embedded + self.position_embedding.narrow(0, 0, n)?)?.unsqueeze(0)?;
        let mask = causal_mask(is_word, device)?;
        for layer in &self.layers {
            x = layer.forward(&x, &mask)?;
        }
        let normed = self.final_layer_norm.forward(&x)?;
        trace::note("text.normed", &normed);
        let tokens = self.text_projection.forward(&normed)?;
        trace::note("text.tokens", &tokens);
        let padding: Vec<f32> = is_word.iter().map(|&w| if w { 0.0 } else { f32::NEG_INFINITY }).collect();
        let mask = Tensor::from_vec(padding, (1, 1, 1, n), device)?;
        Ok(PromptFeatures { tokens, mask, shares: shares(is_word, device)? })
    }
}

/// Weights `[1, n]` of the mean over words.
pub(crate) fn shares(is_word: &[bool], device: &Device) -> TensorResult<Tensor> {
    let n_words = is_word.iter().filter(|&&w| w).count();
    let share = |&w: &bool| if w { 1.0 / n_words.max(1) as f32 } else { 0.0 };
    let shares: Vec<f32> = is_word.iter().map(share).collect();
    Tensor::from_vec(shares, (1, is_word.len()), device)
}

/// Additive mask `[1, 1, n, n]`: a token attends to the words up to itself.
fn causal_mask(is_word: &[bool], device: &Device) -> TensorResult<Tensor> {
    let n = is_word.len();
    let data: Vec<f32> =
        (0..n * n).map(|i| if i % n <= i / n && is_word[i % n] { 0.0 } else { f32::NEG_INFINITY }).collect();
    Tensor::from_vec(data, (1, 1, n, n), device)
}

/// Reference: `CLIPEncoderLayer`. Pre-norm: the input of each sublayer is normalized.
pub(crate) struct Layer {
    self_attn: Attention,
    layer_norm1: LayerNorm,
    mlp: Mlp,
    layer_norm2: LayerNorm,
}

impl Layer {
    pub(crate) fn new(cfg: &TextConfig, w: &Weights) -> Result<Self> {
        let (c, eps) = (cfg.hidden_size, cfg.layer_norm_eps);
        let attn = w.pp("self_attn");
        let act = activation("hidden_act", &cfg.hidden_act)?;
        Ok(Self {
            self_attn: Attention::with_output(c, c, cfg.num_attention_heads, "out_proj", &attn)?,
            layer_norm1: LayerNorm::new(c, eps, &w.pp("layer_norm1"))?,
            mlp: Mlp::new(c, cfg.intermediate_size, act, &w.pp("mlp"))?,
            layer_norm2: LayerNorm::new(c, eps, &w.pp("layer_norm2"))?,
        })
    }

    pub(crate) fn forward(&self, x: &Tensor, mask: &Tensor) -> TensorResult<Tensor> {
        let normed = self.layer_norm1.forward(x)?;
        let x = self.self_attn.forward_onto(x, (&normed, &normed, &normed), Some(mask))?;
        self.mlp.forward_onto(&x, &self.layer_norm2.forward(&x)?)
    }
}
