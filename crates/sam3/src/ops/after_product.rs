//! Matrix products together with the steps around them: rotation, windows, a residual; and the concatenation of
//! memories with their positions. The fused kernels do each in one pass over the result of the product.

use candle_core::{D, Result, Shape, Tensor};

#[cfg(feature = "cuda")]
use super::cuda;
use super::{Activation, Backend, add, backend, count_flops, cpu, linear, plain, window_merge, window_split};
use crate::position::RopeTable;

/// Rotates every head of x `[b, l, heads·d]`, with interleaved pairs: row r by row `r % p` of the table.
fn rope(x: &Tensor, heads: usize, table: &RopeTable) -> Result<Tensor> {
    match backend(x) {
        Backend::Cpu => cpu::rope::rope(x, heads, table),
        _ => plain::rope(x, heads, table),
    }
}

/// `x wᵀ + b`, every head rotated by its row's angles: x `[b, l, in]` → `[b, l, heads·d]`.
pub(crate) fn linear_rope(
    x: &Tensor,
    (w, b): (&Tensor, &Tensor),
    heads: usize,
    table: &RopeTable,
) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if backend(x) == Backend::Fused
        && let Some(out) = cuda::fused::linear_rope(x, (w, b), heads, table)?
    {
        count_flops(2 * x.elem_count() * w.dim(0)?);
        return Ok(out);
    }
    rope(&linear(x, w, Some(b), Activation::None)?, heads, table)
}

/// The same for concatenated entries of different lengths: x `[Σ lens, in]` → `[Σ lens, heads·d]`. The first
/// `n_rotated` rows of each entry are rotated.
pub(crate) fn linear_rope_varlen(
    x: &Tensor,
    (w, b): (&Tensor, &Tensor),
    heads: usize,
    table: &RopeTable,
    lens: &[usize],
    n_rotated: &[usize],
) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if backend(x) == Backend::Fused
        && let Some(out) = cuda::fused::linear_rope_varlen(x, (w, b), heads, table, lens, n_rotated)?
    {
        count_flops(2 * x.elem_count() * w.dim(0)?);
        return Ok(out);
    }
    let x = linear(x, w, Some(b), Activation::None)?;
    match backend(&x) {
        Backend::Cpu => cpu::rope::rope_varlen(&x, heads, table, lens, n_rotated),
        _ => plain::rope_varlen(&x, heads, table, lens, n_rotated),
    }
}

/// Queries, keys and values of self-attention, the first two rotated: x `[n, .., in]`, w `[3·c, in]` and b `[3·c]`,
/// in the order queries, keys, values → three of `[n, l, c]`. With a `window`, x is `[n, h, w, in]` and attention is
/// within windows of that side: three of `[n·nh·nw, window², c]`, in the order of [`window_split`].
pub(crate) fn qkv_rope(
    x: &Tensor,
    (w, b): (&Tensor, &Tensor),
    heads: usize,
    table: &RopeTable,
    window: Option<usize>,
) -> Result<[Tensor; 3]> {
    #[cfg(feature = "cuda")]
    if backend(x) == Backend::Fused
        && let Some(out) = cuda::fused::qkv_rope(x, (w, b), heads, table, window)?
    {
        count_flops(2 * x.elem_count() * w.dim(0)?);
        return Ok(out);
    }
    let x = match window {
        Some(size) => window_split(x, size)?,
        None => x.reshape((x.dim(0)?, (), x.dim(D::Minus1)?))?,
    };
    let c = w.dim(0)? / 3;
    let part =
        |i: usize| linear(&x, &w.narrow(0, i * c, c)?, Some(&b.narrow(0, i * c, c)?), Activation::None);
    Ok([rope(&part(0)?, heads, table)?, rope(&part(1)?, heads, table)?, part(2)?])
}

/// `residual + x wᵀ + b`. The residual is repeated along leading dimensions of size 1 and missing ones.
pub(crate) fn linear_add(x: &Tensor, (w, b): (&Tensor, &Tensor), residual: &Tensor) -> Result<Tensor> {
    let mut shape = x.dims().to_vec();
    if let Some(last) = shape.last_mut() {
        *last = w.dim(0)?;
    }
    if repeats(&Shape::from(shape), residual.shape()) {
        count_flops(2 * x.elem_count() * w.dim(0)?);
        match backend(x) {
            Backend::Cpu => return cpu::linear::linear_add(x, (w, b), residual),
            #[cfg(feature = "cuda")]
            Backend::Fused => {
                if let Some(out) = cuda::fused::linear_add(x, (w, b), residual, None)? {
                    return Ok(out);
                }
            }
            Backend::Plain => {}
        }
        return plain::linear(x, w, Some(b), Activation::None)?.broadcast_add(residual);
    }
    add(&linear(x, w, Some(b), Activation::None)?, residual)
}

/// The same for x in windows of [`window_split`]: x `[n·nh·nw, size², in]`, residual `[n, h, w, c]` → the
/// residual's shape.
pub(crate) fn linear_add_windows(
    x: &Tensor,
    (w, b): (&Tensor, &Tensor),
    residual: &Tensor,
    size: usize,
) -> Result<Tensor> {
    let (_, height, width, _) = residual.dims4()?;
    #[cfg(feature = "cuda")]
    if backend(x) == Backend::Fused
        && let Some(out) = cuda::fused::linear_add(x, (w, b), residual, Some(size))?
    {
        count_flops(2 * x.elem_count() * w.dim(0)?);
        return Ok(out);
    }
    linear_add(&window_merge(x, size, (height, width))?, (w, b), residual)
}

/// Whether `small` equals `large`, except for leading dimensions that are 1 or missing.
fn repeats(large: &Shape, small: &Shape) -> bool {
    let repeated: Vec<usize> = small.dims().iter().skip_while(|&&d| d == 1).copied().collect();
    small.rank() <= large.rank() && large.dims().ends_with(&repeated)
}

/// Concatenated sequences, and the same with their positions added. Each part has rows `[l, c]` and positions
/// `[l, c]`, or `[1, c]` if all rows have the same position → `[Σ l, c]` twice, in the positions' type.
pub(crate) fn cat_with_positions(parts: &[(&Tensor, &Tensor)]) -> Result<(Tensor, Tensor)> {
    #[cfg(feature = "cuda")]
    if let Some((_, positions)) = parts.first()
        && backend(positions) == Backend::Fused
        && let Some(out) = cuda::fused::cat_with_positions(parts)?
    {
        return Ok(out);
    }
    let (rows, positions) = plain::cat_with_positions(parts)?;
    let placed = add(&rows, &positions)?;
    Ok((rows, placed))
}
