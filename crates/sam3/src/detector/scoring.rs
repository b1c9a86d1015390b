//! How well a query matches the prompt: its dot product with the mean of the prompt's tokens (reference:
//! `Sam3DotProductScoring`).

use candle_core::{DType, Result as TensorResult, Tensor};

use super::text::PromptFeatures;
use crate::error::Result;
use crate::model_files::Weights;
use crate::model_files::config::DetectorConfig;
use crate::nn::{DEFAULT_EPS, LayerNorm, Linear, ReluStack};

/// Largest magnitude of a logit.
const CLAMP: f64 = 12.0;

/// `Sam3DotProductScoring`: projections of queries and prompt.
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

    /// Queries `[1, n, c]` → logits `[n]` in f32.
    pub(crate) fn forward(&self, queries: &Tensor, prompt: &PromptFeatures) -> TensorResult<Tensor> {
        let words = (self.text_mlp.forward(&prompt.tokens)? + &prompt.tokens)?;
        let words = self.text_mlp_out_norm.forward(&words)?;
        let mean = prompt.shares.matmul(&words.squeeze(0)?.to_dtype(DType::F32)?.contiguous()?)?;
        let projected = self.query_proj.forward(queries)?.squeeze(0)?.to_dtype(DType::F32)?;
        let text = self.text_proj.forward(&mean.to_dtype(words.dtype())?)?.to_dtype(DType::F32)?;
        let scores = projected.matmul(&text.t()?)?;
        (scores * self.scale)?.clamp(-CLAMP, CLAMP)?.flatten_all()
    }
}
