//! The detector: pictures and a phrase in, masks with probabilities out (reference: `Sam3Model` with text
//! prompts only).

pub(crate) mod detr_decoder;
pub(crate) mod detr_encoder;
pub(crate) mod mask_decoder;
pub(crate) mod neck;
pub(crate) mod scoring;
pub(crate) mod text;
pub(crate) mod vit;

use candle_core::{Result as TensorResult, Tensor};

use crate::config::DetectorConfig;
use crate::error::Result;
use crate::position::sine_2d;
use crate::weights::Weights;
use detr_decoder::DetrDecoder;
use detr_encoder::DetrEncoder;
use mask_decoder::MaskDecoder;
use neck::{Neck, Pyramid};
use scoring::DotProductScoring;
use text::{PromptFeatures, TextEncoder};
use vit::ViT;

/// `Sam3Model`.
pub(crate) struct Detector {
    pub(crate) backbone: ViT,
    pub(crate) neck: Neck,
    pub(crate) text_encoder: TextEncoder,
    pub(crate) detr_encoder: DetrEncoder,
    pub(crate) detr_decoder: DetrDecoder,
    pub(crate) dot_product_scoring: DotProductScoring,
    pub(crate) mask_decoder: MaskDecoder,
    /// Sine embedding of the patch grid, `[g·g, c]`.
    pub(crate) positions: Tensor,
    grid: usize,
}

/// What one prompt found in one picture.
pub(crate) struct Detections {
    /// Probabilities, all above the threshold, in the order of the queries.
    pub scores: Vec<f32>,
    /// Mask logits `[n, 4g, 4g]`; `None` when nothing was found.
    pub masks: Option<Tensor>,
}

impl Detector {
    pub(crate) fn new(cfg: &DetectorConfig, w: &Weights) -> Result<Self> {
        let vision = w.pp("vision_encoder");
        let grid = cfg.vision_config.backbone_config.grid();
        Ok(Self {
            backbone: ViT::new(&cfg.vision_config.backbone_config, &vision.pp("backbone"))?,
            neck: Neck::new(&cfg.vision_config, &vision.pp("neck"))?,
            text_encoder: TextEncoder::new(cfg, w)?,
            detr_encoder: DetrEncoder::new(&cfg.detr_encoder_config, &w.pp("detr_encoder"))?,
            detr_decoder: DetrDecoder::new(&cfg.detr_decoder_config, &w.pp("detr_decoder"))?,
            dot_product_scoring: DotProductScoring::new(cfg, &w.pp("dot_product_scoring"))?,
            mask_decoder: MaskDecoder::new(&cfg.mask_decoder_config, &w.pp("mask_decoder"))?,
            positions: sine_2d(grid, cfg.vision_config.fpn_hidden_size, w.device())?,
            grid,
        })
    }

    /// One prompt on one picture; only masks of queries above `threshold` are computed.
    pub(crate) fn detect(
        &self,
        pyramid: &Pyramid,
        prompt: &PromptFeatures,
        threshold: f32,
    ) -> TensorResult<Detections> {
        let (encoded, queries, scores) = self.score(pyramid, prompt)?;
        let found: Vec<usize> = (0..scores.len()).filter(|&i| scores[i] > threshold).collect();
        if found.is_empty() {
            return Ok(Detections { scores: Vec::new(), masks: None });
        }
        let masks = self.masks(pyramid, prompt, &encoded, &queries, &found)?;
        Ok(Detections { scores: found.into_iter().map(|i| scores[i]).collect(), masks: Some(masks) })
    }

    /// The work of [`Self::detect`] when it finds `n` objects, whatever the scores: for benchmarks.
    pub(crate) fn detect_best(
        &self,
        pyramid: &Pyramid,
        prompt: &PromptFeatures,
        n: usize,
    ) -> TensorResult<Tensor> {
        let (encoded, queries, scores) = self.score(pyramid, prompt)?;
        let first: Vec<usize> = (0..n.min(scores.len())).collect();
        self.masks(pyramid, prompt, &encoded, &queries, &first)
    }

    /// The encoded picture `[1, g·g, c]`, the queries `[1, n, c]` and their probabilities.
    fn score(&self, pyramid: &Pyramid, prompt: &PromptFeatures) -> TensorResult<(Tensor, Tensor, Vec<f32>)> {
        let coarse = &pyramid.0[2];
        let features = coarse.reshape((1, self.grid * self.grid, coarse.dim(3)?))?;
        let encoded = self.detr_encoder.forward(&features, &self.positions, prompt)?;
        let decoded = self.detr_decoder.forward(&encoded, &self.positions, self.grid, prompt)?;
        let logits = self.dot_product_scoring.forward(&decoded.queries, prompt)?;
        let presence = sigmoid(decoded.presence_logit);
        let scores = logits.into_iter().map(|logit| sigmoid(logit) * presence).collect();
        Ok((encoded, decoded.queries, scores))
    }

    /// Masks `[n, 4g, 4g]` of some queries.
    fn masks(
        &self,
        pyramid: &Pyramid,
        prompt: &PromptFeatures,
        encoded: &Tensor,
        queries: &Tensor,
        which: &[usize],
    ) -> TensorResult<Tensor> {
        let which: Vec<u32> = which.iter().map(|&i| i as u32).collect();
        let queries = queries.squeeze(0)?.index_select(&Tensor::new(which, queries.device())?, 0)?;
        let pixels = self.mask_decoder.embed_pixels(encoded, pyramid, prompt)?;
        self.mask_decoder.masks(&queries, &pixels)
    }
}

/// Logistic function of one number.
pub(crate) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}
