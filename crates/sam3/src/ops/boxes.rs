//! Position features of the detector's queries: embeddings of boxes, distances to boxes, the attention bias, and
//! refined boxes. Boxes are (cx, cy, w, h) in 0..1, `[n, 4]` in f32; the features have the type of the activations.

use candle_core::{D, DType, Result, Tensor};

use super::{Activation, activate};
use crate::position::BoxSine;

/// Sine embedding (reference: `Sam3SinePositionEmbedding.encode_boxes`): `[n, 2·width]` for a sine of `width`.
pub(crate) fn box_sine(boxes: &Tensor, sine: &BoxSine, dtype: DType) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if super::runs_fused(boxes.device(), dtype) {
        return super::cuda::boxes::sine(boxes, sine.wavelengths());
    }
    sine.embed(boxes)?.to_dtype(dtype)
}

/// Distances from both edges of each box to the start of each grid cell, on a log scale: `[2, n, grid, 2]`, along x
/// and then along y.
pub(crate) fn box_distances(boxes: &Tensor, grid: usize, dtype: DType) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if super::runs_fused(boxes.device(), dtype) {
        return super::cuda::boxes::distances(boxes, grid);
    }
    let cells = Tensor::arange(0f32, grid as f32, boxes.device())?.affine(1.0 / grid as f64, 0.0)?;
    let along = |axis: usize| {
        let (centre, half) = (boxes.narrow(1, axis, 1)?, (boxes.narrow(1, 2 + axis, 1)? * 0.5)?);
        let from = |side: Tensor| cells.unsqueeze(0)?.broadcast_sub(&side);
        Tensor::stack(&[from((&centre - &half)?)?, from((&centre + &half)?)?], D::Minus1)
    };
    log_scale(&Tensor::stack(&[along(0)?, along(1)?], 0)?)?.to_dtype(dtype)
}

/// `sign(8Δ) · log₂(1 + |8Δ|) / log₂ 8`
fn log_scale(delta: &Tensor) -> Result<Tensor> {
    let scaled = (delta * 8.0)?;
    let magnitude = (scaled.abs()? + 1.0)?.log()?;
    (scaled.sign()? * magnitude)? / 8f64.ln()
}

/// The attention bias of a grid as the sum of a bias per column x and per row y, both `[n, grid, heads]` →
/// `[1, heads, 1 + n, grid·grid]`. It is zero for the first query, which has no box.
pub(crate) fn box_bias(x: &Tensor, y: &Tensor) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if super::runs_fused(x.device(), x.dtype()) {
        return super::cuda::boxes::bias(x, y);
    }
    let (n, grid, heads) = x.dims3()?;
    let by_head = |t: &Tensor| t.permute((2, 0, 1))?.contiguous();
    let (x, y) = (by_head(x)?.unsqueeze(2)?, by_head(y)?.unsqueeze(3)?);
    y.broadcast_add(&x)?.reshape((1, heads, n, grid * grid))?.pad_with_zeros(2, 1, 0)
}

/// Moves boxes by deltas `[n, 4]` in logit space.
pub(crate) fn refine_boxes(boxes: &Tensor, deltas: &Tensor) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if super::runs_fused(boxes.device(), deltas.dtype()) {
        return super::cuda::boxes::refine(boxes, deltas);
    }
    activate(&(deltas.to_dtype(DType::F32)? + inverse_sigmoid(boxes)?)?, Activation::Sigmoid)
}

/// Logit of a probability, which is clamped to 1e-3 from 0 and 1.
fn inverse_sigmoid(x: &Tensor) -> Result<Tensor> {
    let x = x.clamp(0f32, 1f32)?;
    let rest = x.affine(-1.0, 1.0)?.maximum(1e-3f32)?;
    (x.maximum(1e-3f32)? / rest)?.log()
}
