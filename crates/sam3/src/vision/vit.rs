//! The image encoder: a windowed ViT with rotary positions (reference: `Sam3ViTModel`; Perception
//! Encoder, arXiv:2504.13181).

use candle_core::{Result as TensorResult, Tensor};

use crate::error::Result;
use crate::model_files::Weights;
use crate::model_files::config::{ViTConfig, activation};
use crate::nn::{Conv2d, LayerNorm, Mlp, RotarySelfAttention};
use crate::ops::{self, ConvGeometry};
use crate::position::RopeTable;
use crate::trace;

/// `Sam3ViTModel`: patch embeddings and layers.
pub(crate) struct ViT {
    embeddings: Embeddings,
    layer_norm: LayerNorm,
    layers: Vec<Layer>,
    grid: usize,
}

impl ViT {
    pub(crate) fn new(cfg: &ViTConfig, w: &Weights) -> Result<Self> {
        let layers = (0..cfg.num_hidden_layers)
            .map(|i| Layer::new(cfg, cfg.global_attn_indexes.contains(&i), &w.pp("layers").pp(i)))
            .collect::<Result<_>>()?;
        Ok(Self {
            embeddings: Embeddings::new(cfg, &w.pp("embeddings"))?,
            layer_norm: LayerNorm::new(cfg.hidden_size, cfg.layer_norm_eps, &w.pp("layer_norm"))?,
            layers,
            grid: cfg.grid(),
        })
    }

    /// Pixel values `[n, size, size, 3]` → `[n, grid, grid, c]`.
    pub(crate) fn forward(&self, pixel_values: &Tensor) -> TensorResult<Tensor> {
        let x = self.embeddings.forward(pixel_values)?;
        trace::note("vit.embeddings", &x);
        let (n, _, c) = x.dims3()?;
        let mut x = self.layer_norm.forward(&x)?.reshape((n, self.grid, self.grid, c))?;
        for layer in &self.layers {
            x = layer.forward(&x)?;
            trace::note("vit.layer", &x);
        }
        Ok(x)
    }
}

/// `Sam3ViTEmbeddings`: patches, and position embeddings tiled over the grid.
pub(crate) struct Embeddings {
    projection: Conv2d,
    /// Position embeddings of the grid, `[grid·grid, c]`.
    positions: Tensor,
}

impl Embeddings {
    pub(crate) fn new(cfg: &ViTConfig, w: &Weights) -> Result<Self> {
        let patch = ConvGeometry { kernel: cfg.patch_size, stride: cfg.patch_size, padding: 0 };
        let projection =
            Conv2d::without_bias(3, cfg.hidden_size, patch, &w.pp("patch_embeddings").pp("projection"))?;
        let trained = cfg.pretrain_image_size / cfg.patch_size;
        let table = w.get_added((1, trained * trained, cfg.hidden_size), "position_embeddings")?;
        let positions = tile(&table.reshape((trained, trained, cfg.hidden_size))?, cfg.grid())?;
        Ok(Self { projection, positions })
    }

    /// `[n, size, size, 3]` → `[n, grid·grid, c]`.
    pub(crate) fn forward(&self, pixel_values: &Tensor) -> TensorResult<Tensor> {
        let patches = self.projection.forward(pixel_values)?;
        let (n, h, w, c) = patches.dims4()?;
        ops::add(&patches.reshape((n, h * w, c))?, &self.positions)
    }
}

/// Repeats a table `[t, t, c]` over a `grid` × `grid` area and cuts off the rest.
fn tile(table: &Tensor, grid: usize) -> TensorResult<Tensor> {
    let (t, _, c) = table.dims3()?;
    let repeats = grid.div_ceil(t);
    let tiled = table.repeat((repeats, repeats, 1))?;
    tiled.narrow(0, 0, grid)?.narrow(1, 0, grid)?.contiguous()?.reshape((grid * grid, c))
}

/// `Sam3ViTLayer`: pre-norm attention, in windows or global, and an MLP.
pub(crate) struct Layer {
    layer_norm1: LayerNorm,
    attention: RotarySelfAttention,
    layer_norm2: LayerNorm,
    mlp: Mlp,
    rope: RopeTable,
    /// Side of the attention windows, in patches; `None`: attention over the complete grid.
    window: Option<usize>,
}

impl Layer {
    pub(crate) fn new(cfg: &ViTConfig, global: bool, w: &Weights) -> Result<Self> {
        let (width, heads) = (cfg.hidden_size, cfg.num_attention_heads);
        let side = if global { cfg.grid() } else { cfg.window_size };
        let step = cfg.window_size as f32 / side as f32;
        let theta = cfg.rope_parameters.rope_theta;
        let act = activation("hidden_act", &cfg.hidden_act)?;
        Ok(Self {
            layer_norm1: LayerNorm::new(width, cfg.layer_norm_eps, &w.pp("layer_norm1"))?,
            attention: RotarySelfAttention::new(width, width, heads, &w.pp("attention"))?,
            layer_norm2: LayerNorm::new(width, cfg.layer_norm_eps, &w.pp("layer_norm2"))?,
            mlp: Mlp::new(width, cfg.intermediate_size, act, &w.pp("mlp"))?,
            rope: RopeTable::axial((side, side), width / heads, theta, step, w.device())?,
            window: (!global).then_some(side),
        })
    }

    /// `[n, h, w, c]` → `[n, h, w, c]`.
    pub(crate) fn forward(&self, x: &Tensor) -> TensorResult<Tensor> {
        let x = self.attention.forward_onto(x, &self.layer_norm1.forward(x)?, &self.rope, self.window)?;
        self.mlp.forward_onto(&x, &self.layer_norm2.forward(&x)?)
    }
}
