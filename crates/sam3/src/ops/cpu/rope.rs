//! Rotary position embedding over interleaved pairs.

use candle_core::{Result, Tensor};

use super::{for_each_piece, math, with_data};

/// Rotates the first `n_rotated` rows of x `[b, l, heads·d]`, pair `(2i, 2i+1)` of each head by the angle
/// whose cosine and sine stand in cos, sin `[p, d/2]`; row r uses table row `r % p`. Other rows pass.
pub(crate) fn rope(x: &Tensor, cos: &Tensor, sin: &Tensor, heads: usize, n_rotated: usize) -> Result<Tensor> {
    let (_, l, c) = x.dims3()?;
    let (p, half) = cos.dims2()?;
    if half * 2 * heads != c || n_rotated > l {
        candle_core::bail!("rope: {:?} rotated by {:?} with {heads} heads", x.shape(), cos.shape())
    }
    let mut out = vec![0f32; x.elem_count()];
    with_data(x, |x| {
        with_data(cos, |cos| {
            with_data(sin, |sin| {
                for_each_piece(&mut out, c, |i, row| {
                    let x = &x[i * c..][..c];
                    let r = i % l;
                    if r >= n_rotated {
                        return row.copy_from_slice(x);
                    }
                    let table = (r % p) * half;
                    let (cos, sin) = (&cos[table..][..half], &sin[table..][..half]);
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
