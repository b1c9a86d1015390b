//! Convolutions over channels-last images. Blocks of output pixels are gathered (im2col) and multiplied, so that only
//! a few blocks are in memory besides the output. Depthwise convolutions are computed directly.

use candle_core::{Result, Tensor};

use super::linear::{Mat, Threads, matmul, with_weight};
use super::{for_each_piece, math, with_data};
use crate::ops::ConvGeometry;

/// Output pixels per block.
const PIXELS_PER_BLOCK: usize = 192;

/// x `[n, h, w, c]`, w `[out, k·k·c]` (kernel row, kernel column, channel), b `[out]` → `[n, oh, ow, out]`.
pub(crate) fn conv2d(x: &Tensor, w: &Tensor, b: Option<&Tensor>, g: ConvGeometry) -> Result<Tensor> {
    let (n, h, width, c) = x.dims4()?;
    let (n_out, k_len) = w.dims2()?;
    if k_len != g.kernel * g.kernel * c {
        candle_core::bail!("conv2d: input {:?} does not fit weight {:?}", x.shape(), w.shape())
    }
    let (oh, ow) = (g.output_len(h), g.output_len(width));
    let mut out = vec![0f32; n * oh * ow * n_out];
    let mut compute = |x: &[f32], w: &[f32], b: Option<&[f32]>| {
        for_each_piece(&mut out, PIXELS_PER_BLOCK * n_out, |block, piece| {
            let n_pixels = piece.len() / n_out;
            let mut columns = vec![0f32; n_pixels * k_len];
            for (i, column) in columns.chunks_mut(k_len).enumerate() {
                let pixel = block * PIXELS_PER_BLOCK + i;
                let (image, oy, ox) = (pixel / (oh * ow), pixel / ow % oh, pixel % ow);
                gather(column, &x[image * h * width * c..][..h * width * c], (h, width, c), (oy, ox), g);
            }
            if let Some(b) = b {
                piece.chunks_mut(n_out).for_each(|row| row.copy_from_slice(b));
            }
            let (columns, w) = (Mat::rows(&columns, n_pixels, k_len), Mat::rows(w, n_out, k_len));
            matmul(piece, n_out, b.is_some(), columns, w.t(), 1.0, Threads::One);
        });
        Ok(())
    };
    with_data(x, |x| {
        with_weight(w, |w| match b {
            Some(b) => with_weight(b, |b| compute(x, w, Some(b))),
            None => compute(x, w, None),
        })
    })?;
    Tensor::from_vec(out, (n, oh, ow, n_out), x.device())
}

/// Copies the pixels under the kernel at output (oy, ox). `column` must be zero; pixels outside the image stay zero.
fn gather(
    column: &mut [f32],
    image: &[f32],
    (h, w, c): (usize, usize, usize),
    (oy, ox): (usize, usize),
    g: ConvGeometry,
) {
    let k = g.kernel;
    for ky in 0..k {
        let Some(y) = (oy * g.stride + ky).checked_sub(g.padding).filter(|&y| y < h) else { continue };
        for kx in 0..k {
            let Some(x) = (ox * g.stride + kx).checked_sub(g.padding).filter(|&x| x < w) else { continue };
            column[(ky * k + kx) * c..][..c].copy_from_slice(&image[(y * w + x) * c..][..c]);
        }
    }
}

/// Depthwise, stride 1: x `[n, h, w, c]`, w `[k·k, c]`, b `[c]` → `[n, h, w, c]` (with `padding` = k/2).
pub(crate) fn depthwise_conv2d(x: &Tensor, w: &Tensor, b: &Tensor, g: ConvGeometry) -> Result<Tensor> {
    let (n, h, width, c) = x.dims4()?;
    let (oh, ow) = (g.output_len(h), g.output_len(width));
    let mut out = vec![0f32; n * oh * ow * c];
    with_data(x, |x| {
        with_weight(w, |w| {
            with_weight(b, |b| {
                for_each_piece(&mut out, ow * c, |row, piece| {
                    let (image, oy) = (row / oh, row % oh);
                    let x = &x[image * h * width * c..][..h * width * c];
                    depthwise_row(piece, x, (h, width, c), oy, w, b, g);
                });
                Ok(())
            })
        })
    })?;
    Tensor::from_vec(out, (n, oh, ow, c), x.device())
}

math::vectorised! {
    fn depthwise_row(
        out: &mut [f32],
        image: &[f32],
        size: (usize, usize, usize),
        oy: usize,
        w: &[f32],
        b: &[f32],
        g: ConvGeometry,
    ) {
        let (h, width, c) = size;
        for (ox, pixel) in out.chunks_mut(c).enumerate() {
            pixel.copy_from_slice(b);
            for ky in 0..g.kernel {
                let Some(y) = (oy + ky).checked_sub(g.padding).filter(|&y| y < h) else { continue };
                for kx in 0..g.kernel {
                    let Some(x) = (ox + kx).checked_sub(g.padding).filter(|&x| x < width) else { continue };
                    let weights = &w[(ky * g.kernel + kx) * c..][..c];
                    let source = &image[(y * width + x) * c..][..c];
                    for ((o, &w), &s) in pixel.iter_mut().zip(weights).zip(source) {
                        *o += w * s;
                    }
                }
            }
        }
    }
}
