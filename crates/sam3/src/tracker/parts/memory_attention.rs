//! Memory attention: the features of the current frame attend to the memory of each object (reference: `Sam3TrackerVideoMemoryAttention`; SAM 2, arXiv:2408.00714, section 4).
//!
//! It saves computation in two ways, with exact results. Values are not rotated and memories have few channels, and
//! `softmax(QKᵀ)(M W_v + b) = (softmax(QKᵀ) M) W_v + b`, so attention runs in the memory's channels and `W_v` is applied
//! afterwards. And all objects enter the first layer with the same features, so its self-attention and the queries of its
//! cross-attention are computed once.

use candle_core::{Result as TensorResult, Tensor};

use crate::error::Result;
use crate::model_files::Weights;
use crate::model_files::config::{TrackerConfig, activation};
use crate::nn::{LayerNorm, Linear, RotarySelfAttention};
use crate::ops::{self, Activation};
use crate::position::RopeTable;
use crate::trace;

/// ε of the norms: the default of `torch.nn.LayerNorm`.
const EPS: f64 = crate::nn::DEFAULT_EPS;

/// The memories of several objects, ready to be attended to.
pub(crate) struct MemoryBatch {
    /// The memories of all objects concatenated, `[Σ lk, m]`; for each object first frames, then pointers.
    pub values: Tensor,
    /// The values plus their position embeddings, `[Σ lk, m]`.
    pub keys: Tensor,
    /// The number of rows of each object.
    pub key_lens: Vec<usize>,
    /// The number of rows of each object that are cells of the grid and get rotary positions; the others are pointers.
    pub n_rotated: Vec<usize>,
}

/// `Sam3TrackerVideoMemoryAttention`: layers and a final norm.
pub(crate) struct MemoryAttention {
    pub(crate) layers: Vec<Layer>,
    layer_norm: LayerNorm,
    rope: RopeTable,
}

impl MemoryAttention {
    pub(crate) fn new(cfg: &TrackerConfig, w: &Weights) -> Result<Self> {
        let layers = (0..cfg.memory_attention_num_layers)
            .map(|i| Layer::new(cfg, &w.pp("layers").pp(i)))
            .collect::<Result<_>>()?;
        let width = cfg.memory_attention_hidden_size;
        let [gw, gh] = cfg.rope_grid();
        let inner = width / cfg.memory_attention_downsample_rate;
        let head = inner / cfg.memory_attention_num_attention_heads;
        Ok(Self {
            layers,
            layer_norm: LayerNorm::new(width, EPS, &w.pp("layer_norm"))?,
            rope: RopeTable::axial((gh, gw), head, cfg.rope_parameters.rope_theta, 1.0, w.device())?,
        })
    }

    /// Features `[1, l, c]` with positions `[l, c]`, attending to the memories of n objects → `[n, l, c]`.
    pub(crate) fn forward(
        &self,
        features: &Tensor,
        positions: &Tensor,
        memory: &MemoryBatch,
    ) -> TensorResult<Tensor> {
        let mut x = ops::add(features, &(positions * 0.1)?)?;
        for layer in &self.layers {
            x = layer.forward(&x, memory, &self.rope)?;
            trace::note("memory_attention.layer", &x);
        }
        let x = self.layer_norm.forward(&x)?;
        trace::note("memory_attention", &x);
        Ok(x)
    }
}

/// Reference: `Sam3TrackerVideoMemoryAttentionLayer`. Pre-norm: the input of each sublayer is normalized.
pub(crate) struct Layer {
    self_attn: RotarySelfAttention,
    cross_attn_image: CrossAttention,
    linear1: Linear,
    linear2: Linear,
    layer_norm1: LayerNorm,
    layer_norm2: LayerNorm,
    layer_norm3: LayerNorm,
    activation: Activation,
}

impl Layer {
    pub(crate) fn new(cfg: &TrackerConfig, w: &Weights) -> Result<Self> {
        let c = cfg.memory_attention_hidden_size;
        let inner = c / cfg.memory_attention_downsample_rate;
        let heads = cfg.memory_attention_num_attention_heads;
        let mlp = cfg.memory_attention_feed_forward_hidden_size;
        let memory = cfg.memory_encoder_output_channels;
        Ok(Self {
            self_attn: RotarySelfAttention::new(c, inner, heads, &w.pp("self_attn"))?,
            cross_attn_image: CrossAttention::new(c, inner, memory, heads, &w.pp("cross_attn_image"))?,
            linear1: Linear::new(c, mlp, &w.pp("linear1"))?,
            linear2: Linear::new(mlp, c, &w.pp("linear2"))?,
            layer_norm1: LayerNorm::new(c, EPS, &w.pp("layer_norm1"))?,
            layer_norm2: LayerNorm::new(c, EPS, &w.pp("layer_norm2"))?,
            layer_norm3: LayerNorm::new(c, EPS, &w.pp("layer_norm3"))?,
            activation: activation("act", &cfg.memory_attention_feed_forward_hidden_act)?,
        })
    }

    /// x `[n, l, c]`, or `[1, l, c]` if it is the same for all n objects → `[n, l, c]`.
    pub(crate) fn forward(&self, x: &Tensor, memory: &MemoryBatch, rope: &RopeTable) -> TensorResult<Tensor> {
        let x = self.self_attn.forward_onto(x, &self.layer_norm1.forward(x)?, rope, None)?;
        let x = self.cross_attn_image.forward_onto(&x, &self.layer_norm2.forward(&x)?, memory, rope)?;
        let hidden = self.linear1.forward_then(&self.layer_norm3.forward(&x)?, self.activation)?;
        self.linear2.forward_onto(&x, &hidden)
    }
}

/// `Sam3TrackerVideoRoPEAttention` with keys and values from memory.
struct CrossAttention {
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    o_proj: Linear,
    heads: usize,
    scale: f32,
}

impl CrossAttention {
    fn new(width: usize, inner: usize, memory: usize, heads: usize, w: &Weights) -> Result<Self> {
        Ok(Self {
            q_proj: Linear::new(width, inner, &w.pp("q_proj"))?,
            k_proj: Linear::new(memory, inner, &w.pp("k_proj"))?,
            v_proj: Linear::new(memory, inner, &w.pp("v_proj"))?,
            o_proj: Linear::new(inner, width, &w.pp("o_proj"))?,
            heads,
            scale: ((inner / heads) as f32).sqrt().recip(),
        })
    }

    /// `residual` plus the attention of x to the memories of n objects; both `[n or 1, l, c]` → `[n, l, c]`.
    fn forward_onto(
        &self,
        residual: &Tensor,
        x: &Tensor,
        memory: &MemoryBatch,
        rope: &RopeTable,
    ) -> TensorResult<Tensor> {
        let (n, l) = (memory.key_lens.len(), x.dim(1)?);
        let q = ops::linear_rope(x, self.q_proj.parameters(), self.heads, rope)?;
        let q = if q.dim(0)? == n { q } else { q.broadcast_as((n, l, q.dim(2)?))?.contiguous()? };
        let (lens, n_rotated) = (&memory.key_lens, &memory.n_rotated);
        let k_proj = self.k_proj.parameters();
        let k = ops::linear_rope_varlen(&memory.keys, k_proj, self.heads, rope, lens, n_rotated)?;
        let mean = ops::sdpa_varlen(&q, &k, &memory.values, self.heads, lens, self.scale)?;
        self.o_proj.forward_onto(residual, &self.project_values(&mean)?)
    }

    /// Applies `W_v` to averaged memories: `[n, l, heads·m]` → `[n, l, inner]`, each head with its own rows of `W_v`.
    fn project_values(&self, mean: &Tensor) -> TensorResult<Tensor> {
        if self.heads == 1 {
            return self.v_proj.forward(mean);
        }
        let (weight, bias) = self.v_proj.parameters();
        let (inner, m) = weight.dims2()?;
        let head = inner / self.heads;
        let parts = (0..self.heads).map(|h| {
            let (weight, bias) = (weight.narrow(0, h * head, head)?, bias.narrow(0, h * head, head)?);
            ops::linear(&mean.narrow(2, h * m, m)?, &weight, Some(&bias), Activation::None)
        });
        Tensor::cat(&parts.collect::<TensorResult<Vec<_>>>()?, 2)
    }
}
