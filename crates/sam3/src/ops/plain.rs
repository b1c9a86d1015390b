//! Every operation as a plain composition of candle operations, correct on any device in f32 and bf16.
//!
//! A GPU runs these until the fused kernels have passed their test there, so they are bounded in memory:
//! attention processes the queries in blocks, and never has a complete score matrix in memory.

use candle_core::{D, DType, Result, Tensor};
use candle_nn::ops::softmax_last_dim;

use super::{Activation, ConvGeometry};
use crate::position::RopeTable;

/// `a b` with sums in f32 and the result in the inputs' type.
pub(super) fn matmul(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if a.dtype() == DType::BF16 && a.device().is_cpu() {
        // candle multiplies bf16 on GPUs only.
        return a.to_dtype(DType::F32)?.matmul(&b.to_dtype(DType::F32)?)?.to_dtype(DType::BF16);
    }
    a.matmul(b)
}

pub(super) fn linear(x: &Tensor, w: &Tensor, b: Option<&Tensor>, activation: Activation) -> Result<Tensor> {
    let (n_out, n_in) = w.dims2()?;
    let mut shape = x.dims().to_vec();
    shape.pop();
    let rows: usize = shape.iter().product();
    shape.push(n_out);
    let w = w.to_dtype(x.dtype())?;
    let mut out = matmul(&x.reshape((rows, n_in))?, &w.t()?)?;
    if let Some(b) = b {
        out = out.broadcast_add(&b.to_dtype(x.dtype())?)?;
    }
    activate(&out, activation)?.reshape(shape)
}

pub(super) fn activate(x: &Tensor, activation: Activation) -> Result<Tensor> {
    match activation {
        Activation::None => Ok(x.clone()),
        Activation::Relu => x.relu(),
        Activation::Gelu => x.gelu_erf(),
        Activation::Sigmoid => (x.to_dtype(DType::F32)?.neg()?.exp()? + 1.0)?.recip()?.to_dtype(x.dtype()),
    }
}

pub(super) fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f32) -> Result<Tensor> {
    let wide = x.to_dtype(DType::F32)?;
    let centred = wide.broadcast_sub(&wide.mean_keepdim(D::Minus1)?)?;
    let var = centred.sqr()?.mean_keepdim(D::Minus1)?;
    centred
        .broadcast_div(&(var + f64::from(eps))?.sqrt()?)?
        .broadcast_mul(&weight.to_dtype(DType::F32)?)?
        .broadcast_add(&bias.to_dtype(DType::F32)?)?
        .to_dtype(x.dtype())
}

pub(super) fn group_norm_relu(
    x: &Tensor,
    groups: usize,
    weight: &Tensor,
    bias: &Tensor,
    eps: f64,
) -> Result<Tensor> {
    let (h, w, c) = x.dims3()?;
    let grouped = x
        .to_dtype(DType::F32)?
        .reshape((h * w, groups, c / groups))?
        .transpose(0, 1)?
        .contiguous()?
        .reshape((groups, h * w * (c / groups)))?;
    let centred = grouped.broadcast_sub(&grouped.mean_keepdim(1)?)?;
    let var = centred.sqr()?.mean_keepdim(1)?;
    centred
        .broadcast_div(&(var + eps)?.sqrt()?)?
        .reshape((groups, h * w, c / groups))?
        .transpose(0, 1)?
        .contiguous()?
        .reshape((h, w, c))?
        .broadcast_mul(&weight.to_dtype(DType::F32)?)?
        .broadcast_add(&bias.to_dtype(DType::F32)?)?
        .relu()?
        .to_dtype(x.dtype())
}

/// Size of a block of scores in bytes: enough rows to keep all processors of a large GPU busy.
pub(crate) const SCORES_BYTES: usize = 256 << 20;

/// `scale · a bᵀ` with sums and result in f32: a `[.., m, k]`, b `[.., n, k]` → `[.., m, n]`.
fn scores(a: &Tensor, b: &Tensor, scale: f32) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if a.device().is_cuda() && a.dtype() == DType::BF16 {
        return super::cuda::matmul_transposed_f32(a, b, scale);
    }
    a.to_dtype(DType::F32)?.matmul(&b.to_dtype(DType::F32)?.t()?)? * f64::from(scale)
}

/// `[b, l, h·d]` → `[b, h, l, d]`.
fn split_heads(x: &Tensor, heads: usize) -> Result<Tensor> {
    let (b, l, c) = x.dims3()?;
    x.reshape((b, l, heads, c / heads))?.transpose(1, 2)?.contiguous()
}

pub(super) fn sdpa(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    heads: usize,
    bias: Option<&Tensor>,
    scale: f32,
) -> Result<Tensor> {
    let (b, lq, _) = q.dims3()?;
    let (q, k, v) = (split_heads(q, heads)?, split_heads(k, heads)?, split_heads(v, heads)?);
    let row_bytes = b * heads * k.dim(2)? * size_of::<f32>();
    let block = (SCORES_BYTES / row_bytes.max(1)).clamp(1, lq.max(1));
    let bias = bias.map(|bias| bias.to_dtype(DType::F32)).transpose()?;
    let blocks = (0..lq).step_by(block).map(|start| {
        let n = block.min(lq - start);
        let mut scores = scores(&q.narrow(2, start, n)?.contiguous()?, &k, scale)?;
        if let Some(bias) = &bias {
            let shared = bias.dim(2)? == 1;
            let bias = if shared { bias.clone() } else { bias.narrow(2, start, n)? };
            scores = scores.broadcast_add(&bias)?;
        }
        matmul(&softmax_last_dim(&scores)?.to_dtype(v.dtype())?, &v)
    });
    let out = Tensor::cat(&blocks.collect::<Result<Vec<_>>>()?, 2)?;
    out.transpose(1, 2)?.contiguous()?.reshape((b, lq, ()))
}

pub(super) fn sdpa_varlen(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    heads: usize,
    key_lens: &[usize],
    scale: f32,
) -> Result<Tensor> {
    let mut start = 0;
    let mut outs = Vec::with_capacity(key_lens.len());
    for (i, &len) in key_lens.iter().enumerate() {
        let keys = k.narrow(0, start, len)?.unsqueeze(0)?;
        let values = v.narrow(0, start, len)?.unsqueeze(0)?.repeat((1, 1, heads))?;
        outs.push(sdpa(&q.narrow(0, i, 1)?, &keys, &values, heads, None, scale)?);
        start += len;
    }
    Tensor::cat(&outs, 0)
}

pub(super) fn rope(x: &Tensor, heads: usize, table: &RopeTable) -> Result<Tensor> {
    let (b, l, c) = x.dims3()?;
    let (p, half) = table.cos.dims2()?;
    let angles = |t: &Tensor| t.repeat((l.div_ceil(p), 1))?.narrow(0, 0, l)?.reshape((1, l, 1, half));
    let (cos, sin) = (angles(&table.cos)?, angles(&table.sin)?);
    let pairs = x.to_dtype(DType::F32)?.reshape((b, l, heads, half, 2))?;
    let (even, odd) = (pairs.narrow(4, 0, 1)?.squeeze(4)?, pairs.narrow(4, 1, 1)?.squeeze(4)?);
    let first = (even.broadcast_mul(&cos)? - odd.broadcast_mul(&sin)?)?;
    let second = (odd.broadcast_mul(&cos)? + even.broadcast_mul(&sin)?)?;
    Tensor::stack(&[first, second], 4)?.reshape((b, l, c))?.to_dtype(x.dtype())
}

/// [`rope`] of the first `n_rotated` rows of each entry of x `[Σ lens, c]`.
pub(super) fn rope_varlen(
    x: &Tensor,
    heads: usize,
    table: &RopeTable,
    lens: &[usize],
    n_rotated: &[usize],
) -> Result<Tensor> {
    let mut start = 0;
    let mut parts = Vec::with_capacity(2 * lens.len());
    for (&len, &n_rotated) in lens.iter().zip(n_rotated) {
        if n_rotated > 0 {
            parts.push(rope(&x.narrow(0, start, n_rotated)?.unsqueeze(0)?, heads, table)?.squeeze(0)?);
        }
        if n_rotated < len {
            parts.push(x.narrow(0, start + n_rotated, len - n_rotated)?);
        }
        start += len;
    }
    Tensor::cat(&parts, 0)
}

/// The concatenated rows of all parts, and their positions, one per row.
pub(super) fn cat_with_positions(parts: &[(&Tensor, &Tensor)]) -> Result<(Tensor, Tensor)> {
    let rows = parts.iter().map(|(rows, positions)| rows.to_dtype(positions.dtype()));
    let rows = Tensor::cat(&rows.collect::<Result<Vec<_>>>()?, 0)?;
    // Consecutive parts with the same length and one position each are repeated together.
    let are_alike = |a: &(&Tensor, &Tensor), b: &(&Tensor, &Tensor)| {
        a.0.shape() == b.0.shape() && a.1.dims()[0] == 1 && b.1.dims()[0] == 1
    };
    let positions = parts.chunk_by(are_alike).map(|parts| {
        let (length, c) = parts[0].0.dims2()?;
        let positions = Tensor::cat(&parts.iter().map(|(_, positions)| *positions).collect::<Vec<_>>(), 0)?;
        if positions.dim(0)? == length && parts.len() == 1 {
            return Ok(positions);
        }
        let repeated = positions.unsqueeze(1)?.broadcast_as((parts.len(), length, c))?.contiguous()?;
        repeated.reshape((parts.len() * length, c))
    });
    Ok((rows, Tensor::cat(&positions.collect::<Result<Vec<_>>>()?, 0)?))
}

pub(super) fn conv2d(x: &Tensor, w: &Tensor, b: Option<&Tensor>, g: ConvGeometry) -> Result<Tensor> {
    if x.dtype() == DType::BF16 && x.device().is_cpu() {
        let b = b.map(|b| b.to_dtype(DType::F32)).transpose()?;
        return conv2d(&x.to_dtype(DType::F32)?, w, b.as_ref(), g)?.to_dtype(DType::BF16);
    }
    let c = x.dim(3)?;
    let kernel = w
        .to_dtype(x.dtype())?
        .reshape((w.dim(0)?, g.kernel, g.kernel, c))?
        .permute((0, 3, 1, 2))?
        .contiguous()?;
    let out = x.permute((0, 3, 1, 2))?.contiguous()?.conv2d(&kernel, g.padding, g.stride, 1, 1)?;
    let out = out.permute((0, 2, 3, 1))?.contiguous()?;
    match b {
        Some(b) => out.broadcast_add(&b.to_dtype(x.dtype())?),
        None => Ok(out),
    }
}

/// One shifted multiply-add per tap. candle's grouped convolution would run one kernel per channel.
pub(super) fn depthwise_conv2d(x: &Tensor, w: &Tensor, b: &Tensor, g: ConvGeometry) -> Result<Tensor> {
    let (_, h, width, c) = x.dims4()?;
    let (oh, ow) = (g.output_len(h), g.output_len(width));
    let w = w.to_dtype(DType::F32)?;
    let wide = x.to_dtype(DType::F32)?;
    let padded = wide.pad_with_zeros(1, g.padding, g.padding)?.pad_with_zeros(2, g.padding, g.padding)?;
    let mut out = b.to_dtype(DType::F32)?.reshape((1, 1, 1, c))?.broadcast_as((x.dim(0)?, oh, ow, c))?;
    for ky in 0..g.kernel {
        for kx in 0..g.kernel {
            let tap = w.get(ky * g.kernel + kx)?;
            let shifted = padded.narrow(1, ky, oh)?.narrow(2, kx, ow)?;
            out = (out + shifted.broadcast_mul(&tap)?)?;
        }
    }
    out.to_dtype(x.dtype())
}
