//! Fused kernels in bf16, each in one pass over memory. A function returns `None` for inputs that its kernel does not
//! support, and the caller uses the plain composition. `kernels/*.cu` document what the kernels expect.

use candle_core::cuda_backend::WrapErr;
use candle_core::cuda_backend::cudarc::driver::DevicePtr;
use candle_core::{D, DType, Result, Tensor};
use half::bf16;

use super::constants::{constant, starts};
use super::launch::{Reading, dense, device_of, kernel, launch, launch_config, unwritten, written};
use crate::ops::{Activation, ConvGeometry, plain};
use crate::position::RopeTable;

/// Threads per block, for kernels that work with any number.
const THREADS: usize = 256;

/// `activation(x wᵀ + b)`: the product with cuBLAS, and bias and activation in one pass over its result.
pub(crate) fn linear(x: &Tensor, w: &Tensor, b: Option<&Tensor>, activation: Activation) -> Result<Tensor> {
    let product = product(x, w)?;
    if b.is_none() && activation == Activation::None {
        return Ok(product);
    }
    bias_activation(&product, b, activation)
}

/// An activation without bias.
pub(crate) fn activate(x: &Tensor, activation: Activation) -> Result<Tensor> {
    bias_activation(x, None, activation)
}

fn bias_activation(x: &Tensor, b: Option<&Tensor>, activation: Activation) -> Result<Tensor> {
    let device = device_of(x)?;
    let x = dense(x)?;
    let count = x.elem_count();
    // Without a bias, all elements form one row.
    let n = b.map_or(count, Tensor::elem_count);
    let b = b.map(|b| dense(&b.to_dtype(DType::BF16)?)).transpose()?;
    let kind = match activation {
        Activation::None => 0u32,
        Activation::Relu => 1,
        Activation::Gelu => 2,
        Activation::Sigmoid => 3,
    };
    let mut out = unwritten::<bf16>(device, count)?;
    let function = kernel(device, "elementwise", "bias_activation_bf16")?;
    let config = launch_config((count.div_ceil(8).div_ceil(THREADS), 1, 1), THREADS, 0);
    let (reading, bias) = (Reading::of(&x)?, b.as_ref().map(Reading::of).transpose()?);
    let (rows, width) = (count.div_ceil(n) as u32, n as u32);
    match &bias {
        Some(bias) => {
            launch!(
                function,
                config,
                &mut out,
                &reading.view::<bf16>()?,
                &bias.view::<bf16>()?,
                &rows,
                &width,
                &kind
            );
        }
        None => {
            let no_bias = 0u64;
            launch!(function, config, &mut out, &reading.view::<bf16>()?, &no_bias, &rows, &width, &kind);
        }
    }
    Ok(written(out, x.shape(), device))
}

/// Sum with the smaller operand repeated along leading dimensions; `None` for other shapes.
pub(crate) fn add(a: &Tensor, b: &Tensor) -> Result<Option<Tensor>> {
    let (large, small) = if a.elem_count() >= b.elem_count() { (a, b) } else { (b, a) };
    let repeated: Vec<usize> = small.dims().iter().skip_while(|&&d| d == 1).copied().collect();
    let shape = large.shape().broadcast_shape_binary_op(small.shape(), "add")?;
    let is_simple = shape.elem_count() == large.elem_count() && large.dims().ends_with(&repeated);
    if !is_simple || small.dtype() != DType::BF16 || large.dtype() != DType::BF16 {
        return Ok(None);
    }
    let device = device_of(large)?;
    let (large, small) = (dense(large)?, dense(small)?);
    let (total, period) = (large.elem_count(), small.elem_count());
    let mut out = unwritten::<bf16>(device, total)?;
    let function = kernel(device, "elementwise", "add_bf16")?;
    let config = launch_config((total.div_ceil(8).div_ceil(THREADS), 1, 1), THREADS, 0);
    let (x, y) = (Reading::of(&large)?, Reading::of(&small)?);
    let (total, period) = (total as i64, period as i64);
    launch!(function, config, &mut out, &x.view::<bf16>()?, &y.view::<bf16>()?, &total, &period);
    Ok(Some(written(out, shape, device)))
}

/// LayerNorm over the last dimension.
pub(crate) fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f32) -> Result<Tensor> {
    let device = device_of(x)?;
    let x = dense(x)?;
    let n = weight.elem_count();
    let rows = x.elem_count() / n.max(1);
    let (weight, bias) = (dense(&weight.to_dtype(DType::F32)?)?, dense(&bias.to_dtype(DType::F32)?)?);
    let mut out = unwritten::<bf16>(device, x.elem_count())?;
    let function = kernel(device, "norm", "layer_norm_bf16")?;
    // One warp per row.
    let config = launch_config((rows.div_ceil(THREADS / 32), 1, 1), THREADS, 0);
    let (reading, w, b) = (Reading::of(&x)?, Reading::of(&weight)?, Reading::of(&bias)?);
    let (rows, n) = (rows as u32, n as u32);
    launch!(
        function,
        config,
        &mut out,
        &reading.view::<bf16>()?,
        &w.view::<f32>()?,
        &b.view::<f32>()?,
        &rows,
        &n,
        &eps
    );
    Ok(written(out, x.shape(), device))
}

/// GroupNorm followed by ReLU of one image; `None` for shapes that the kernel does not support.
pub(crate) fn group_norm_relu(
    x: &Tensor,
    groups: usize,
    weight: &Tensor,
    bias: &Tensor,
    eps: f64,
) -> Result<Option<Tensor>> {
    const PIXELS_PER_CHUNK: usize = 512;
    let (h, w, c) = x.dims3()?;
    if groups > 64 || !c.is_multiple_of(8) {
        return Ok(None);
    }
    let device = device_of(x)?;
    let x = dense(x)?;
    let (weight, bias) = (dense(&weight.to_dtype(DType::F32)?)?, dense(&bias.to_dtype(DType::F32)?)?);
    let chunks = (h * w).div_ceil(PIXELS_PER_CHUNK);
    let mut partials = unwritten::<f32>(device, groups * chunks * 2)?;
    let mut out = unwritten::<bf16>(device, x.elem_count())?;
    let (reading, weight, bias) = (Reading::of(&x)?, Reading::of(&weight)?, Reading::of(&bias)?);
    let input = reading.view::<bf16>()?;
    let (pixels, channels, n_groups) = ((h * w) as u32, c as u32, groups as u32);
    let (per_chunk, n_chunks, eps) = (PIXELS_PER_CHUNK as u32, chunks as u32, eps as f32);
    let statistics = kernel(device, "norm", "group_norm_statistics_bf16")?;
    let config = launch_config((chunks, groups, 1), THREADS, 0);
    launch!(statistics, config, &mut partials, &input, &pixels, &channels, &n_groups, &per_chunk);
    let apply = kernel(device, "norm", "group_norm_relu_bf16")?;
    let config = launch_config((x.elem_count().div_ceil(8 * THREADS).min(1024), 1, 1), THREADS, 0);
    launch!(
        apply,
        config,
        &mut out,
        &input,
        &partials,
        &weight.view::<f32>()?,
        &bias.view::<f32>()?,
        &pixels,
        &channels,
        &n_groups,
        &per_chunk,
        &n_chunks,
        &eps
    );
    Ok(Some(written(out, x.shape(), device)))
}

/// A product without its bias, which the next kernel adds.
fn product(x: &Tensor, w: &Tensor) -> Result<Tensor> {
    plain::linear(x, w, None, Activation::None)
}

/// `x wᵀ + b`, rotated; `None` if the channels of a head are not a multiple of 8.
pub(crate) fn linear_rope(
    x: &Tensor,
    (w, b): (&Tensor, &Tensor),
    heads: usize,
    table: &RopeTable,
) -> Result<Option<Tensor>> {
    let (n, l, _) = x.dims3()?;
    let c = w.dim(0)?;
    if !(c / heads.max(1)).is_multiple_of(8) || !l.is_multiple_of(table.cos.dim(0)?) {
        return Ok(None);
    }
    let out = rotate(&product(x, w)?, b, heads, table, (1, 1), None)?;
    out.reshape((n, l, c)).map(Some)
}

/// Queries, keys and values from one product, the first two rotated; `None` if the channels of a head are not a
/// multiple of 8, or if the windows do not tile the image.
pub(crate) fn qkv_rope(
    x: &Tensor,
    (w, b): (&Tensor, &Tensor),
    heads: usize,
    table: &RopeTable,
    window: Option<usize>,
) -> Result<Option<[Tensor; 3]>> {
    let (c, rows) = (w.dim(0)? / 3, x.elem_count() / x.dim(D::Minus1)?);
    let (n, l, tiled) = match window {
        None => (x.dim(0)?, rows / x.dim(0)?, None),
        Some(size) => {
            let (_, h, width, _) = x.dims4()?;
            if !h.is_multiple_of(size) || !width.is_multiple_of(size) {
                return Ok(None);
            }
            (rows / (size * size), size * size, Some((width, size)))
        }
    };
    if !(c / heads.max(1)).is_multiple_of(8) || !l.is_multiple_of(table.cos.dim(0)?) {
        return Ok(None);
    }
    let out = rotate(&product(x, w)?, b, heads, table, (3, 2), tiled)?.reshape((3, n, l, c))?;
    Ok(Some([out.get(0)?, out.get(1)?, out.get(2)?]))
}

/// x `[.., parts·c]` plus the bias → `[parts, rows, c]`, with the first `n_rotated` parts rotated. `tiled` is the
/// width of the images and the side of the windows that they are cut into.
fn rotate(
    x: &Tensor,
    b: &Tensor,
    heads: usize,
    table: &RopeTable,
    (parts, n_rotated): (usize, usize),
    tiled: Option<(usize, usize)>,
) -> Result<Tensor> {
    let device = device_of(x)?;
    let b = dense(&b.to_dtype(DType::BF16)?)?;
    let c = b.elem_count() / parts;
    let count = x.elem_count();
    let rows = count / (parts * c);
    let mut out = unwritten::<bf16>(device, count)?;
    let function = kernel(device, "rope", "rope_bf16")?;
    let config = launch_config(((count / 8).div_ceil(THREADS), 1, 1), THREADS, 0);
    let (input, bias) = (Reading::of(x)?, Reading::of(&b)?);
    let (cosines, sines) = (Reading::of(&table.cos)?, Reading::of(&table.sin)?);
    let (width, window) = tiled.map_or((0, 0), |(width, side)| (width as u32, side as u32));
    let (heads, d, p) = (heads as u32, (c / heads) as u32, table.cos.dim(0)? as u32);
    let (n_rows, n_parts, n_rotated) = (rows as u32, parts as u32, n_rotated as u32);
    launch!(
        function,
        config,
        &mut out,
        &input.view::<bf16>()?,
        &bias.view::<bf16>()?,
        &cosines.view::<f32>()?,
        &sines.view::<f32>()?,
        &n_rows,
        &heads,
        &d,
        &p,
        &n_parts,
        &n_rotated,
        &width,
        &window
    );
    Ok(written(out, (parts, rows, c), device))
}

/// `x wᵀ + b` of concatenated entries, with the first `n_rotated` rows of each rotated; `None` if the channels of a
/// head are not a multiple of 8.
pub(crate) fn linear_rope_varlen(
    x: &Tensor,
    (w, b): (&Tensor, &Tensor),
    heads: usize,
    table: &RopeTable,
    lens: &[usize],
    n_rotated: &[usize],
) -> Result<Option<Tensor>> {
    let c = w.dim(0)?;
    if !(c / heads.max(1)).is_multiple_of(8) {
        return Ok(None);
    }
    let x = product(x, w)?;
    let device = device_of(&x)?;
    let b = dense(&b.to_dtype(DType::BF16)?)?;
    let (starts, n_rotated) = (starts(lens, &x)?, constant(n_rotated, &x)?);
    let mut out = unwritten::<bf16>(device, x.elem_count())?;
    let function = kernel(device, "rope", "rope_varlen_bf16")?;
    let longest = lens.iter().copied().max().unwrap_or(0);
    let config = launch_config(((longest * c / 8).div_ceil(THREADS), lens.len(), 1), THREADS, 0);
    let (input, bias) = (Reading::of(&x)?, Reading::of(&b)?);
    let (cosines, sines) = (Reading::of(&table.cos)?, Reading::of(&table.sin)?);
    let (starts, n_rotated) = (Reading::of(&starts)?, Reading::of(&n_rotated)?);
    let (heads, d, p) = (heads as u32, (c / heads) as u32, table.cos.dim(0)? as u32);
    launch!(
        function,
        config,
        &mut out,
        &input.view::<bf16>()?,
        &bias.view::<bf16>()?,
        &cosines.view::<f32>()?,
        &sines.view::<f32>()?,
        &starts.view::<u32>()?,
        &n_rotated.view::<u32>()?,
        &heads,
        &d,
        &p
    );
    Ok(Some(written(out, x.shape(), device)))
}

/// `residual + x wᵀ + b`, with the residual repeated along leading dimensions. With a window, x is in the order of
/// the windows that tile the residual `[n, h, w, c]`. `None` if the channels are not a multiple of 8, or if the
/// windows do not tile the residual.
pub(crate) fn linear_add(
    x: &Tensor,
    (w, b): (&Tensor, &Tensor),
    residual: &Tensor,
    window: Option<usize>,
) -> Result<Option<Tensor>> {
    let (n, last) = (w.dim(0)?, x.rank() - 1);
    let mut shape = x.dims().to_vec();
    shape[last] = n;
    let (mut width, mut side) = (0, 0);
    if let Some(size) = window {
        let (_, h, w, _) = residual.dims4()?;
        if !h.is_multiple_of(size) || !w.is_multiple_of(size) {
            return Ok(None);
        }
        (width, side) = (w as u32, size as u32);
        shape = residual.dims().to_vec();
    }
    if !n.is_multiple_of(8) || residual.dtype() != DType::BF16 {
        return Ok(None);
    }
    let x = product(x, w)?;
    let device = device_of(&x)?;
    let (b, residual) = (dense(&b.to_dtype(DType::BF16)?)?, dense(residual)?);
    let rows = x.elem_count() / n;
    let mut out = unwritten::<bf16>(device, x.elem_count())?;
    let function = kernel(device, "elementwise", "bias_add_bf16")?;
    let config = launch_config(((rows * n / 8).div_ceil(THREADS), 1, 1), THREADS, 0);
    let (input, bias, before) = (Reading::of(&x)?, Reading::of(&b)?, Reading::of(&residual)?);
    let (rows, columns, period) = (rows as u32, n as u32, (residual.elem_count() / n) as u32);
    launch!(
        function,
        config,
        &mut out,
        &input.view::<bf16>()?,
        &bias.view::<bf16>()?,
        &before.view::<bf16>()?,
        &rows,
        &columns,
        &period,
        &width,
        &side
    );
    Ok(Some(written(out, shape, device)))
}

/// Concatenated sequences, unchanged and with their positions added; `None` if the channels are not a multiple of 8.
pub(crate) fn cat_with_positions(parts: &[(&Tensor, &Tensor)]) -> Result<Option<(Tensor, Tensor)>> {
    /// Blocks per part: with a memory of the real grid, a thread processes about 4 vectors.
    const BLOCKS: usize = 40;
    let Some((first, _)) = parts.first() else { return Ok(None) };
    let (device, n) = (device_of(first)?, first.dim(1)?);
    let is_simple = |t: &Tensor| t.dtype() == DType::BF16 && t.dim(1).is_ok_and(|c| c == n);
    if !n.is_multiple_of(8) || !parts.iter().all(|(rows, positions)| is_simple(rows) && is_simple(positions))
    {
        return Ok(None);
    }
    let parts = parts.iter().map(|(rows, positions)| Ok((dense(rows)?, dense(positions)?)));
    let parts: Vec<(Tensor, Tensor)> = parts.collect::<Result<_>>()?;
    let stream = device.cuda_stream();
    let address = |t: &Tensor| -> Result<i64> {
        let reading = Reading::of(t)?;
        let view = reading.view::<bf16>()?;
        Ok(view.device_ptr(&stream).0 as i64)
    };
    let (mut table, mut total) = (Vec::with_capacity(parts.len() * 5), 0);
    for (rows, positions) in &parts {
        let (count, period) = (rows.dim(0)?, positions.dim(0)?);
        table.extend([address(rows)?, address(positions)?, total as i64, count as i64, period as i64]);
        total += count;
    }
    let table = Tensor::new(table, first.device())?;
    let (mut rows, mut placed) =
        (unwritten::<bf16>(device, total * n)?, unwritten::<bf16>(device, total * n)?);
    let function = kernel(device, "elementwise", "cat_with_positions_bf16")?;
    let config = launch_config((parts.len(), BLOCKS, 1), THREADS, 0);
    let table = Reading::of(&table)?;
    let width = n as u32;
    launch!(function, config, &mut rows, &mut placed, &table.view::<i64>()?, &width);
    Ok(Some((written(rows, (total, n), device), written(placed, (total, n), device))))
}

/// Convolution as one product over gathered neighbourhoods; `None` if the channels are not a multiple of 8.
pub(crate) fn conv2d(x: &Tensor, w: &Tensor, b: Option<&Tensor>, g: ConvGeometry) -> Result<Option<Tensor>> {
    const THREADS: usize = 128;
    let (n, h, width, c) = x.dims4()?;
    if !c.is_multiple_of(8) {
        return Ok(None);
    }
    let device = device_of(x)?;
    let x = dense(x)?;
    let (oh, ow, taps) = (g.output_len(h), g.output_len(width), g.kernel * g.kernel * c);
    let mut rows = unwritten::<bf16>(device, n * oh * ow * taps)?;
    let function = kernel(device, "im2col", "im2col_bf16")?;
    let config = launch_config((ow, oh, n), THREADS, 0);
    {
        let input = Reading::of(&x)?;
        let (h, width, c, k) = (h as u32, width as u32, c as u32, g.kernel as u32);
        let (stride, padding) = (g.stride as u32, g.padding as u32);
        launch!(function, config, &mut rows, &input.view::<bf16>()?, &h, &width, &c, &k, &stride, &padding);
    }
    let rows = written(rows, (n, oh, ow, taps), device);
    linear(&rows, w, b, Activation::None).map(Some)
}

/// Depthwise convolution that keeps the image size; `None` for other geometries.
pub(crate) fn depthwise_conv2d(
    x: &Tensor,
    w: &Tensor,
    b: &Tensor,
    g: ConvGeometry,
) -> Result<Option<Tensor>> {
    let (n, h, width, c) = x.dims4()?;
    if g.kernel.is_multiple_of(2) || g.padding != g.kernel / 2 || g.stride != 1 || !c.is_multiple_of(2) {
        return Ok(None);
    }
    const THREADS: usize = 128;
    let device = device_of(x)?;
    let x = dense(x)?;
    let (w, b) = (dense(&w.to_dtype(DType::F32)?)?, dense(&b.to_dtype(DType::F32)?)?);
    let mut out = unwritten::<bf16>(device, x.elem_count())?;
    let function = kernel(device, "depthwise", "depthwise_conv_bf16")?;
    let config = launch_config(((c / 2 * width.div_ceil(8)).div_ceil(THREADS), h, n), THREADS, 0);
    let (input, weight, bias) = (Reading::of(&x)?, Reading::of(&w)?, Reading::of(&b)?);
    let (h, width, c, k) = (h as u32, width as u32, c as u32, g.kernel as u32);
    launch!(
        function,
        config,
        &mut out,
        &input.view::<bf16>()?,
        &weight.view::<f32>()?,
        &bias.view::<f32>()?,
        &h,
        &width,
        &c,
        &k
    );
    Ok(Some(written(out, x.shape(), device)))
}
