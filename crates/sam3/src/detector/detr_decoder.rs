//! The DETR decoder: object queries and a presence token attend to each other, to the prompt and to the image, and boxes
//! are refined layer by layer (reference: `Sam3DetrDecoder`).
//!
//! Boxes only influence where queries attend to. The video model uses masks, so the boxes are not returned.

use candle_core::{DType, Result as TensorResult, Tensor};

use super::text::PromptFeatures;
use crate::error::Result;
use crate::model_files::Weights;
use crate::model_files::config::{DetrDecoderConfig, activation};
use crate::nn::{Attention, DEFAULT_EPS, LayerNorm, Mlp, ReluStack};
use crate::ops::{self, Activation};
use crate::position::BoxSine;
use crate::trace;

/// Largest magnitude of the presence logit.
const PRESENCE_CLAMP: f64 = 10.0;

/// The decoder's output for one prompt.
pub(crate) struct Decoded {
    /// Normalised queries of the last layer, `[1, n, c]`.
    pub queries: Tensor,
    /// Logit of "the image contains what the prompt describes", one number in f32.
    pub presence_logit: Tensor,
}

/// `Sam3DetrDecoder`: layers, and heads for boxes and presence.
pub(crate) struct DetrDecoder {
    layers: Vec<Layer>,
    output_layer_norm: LayerNorm,
    box_head: ReluStack,
    query_embed: Tensor,
    /// `[n, 4]` in f32.
    reference_points: Tensor,
    sine: BoxSine,
    presence_token: Tensor,
    presence_head: ReluStack,
    presence_layer_norm: LayerNorm,
    ref_point_head: ReluStack,
    box_rpb_embed_x: ReluStack,
    box_rpb_embed_y: ReluStack,
}

impl DetrDecoder {
    pub(crate) fn new(cfg: &DetrDecoderConfig, w: &Weights) -> Result<Self> {
        let (c, n, heads) = (cfg.hidden_size, cfg.num_queries, cfg.num_attention_heads);
        let layers =
            (0..cfg.num_layers).map(|i| Layer::new(cfg, &w.pp("layers").pp(i))).collect::<Result<_>>()?;
        Ok(Self {
            layers,
            output_layer_norm: LayerNorm::new(c, DEFAULT_EPS, &w.pp("output_layer_norm"))?,
            box_head: ReluStack::numbered(&[c, c, c, 4], &w.pp("box_head"))?,
            query_embed: w.pp("query_embed").get_added((n, c), "weight")?,
            reference_points: w.pp("reference_points").get_f32((n, 4), "weight")?,
            sine: BoxSine::new(c, w.device())?,
            presence_token: w.pp("presence_token").get_added((1, c), "weight")?,
            presence_head: ReluStack::numbered(&[c, c, c, 1], &w.pp("presence_head"))?,
            presence_layer_norm: LayerNorm::new(c, DEFAULT_EPS, &w.pp("presence_layer_norm"))?,
            ref_point_head: ReluStack::numbered(&[2 * c, c, c], &w.pp("ref_point_head"))?,
            box_rpb_embed_x: ReluStack::numbered(&[2, c, heads], &w.pp("box_rpb_embed_x"))?,
            box_rpb_embed_y: ReluStack::numbered(&[2, c, heads], &w.pp("box_rpb_embed_y"))?,
        })
    }

    /// The encoded image and its positions, both `[1, grid·grid, c]`.
    pub(crate) fn forward(
        &self,
        image: &Tensor,
        positions: &Tensor,
        grid: usize,
        prompt: &PromptFeatures,
    ) -> TensorResult<Decoded> {
        let mut boxes = self.first_boxes()?;
        let mut x = Tensor::cat(&[&self.presence_token, &self.query_embed], 0)?.unsqueeze(0)?;
        let keys = ops::add(image, positions)?;
        let n_layers = self.layers.len();
        for (i, layer) in self.layers.iter().enumerate() {
            let bias = self.box_bias(&boxes, grid, image.dtype())?;
            let memory = Memory { keys: &keys, values: image, bias: &bias };
            x = layer.forward(&x, &self.query_positions(&boxes)?, &memory, prompt)?;
            trace::note("detr_decoder.layer", &x);
            if i + 1 < n_layers {
                boxes = self.refine(&boxes, &x)?;
            }
        }
        self.decode(&x)
    }

    /// The boxes (cx, cy, w, h from 0 to 1) that the first layer starts with, `[n, 4]` in f32.
    pub(crate) fn first_boxes(&self) -> TensorResult<Tensor> {
        ops::activate(&self.reference_points, Activation::Sigmoid)
    }

    /// Applies the heads to a layer's output `[1, 1 + n, c]`.
    pub(crate) fn decode(&self, x: &Tensor) -> TensorResult<Decoded> {
        let n = x.dim(1)? - 1;
        let presence = self.presence_layer_norm.forward(&x.narrow(1, 0, 1)?)?;
        let logit = self.presence_head.forward(&presence)?;
        trace::note("presence_head", &logit);
        let logit = logit.to_dtype(DType::F32)?.clamp(-PRESENCE_CLAMP, PRESENCE_CLAMP)?;
        Ok(Decoded {
            queries: self.output_layer_norm.forward(&x.narrow(1, 1, n)?)?,
            presence_logit: logit.flatten_all()?,
        })
    }

    /// Positions of the queries, `[1, 1 + n, c]`: sine embedding of their boxes through an MLP; zero for the presence
    /// token.
    fn query_positions(&self, boxes: &Tensor) -> TensorResult<Tensor> {
        let sine = ops::box_sine(boxes, &self.sine, self.query_embed.dtype())?;
        let positions = self.ref_point_head.forward(&sine)?;
        trace::note("ref_point_head", &positions);
        positions.pad_with_zeros(0, 1, 0)?.unsqueeze(0)
    }

    /// Moves every box of `[n, 4]` by its query's offset, in logit space.
    pub(crate) fn refine(&self, boxes: &Tensor, x: &Tensor) -> TensorResult<Tensor> {
        let queries = x.narrow(1, 1, boxes.dim(0)?)?;
        let delta = self.box_head.forward(&self.output_layer_norm.forward(&queries)?)?;
        trace::note("box_head", &delta);
        ops::refine_boxes(boxes, &delta.squeeze(0)?)
    }

    /// Box-relative position bias `[1, heads, 1 + n, grid·grid]`: the distance of each cell from each side of each box,
    /// on a log scale, through two MLPs; zero for the presence token (`_get_rpb_matrix`).
    fn box_bias(&self, boxes: &Tensor, grid: usize, dtype: DType) -> TensorResult<Tensor> {
        let distances = ops::box_distances(boxes, grid, dtype)?;
        let x = self.box_rpb_embed_x.forward(&distances.get(0)?)?;
        trace::note("box_rpb_embed_x", &x);
        let y = self.box_rpb_embed_y.forward(&distances.get(1)?)?;
        trace::note("box_rpb_embed_y", &y);
        ops::box_bias(&x, &y)
    }
}

/// The image as queries attend to it.
pub(crate) struct Memory<'a> {
    /// Features plus their positions, `[1, l, c]`.
    pub keys: &'a Tensor,
    /// Features without positions, `[1, l, c]`.
    pub values: &'a Tensor,
    /// Additive bias of the attention scores, `[1, heads, q, l]`.
    pub bias: &'a Tensor,
}

/// Reference: `Sam3DetrDecoderLayer`. Post-norm: each sublayer is followed by a norm.
pub(crate) struct Layer {
    self_attn: Attention,
    self_attn_layer_norm: LayerNorm,
    text_cross_attn: Attention,
    text_cross_attn_layer_norm: LayerNorm,
    vision_cross_attn: Attention,
    vision_cross_attn_layer_norm: LayerNorm,
    mlp: Mlp,
    mlp_layer_norm: LayerNorm,
}

impl Layer {
    pub(crate) fn new(cfg: &DetrDecoderConfig, w: &Weights) -> Result<Self> {
        let (c, heads) = (cfg.hidden_size, cfg.num_attention_heads);
        let attention = |name: &str| Attention::new(c, c, heads, &w.pp(name));
        let norm = |name: &str| LayerNorm::new(c, DEFAULT_EPS, &w.pp(name));
        let act = activation("hidden_act", &cfg.hidden_act)?;
        Ok(Self {
            self_attn: attention("self_attn")?,
            self_attn_layer_norm: norm("self_attn_layer_norm")?,
            text_cross_attn: attention("text_cross_attn")?,
            text_cross_attn_layer_norm: norm("text_cross_attn_layer_norm")?,
            vision_cross_attn: attention("vision_cross_attn")?,
            vision_cross_attn_layer_norm: norm("vision_cross_attn_layer_norm")?,
            mlp: Mlp::new(c, cfg.intermediate_size, act, &w.pp("mlp"))?,
            mlp_layer_norm: norm("mlp_layer_norm")?,
        })
    }

    /// Queries and their positions, both `[1, q, c]` → `[1, q, c]`.
    pub(crate) fn forward(
        &self,
        x: &Tensor,
        query_pos: &Tensor,
        memory: &Memory<'_>,
        prompt: &PromptFeatures,
    ) -> TensorResult<Tensor> {
        let positioned = ops::add(x, query_pos)?;
        let x = self.self_attn.forward_onto(x, (&positioned, &positioned, x), None)?;
        let x = self.self_attn_layer_norm.forward(&x)?;

        let positioned = ops::add(&x, query_pos)?;
        let text = &prompt.tokens;
        let x = self.text_cross_attn.forward_onto(&x, (&positioned, text, text), Some(&prompt.mask))?;
        let x = self.text_cross_attn_layer_norm.forward(&x)?;

        let positioned = ops::add(&x, query_pos)?;
        let attended = (&positioned, memory.keys, memory.values);
        let x = self.vision_cross_attn.forward_onto(&x, attended, Some(memory.bias))?;
        let x = self.vision_cross_attn_layer_norm.forward(&x)?;

        self.mlp_layer_norm.forward(&self.mlp.forward_onto(&x, &x)?)
    }
}
