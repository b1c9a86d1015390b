//! The SAM head: reads an object's mask, score and pointer token from conditioned features (reference:
//! `Sam3TrackerVideoMaskDecoder`, `Sam3TrackerVideoTwoWayTransformer`; Segment Anything, arXiv:2304.02643).

use candle_core::{D, DType, Result as TensorResult, Tensor};

use crate::error::Result;
use crate::model_files::Weights;
use crate::model_files::config::SamHeadConfig;
use crate::nn::{Attention, ConvTranspose2x2, DEFAULT_EPS, LayerNorm, Linear, ReluStack};
use crate::ops;
use crate::trace;

/// ε of `Sam3TrackerVideoLayerNorm`, the reference's norm over channels.
pub(crate) const CHANNEL_EPS: f64 = 1e-6;

/// `Sam3TrackerVideoMaskDecoder`: a two-way transformer and heads for masks, IoU and object score.
pub(crate) struct SamHead {
    transformer: TwoWayTransformer,
    /// Object score, IoU and mask tokens, `[2 + masks, c]`.
    output_tokens: Tensor,
    upscale_conv1: ConvTranspose2x2,
    upscale_layer_norm: LayerNorm,
    upscale_conv2: ConvTranspose2x2,
    output_hypernetworks_mlps: Vec<ReluStack>,
    iou_prediction_head: ReluStack,
    pred_obj_score_head: ReluStack,
    pub(crate) conv_s0: Linear,
    pub(crate) conv_s1: Linear,
    stability: Option<(f32, f32)>,
    /// `[k, k]` in f32 with ones above the diagonal: multiplying by it gives, for each entry, the sum of those before it.
    before: Tensor,
}

/// The transformer's output for n objects.
pub(crate) struct Tokens {
    /// Mask tokens, `[n, masks, c]`: the first is for the single mask, the others are for several.
    masks: Tensor,
    /// The image features after the transformer, `[n, l, c]`.
    image: Tensor,
    /// Predicted IoU of every mask, `[n, masks]` in f32.
    iou: Tensor,
    /// Logit of "the object is visible", `[n]` in f32.
    pub object_score: Tensor,
}

/// Masks chosen for n objects.
pub(crate) struct Chosen {
    /// Mask logits, `[n, 4g, 4g]` in f32.
    pub masks: Tensor,
    /// The token that each object's pointer is computed from, `[n, c]`.
    pub tokens: Tensor,
}

impl SamHead {
    pub(crate) fn new(cfg: &SamHeadConfig, w: &Weights) -> Result<Self> {
        let c = cfg.hidden_size;
        let n_masks = cfg.num_multimask_outputs + 1;
        let embedding = |name: &str, n: usize| w.pp(name).get_added((n, c), "weight");
        let output_tokens = Tensor::cat(
            &[
                embedding("obj_score_token", 1)?,
                embedding("iou_token", 1)?,
                embedding("mask_tokens", n_masks)?,
            ],
            0,
        )?;
        let hyper = w.pp("output_hypernetworks_mlps");
        let iou_width = cfg.iou_head_hidden_dim;
        let stability = (cfg.dynamic_multimask_stability_delta, cfg.dynamic_multimask_stability_thresh);
        Ok(Self {
            transformer: TwoWayTransformer::new(cfg, &w.pp("transformer"))?,
            output_tokens,
            upscale_conv1: ConvTranspose2x2::new(c, c / 4, &w.pp("upscale_conv1"))?,
            upscale_layer_norm: LayerNorm::new(c / 4, CHANNEL_EPS, &w.pp("upscale_layer_norm"))?,
            upscale_conv2: ConvTranspose2x2::new(c / 4, c / 8, &w.pp("upscale_conv2"))?,
            output_hypernetworks_mlps: (0..n_masks)
                .map(|i| ReluStack::feed_forward(c, c, c / 8, 3, &hyper.pp(i)))
                .collect::<Result<_>>()?,
            iou_prediction_head: ReluStack::feed_forward(
                c,
                iou_width,
                n_masks,
                cfg.iou_head_depth,
                &w.pp("iou_prediction_head"),
            )?,
            pred_obj_score_head: ReluStack::feed_forward(c, c, 1, 3, &w.pp("pred_obj_score_head"))?,
            conv_s0: Linear::conv1x1(c, c / 8, &w.pp("conv_s0"))?,
            conv_s1: Linear::conv1x1(c, c / 4, &w.pp("conv_s1"))?,
            stability: cfg.dynamic_multimask_via_stability.then_some(stability),
            before: above_diagonal(n_masks, w)?,
        })
    }

    /// Runs the transformer on image features `[n, l, c]`, to which the dense prompt has been added, their positions
    /// `[l, c]`, and sparse prompt tokens `[p, c]`.
    pub(crate) fn read(
        &self,
        images: &Tensor,
        positions: &Tensor,
        sparse_prompt: &Tensor,
    ) -> TensorResult<Tokens> {
        let n = images.dim(0)?;
        trace::note("sam_head.images", images);
        let tokens = Tensor::cat(&[&self.output_tokens, sparse_prompt], 0)?;
        let (n_tokens, c) = tokens.dims2()?;
        let tokens = tokens.unsqueeze(0)?.broadcast_as((n, n_tokens, c))?.contiguous()?;
        let (tokens, image) = self.transformer.forward(&tokens, images, positions)?;
        trace::note("sam_head.tokens", &tokens);
        trace::note("sam_head.image", &image);
        let row = |i: usize| tokens.narrow(1, i, 1)?.squeeze(1)?.contiguous();
        let iou = self.iou_prediction_head.forward(&row(1)?)?;
        Ok(Tokens {
            masks: tokens.narrow(1, 2, self.output_hypernetworks_mlps.len())?.contiguous()?,
            image,
            // The reference applies a sigmoid, which does not change which one is largest.
            iou: iou.to_dtype(DType::F32)?,
            object_score: self.pred_obj_score_head.forward(&row(0)?)?.flatten_all()?.to_dtype(DType::F32)?,
        })
    }

    /// The token of the mask with the highest predicted IoU among several, `[n, c]`.
    pub(crate) fn best_tokens(&self, tokens: &Tokens) -> TensorResult<Tensor> {
        pick(&tokens.masks, &self.best_of_several(tokens)?)
    }

    /// Masks: the best of several, or the single one. `s0` `[1, 4g, 4g, c/8]` and `s1` `[1, 2g, 2g, c/4]` are the
    /// finer levels of the image features.
    pub(crate) fn choose(
        &self,
        tokens: &Tokens,
        s0: &Tensor,
        s1: &Tensor,
        multimask: bool,
    ) -> TensorResult<Chosen> {
        let pixels = self.upscale(&tokens.image, s0, s1)?;
        let best = self.best_of_several(tokens)?;
        if multimask {
            let masks = self.masks(tokens, &best, &pixels)?;
            return Ok(Chosen { masks, tokens: pick(&tokens.masks, &best)? });
        }
        let single = one_hot(tokens, 0)?;
        let mut masks = self.masks(tokens, &single, &pixels)?;
        if let Some((delta, threshold)) = self.stability {
            let stable = is_stable(&masks, delta, threshold)?;
            masks = select(&stable, &masks, &self.masks(tokens, &best, &pixels)?)?;
        }
        Ok(Chosen { masks, tokens: pick(&tokens.masks, &single)? })
    }

    /// The token with the highest predicted IoU, of equals the first, as a one-hot row for each object,
    /// `[n, masks]`. The token of the single mask is left out.
    fn best_of_several(&self, tokens: &Tokens) -> TensorResult<Tensor> {
        let k = tokens.iou.dim(1)?;
        if k < 2 {
            return one_hot(tokens, 0);
        }
        let several = tokens.iou.narrow(1, 1, k - 1)?;
        let largest = several.broadcast_eq(&several.max_keepdim(1)?)?.to_dtype(DType::F32)?;
        let largest = largest.pad_with_zeros(1, 1, 0)?;
        let is_first = largest.matmul(&self.before)?.eq(0f32)?.to_dtype(DType::F32)?;
        largest * is_first
    }

    /// All of the several masks for each of n objects, as the reference returns them: logits
    /// `[n, masks − 1, 4g, 4g]`, predicted IoUs `[n, masks − 1]` and tokens `[n, masks − 1, c]`.
    #[cfg(test)]
    pub(crate) fn several(&self, tokens: &Tokens, s0: &Tensor, s1: &Tensor) -> TensorResult<[Tensor; 3]> {
        let pixels = self.upscale(&tokens.image, s0, s1)?;
        let n_masks = tokens.masks.dim(1)?;
        let masks = (1..n_masks).map(|k| self.masks(tokens, &one_hot(tokens, k)?, &pixels));
        let masks = Tensor::stack(&masks.collect::<TensorResult<Vec<_>>>()?, 1)?;
        let iou = tokens.iou.narrow(1, 1, n_masks - 1)?.contiguous()?;
        let iou = ops::activate(&iou, ops::Activation::Sigmoid)?;
        Ok([masks, iou, tokens.masks.narrow(1, 1, n_masks - 1)?.contiguous()?])
    }

    /// `[n, g·g, c]` → `[n, 4g, 4g, c/8]`.
    fn upscale(&self, image: &Tensor, s0: &Tensor, s1: &Tensor) -> TensorResult<Tensor> {
        let (n, _, c) = image.dims3()?;
        let g = s0.dim(1)? / 4;
        let x = ops::add(&self.upscale_conv1.forward(&image.reshape((n, g, g, c))?)?, s1)?;
        let x = ops::gelu(&self.upscale_layer_norm.forward(&x)?)?;
        ops::gelu(&ops::add(&self.upscale_conv2.forward(&x)?, s0)?)
    }

    /// For each object, the mask of one of its tokens, which a one-hot row of `which` `[n, masks]` selects:
    /// `[n, 4g, 4g]`.
    fn masks(&self, tokens: &Tokens, which: &Tensor, pixels: &Tensor) -> TensorResult<Tensor> {
        let (n, h, w, c) = pixels.dims4()?;
        // All tokens go through their networks, so that the host need not wait for the choice.
        let hyper =
            self.output_hypernetworks_mlps.iter().enumerate().map(|(token, mlp)| {
                mlp.forward(&tokens.masks.narrow(1, token, 1)?.squeeze(1)?.contiguous()?)
            });
        let hyper =
            pick(&Tensor::stack(&hyper.collect::<TensorResult<Vec<_>>>()?, 1)?, which)?.unsqueeze(1)?;
        ops::matmul(&hyper, &pixels.reshape((n, h * w, c))?.t()?)?.reshape((n, h, w))?.to_dtype(DType::F32)
    }
}

/// `[k, k]` with ones above the diagonal.
fn above_diagonal(k: usize, w: &Weights) -> TensorResult<Tensor> {
    let ones: Vec<f32> = (0..k * k).map(|i| if i % k > i / k { 1.0 } else { 0.0 }).collect();
    Tensor::from_vec(ones, (k, k), w.device())
}

/// One-hot rows `[n, masks]` that select the same token for every object.
fn one_hot(tokens: &Tokens, token: usize) -> TensorResult<Tensor> {
    let (n, k) = tokens.iou.dims2()?;
    let row: Vec<f32> = (0..k).map(|i| if i == token { 1.0 } else { 0.0 }).collect();
    Tensor::from_vec(row, (1, k), tokens.iou.device())?.repeat((n, 1))
}

/// Selects a row of `[n, k, c]` for each object by one-hot rows `[n, k]` → `[n, c]`. Adding zeros is exact.
fn pick(rows: &Tensor, which: &Tensor) -> TensorResult<Tensor> {
    rows.broadcast_mul(&which.to_dtype(rows.dtype())?.unsqueeze(2)?)?.sum(1)
}

/// For each object, `yes` where the condition `[n]` is 1 and `no` where it is 0, both `[n, ..]`.
pub(crate) fn select(condition: &Tensor, yes: &Tensor, no: &Tensor) -> TensorResult<Tensor> {
    let mut shape = vec![1; yes.rank()];
    shape[0] = condition.dim(0)?;
    let condition = condition.to_dtype(yes.dtype())?.reshape(shape)?;
    yes.broadcast_mul(&condition)? + no.broadcast_mul(&condition.affine(-1.0, 1.0)?)?
}

/// 1 for masks of `[n, ..]` that hardly change when their threshold moves by `delta`, else 0: `[n]`
/// (`_get_stability_scores`).
fn is_stable(masks: &Tensor, delta: f32, threshold: f32) -> TensorResult<Tensor> {
    let above = |x: f32| masks.flatten_from(1)?.gt(x)?.to_dtype(DType::F32)?.sum(D::Minus1);
    let (inner, outer) = (above(delta)?, above(-delta)?);
    // An empty mask is stable, although its share is 0.
    let share = (&inner / outer.maximum(1f32)?)?;
    share.ge(threshold)?.to_dtype(DType::F32)?.maximum(&outer.eq(0f32)?.to_dtype(DType::F32)?)
}

/// `Sam3TrackerVideoTwoWayTransformer`: blocks, and a final attention of the tokens to the image.
pub(crate) struct TwoWayTransformer {
    layers: Vec<TwoWayBlock>,
    final_attn_token_to_image: Attention,
    layer_norm_final_attn: LayerNorm,
}

impl TwoWayTransformer {
    fn new(cfg: &SamHeadConfig, w: &Weights) -> Result<Self> {
        let c = cfg.hidden_size;
        let layers = (0..cfg.num_hidden_layers)
            .map(|i| TwoWayBlock::new(cfg, i == 0, &w.pp("layers").pp(i)))
            .collect::<Result<_>>()?;
        Ok(Self {
            layers,
            final_attn_token_to_image: cross(cfg, &w.pp("final_attn_token_to_image"))?,
            layer_norm_final_attn: LayerNorm::new(c, DEFAULT_EPS, &w.pp("layer_norm_final_attn"))?,
        })
    }

    /// Tokens `[n, t, c]` and image features `[n, l, c]` with positions `[l, c]` → both, updated.
    fn forward(
        &self,
        tokens: &Tensor,
        images: &Tensor,
        positions: &Tensor,
    ) -> TensorResult<(Tensor, Tensor)> {
        let (mut queries, mut keys) = (tokens.clone(), images.clone());
        for layer in &self.layers {
            (queries, keys) = layer.forward(&queries, &keys, tokens, positions)?;
        }
        let query = ops::add(&queries, tokens)?;
        let key = ops::add(&keys, positions)?;
        let queries = self.final_attn_token_to_image.forward_onto(&queries, (&query, &key, &keys), None)?;
        Ok((self.layer_norm_final_attn.forward(&queries)?, keys))
    }
}

/// Attention between tokens and image features, in a reduced width.
fn cross(cfg: &SamHeadConfig, w: &Weights) -> Result<Attention> {
    let inner = cfg.hidden_size / cfg.attention_downsample_rate;
    Attention::new(cfg.hidden_size, inner, cfg.num_attention_heads, w)
}

/// Reference: `Sam3TrackerVideoTwoWayAttentionBlock`. Post-norm: each sublayer is followed by a norm.
struct TwoWayBlock {
    self_attn: Attention,
    layer_norm1: LayerNorm,
    cross_attn_token_to_image: Attention,
    layer_norm2: LayerNorm,
    mlp: ReluStack,
    layer_norm3: LayerNorm,
    layer_norm4: LayerNorm,
    cross_attn_image_to_token: Attention,
    /// In the first block, self-attention adds no positions to the tokens.
    is_first: bool,
}

impl TwoWayBlock {
    fn new(cfg: &SamHeadConfig, is_first: bool, w: &Weights) -> Result<Self> {
        let c = cfg.hidden_size;
        let norm = |name: &str| LayerNorm::new(c, DEFAULT_EPS, &w.pp(name));
        Ok(Self {
            self_attn: Attention::new(c, c, cfg.num_attention_heads, &w.pp("self_attn"))?,
            layer_norm1: norm("layer_norm1")?,
            cross_attn_token_to_image: cross(cfg, &w.pp("cross_attn_token_to_image"))?,
            layer_norm2: norm("layer_norm2")?,
            mlp: ReluStack::feed_forward(c, cfg.mlp_dim, c, cfg.num_hidden_layers, &w.pp("mlp"))?,
            layer_norm3: norm("layer_norm3")?,
            layer_norm4: norm("layer_norm4")?,
            cross_attn_image_to_token: cross(cfg, &w.pp("cross_attn_image_to_token"))?,
            is_first,
        })
    }

    fn forward(
        &self,
        queries: &Tensor,
        keys: &Tensor,
        query_pos: &Tensor,
        key_pos: &Tensor,
    ) -> TensorResult<(Tensor, Tensor)> {
        let queries = if self.is_first {
            self.self_attn.forward(queries, queries, queries, None)?
        } else {
            let query = ops::add(queries, query_pos)?;
            self.self_attn.forward_onto(queries, (&query, &query, queries), None)?
        };
        let queries = self.layer_norm1.forward(&queries)?;

        let (query, key) = (ops::add(&queries, query_pos)?, ops::add(keys, key_pos)?);
        let queries = self.cross_attn_token_to_image.forward_onto(&queries, (&query, &key, keys), None)?;
        let queries = self.layer_norm2.forward(&queries)?;
        let queries = self.layer_norm3.forward(&self.mlp.forward_onto(&queries, &queries)?)?;

        let query = ops::add(&queries, query_pos)?;
        let keys = self.cross_attn_image_to_token.forward_onto(keys, (&key, &query, &queries), None)?;
        Ok((queries, self.layer_norm4.forward(&keys)?))
    }
}
