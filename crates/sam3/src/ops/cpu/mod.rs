//! The CPU implementation of the operations: f32, channels last, parallel over rows or blocks with rayon, and
//! vectorised with instructions selected at run time (AVX2, AVX-512) by `pulp` and `gemm`.
//!
//! Every function reads contiguous or row-strided `f32` data of candle tensors and returns a new tensor. Results do
//! not depend on the number of threads, because work is only split between independent outputs.

pub(crate) mod attention;
pub(crate) mod conv;
pub(crate) mod linear;
pub(crate) mod math;
pub(crate) mod norm;
pub(crate) mod rope;

use candle_core::{CpuStorage, Result, Storage, Tensor};

/// Number of elements below which splitting over threads costs more than it saves.
pub(crate) const PARALLEL_MIN: usize = 16 * 1024;

/// Runs `f` on the contiguous f32 data of `tensor`.
pub(crate) fn with_data<T>(tensor: &Tensor, f: impl FnOnce(&[f32]) -> Result<T>) -> Result<T> {
    let tensor = tensor.contiguous()?;
    let (storage, layout) = tensor.storage_and_layout();
    let Storage::Cpu(CpuStorage::F32(data)) = &*storage else {
        candle_core::bail!("expected f32 data on the CPU, got {:?} on {:?}", tensor.dtype(), tensor.device())
    };
    let start = layout.start_offset();
    f(&data[start..start + layout.shape().elem_count()])
}

/// Splits `out` into pieces of `piece` elements and calls `f(piece index, piece)` for each, in parallel if there are
/// at least [`PARALLEL_MIN`] elements.
pub(crate) fn for_each_piece(out: &mut [f32], piece: usize, f: impl Fn(usize, &mut [f32]) + Sync + Send) {
    use rayon::prelude::*;
    if out.len() < PARALLEL_MIN {
        out.chunks_mut(piece).enumerate().for_each(|(i, p)| f(i, p));
    } else {
        out.par_chunks_mut(piece).enumerate().for_each(|(i, p)| f(i, p));
    }
}
