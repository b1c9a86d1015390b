//! Attention with the kernels of `kernels/attention.cu`: no score matrix in memory, and a number of keys per entry.

use candle_core::cuda_backend::WrapErr;
use candle_core::cuda_backend::cudarc::driver::{CudaView, sys};
use candle_core::{CudaDevice, DType, Result, Tensor};
use half::bf16;

use super::constants::starts;
use super::launch::{
    Reading, allow_shared, dense, device_of, kernel, launch, launch_config, unwritten, written,
};

/// An attention kernel: its name, the queries and threads of a block, and its shared memory in bytes.
struct AttentionKernel {
    name: &'static str,
    rows: usize,
    threads: usize,
    shared: u32,
    /// Whether there is a variant that splits the keys.
    can_split: bool,
}

impl AttentionKernel {
    /// The kernel for heads of `d` channels with values of `dv` channels; `None` if there is no such kernel.
    fn of(d: usize, dv: usize, with_bias: bool) -> Option<Self> {
        let (name, rows, threads, shared) = match (d, dv, with_bias) {
            (256, 64, false) => ("attention_d256_v64", 128, 128, 40_960),
            (256, 256, false) => ("attention_d256_v256", 128, 256, 65_536),
            (64, 64, false) => ("attention_d64_v64", 192, 192, 32_768),
            (32, 32, false) => ("attention_d32_v32", 128, 128, 16_384),
            (32, 32, true) => ("attention_bias_d32_v32", 128, 128, 16_384),
            _ => return None,
        };
        Some(Self { name, rows, threads, shared, can_split: (d, dv) == (256, 64) })
    }
}

/// [`crate::ops::sdpa`]; `None` for head sizes without a kernel.
pub(crate) fn sdpa(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    heads: usize,
    bias: Option<&Tensor>,
    scale: f32,
) -> Result<Option<Tensor>> {
    let (b, lk, _) = k.dims3()?;
    let (k, v) = (k.flatten(0, 1)?, v.flatten(0, 1)?);
    attention(q, &k, &v, heads, heads, &vec![lk; b], bias, scale)
}

/// [`crate::ops::sdpa_varlen`]; `None` for head sizes without a kernel.
pub(crate) fn sdpa_varlen(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    heads: usize,
    key_lens: &[usize],
    scale: f32,
) -> Result<Option<Tensor>> {
    attention(q, k, v, heads, 1, key_lens, None, scale)
}

/// Contiguous inputs, with the sizes and strides that the kernels need.
struct Inputs<'a> {
    q: CudaView<'a, bf16>,
    k: CudaView<'a, bf16>,
    v: CudaView<'a, bf16>,
    starts: CudaView<'a, u32>,
    lq: u32,
    heads: u32,
    v_heads: u32,
    q_batch: i64,
    q_row: i64,
    v_row: i64,
    scale: f32,
}

#[expect(clippy::too_many_arguments, reason = "attention has this many independent inputs")]
fn attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    heads: usize,
    v_heads: usize,
    key_lens: &[usize],
    bias: Option<&Tensor>,
    scale: f32,
) -> Result<Option<Tensor>> {
    let (b, lq, cq) = q.dims3()?;
    let (cv, d) = (v.dim(1)?, cq / heads);
    let dv = cv / v_heads;
    let Some(choice) = AttentionKernel::of(d, dv, bias.is_some()) else { return Ok(None) };
    let device = device_of(q)?;
    let (q, k, v, starts) = (dense(q)?, dense(k)?, dense(v)?, starts(key_lens, q)?);
    let (q, k, v, starts) = (Reading::of(&q)?, Reading::of(&k)?, Reading::of(&v)?, Reading::of(&starts)?);
    let inputs = Inputs {
        q: q.view()?,
        k: k.view()?,
        v: v.view()?,
        starts: starts.view()?,
        lq: lq as u32,
        heads: heads as u32,
        v_heads: v_heads as u32,
        q_batch: (lq * cq) as i64,
        q_row: cq as i64,
        v_row: cv as i64,
        scale,
    };
    let shape = (b, lq, heads * dv);
    let splits = if choice.can_split { splits(device, lq.div_ceil(choice.rows) * heads * b)? } else { 1 };
    match bias {
        Some(bias) => choice.with_bias(device, &inputs, shape, bias).map(Some),
        None if splits > 1 => choice.split(device, &inputs, shape, splits).map(Some),
        None => choice.unsplit(device, &inputs, shape).map(Some),
    }
}

/// Number of parts to split the keys into, so that the blocks of few objects fill the GPU.
fn splits(device: &CudaDevice, n_blocks: usize) -> Result<usize> {
    const BLOCKS_PER_PROCESSOR: usize = 2;
    const MAX_SPLITS: usize = 8;
    let count = sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT;
    let n_processors = device.cuda_stream().context().attribute(count).w()? as usize;
    Ok((BLOCKS_PER_PROCESSOR * n_processors / n_blocks.max(1)).clamp(1, MAX_SPLITS))
}

impl AttentionKernel {
    /// All keys of a query in one block.
    fn unsplit(
        &self,
        device: &CudaDevice,
        i: &Inputs<'_>,
        (b, lq, c): (usize, usize, usize),
    ) -> Result<Tensor> {
        let mut out = unwritten::<bf16>(device, b * lq * c)?;
        let function = kernel(device, "attention", self.name)?;
        allow_shared(&function, self.shared)?;
        let config = launch_config((lq.div_ceil(self.rows), i.heads as usize, b), self.threads, self.shared);
        launch!(
            function, config, &mut out, &i.q, &i.k, &i.v, &i.starts, &i.lq, &i.heads, &i.q_batch, &i.q_row,
            &i.q_row, &i.v_row, &i.v_heads, &i.scale
        );
        Ok(written(out, (b, lq, c), device))
    }

    /// With an additive bias `[b|1, h|1, lq|1, lk]`.
    fn with_bias(
        &self,
        device: &CudaDevice,
        i: &Inputs<'_>,
        (b, lq, c): (usize, usize, usize),
        bias: &Tensor,
    ) -> Result<Tensor> {
        let (bb, bh, br, lk) = bias.dims4()?;
        let bias = dense(&bias.to_dtype(DType::F32)?)?;
        let reading = Reading::of(&bias)?;
        let added = reading.view::<f32>()?;
        // An axis of size 1 is repeated.
        let stride = |n: usize, stride: usize| if n == 1 { 0 } else { stride as i64 };
        let (by_batch, by_head, by_row) = (stride(bb, bh * br * lk), stride(bh, br * lk), stride(br, lk));
        let mut out = unwritten::<bf16>(device, b * lq * c)?;
        let function = kernel(device, "attention", self.name)?;
        let config = launch_config((lq.div_ceil(self.rows), i.heads as usize, b), self.threads, self.shared);
        launch!(
            function, config, &mut out, &i.q, &i.k, &i.v, &i.starts, &i.lq, &i.heads, &i.q_batch, &i.q_row,
            &i.q_row, &i.v_row, &i.v_heads, &i.scale, &added, &by_batch, &by_head, &by_row
        );
        Ok(written(out, (b, lq, c), device))
    }

    /// The keys in `n` parts, and a second kernel that combines the results.
    fn split(
        &self,
        device: &CudaDevice,
        i: &Inputs<'_>,
        (b, lq, c): (usize, usize, usize),
        n: usize,
    ) -> Result<Tensor> {
        let rows = b * lq * i.heads as usize;
        let mut partial = unwritten::<f32>(device, n * b * lq * c)?;
        let (mut maxima, mut sums) =
            (unwritten::<f32>(device, n * rows)?, unwritten::<f32>(device, n * rows)?);
        let function = kernel(device, "attention", "attention_d256_v64_split")?;
        let grid = (lq.div_ceil(self.rows), i.heads as usize, b * n);
        let config = launch_config(grid, self.threads, self.shared);
        let n_parts = n as u32;
        launch!(
            function,
            config,
            &mut partial,
            &mut maxima,
            &mut sums,
            &i.q,
            &i.k,
            &i.v,
            &i.starts,
            &i.lq,
            &i.heads,
            &i.q_batch,
            &i.q_row,
            &i.q_row,
            &i.v_row,
            &i.v_heads,
            &i.scale,
            &n_parts
        );
        let mut out = unwritten::<bf16>(device, b * lq * c)?;
        let (n_rows, width) = (rows as u32, (c / i.heads as usize) as u32);
        let join = kernel(device, "attention", "attention_combine")?;
        let config = launch_config(((b * lq * c / 2).div_ceil(256), 1, 1), 256, 0);
        launch!(join, config, &mut out, &partial, &maxima, &sums, &n_rows, &width, &n_parts);
        Ok(written(out, (b, lq, c), device))
    }
}
