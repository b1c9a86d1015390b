//! Position features of boxes with the kernels of `kernels/boxes.cu`, each in one launch.

use candle_core::cuda_backend::WrapErr;
use candle_core::{Result, Tensor};
use half::bf16;

use super::launch::{Reading, dense, device_of, kernel, launch, launch_config, unwritten, written};

/// Threads of a block.
const THREADS: usize = 256;

/// Sine embedding of boxes `[n, 4]` with wavelengths `[pairs]` → `[n, 8·pairs]`.
pub(crate) fn sine(boxes: &Tensor, wavelengths: &Tensor) -> Result<Tensor> {
    let device = device_of(boxes)?;
    let (boxes, wavelengths) = (dense(boxes)?, dense(wavelengths)?);
    let (n, pairs) = (boxes.dim(0)?, wavelengths.dim(0)?);
    let mut out = unwritten::<bf16>(device, n * 8 * pairs)?;
    let function = kernel(device, "boxes", "box_sine_bf16")?;
    let config = launch_config(((n * 4 * pairs).div_ceil(THREADS), 1, 1), THREADS, 0);
    let (input, lengths) = (Reading::of(&boxes)?, Reading::of(&wavelengths)?);
    let (n_boxes, n_pairs) = (n as u32, pairs as u32);
    launch!(function, config, &mut out, &input.view::<f32>()?, &lengths.view::<f32>()?, &n_boxes, &n_pairs);
    Ok(written(out, (n, 8 * pairs), device))
}

/// Distances of grid cells to the edges of boxes `[n, 4]` → `[2, n, grid, 2]`.
pub(crate) fn distances(boxes: &Tensor, grid: usize) -> Result<Tensor> {
    let device = device_of(boxes)?;
    let boxes = dense(boxes)?;
    let n = boxes.dim(0)?;
    let mut out = unwritten::<bf16>(device, 4 * n * grid)?;
    let function = kernel(device, "boxes", "box_distances_bf16")?;
    let config = launch_config(((2 * n * grid).div_ceil(THREADS), 1, 1), THREADS, 0);
    let input = Reading::of(&boxes)?;
    let (n_boxes, side) = (n as u32, grid as u32);
    launch!(function, config, &mut out, &input.view::<f32>()?, &n_boxes, &side);
    Ok(written(out, (2, n, grid, 2), device))
}

/// Attention bias from columns x and rows y `[n, grid, heads]` → f32 `[1, heads, 1 + n, grid·grid]`.
pub(crate) fn bias(x: &Tensor, y: &Tensor) -> Result<Tensor> {
    let device = device_of(x)?;
    let (n, grid, heads) = x.dims3()?;
    let (x, y) = (dense(x)?, dense(y)?);
    let each = (1 + n) * grid * grid;
    let mut out = unwritten::<f32>(device, heads * each)?;
    let function = kernel(device, "boxes", "box_bias_f32")?;
    let config = launch_config((each.div_ceil(THREADS), heads, 1), THREADS, 0);
    let (columns, rows) = (Reading::of(&x)?, Reading::of(&y)?);
    let (n_boxes, side, n_heads) = (n as u32, grid as u32, heads as u32);
    let (columns, rows) = (columns.view::<bf16>()?, rows.view::<bf16>()?);
    launch!(function, config, &mut out, &columns, &rows, &n_boxes, &side, &n_heads);
    Ok(written(out, (1, heads, 1 + n, grid * grid), device))
}

/// Moves boxes by deltas in logit space, both `[n, 4]`.
pub(crate) fn refine(boxes: &Tensor, deltas: &Tensor) -> Result<Tensor> {
    let device = device_of(boxes)?;
    let (boxes, deltas) = (dense(boxes)?, dense(deltas)?);
    let count = boxes.elem_count();
    let mut out = unwritten::<f32>(device, count)?;
    let function = kernel(device, "boxes", "refine_boxes_f32")?;
    let config = launch_config((count.div_ceil(THREADS), 1, 1), THREADS, 0);
    let (before, by) = (Reading::of(&boxes)?, Reading::of(&deltas)?);
    let n = count as u32;
    launch!(function, config, &mut out, &before.view::<f32>()?, &by.view::<bf16>()?, &n);
    Ok(written(out, boxes.shape(), device))
}
