//! The detector: finds the objects that a text prompt describes, as masks with probabilities (reference: `Sam3Model`
//! with text prompts only).

pub(crate) mod detr_decoder;
pub(crate) mod detr_encoder;
pub(crate) mod mask_decoder;
pub(crate) mod scoring;
pub(crate) mod text;

use candle_core::{Result as TensorResult, Tensor};

use crate::error::Result;
use crate::model_files::Weights;
use crate::model_files::config::DetectorConfig;
use crate::ops::{self, Download};
use crate::position::sine_2d;
use crate::vision::neck::{Neck, Pyramid};
use crate::vision::vit::ViT;
use detr_decoder::DetrDecoder;
use detr_encoder::DetrEncoder;
use mask_decoder::MaskDecoder;
use scoring::DotProductScoring;
use text::{PromptFeatures, TextEncoder};

/// `Sam3Model`: everything from the image and the prompts to masks.
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

/// The detector's output for one prompt on one frame: n queries, of which few are detections.
pub(crate) struct PromptQueries {
    /// The image as the prompt encoded it, `[1, g·g, c]`.
    encoded: Tensor,
    /// Embeddings of the queries, `[1, n, c]`.
    queries: Tensor,
    /// Probability of each query, being downloaded.
    pub scores: Download,
}

impl PromptQueries {
    pub(crate) fn len(&self) -> TensorResult<usize> {
        self.queries.dim(1)
    }
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
            positions: sine_2d(grid, cfg.vision_config.fpn_hidden_size, w.device())?
                .to_dtype(w.activations())?,
            grid,
        })
    }

    /// Queues the detection of one prompt on one frame, up to the scores of its queries. Does not wait for the device.
    pub(crate) fn run(&self, pyramid: &Pyramid, prompt: &PromptFeatures) -> TensorResult<PromptQueries> {
        let coarse = &pyramid.0[2];
        let features = coarse.reshape((1, self.grid * self.grid, coarse.dim(3)?))?;
        let encoded = self.detr_encoder.forward(&features, &self.positions, prompt)?;
        let decoded = self.detr_decoder.forward(&encoded, &self.positions, self.grid, prompt)?;
        let probability = |logits: &Tensor| ops::activate(logits, ops::Activation::Sigmoid);
        let scores = probability(&self.dot_product_scoring.forward(&decoded.queries, prompt)?)?;
        let scores = scores.broadcast_mul(&probability(&decoded.presence_logit)?)?;
        Ok(PromptQueries { encoded, queries: decoded.queries, scores: Download::of(&scores)? })
    }

    /// Mask logits `[n, 4g, 4g]` in f32 of the queries with the given indices.
    pub(crate) fn masks(
        &self,
        pyramid: &Pyramid,
        prompt: &PromptFeatures,
        output: &PromptQueries,
        which: &[usize],
    ) -> TensorResult<Tensor> {
        let which: Vec<u32> = which.iter().map(|&i| i as u32).collect();
        let which = Tensor::new(which, output.queries.device())?;
        let queries = output.queries.squeeze(0)?.index_select(&which, 0)?;
        let pixels = self.mask_decoder.embed_pixels(&output.encoded, pyramid, prompt)?;
        self.mask_decoder.masks(&queries, &pixels)
    }
}
