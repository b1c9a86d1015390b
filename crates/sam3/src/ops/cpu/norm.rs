//! Layer and group normalisation over channels-last data.

use candle_core::{Result, Tensor};

use super::{for_each_piece, linear::with_weight, math, with_data};

/// LayerNorm over the last dimension: x `[.., c]`, weight and bias `[c]`.
pub(crate) fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f32) -> Result<Tensor> {
    let c = weight.dims1()?;
    let mut out = vec![0f32; x.elem_count()];
    with_data(x, |x| {
        with_weight(weight, |weight| {
            with_weight(bias, |bias| {
                // Several rows per task, so that narrow rows do not cost one task each.
                let rows_per_piece = (4096 / c).max(1);
                for_each_piece(&mut out, rows_per_piece * c, |i, piece| {
                    let x = &x[i * rows_per_piece * c..][..piece.len()];
                    normalise_rows(piece, x, weight, bias, eps);
                });
                Ok(())
            })
        })
    })?;
    Tensor::from_vec(out, x.shape(), x.device())
}

math::vectorised! {
    fn normalise_rows(out: &mut [f32], x: &[f32], weight: &[f32], bias: &[f32], eps: f32) {
        for (out, x) in out.chunks_mut(weight.len()).zip(x.chunks(weight.len())) {
            normalise_row(out, x, weight, bias, eps);
        }
    }

    fn scale_shift_relu(out: &mut [f32], x: &[f32], scale: &[f32], shift: &[f32]) {
        for (((o, &x), &a), &b) in out.iter_mut().zip(x).zip(scale).zip(shift) {
            *o = (x * a + b).max(0.0);
        }
    }
}

#[inline(always)]
fn normalise_row(out: &mut [f32], x: &[f32], weight: &[f32], bias: &[f32], eps: f32) {
    let n = x.len() as f32;
    let mean = math::sum_of(x, |x| x) / n;
    let var = math::sum_of(x, |x| (x - mean) * (x - mean)) / n;
    let inv = 1.0 / (var + eps).sqrt();
    for (((o, &x), &w), &b) in out.iter_mut().zip(x).zip(weight).zip(bias) {
        *o = (x - mean) * inv * w + b;
    }
}

/// GroupNorm followed by ReLU over an image: x `[h, w, c]`, weight and bias `[c]`.
pub(crate) fn group_norm_relu(
    x: &Tensor,
    groups: usize,
    weight: &Tensor,
    bias: &Tensor,
    eps: f64,
) -> Result<Tensor> {
    let (h, w, c) = x.dims3()?;
    let (n, per_group) = (h * w, c / groups);
    let mut out = vec![0f32; n * c];
    with_data(x, |x| {
        with_weight(weight, |weight| {
            with_weight(bias, |bias| {
                // Sums per channel are in double precision: at real size, a group has millions of values.
                let mut sum = vec![0f64; c];
                let mut sum_sq = vec![0f64; c];
                for row in x.chunks(c) {
                    for ((s, q), &v) in sum.iter_mut().zip(&mut sum_sq).zip(row) {
                        *s += f64::from(v);
                        *q += f64::from(v) * f64::from(v);
                    }
                }
                let (mut scale, mut shift) = (vec![0f32; c], vec![0f32; c]);
                for g in 0..groups {
                    let channels = g * per_group..(g + 1) * per_group;
                    let count = (n * per_group) as f64;
                    let mean = sum[channels.clone()].iter().sum::<f64>() / count;
                    let var = sum_sq[channels.clone()].iter().sum::<f64>() / count - mean * mean;
                    let inv = 1.0 / (var.max(0.0) + eps).sqrt();
                    for ch in channels {
                        scale[ch] = (inv * f64::from(weight[ch])) as f32;
                        shift[ch] = (f64::from(bias[ch]) - mean * inv * f64::from(weight[ch])) as f32;
                    }
                }
                for_each_piece(&mut out, c, |i, row| {
                    scale_shift_relu(row, &x[i * c..][..c], &scale, &shift);
                });
                Ok(())
            })
        })
    })?;
    Tensor::from_vec(out, x.shape(), x.device())
}
