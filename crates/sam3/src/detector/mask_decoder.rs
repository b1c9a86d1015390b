//! The masks of the detector's queries: a pixel decoder over the pyramid, and a dot product of each query with every
//! pixel (reference: `Sam3MaskDecoder`; MaskFormer, arXiv:2107.06278).

use candle_core::{DType, Result as TensorResult, Tensor};

use super::text::PromptFeatures;
use crate::error::Result;
use crate::model_files::Weights;
use crate::model_files::config::MaskDecoderConfig;
use crate::nn::{Attention, Conv2d, DEFAULT_EPS, LayerNorm, Linear, ReluStack};
use crate::ops::{self, ConvGeometry};
use crate::trace;
use crate::vision::neck::Pyramid;

/// Number of groups of the pixel decoder's norms.
const GROUPS: usize = 8;

/// `Sam3MaskDecoder`: pixel decoder and projections.
pub(crate) struct MaskDecoder {
    pixel_decoder: PixelDecoder,
    mask_embedder: ReluStack,
    instance_projection: Linear,
    prompt_cross_attn: Attention,
    prompt_cross_attn_norm: LayerNorm,
}

impl MaskDecoder {
    pub(crate) fn new(cfg: &MaskDecoderConfig, w: &Weights) -> Result<Self> {
        let c = cfg.hidden_size;
        let names: Vec<String> = (0..3).map(|i| format!("layers.{i}")).collect();
        Ok(Self {
            pixel_decoder: PixelDecoder::new(cfg, &w.pp("pixel_decoder"))?,
            mask_embedder: ReluStack::new(&[c; 4], &names, &w.pp("mask_embedder"))?,
            instance_projection: Linear::conv1x1(c, c, &w.pp("instance_projection"))?,
            prompt_cross_attn: Attention::new(c, c, cfg.num_attention_heads, &w.pp("prompt_cross_attn"))?,
            prompt_cross_attn_norm: LayerNorm::new(c, DEFAULT_EPS, &w.pp("prompt_cross_attn_norm"))?,
        })
    }

    /// Pixel embeddings `[4g, 4g, c]` of an image encoded as `[1, g·g, c]`.
    pub(crate) fn embed_pixels(
        &self,
        encoded: &Tensor,
        pyramid: &Pyramid,
        prompt: &PromptFeatures,
    ) -> TensorResult<Tensor> {
        let normed = self.prompt_cross_attn_norm.forward(encoded)?;
        let text = &prompt.tokens;
        let attended = self.prompt_cross_attn.forward(&normed, text, text, Some(&prompt.mask))?;
        trace::note("mask_decoder.prompt_cross_attn", &attended);
        let coarse = (encoded + attended)?.reshape(pyramid.0[2].shape())?;
        let pixels = self.pixel_decoder.forward(&coarse, pyramid)?;
        trace::note("pixel_decoder", &pixels);
        Ok(pixels)
    }

    /// Mask logits `[n, 4g, 4g]`, in f32, of n queries `[n, c]`.
    pub(crate) fn masks(&self, queries: &Tensor, pixels: &Tensor) -> TensorResult<Tensor> {
        let (h, w, c) = pixels.dims3()?;
        let n = queries.dim(0)?;
        let instance = self.instance_projection.forward(pixels)?;
        trace::note("instance_projection", &instance);
        let instance = instance.reshape((h * w, c))?;
        let queries = self.mask_embedder.forward(queries)?;
        trace::note("mask_embedder", &queries);
        ops::matmul(&queries, &instance.t()?)?.reshape((n, h, w))?.to_dtype(DType::F32)
    }
}

/// `Sam3PixelDecoder`: from the coarsest level to the finest, doubles the size and adds the next level.
struct PixelDecoder {
    stages: Vec<(Conv2d, Tensor, Tensor)>,
}

impl PixelDecoder {
    fn new(cfg: &MaskDecoderConfig, w: &Weights) -> Result<Self> {
        let c = cfg.hidden_size;
        let same = ConvGeometry { kernel: 3, stride: 1, padding: 1 };
        // The model has num_upsampling_stages of them; a pyramid of three levels uses two.
        const USED: usize = 2;
        for unused in USED..cfg.num_upsampling_stages {
            w.pp("conv_layers").ignore(unused);
            w.pp("norms").ignore(unused);
        }
        let stage = |i: usize| -> Result<_> {
            let norm = w.pp("norms").pp(i);
            let conv = Conv2d::new(c, c, same, &w.pp("conv_layers").pp(i))?;
            Ok((conv, norm.get_f32(c, "weight")?, norm.get_f32(c, "bias")?))
        };
        Ok(Self { stages: (0..USED).map(stage).collect::<Result<_>>()? })
    }

    /// `[1, g, g, c]` and the finer levels → `[4g, 4g, c]`.
    fn forward(&self, coarse: &Tensor, pyramid: &Pyramid) -> TensorResult<Tensor> {
        let mut x = coarse.squeeze(0)?;
        for ((conv, weight, bias), finer) in self.stages.iter().zip([&pyramid.0[1], &pyramid.0[0]]) {
            let sum = (ops::upsample_nearest_2x(&x)?.unsqueeze(0)? + finer)?;
            x = ops::group_norm_relu(&conv.forward(&sum)?.squeeze(0)?, GROUPS, weight, bias, DEFAULT_EPS)?;
        }
        Ok(x)
    }
}
