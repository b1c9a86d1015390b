//! Layers: parameters with a `forward` method, named as in the model files.

use candle_core::{Result as TensorResult, Tensor};

use crate::error::Result;
use crate::model_files::Weights;
use crate::ops::{self, Activation, ConvGeometry};
use crate::position::RopeTable;

/// `torch.nn.Linear`, also used for 1×1 convolutions over channels-last images.
#[derive(Debug, Clone)]
pub(crate) struct Linear {
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    pub(crate) fn new(n_in: usize, n_out: usize, w: &Weights) -> Result<Self> {
        Ok(Self { weight: w.get((n_out, n_in), "weight")?, bias: w.get_added(n_out, "bias")? })
    }

    /// Loads a `Conv2d` with kernel size 1.
    pub(crate) fn conv1x1(n_in: usize, n_out: usize, w: &Weights) -> Result<Self> {
        let weight = w.get((n_out, n_in, 1, 1), "weight")?.reshape((n_out, n_in))?;
        Ok(Self { weight, bias: w.get_added(n_out, "bias")? })
    }

    /// `[.., in]` → `[.., out]`.
    pub(crate) fn forward(&self, x: &Tensor) -> TensorResult<Tensor> {
        self.forward_then(x, Activation::None)
    }

    pub(crate) fn forward_then(&self, x: &Tensor, activation: Activation) -> TensorResult<Tensor> {
        ops::linear(x, &self.weight, Some(&self.bias), activation)
    }

    /// `residual + forward(x)`, where a GPU can fuse the sum.
    pub(crate) fn forward_onto(&self, residual: &Tensor, x: &Tensor) -> TensorResult<Tensor> {
        ops::linear_add(x, self.parameters(), residual)
    }

    /// Weight `[out, in]` and bias `[out]`.
    pub(crate) fn parameters(&self) -> (&Tensor, &Tensor) {
        (&self.weight, &self.bias)
    }
}

/// `torch.nn.LayerNorm` over the last dimension.
#[derive(Debug, Clone)]
pub(crate) struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    eps: f32,
}

/// The default ε of `torch.nn.LayerNorm`.
pub(crate) const DEFAULT_EPS: f64 = 1e-5;

impl LayerNorm {
    pub(crate) fn new(width: usize, eps: f64, w: &Weights) -> Result<Self> {
        Ok(Self { weight: w.get_f32(width, "weight")?, bias: w.get_f32(width, "bias")?, eps: eps as f32 })
    }

    pub(crate) fn forward(&self, x: &Tensor) -> TensorResult<Tensor> {
        ops::layer_norm(x, &self.weight, &self.bias, self.eps)
    }
}

/// `torch.nn.Conv2d` over channels-last images `[n, h, w, c]`.
#[derive(Debug, Clone)]
pub(crate) struct Conv2d {
    weight: Tensor,
    bias: Option<Tensor>,
    geometry: ConvGeometry,
}

impl Conv2d {
    pub(crate) fn new(n_in: usize, n_out: usize, geometry: ConvGeometry, w: &Weights) -> Result<Self> {
        let bias = Some(w.get_added(n_out, "bias")?);
        Ok(Self { bias, ..Self::without_bias(n_in, n_out, geometry, w)? })
    }

    pub(crate) fn without_bias(
        n_in: usize,
        n_out: usize,
        geometry: ConvGeometry,
        w: &Weights,
    ) -> Result<Self> {
        let k = geometry.kernel;
        let weight = w.get((n_out, n_in, k, k), "weight")?;
        let weight = weight.permute((0, 2, 3, 1))?.contiguous()?.reshape((n_out, k * k * n_in))?;
        Ok(Self { weight, bias: None, geometry })
    }

    pub(crate) fn forward(&self, x: &Tensor) -> TensorResult<Tensor> {
        ops::conv2d(x, &self.weight, self.bias.as_ref(), self.geometry)
    }
}

/// `torch.nn.ConvTranspose2d` with kernel size 2 and stride 2.
#[derive(Debug, Clone)]
pub(crate) struct ConvTranspose2x2 {
    weight: Tensor,
    bias: Tensor,
}

impl ConvTranspose2x2 {
    pub(crate) fn new(n_in: usize, n_out: usize, w: &Weights) -> Result<Self> {
        let weight = w.get((n_in, n_out, 2, 2), "weight")?;
        let weight = weight.permute((2, 3, 1, 0))?.contiguous()?.reshape((4 * n_out, n_in))?;
        Ok(Self { weight, bias: w.get_added(n_out, "bias")?.repeat(4)? })
    }

    /// `[n, h, w, in]` → `[n, 2h, 2w, out]`.
    pub(crate) fn forward(&self, x: &Tensor) -> TensorResult<Tensor> {
        ops::conv_transpose2x2(x, &self.weight, &self.bias)
    }
}

/// Multi-head attention with four projections (reference: `Sam3Attention`, `Sam3TrackerVideoAttention`). The output
/// projection is called `o_proj`, or `out_proj` in CLIP.
#[derive(Debug, Clone)]
pub(crate) struct Attention {
    pub q_proj: Linear,
    pub k_proj: Linear,
    pub v_proj: Linear,
    pub o_proj: Linear,
    pub heads: usize,
    pub scale: f32,
}

impl Attention {
    pub(crate) fn new(width: usize, inner: usize, heads: usize, w: &Weights) -> Result<Self> {
        Self::with_output(width, inner, heads, "o_proj", w)
    }

    pub(crate) fn with_output(
        width: usize,
        inner: usize,
        heads: usize,
        output: &str,
        w: &Weights,
    ) -> Result<Self> {
        Ok(Self {
            q_proj: Linear::new(width, inner, &w.pp("q_proj"))?,
            k_proj: Linear::new(width, inner, &w.pp("k_proj"))?,
            v_proj: Linear::new(width, inner, &w.pp("v_proj"))?,
            o_proj: Linear::new(inner, width, &w.pp(output))?,
            heads,
            scale: ((inner / heads) as f32).sqrt().recip(),
        })
    }

    /// q `[b, lq, c]`, k and v `[b, lk, c]`, additive bias `[b|1, h|1, lq|1, lk]` → `[b, lq, c]`.
    pub(crate) fn forward(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        bias: Option<&Tensor>,
    ) -> TensorResult<Tensor> {
        self.o_proj.forward(&self.attend(q, k, v, bias)?)
    }

    /// `residual + forward(q, k, v, bias)`, where a GPU can fuse the sum.
    pub(crate) fn forward_onto(
        &self,
        residual: &Tensor,
        (q, k, v): (&Tensor, &Tensor, &Tensor),
        bias: Option<&Tensor>,
    ) -> TensorResult<Tensor> {
        self.o_proj.forward_onto(residual, &self.attend(q, k, v, bias)?)
    }

    fn attend(&self, q: &Tensor, k: &Tensor, v: &Tensor, bias: Option<&Tensor>) -> TensorResult<Tensor> {
        let (q, k, v) = (self.q_proj.forward(q)?, self.k_proj.forward(k)?, self.v_proj.forward(v)?);
        ops::sdpa(&q, &k, &v, self.heads, bias, self.scale)
    }
}

/// Self-attention with rotary positions (reference: `Sam3ViTRoPEAttention`,
/// `Sam3TrackerVideoRoPEAttention`).
#[derive(Debug, Clone)]
pub(crate) struct RotarySelfAttention {
    /// The concatenated weights of `q_proj`, `k_proj` and `v_proj`, so that a GPU computes one product.
    weight: Tensor,
    bias: Tensor,
    o_proj: Linear,
    heads: usize,
    scale: f32,
}

impl RotarySelfAttention {
    pub(crate) fn new(width: usize, inner: usize, heads: usize, w: &Weights) -> Result<Self> {
        let parts = ["q_proj", "k_proj", "v_proj"].map(|name| Linear::new(width, inner, &w.pp(name)));
        let [q, k, v] = parts;
        let (q, k, v) = (q?, k?, v?);
        Ok(Self {
            weight: Tensor::cat(&[&q.weight, &k.weight, &v.weight], 0)?,
            bias: Tensor::cat(&[&q.bias, &k.bias, &v.bias], 0)?,
            o_proj: Linear::new(inner, width, &w.pp("o_proj"))?,
            heads,
            scale: ((inner / heads) as f32).sqrt().recip(),
        })
    }

    /// `residual` + attention of x, both `[n, .., c]`. With a `window`, attention is within windows of that side, and
    /// both are `[n, h, w, c]`.
    pub(crate) fn forward_onto(
        &self,
        residual: &Tensor,
        x: &Tensor,
        table: &RopeTable,
        window: Option<usize>,
    ) -> TensorResult<Tensor> {
        let [q, k, v] = ops::qkv_rope(x, (&self.weight, &self.bias), self.heads, table, window)?;
        let attended = ops::sdpa(&q, &k, &v, self.heads, None, self.scale)?;
        match window {
            Some(size) => ops::linear_add_windows(&attended, self.o_proj.parameters(), residual, size),
            None => {
                let mut shape = x.dims().to_vec();
                shape.pop();
                shape.push(attended.dim(2)?);
                self.o_proj.forward_onto(residual, &attended.reshape(shape)?)
            }
        }
    }
}

/// Two linear layers with an activation between them (reference: `Sam3MLP`, `CLIPMLP`).
#[derive(Debug, Clone)]
pub(crate) struct Mlp {
    fc1: Linear,
    fc2: Linear,
    activation: Activation,
}

impl Mlp {
    pub(crate) fn new(width: usize, inner: usize, activation: Activation, w: &Weights) -> Result<Self> {
        Ok(Self {
            fc1: Linear::new(width, inner, &w.pp("fc1"))?,
            fc2: Linear::new(inner, width, &w.pp("fc2"))?,
            activation,
        })
    }

    /// `residual + forward(x)`, where a GPU can fuse the sum.
    pub(crate) fn forward_onto(&self, residual: &Tensor, x: &Tensor) -> TensorResult<Tensor> {
        self.fc2.forward_onto(residual, &self.fc1.forward_then(x, self.activation)?)
    }
}

/// Linear layers with ReLU between them (reference: `Sam3DecoderMLP`,
/// `Sam3MaskEmbedder`, `Sam3TrackerVideoFeedForward`).
#[derive(Debug, Clone)]
pub(crate) struct ReluStack(Vec<Linear>);

impl ReluStack {
    /// Loads one layer per name; `widths` has one entry more than `names`.
    pub(crate) fn new(widths: &[usize], names: &[String], w: &Weights) -> Result<Self> {
        let layers = names.iter().zip(widths.windows(2));
        Ok(Self(layers.map(|(name, io)| Linear::new(io[0], io[1], &w.pp(name))).collect::<Result<_>>()?))
    }

    /// Loads layers called `layer1`, `layer2`, …
    pub(crate) fn numbered(widths: &[usize], w: &Weights) -> Result<Self> {
        let names: Vec<String> = (1..widths.len()).map(|i| format!("layer{i}")).collect();
        Self::new(widths, &names, w)
    }

    /// Loads `depth` layers called `proj_in`, `layers.0`, …, `proj_out`.
    pub(crate) fn feed_forward(
        n_in: usize,
        inner: usize,
        n_out: usize,
        depth: usize,
        w: &Weights,
    ) -> Result<Self> {
        let hidden = depth.saturating_sub(2);
        let names = std::iter::once("proj_in".to_owned())
            .chain((0..hidden).map(|i| format!("layers.{i}")))
            .chain(std::iter::once("proj_out".to_owned()));
        let widths: Vec<usize> = std::iter::once(n_in)
            .chain(std::iter::repeat_n(inner, hidden + 1))
            .chain(std::iter::once(n_out))
            .collect();
        Self::new(&widths, &names.collect::<Vec<_>>(), w)
    }

    pub(crate) fn forward(&self, x: &Tensor) -> TensorResult<Tensor> {
        let (last, x) = self.up_to_last(x)?;
        last.forward(&x)
    }

    /// `residual + forward(x)`, where a GPU can fuse the sum.
    pub(crate) fn forward_onto(&self, residual: &Tensor, x: &Tensor) -> TensorResult<Tensor> {
        let (last, x) = self.up_to_last(x)?;
        last.forward_onto(residual, &x)
    }

    /// Applies all layers but the last, and returns the last one and its input.
    fn up_to_last(&self, x: &Tensor) -> TensorResult<(&Linear, Tensor)> {
        let (last, first) = self.0.split_last().expect("a stack has layers");
        let mut x = x.clone();
        for layer in first {
            x = layer.forward_then(&x, Activation::Relu)?;
        }
        Ok((last, x))
    }
}
