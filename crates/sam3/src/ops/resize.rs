//! Bilinear resizing exactly as in PyTorch: of float maps (`interpolate`, with and without antialiasing) and of
//! 8-bit images (torchvision's fixed-point implementation, which is Pillow's with 16-bit weights).

use candle_core::{Device, Result, Tensor};

use super::cpu::{for_each_piece, math, with_data};

/// Which samples a bilinear resize averages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Filter {
    /// The two nearest on each axis (`antialias=False`).
    Bilinear,
    /// A triangle with the width of the reduction (`antialias=True`).
    Antialiased,
}

/// For one output position, the first input sample and the weights of the samples from there.
#[derive(Debug, Clone)]
pub(crate) struct Taps {
    first: usize,
    weights: Vec<f32>,
}

impl Taps {
    pub(crate) fn first(&self) -> usize {
        self.first
    }

    pub(crate) fn weights(&self) -> &[f32] {
        &self.weights
    }

    /// The weighted sum of a row.
    #[inline]
    pub(crate) fn apply(&self, row: &[f32]) -> f32 {
        row[self.first..].iter().zip(&self.weights).map(|(s, w)| s * w).sum()
    }
}

/// Taps of a plain bilinear resize along an axis.
pub(crate) fn bilinear_taps(input: usize, output: usize) -> Vec<Taps> {
    taps(input, output, Filter::Bilinear)
}

/// Taps of every output position along an axis, with the f32 arithmetic of PyTorch's kernels.
fn taps(input: usize, output: usize, filter: Filter) -> Vec<Taps> {
    let scale = input as f32 / output as f32;
    (0..output)
        .map(|i| match filter {
            Filter::Bilinear => {
                let at = (scale * (i as f32 + 0.5) - 0.5).max(0.0);
                let first = (at as usize).min(input - 1);
                let fraction = (at - first as f32).clamp(0.0, 1.0);
                let weights = if first + 1 < input { vec![1.0 - fraction, fraction] } else { vec![1.0] };
                Taps { first, weights }
            }
            Filter::Antialiased => triangle_taps(i, scale, input),
        })
        .collect()
}

fn triangle_taps(i: usize, scale: f32, input: usize) -> Taps {
    let support = scale.max(1.0);
    let inv_scale = if scale >= 1.0 { 1.0 / scale } else { 1.0 };
    let center = scale * (i as f32 + 0.5);
    let first = ((center - support + 0.5) as i64).max(0) as usize;
    let end = ((center + support + 0.5) as i64).min(input as i64) as usize;
    let mut weights: Vec<f32> =
        (first..end).map(|j| (1.0 - ((j as f32 - center + 0.5) * inv_scale).abs()).max(0.0)).collect();
    let total: f32 = weights.iter().sum();
    if total != 0.0 {
        weights.iter_mut().for_each(|w| *w /= total);
    }
    Taps { first, weights }
}

/// Resizes f32 maps of one size to another (`align_corners=False`): columns first, then rows.
#[derive(Debug, Clone)]
pub(crate) struct Resizer {
    from: (usize, usize),
    to: (usize, usize),
    rows: Vec<Taps>,
    columns: Vec<Taps>,
    /// On a GPU, the same weights as dense matrices `[oh, h]` and `[w, ow]`: a resize is two matrix products
    /// without uploads. `None` on the CPU.
    dense: Option<(Tensor, Tensor)>,
}

impl Resizer {
    /// Resizes maps with height and width `from` to `to`.
    pub(crate) fn new(
        from: (usize, usize),
        to: (usize, usize),
        filter: Filter,
        device: &Device,
    ) -> Result<Self> {
        let (rows, columns) = (taps(from.0, to.0, filter), taps(from.1, to.1, filter));
        let dense = match device {
            Device::Cpu => None,
            device => {
                let columns = dense(&columns, from.1, device)?.t()?.contiguous()?;
                Some((dense(&rows, from.0, device)?, columns))
            }
        };
        Ok(Self { from, to, rows, columns, dense })
    }

    /// Resizes square maps from side to side.
    pub(crate) fn square(from: usize, to: usize, filter: Filter, device: &Device) -> Result<Self> {
        Self::new((from, from), (to, to), filter, device)
    }

    /// `[n, h, w]` → `[n, oh, ow]`.
    pub(crate) fn resize(&self, x: &Tensor) -> Result<Tensor> {
        let (n, h, w) = x.dims3()?;
        if (h, w) != self.from {
            candle_core::bail!("resize: maps of {h} x {w}, expected {:?}", self.from)
        }
        if self.from == self.to {
            return Ok(x.clone());
        }
        match &self.dense {
            Some((rows, columns)) => {
                let wide =
                    x.contiguous()?.reshape((n * h, w))?.matmul(columns)?.reshape((n, h, self.to.1))?;
                rows.broadcast_matmul(&wide)
            }
            None => self.resize_on_cpu(x),
        }
    }

    fn resize_on_cpu(&self, x: &Tensor) -> Result<Tensor> {
        let (n, h, w) = x.dims3()?;
        let (oh, ow) = self.to;
        let mut out = vec![0f32; n * oh * ow];
        with_data(x, |x| {
            let mut wide = vec![0f32; n * h * ow];
            for_each_piece(&mut wide, ow, |i, row| {
                let source = &x[i * w..][..w];
                for (o, taps) in row.iter_mut().zip(&self.columns) {
                    *o = taps.apply(source);
                }
            });
            for_each_piece(&mut out, ow, |i, row| {
                let (image, taps) = (i / oh, &self.rows[i % oh]);
                for (k, &weight) in taps.weights.iter().enumerate() {
                    math::add_scaled(row, &wide[(image * h + taps.first + k) * ow..][..ow], weight);
                }
            });
            Ok(())
        })?;
        Tensor::from_vec(out, (n, oh, ow), x.device())
    }
}

fn dense(taps: &[Taps], input: usize, device: &Device) -> Result<Tensor> {
    let mut matrix = vec![0f32; taps.len() * input];
    for (row, taps) in matrix.chunks_mut(input).zip(taps) {
        row[taps.first..][..taps.weights.len()].copy_from_slice(&taps.weights);
    }
    Tensor::from_vec(matrix, (taps.len(), input), device)
}

/// Taps in fixed point: for each output position the first input sample, and 16-bit weights that sum to about
/// `1 << precision`.
pub(super) struct FixedTaps {
    pub(super) taps: Vec<(usize, Vec<i32>)>,
    pub(super) precision: u32,
}

impl FixedTaps {
    pub(super) fn new(input: usize, output: usize) -> Self {
        // Weights in double precision, then rounded to as many fractional bits as the largest one allows in an i16.
        let scale = input as f64 / output as f64;
        let support = scale.max(1.0);
        let inv_scale = if scale >= 1.0 { 1.0 / scale } else { 1.0 };
        let float: Vec<(usize, Vec<f64>)> = (0..output)
            .map(|i| {
                let center = scale * (i as f64 + 0.5);
                let first = ((center - support + 0.5) as i64).max(0) as usize;
                let end = ((center + support + 0.5) as i64).min(input as i64) as usize;
                let mut weights: Vec<f64> = (first..end)
                    .map(|j| (1.0 - ((j as f64 - center + 0.5) * inv_scale).abs()).max(0.0))
                    .collect();
                let total: f64 = weights.iter().sum();
                if total != 0.0 {
                    weights.iter_mut().for_each(|w| *w /= total);
                }
                (first, weights)
            })
            .collect();
        let largest = float.iter().flat_map(|(_, w)| w).copied().fold(0.0, f64::max);
        let mut precision = 0;
        while precision < 22 && ((0.5 + largest * f64::from(1 << (precision + 1))) as i64) < 1 << 15 {
            precision += 1;
        }
        let fixed = |w: f64| (w * f64::from(1 << precision) + 0.5) as i32;
        let taps = float.into_iter().map(|(first, w)| (first, w.into_iter().map(fixed).collect())).collect();
        Self { taps, precision }
    }
}

/// Resizes an RGB image (`h·w·3` bytes) to `oh·ow·3` bytes with antialiased bilinear filtering, columns first with
/// an 8-bit intermediate. Equals torchvision's resize of uint8 tensors on a CPU bit for bit.
pub(crate) fn resize_rgb(rgb: &[u8], (h, w): (usize, usize), (oh, ow): (usize, usize)) -> Vec<u8> {
    use rayon::prelude::*;
    let columns = FixedTaps::new(w, ow);
    let mut wide = vec![0u8; h * ow * 3];
    if w == ow {
        wide.copy_from_slice(rgb);
    } else {
        wide.par_chunks_mut(ow * 3).zip(rgb.par_chunks(w * 3)).for_each(|(row, source)| {
            for (pixel, (first, weights)) in row.chunks_exact_mut(3).zip(&columns.taps) {
                let mut acc = [1i32 << (columns.precision - 1); 3];
                for (sample, &weight) in source[first * 3..].chunks_exact(3).zip(weights) {
                    for (a, &s) in acc.iter_mut().zip(sample) {
                        *a += i32::from(s) * weight;
                    }
                }
                for (p, a) in pixel.iter_mut().zip(acc) {
                    *p = (a >> columns.precision).clamp(0, 255) as u8;
                }
            }
        });
    }
    if h == oh {
        return wide;
    }
    let rows = FixedTaps::new(h, oh);
    let mut out = vec![0u8; oh * ow * 3];
    out.par_chunks_mut(ow * 3).zip(&rows.taps).for_each(|(row, (first, weights))| {
        let mut acc = vec![1i32 << (rows.precision - 1); ow * 3];
        for (k, &weight) in weights.iter().enumerate() {
            add_scaled_bytes(&mut acc, &wide[(first + k) * ow * 3..][..ow * 3], weight);
        }
        for (p, a) in row.iter_mut().zip(&acc) {
            *p = (a >> rows.precision).clamp(0, 255) as u8;
        }
    });
    out
}

math::vectorised! {
    fn add_scaled_bytes(acc: &mut [i32], x: &[u8], weight: i32) {
        acc.iter_mut().zip(x).for_each(|(a, &x)| *a += i32::from(x) * weight);
    }
}
