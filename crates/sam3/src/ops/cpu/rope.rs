//! Rotary position embedding over interleaved pairs.

use candle_core::{D, Result, Tensor};

use super::{for_each_piece, math, with_data};
use crate::position::RopeTable;

/// Rotates every head of x `[b, l, heads·d]`: row r by row `r % p` of the table.
pub(crate) fn rope(x: &Tensor, heads: usize, table: &RopeTable) -> Result<Tensor> {
    let (l, p) = (x.dim(1)?, table.cos.dim(0)?);
    rotate(x, heads, table, |row| Some(row % l % p))
}

/// The same for the first `n_rotated` rows of each entry of x `[Σ lens, heads·d]`; the other rows are unchanged.
pub(crate) fn rope_varlen(
    x: &Tensor,
    heads: usize,
    table: &RopeTable,
    lens: &[usize],
    n_rotated: &[usize],
) -> Result<Tensor> {
    let p = table.cos.dim(0)?;
    let mut rows = Vec::with_capacity(x.dim(0)?);
    for (&len, &n_rotated) in lens.iter().zip(n_rotated) {
        rows.extend((0..len).map(|r| (r < n_rotated).then_some(r % p)));
    }
    if rows.len() != x.dim(0)? {
        candle_core::bail!("rope: {:?} does not have the rows of {lens:?}", x.shape())
    }
    rotate(x, heads, table, |row| rows[row])
}

/// Rotates each row of x `[.., heads·d]` by the row of the table that `angles` returns for it, if any.
fn rotate(
    x: &Tensor,
    heads: usize,
    table: &RopeTable,
    angles: impl Fn(usize) -> Option<usize> + Sync + Send,
) -> Result<Tensor> {
    let (c, half) = (x.dim(D::Minus1)?, table.cos.dim(1)?);
    if half * 2 * heads != c {
        candle_core::bail!("rope: {:?} rotated by {:?} with {heads} heads", x.shape(), table.cos.shape())
    }
    let mut out = vec![0f32; x.elem_count()];
    with_data(x, |x| {
        with_data(&table.cos, |cos| {
            with_data(&table.sin, |sin| {
                for_each_piece(&mut out, c, |i, row| {
                    let x = &x[i * c..][..c];
                    let Some(angles) = angles(i) else { return row.copy_from_slice(x) };
                    let (cos, sin) = (&cos[angles * half..][..half], &sin[angles * half..][..half]);
                    rotate_row(row, x, cos, sin);
                });
                Ok(())
            })
        })
    })?;
    Tensor::from_vec(out, x.shape(), x.device())
}

math::vectorised! {
    fn rotate_row(out: &mut [f32], x: &[f32], cos: &[f32], sin: &[f32]) {
        let d = cos.len() * 2;
        for (out, x) in out.chunks_exact_mut(d).zip(x.chunks_exact(d)) {
            for (((o, x), &c), &s) in out.chunks_exact_mut(2).zip(x.chunks_exact(2)).zip(cos).zip(sin) {
                o[0] = x[0] * c - x[1] * s;
                o[1] = x[1] * c + x[0] * s;
            }
        }
    }
}
