//! How well a query fits the prompt: a dot product with the mean word (reference:
//! `Sam3DotProductScoring`).

use candle_core::{Result as TensorResult, Tensor};

use super::text::PromptFeatures;
use crate::config::DetectorConfig;
use crate::error::Result;
use crate::nn::{DEFAULT_EPS, LayerNorm, Linear, ReluStack};
use crate::weights::Weights;

/// Largest logit either way.
const CLAMP: f64 = 12.0;

/// `Sam3DotProductScoring`.
pub(crate) struct DotProductScoring {
    text_mlp: ReluStack,
    text_mlp_out_norm: LayerNorm,
    text_proj: Linear,
    query_proj: Linear,
    scale: f64,
}

impl DotProductScoring {
    pub(crate) fn new(cfg: &DetectorConfig, w: &Weights) -> Result<Self> {
        let decoder = &cfg.detr_decoder_config;
        let c = decoder.hidden_size;
        Ok(Self {
            text_mlp: ReluStack::numbered(&[c, decoder.intermediate_size, c], &w.pp("text_mlp"))?,
            text_mlp_out_norm: LayerNorm::new(c, DEFAULT_EPS, &w.pp("text_mlp_out_norm"))?,
            text_proj: Linear::new(c, c, &w.pp("text_proj"))?,
            query_proj: Linear::new(c, c, &w.pp("query_proj"))?,
            scale: (c as f64).sqrt().recip(),
        })
    }

    /// queries `[1, n, c]` → n logits.
    pub(crate) fn forward(&self, queries: &Tensor, prompt: &PromptFeatures) -> TensorResult<Vec<f32>> {
        let words = (self.text_mlp.forward(&prompt.tokens)? + &prompt.tokens)?;
        let words = self.text_mlp_out_norm.forward(&words)?;
        let n_words = prompt.is_word.iter().filter(|&&w| w).count();
        let share = |&w: &bool| if w { 1.0 / n_words.max(1) as f32 } else { 0.0 };
        let shares: Vec<f32> = prompt.is_word.iter().map(share).collect();
        let shares = Tensor::from_vec(shares, (1, prompt.is_word.len()), words.device())?;
        let mean = shares.matmul(&words.squeeze(0)?.contiguous()?)?;
        let projected = self.query_proj.forward(queries)?.squeeze(0)?;
        let scores = projected.matmul(&self.text_proj.forward(&mean)?.t()?)?;
        (scores * self.scale)?.clamp(-CLAMP, CLAMP)?.flatten_all()?.to_vec1()
    }
}
