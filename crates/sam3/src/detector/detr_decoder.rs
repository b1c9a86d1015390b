//! The DETR decoder: object queries and one presence token attend to each other, to the prompt and to the
//! picture, with boxes refined layer by layer (reference: `Sam3DetrDecoder`).
//!
//! Boxes steer only where queries look; the video model takes masks, so the boxes themselves go nowhere.

use candle_core::{Device, Result as TensorResult, Tensor};

use super::text::PromptFeatures;
use crate::config::{DetrDecoderConfig, activation};
use crate::error::Result;
use crate::nn::{Attention, DEFAULT_EPS, LayerNorm, Mlp, ReluStack};
use crate::ops;
use crate::position::sine_boxes;
use crate::trace;
use crate::weights::Weights;

/// Largest presence logit either way.
const PRESENCE_CLAMP: f64 = 10.0;

/// What the decoder found.
pub(crate) struct Decoded {
    /// Normed queries of the last layer, `[1, n, c]`.
    pub queries: Tensor,
    /// Logit of "what the prompt names is in the picture at all".
    pub presence_logit: f32,
}

/// `Sam3DetrDecoder`.
pub(crate) struct DetrDecoder {
    layers: Vec<Layer>,
    output_layer_norm: LayerNorm,
    box_head: ReluStack,
    query_embed: Tensor,
    reference_points: Tensor,
    presence_token: Tensor,
    presence_head: ReluStack,
    presence_layer_norm: LayerNorm,
    ref_point_head: ReluStack,
    box_rpb_embed_x: ReluStack,
    box_rpb_embed_y: ReluStack,
    width: usize,
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
            query_embed: w.pp("query_embed").get_f32((n, c), "weight")?,
            reference_points: w.pp("reference_points").get_f32((n, 4), "weight")?,
            presence_token: w.pp("presence_token").get_f32((1, c), "weight")?,
            presence_head: ReluStack::numbered(&[c, c, c, 1], &w.pp("presence_head"))?,
            presence_layer_norm: LayerNorm::new(c, DEFAULT_EPS, &w.pp("presence_layer_norm"))?,
            ref_point_head: ReluStack::numbered(&[2 * c, c, c], &w.pp("ref_point_head"))?,
            box_rpb_embed_x: ReluStack::numbered(&[2, c, heads], &w.pp("box_rpb_embed_x"))?,
            box_rpb_embed_y: ReluStack::numbered(&[2, c, heads], &w.pp("box_rpb_embed_y"))?,
            width: c,
        })
    }

    /// encoded picture and its positions `[1, grid·grid, c]`.
    pub(crate) fn forward(
        &self,
        picture: &Tensor,
        positions: &Tensor,
        grid: usize,
        prompt: &PromptFeatures,
    ) -> TensorResult<Decoded> {
        let mut boxes = self.first_boxes()?;
        let mut x = Tensor::cat(&[&self.presence_token, &self.query_embed], 0)?.unsqueeze(0)?;
        let keys = ops::add(picture, positions)?;
        let n_layers = self.layers.len();
        for (i, layer) in self.layers.iter().enumerate() {
            let bias = self.box_bias(&boxes, grid, picture.device())?;
            let memory = Memory { keys: &keys, values: picture, bias: &bias };
            x = layer.forward(&x, &self.query_positions(&boxes)?, &memory, prompt)?;
            trace::note("detr_decoder.layer", &x);
            if i + 1 < n_layers {
                boxes = self.refine(&boxes, &x)?;
            }
        }
        self.decode(&x)
    }

    /// Boxes (cx, cy, w, h in 0..1) that the first layer starts from.
    pub(crate) fn first_boxes(&self) -> TensorResult<Vec<[f32; 4]>> {
        boxes_of(&sigmoid_rows(&self.reference_points)?)
    }

    /// The heads on a layer's output `[1, 1 + n, c]`.
    pub(crate) fn decode(&self, x: &Tensor) -> TensorResult<Decoded> {
        let n = x.dim(1)? - 1;
        let presence = self.presence_layer_norm.forward(&x.narrow(1, 0, 1)?)?;
        let logit = self.presence_head.forward(&presence)?;
        trace::note("presence_head", &logit);
        let logit = logit.clamp(-PRESENCE_CLAMP, PRESENCE_CLAMP)?;
        Ok(Decoded {
            queries: self.output_layer_norm.forward(&x.narrow(1, 1, n)?)?,
            presence_logit: logit.flatten_all()?.to_vec1::<f32>()?[0],
        })
    }

    /// `[1, 1 + n, c]`: sine embedding of the boxes through an MLP, zero for the presence token.
    fn query_positions(&self, boxes: &[[f32; 4]]) -> TensorResult<Tensor> {
        let sine = sine_boxes(boxes, self.width, self.query_embed.device())?;
        let positions = self.ref_point_head.forward(&sine)?;
        trace::note("ref_point_head", &positions);
        positions.pad_with_zeros(0, 1, 0)?.unsqueeze(0)
    }

    /// Moves every box by what its query says, in logit space.
    pub(crate) fn refine(&self, boxes: &[[f32; 4]], x: &Tensor) -> TensorResult<Vec<[f32; 4]>> {
        let queries = x.narrow(1, 1, boxes.len())?;
        let delta = self.box_head.forward(&self.output_layer_norm.forward(&queries)?)?;
        trace::note("box_head", &delta);
        let delta = boxes_of(&delta.squeeze(0)?)?;
        let moved = |(b, d): (&[f32; 4], &[f32; 4])| {
            std::array::from_fn(|i| 1.0 / (1.0 + (-(d[i] + inverse_sigmoid(b[i]))).exp()))
        };
        Ok(boxes.iter().zip(&delta).map(moved).collect())
    }

    /// Box-relative position bias `[1, heads, 1 + n, grid·grid]`: how far each cell lies from each side of
    /// each box, on a log scale through two MLPs; zero for the presence token (`_get_rpb_matrix`).
    fn box_bias(&self, boxes: &[[f32; 4]], grid: usize, device: &Device) -> TensorResult<Tensor> {
        let (mut xs, mut ys) = (Vec::new(), Vec::new());
        for &[cx, cy, w, h] in boxes {
            for cell in 0..grid {
                let at = cell as f32 / grid as f32;
                xs.extend([at - (cx - 0.5 * w), at - (cx + 0.5 * w)].map(log_scale));
                ys.extend([at - (cy - 0.5 * h), at - (cy + 0.5 * h)].map(log_scale));
            }
        }
        let n = boxes.len();
        let embed = |name: &'static str, mlp: &ReluStack, deltas: Vec<f32>| {
            let embedded = mlp.forward(&Tensor::from_vec(deltas, (n, grid, 2), device)?)?;
            trace::note(name, &embedded);
            // [n, grid, heads] → [heads, n, grid]
            embedded.permute((2, 0, 1))?.contiguous()
        };
        let x = embed("box_rpb_embed_x", &self.box_rpb_embed_x, xs)?.unsqueeze(2)?;
        let y = embed("box_rpb_embed_y", &self.box_rpb_embed_y, ys)?.unsqueeze(3)?;
        let heads = x.dim(0)?;
        y.broadcast_add(&x)?.reshape((1, heads, n, grid * grid))?.pad_with_zeros(2, 1, 0)
    }
}

/// sign(8Δ) · log₂(1 + |8Δ|) / log₂ 8
fn log_scale(delta: f32) -> f32 {
    let scaled = delta * 8.0;
    if scaled == 0.0 { 0.0 } else { scaled.signum() * (scaled.abs() + 1.0).log2() / 3.0 }
}

/// Logit of a probability, kept 1e-3 away from 0 and 1.
fn inverse_sigmoid(x: f32) -> f32 {
    let x = x.clamp(0.0, 1.0);
    (x.max(1e-3) / (1.0 - x).max(1e-3)).ln()
}

fn sigmoid_rows(x: &Tensor) -> TensorResult<Tensor> {
    (x.neg()?.exp()? + 1.0)?.recip()
}

fn boxes_of(x: &Tensor) -> TensorResult<Vec<[f32; 4]>> {
    Ok(x.to_vec2::<f32>()?.iter().map(|r| [r[0], r[1], r[2], r[3]]).collect())
}

/// What queries look at in the picture.
pub(crate) struct Memory<'a> {
    /// Features with positions, `[1, l, c]`.
    pub keys: &'a Tensor,
    /// Features, `[1, l, c]`.
    pub values: &'a Tensor,
    /// `[1, heads, q, l]`.
    pub bias: &'a Tensor,
}

/// `Sam3DetrDecoderLayer`: post-norm.
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

    /// queries and their positions `[1, q, c]` → `[1, q, c]`.
    pub(crate) fn forward(
        &self,
        x: &Tensor,
        query_pos: &Tensor,
        memory: &Memory<'_>,
        prompt: &PromptFeatures,
    ) -> TensorResult<Tensor> {
        let placed = ops::add(x, query_pos)?;
        let x = ops::add(x, &self.self_attn.forward(&placed, &placed, x, None)?)?;
        let x = self.self_attn_layer_norm.forward(&x)?;

        let placed = ops::add(&x, query_pos)?;
        let text = &prompt.tokens;
        let x = ops::add(&x, &self.text_cross_attn.forward(&placed, text, text, Some(&prompt.mask))?)?;
        let x = self.text_cross_attn_layer_norm.forward(&x)?;

        let placed = ops::add(&x, query_pos)?;
        let seen = self.vision_cross_attn.forward(&placed, memory.keys, memory.values, Some(memory.bias))?;
        let x = self.vision_cross_attn_layer_norm.forward(&ops::add(&x, &seen)?)?;

        self.mlp_layer_norm.forward(&ops::add(&x, &self.mlp.forward(&x)?)?)
    }
}
