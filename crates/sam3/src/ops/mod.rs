//! The operations that the model is made of: the one place that knows devices.
//!
//! Model code calls only these functions. Each has a plain composition of library operations ([`plain`]),
//! which runs on every device in f32 and bf16 and is the oracle of the tests, and faster ones: [`cpu`] for
//! f32 on a CPU, [`cuda`] for bf16 on an NVIDIA GPU. A new backend is another folder beside them and another
//! arm in the functions below.
//!
//! Layout everywhere: sequences `[batch, length, channels]`, images `[batch, height, width, channels]`.
//! Activations are f32 or bf16; softmax, norms, rotary angles and all sums are f32 in either. Large weights
//! may be bf16 beside f32 activations and are widened where they are used.

mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
mod download;
mod plain;
mod resize;

pub(crate) use download::Download;
pub(crate) use resize::{Filter, Resizer, Taps, bilinear_taps, resize_rgb};

use std::cell::Cell;
use std::time::Instant;

use candle_core::{DType, Device, Result, Tensor};

#[cfg(feature = "cuda")]
pub(crate) use cuda::{describe as describe_cuda, memory as cuda_memory, open as open_cuda};
#[cfg(not(feature = "cuda"))]
pub(crate) use without_cuda::{cuda_memory, describe_cuda, open_cuda};

/// What a build without CUDA says of NVIDIA GPUs.
#[cfg(not(feature = "cuda"))]
mod without_cuda {
    use candle_core::Device;

    use crate::device::DeviceMemory;

    pub(crate) fn open_cuda(_ordinal: usize) -> Result<Device, String> {
        Err("this build has no CUDA".to_owned())
    }

    pub(crate) fn describe_cuda(_device: &Device) -> Option<String> {
        None
    }

    pub(crate) fn cuda_memory(_device: &Device) -> Option<DeviceMemory> {
        None
    }
}

/// Which implementation an operation on a tensor takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Backend {
    Cpu,
    Plain,
}

fn backend(x: &Tensor) -> Backend {
    if x.device().is_cpu() && x.dtype() == DType::F32 { Backend::Cpu } else { Backend::Plain }
}

thread_local! {
    /// Multiply-adds of this thread's operations, twice each, since [`take_flops`] last asked.
    static FLOPS: Cell<u64> = const { Cell::new(0) };
}

fn count_flops(n: usize) {
    FLOPS.with(|f| f.set(f.get() + n as u64));
}

/// Floating-point operations of products, attention and convolutions on this thread since the last call.
pub(crate) fn take_flops() -> u64 {
    FLOPS.with(Cell::take)
}

/// The function after a linear layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activation {
    /// None.
    None,
    /// `max(x, 0)`.
    Relu,
    /// Exact GELU, with the error function.
    Gelu,
    /// Logistic function.
    Sigmoid,
}

/// Square kernel, stride and zero padding of a convolution, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ConvGeometry {
    pub kernel: usize,
    pub stride: usize,
    pub padding: usize,
}

impl ConvGeometry {
    /// Length of the output along an axis of `len` pixels.
    pub(crate) fn output_len(self, len: usize) -> usize {
        (len + 2 * self.padding).saturating_sub(self.kernel) / self.stride + 1
    }
}

/// `activation(x wᵀ + b)`: x `[.., in]`, w `[out, in]`, b `[out]` → `[.., out]`.
pub(crate) fn linear(x: &Tensor, w: &Tensor, b: Option<&Tensor>, activation: Activation) -> Result<Tensor> {
    count_flops(2 * x.elem_count() * w.dim(0)?);
    match backend(x) {
        Backend::Cpu => cpu::linear::linear(x, w, b, activation),
        Backend::Plain => plain::linear(x, w, b, activation),
    }
}

/// `a b`, both `[.., m, k]` and `[.., k, n]`, sums in f32.
pub(crate) fn matmul(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    plain::matmul(a, b)
}

/// LayerNorm over the last dimension: weight and bias `[c]`.
pub(crate) fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f32) -> Result<Tensor> {
    match backend(x) {
        Backend::Cpu => cpu::norm::layer_norm(x, weight, bias, eps),
        Backend::Plain => plain::layer_norm(x, weight, bias, eps),
    }
}

/// GroupNorm, then ReLU, of one image `[h, w, c]`.
pub(crate) fn group_norm_relu(
    x: &Tensor,
    groups: usize,
    weight: &Tensor,
    bias: &Tensor,
    eps: f64,
) -> Result<Tensor> {
    match backend(x) {
        Backend::Cpu => cpu::norm::group_norm_relu(x, groups, weight, bias, eps),
        Backend::Plain => plain::group_norm_relu(x, groups, weight, bias, eps),
    }
}

/// `softmax(scale · q kᵀ + bias) v` per head, softmax in f32: q, k `[b, l, h·d]`, v `[b, lk, h·dv]`,
/// bias `[b or 1, h or 1, lq or 1, lk]` → `[b, lq, h·dv]`.
pub(crate) fn sdpa(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    heads: usize,
    bias: Option<&Tensor>,
    scale: f32,
) -> Result<Tensor> {
    count_flops(2 * q.elem_count() * k.dim(1)? + 2 * q.dim(1)? * v.elem_count());
    match backend(q) {
        Backend::Cpu => cpu::attention::sdpa(q, k, v, heads, bias, scale),
        Backend::Plain => plain::sdpa(q, k, v, heads, bias, scale),
    }
}

/// Attention where each batch entry has its own number of keys and all heads share the values:
/// q `[b, lq, h·d]`, k `[Σ lk, h·d]`, v `[Σ lk, dv]` → `[b, lq, h·dv]`.
pub(crate) fn sdpa_varlen(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    heads: usize,
    key_lens: &[usize],
    scale: f32,
) -> Result<Tensor> {
    let (_, lq, cq) = q.dims3()?;
    count_flops(2 * lq * key_lens.iter().sum::<usize>() * (cq + heads * v.dim(1)?));
    match backend(q) {
        Backend::Cpu => cpu::attention::sdpa_varlen(q, k, v, heads, key_lens, scale),
        Backend::Plain => plain::sdpa_varlen(q, k, v, heads, key_lens, scale),
    }
}

/// Rotates the first `n_rotated` rows of x `[b, l, heads·d]` by the angles of cos, sin `[p, d/2]`, row r by
/// table row `r % p`, pairs interleaved; the other rows pass.
pub(crate) fn rope(x: &Tensor, cos: &Tensor, sin: &Tensor, heads: usize, n_rotated: usize) -> Result<Tensor> {
    match backend(x) {
        Backend::Cpu => cpu::rope::rope(x, cos, sin, heads, n_rotated),
        Backend::Plain => plain::rope(x, cos, sin, heads, n_rotated),
    }
}

/// x `[n, h, w, c]`, w `[out, k·k·c]`, b `[out]` → `[n, oh, ow, out]`.
pub(crate) fn conv2d(x: &Tensor, w: &Tensor, b: Option<&Tensor>, g: ConvGeometry) -> Result<Tensor> {
    let (n, height, width, _) = x.dims4()?;
    count_flops(2 * n * g.output_len(height) * g.output_len(width) * w.elem_count());
    match backend(x) {
        Backend::Cpu => cpu::conv::conv2d(x, w, b, g),
        Backend::Plain => plain::conv2d(x, w, b, g),
    }
}

/// Depthwise convolution, stride 1: x `[n, h, w, c]`, w `[k·k, c]`, b `[c]`.
pub(crate) fn depthwise_conv2d(x: &Tensor, w: &Tensor, b: &Tensor, g: ConvGeometry) -> Result<Tensor> {
    count_flops(2 * x.elem_count() * g.kernel * g.kernel);
    match backend(x) {
        Backend::Cpu => cpu::conv::depthwise_conv2d(x, w, b, g),
        Backend::Plain => plain::depthwise_conv2d(x, w, b, g),
    }
}

/// Sum of two tensors; leading dimensions of size 1, or absent ones, are repeated.
pub(crate) fn add(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    match backend(a) {
        Backend::Cpu => cpu::linear::add(a, b),
        Backend::Plain => a.broadcast_add(b),
    }
}

/// An activation by itself.
pub(crate) fn activate(x: &Tensor, activation: Activation) -> Result<Tensor> {
    match backend(x) {
        Backend::Cpu => cpu::linear::activation(x, activation),
        Backend::Plain => plain::activate(x, activation),
    }
}

/// Exact GELU.
pub(crate) fn gelu(x: &Tensor) -> Result<Tensor> {
    activate(x, Activation::Gelu)
}

/// Transposed convolution of kernel 2 and stride 2: x `[n, h, w, c]`, w `[2·2·out, c]` (row, column, out),
/// b `[2·2·out]` → `[n, 2h, 2w, out]`. Kernels do not overlap, so it is one product and a reordering.
pub(crate) fn conv_transpose2x2(x: &Tensor, w: &Tensor, b: &Tensor) -> Result<Tensor> {
    let (n, h, width, _) = x.dims4()?;
    let n_out = w.dim(0)? / 4;
    linear(x, w, Some(b), Activation::None)?
        .reshape((n, h, width, 2, 2 * n_out))?
        .permute((0, 1, 3, 2, 4))?
        .contiguous()?
        .reshape((n, 2 * h, 2 * width, n_out))
}

/// Cuts `[b, h, w, c]` into windows `[b·nh·nw, size·size, c]`, padding right and bottom with zeros.
pub(crate) fn window_split(x: &Tensor, size: usize) -> Result<Tensor> {
    let (b, h, w, c) = x.dims4()?;
    let (nh, nw) = (h.div_ceil(size), w.div_ceil(size));
    x.pad_with_zeros(1, 0, nh * size - h)?
        .pad_with_zeros(2, 0, nw * size - w)?
        .reshape((b, nh, size, nw, size * c))?
        .permute((0, 1, 3, 2, 4))?
        .contiguous()?
        .reshape((b * nh * nw, size * size, c))
}

/// Undoes [`window_split`]: `[b·nh·nw, size·size, c]` → `[b, h, w, c]`.
pub(crate) fn window_merge(x: &Tensor, size: usize, (h, w): (usize, usize)) -> Result<Tensor> {
    let c = x.dim(2)?;
    let (nh, nw) = (h.div_ceil(size), w.div_ceil(size));
    let b = x.dim(0)? / (nh * nw);
    x.reshape((b, nh, nw, size, size * c))?
        .permute((0, 1, 3, 2, 4))?
        .contiguous()?
        .reshape((b, nh * size, nw * size, c))?
        .narrow(1, 0, h)?
        .narrow(2, 0, w)?
        .contiguous()
}

/// Nearest-neighbour enlargement of `[h, w, c]` to `[2h, 2w, c]`.
pub(crate) fn upsample_nearest_2x(x: &Tensor) -> Result<Tensor> {
    let (h, w, c) = x.dims3()?;
    x.reshape((h, 1, w, 1, c))?.broadcast_as((h, 2, w, 2, c))?.contiguous()?.reshape((2 * h, 2 * w, c))
}

/// GFLOP/s of a large square matrix product on a device: what is compared with.
pub(crate) fn matmul_gflops(device: &Device, dtype: DType) -> Result<f64> {
    let side: usize = if device.is_cpu() { 2048 } else { 8192 };
    let x = Tensor::rand(-1f32, 1.0, (side, side), device)?.to_dtype(dtype)?;
    let run = || -> Result<f64> {
        let started = Instant::now();
        linear(&x, &x, None, Activation::None)?;
        device.synchronize()?;
        Ok(started.elapsed().as_secs_f64())
    };
    run()?;
    let best = (0..3).map(|_| run()).try_fold(f64::INFINITY, |best, s| s.map(|s| best.min(s)))?;
    Ok(2.0 * (side as f64).powi(3) / best / 1e9)
}

#[cfg(test)]
mod tests;
