//! The operations of the model, and the only code that depends on the device.
//!
//! Model code calls only these functions. Each has a plain composition of candle operations ([`plain`]), which runs
//! on every device in f32 and bf16 and is the reference in tests, and faster implementations: [`cpu`] for f32 on a
//! CPU, [`cuda`] for bf16 on an NVIDIA GPU. To add a backend, add a folder next to these and an arm in the functions
//! below.
//!
//! Layouts: sequences are `[batch, length, channels]`, images `[batch, height, width, channels]`. Activations are f32
//! or bf16; softmax, norms, rotary angles and all sums are f32 in both cases. Large weights may be bf16 with f32
//! activations, and are converted where they are used.

mod after_product;
mod boxes;
mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
mod download;
mod plain;
mod resize;

pub(crate) use after_product::{
    cat_with_positions, linear_add, linear_add_windows, linear_rope, linear_rope_varlen, qkv_rope,
};
pub(crate) use boxes::{box_bias, box_distances, box_sine, refine_boxes};
pub(crate) use download::Download;
pub(crate) use plain::SCORES_BYTES;
pub(crate) use resize::{Filter, Resizer, Taps, bilinear_taps, resize_rgb};

use std::cell::Cell;
use std::time::Instant;

use candle_core::{DType, Device, Result, Tensor};

#[cfg(feature = "cuda")]
pub(crate) use cuda::{
    describe as describe_cuda, is_fused, memory as cuda_memory, open as open_cuda, use_fused,
    verify as verify_fused,
};
#[cfg(not(feature = "cuda"))]
pub(crate) use without_cuda::{cuda_memory, describe_cuda, is_fused, open_cuda, use_fused, verify_fused};

/// Replacements in builds without CUDA.
#[cfg(not(feature = "cuda"))]
mod without_cuda {
    use candle_core::Device;

    use crate::device_memory::DeviceMemory;

    pub(crate) fn open_cuda(_ordinal: usize) -> Result<Device, String> {
        Err("this build does not support CUDA".to_owned())
    }

    pub(crate) fn use_fused(_on: bool) {}

    pub(crate) fn is_fused() -> bool {
        false
    }

    pub(crate) fn verify_fused(_device: &Device) -> candle_core::Result<Vec<super::Verified>> {
        Ok(Vec::new())
    }

    pub(crate) fn describe_cuda(_device: &Device) -> Option<String> {
        None
    }

    pub(crate) fn cuda_memory(_device: &Device) -> Option<DeviceMemory> {
        None
    }
}

/// The comparison of a fused kernel with the plain composition of the same operation in f32, on the same inputs.
#[derive(Debug, Clone, PartialEq)]
pub struct Verified {
    /// The operation and its shapes.
    pub name: String,
    /// Largest difference, relative to the largest expected number. NaN if there is no kernel or if its result is not
    /// finite.
    pub off: f32,
    /// Largest acceptable difference, which allows for rounding to bfloat16.
    pub allowed: f32,
}

impl Verified {
    /// Whether the difference is acceptable; false if it is NaN.
    pub fn passed(&self) -> bool {
        self.off <= self.allowed
    }
}

/// The implementation of an operation on a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Backend {
    Cpu,
    Plain,
    /// The fused kernels, and the plain composition for inputs that they do not support.
    #[cfg(feature = "cuda")]
    Fused,
}

fn backend(x: &Tensor) -> Backend {
    match (x.device(), x.dtype()) {
        (Device::Cpu, DType::F32) => Backend::Cpu,
        #[cfg(feature = "cuda")]
        (device, dtype) if runs_fused(device, dtype) => Backend::Fused,
        _ => Backend::Plain,
    }
}

/// Whether the fused kernels run activations of this type on this device.
#[cfg(feature = "cuda")]
fn runs_fused(device: &Device, dtype: DType) -> bool {
    device.is_cuda() && dtype == DType::BF16 && cuda::is_fused()
}

thread_local! {
    /// Floating-point operations of this thread since the last [`take_flops`]; a multiply-add counts as two.
    static FLOPS: Cell<u64> = const { Cell::new(0) };
}

fn count_flops(n: usize) {
    FLOPS.with(|f| f.set(f.get() + n as u64));
}

/// Returns the number of floating-point operations of products, attention and convolutions on this thread since the
/// last call.
pub(crate) fn take_flops() -> u64 {
    FLOPS.with(Cell::take)
}

/// The activation function after a linear layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activation {
    /// The identity: no activation.
    None,
    /// `max(x, 0)`, element by element.
    Relu,
    /// Exact GELU, with the error function.
    Gelu,
    /// Logistic function, `1 / (1 + exp(-x))`.
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
        #[cfg(feature = "cuda")]
        Backend::Fused => cuda::fused::linear(x, w, b, activation),
    }
}

/// `a b`: a `[.., m, k]`, b `[.., k, n]`, with sums in f32.
pub(crate) fn matmul(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    plain::matmul(a, b)
}

/// LayerNorm over the last dimension: weight and bias `[c]`.
pub(crate) fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f32) -> Result<Tensor> {
    match backend(x) {
        Backend::Cpu => cpu::norm::layer_norm(x, weight, bias, eps),
        Backend::Plain => plain::layer_norm(x, weight, bias, eps),
        #[cfg(feature = "cuda")]
        Backend::Fused => cuda::fused::layer_norm(x, weight, bias, eps),
    }
}

/// GroupNorm followed by ReLU of one image `[h, w, c]`.
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
        #[cfg(feature = "cuda")]
        Backend::Fused => {
            let fused = cuda::fused::group_norm_relu(x, groups, weight, bias, eps)?;
            fused.map_or_else(|| plain::group_norm_relu(x, groups, weight, bias, eps), Ok)
        }
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
        #[cfg(feature = "cuda")]
        Backend::Fused => {
            let fused = cuda::attention::sdpa(q, k, v, heads, bias, scale)?;
            fused.map_or_else(|| plain::sdpa(q, k, v, heads, bias, scale), Ok)
        }
    }
}

/// Attention in which each batch entry has its own number of keys and all heads share the values:
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
        #[cfg(feature = "cuda")]
        Backend::Fused => {
            let fused = cuda::attention::sdpa_varlen(q, k, v, heads, key_lens, scale)?;
            fused.map_or_else(|| plain::sdpa_varlen(q, k, v, heads, key_lens, scale), Ok)
        }
    }
}

/// Convolution: x `[n, h, w, c]`, w `[out, k·k·c]`, b `[out]` → `[n, oh, ow, out]`.
pub(crate) fn conv2d(x: &Tensor, w: &Tensor, b: Option<&Tensor>, g: ConvGeometry) -> Result<Tensor> {
    let (n, height, width, _) = x.dims4()?;
    count_flops(2 * n * g.output_len(height) * g.output_len(width) * w.elem_count());
    match backend(x) {
        Backend::Cpu => cpu::conv::conv2d(x, w, b, g),
        Backend::Plain => plain::conv2d(x, w, b, g),
        #[cfg(feature = "cuda")]
        Backend::Fused => cuda::fused::conv2d(x, w, b, g)?.map_or_else(|| plain::conv2d(x, w, b, g), Ok),
    }
}

/// Depthwise convolution, stride 1: x `[n, h, w, c]`, w `[k·k, c]`, b `[c]`.
pub(crate) fn depthwise_conv2d(x: &Tensor, w: &Tensor, b: &Tensor, g: ConvGeometry) -> Result<Tensor> {
    count_flops(2 * x.elem_count() * g.kernel * g.kernel);
    match backend(x) {
        Backend::Cpu => cpu::conv::depthwise_conv2d(x, w, b, g),
        Backend::Plain => plain::depthwise_conv2d(x, w, b, g),
        #[cfg(feature = "cuda")]
        Backend::Fused => {
            let fused = cuda::fused::depthwise_conv2d(x, w, b, g)?;
            fused.map_or_else(|| plain::depthwise_conv2d(x, w, b, g), Ok)
        }
    }
}

/// Sum of two tensors. Leading dimensions that are 1 or missing are repeated.
pub(crate) fn add(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    match backend(a) {
        Backend::Cpu => cpu::linear::add(a, b),
        Backend::Plain => a.broadcast_add(b),
        #[cfg(feature = "cuda")]
        Backend::Fused => cuda::fused::add(a, b)?.map_or_else(|| a.broadcast_add(b), Ok),
    }
}

/// Applies an activation to a tensor.
pub(crate) fn activate(x: &Tensor, activation: Activation) -> Result<Tensor> {
    match backend(x) {
        Backend::Cpu => cpu::linear::activation(x, activation),
        Backend::Plain => plain::activate(x, activation),
        #[cfg(feature = "cuda")]
        Backend::Fused => cuda::fused::activate(x, activation),
    }
}

/// Exact GELU of a tensor.
pub(crate) fn gelu(x: &Tensor) -> Result<Tensor> {
    activate(x, Activation::Gelu)
}

/// Transposed convolution of kernel 2 and stride 2: x `[n, h, w, c]`, w `[2·2·out, c]` (row, column, out),
/// b `[2·2·out]` → `[n, 2h, 2w, out]`. The kernels do not overlap, so it is one product and a permutation.
pub(crate) fn conv_transpose2x2(x: &Tensor, w: &Tensor, b: &Tensor) -> Result<Tensor> {
    let (n, h, width, _) = x.dims4()?;
    let n_out = w.dim(0)? / 4;
    linear(x, w, Some(b), Activation::None)?
        .reshape((n, h, width, 2, 2 * n_out))?
        .permute((0, 1, 3, 2, 4))?
        .contiguous()?
        .reshape((n, 2 * h, 2 * width, n_out))
}

/// Cuts `[b, h, w, c]` into windows `[b·nh·nw, size·size, c]`, padded with zeros on the right and at the bottom.
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

/// Inverts [`window_split`]: `[b·nh·nw, size·size, c]` → `[b, h, w, c]`.
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

/// Resizes an RGB image on the GPU and normalises it, `(x − mean) / std` per channel; `None` if the CPU has to do it.
#[cfg_attr(
    not(feature = "cuda"),
    expect(unused_variables, reason = "only the fused kernels resize on the GPU")
)]
pub(crate) fn pixel_values(
    rgb: &[u8],
    from: (usize, usize),
    size: usize,
    (mean, std): ([f32; 3], [f32; 3]),
    dtype: DType,
    device: &Device,
) -> Result<Option<Tensor>> {
    #[cfg(feature = "cuda")]
    if runs_fused(device, dtype) {
        return cuda::pixel_values(rgb, from, size, mean, std, device).map(Some);
    }
    Ok(None)
}

/// GFLOP/s of a large square matrix product on a device, as the rate to compare stages with.
pub(crate) fn matmul_gflops(device: &Device, dtype: DType) -> Result<f64> {
    const SIDES: [usize; 4] = [1024, 2048, 4096, 8192];
    /// Duration in seconds from which a product is large enough.
    const LONG_ENOUGH: f64 = 0.05;
    let mut best = f64::INFINITY;
    let mut side = 0;
    for larger in SIDES {
        side = larger;
        let x = Tensor::rand(-1f32, 1.0, (side, side), device)?.to_dtype(dtype)?;
        let run = || -> Result<f64> {
            let started = Instant::now();
            linear(&x, &x, None, Activation::None)?;
            device.synchronize()?;
            Ok(started.elapsed().as_secs_f64())
        };
        run()?;
        best = (0..3).map(|_| run()).try_fold(f64::INFINITY, |best, s| s.map(|s| best.min(s)))?;
        if best >= LONG_ENOUGH {
            break;
        }
    }
    Ok(2.0 * (side as f64).powi(3) / best / 1e9)
}

#[cfg(test)]
mod tests;
