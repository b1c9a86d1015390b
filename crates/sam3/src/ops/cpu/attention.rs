//! Softmax attention in blocks, without a complete score matrix in memory (the online softmax of Milakov and
//! Gimelshein, arXiv:1805.02867, tiled as in FlashAttention, arXiv:2205.14135).

use candle_core::{Result, Tensor};
use rayon::prelude::*;

use super::linear::{Mat, Threads, matmul};
use super::{for_each_piece, math, with_data};

/// Query rows and key rows of one block of scores: 256 × 512 × 4 bytes fit in the L2 cache.
const Q_BLOCK: usize = 256;
const K_BLOCK: usize = 512;

/// Attention of one batch entry and head.
struct Problem<'a> {
    q: Mat<'a>,
    k: Mat<'a>,
    v: Mat<'a>,
    /// Additive bias, `[lq, lk]`.
    bias: Option<Mat<'a>>,
    scale: f32,
}

/// `softmax(scale · q kᵀ + bias) v` per head: q `[b, lq, h·d]`, k `[b, lk, h·d]`, v `[b, lk, h·dv]`,
/// bias `[b or 1, h or 1, lq or 1, lk]` → `[b, lq, h·dv]`.
pub(crate) fn sdpa(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    heads: usize,
    bias: Option<&Tensor>,
    scale: f32,
) -> Result<Tensor> {
    let (b, lq, cq) = q.dims3()?;
    let (_, lk, cv) = v.dims3()?;
    let (d, dv) = (cq / heads, cv / heads);
    let mut out = vec![0f32; b * lq * cv];
    let bias_dims = bias.map(Tensor::dims4).transpose()?;
    let mut run = |q: &[f32], k: &[f32], v: &[f32], bias: Option<&[f32]>| {
        let keys = Keys::new(k, &vec![lk; b], cq, lq);
        attend_all(&mut out, (b, heads, lq, dv), |batch, head| Problem {
            q: Mat::strided(&q[batch * lq * cq + head * d..], lq, d, cq),
            k: keys.mat(batch * lk * cq, lk, head * d, d),
            v: Mat::strided(&v[batch * lk * cv + head * dv..], lk, dv, cv),
            bias: bias.zip(bias_dims).map(|(data, (bb, bh, bq, _))| {
                let offset = ((batch % bb) * bh + head % bh) * bq * lk;
                let row_stride = if bq == 1 { 0 } else { lk };
                Mat { data: &data[offset..], rows: lq, cols: lk, row_stride, col_stride: 1 }
            }),
            scale,
        });
        Ok(())
    };
    with_data(q, |q| {
        with_data(k, |k| {
            with_data(v, |v| match bias {
                Some(bias) => with_data(bias, |bias| run(q, k, v, Some(bias))),
                None => run(q, k, v, None),
            })
        })
    })?;
    Tensor::from_vec(out, (b, lq, cv), q.device())
}

/// Like [`sdpa`] without bias, but each batch entry has its own number of keys, and all heads share the values:
/// q `[b, lq, h·d]`, k `[Σ lk, h·d]`, v `[Σ lk, dv]`, `key_lens` the b numbers of keys → `[b, lq, h·dv]`.
pub(crate) fn sdpa_varlen(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    heads: usize,
    key_lens: &[usize],
    scale: f32,
) -> Result<Tensor> {
    let (b, lq, cq) = q.dims3()?;
    let (_, dv) = v.dims2()?;
    let d = cq / heads;
    let mut out = vec![0f32; b * lq * heads * dv];
    let starts: Vec<usize> = key_lens
        .iter()
        .scan(0, |at, len| {
            *at += len;
            Some(*at - len)
        })
        .collect();
    with_data(q, |q| {
        with_data(k, |k| {
            with_data(v, |v| {
                let keys = Keys::new(k, key_lens, cq, lq);
                attend_all(&mut out, (b, heads, lq, dv), |batch, head| {
                    let (start, lk) = (starts[batch], key_lens[batch]);
                    Problem {
                        q: Mat::strided(&q[batch * lq * cq + head * d..], lq, d, cq),
                        k: keys.mat(start * cq, lk, head * d, d),
                        v: Mat::rows(&v[start * dv..], lk, dv),
                        bias: None,
                        scale,
                    }
                });
                Ok(())
            })
        })
    })?;
    Tensor::from_vec(out, (b, lq, heads * dv), q.device())
}

/// Keys in the layout that is fastest for the products: each batch entry `[lk, c]` transposed to `[c, lk]` once if
/// there are several blocks of queries, and unchanged otherwise.
enum Keys<'a> {
    Given(&'a [f32], usize),
    Transposed(Vec<f32>),
}

impl<'a> Keys<'a> {
    fn new(k: &'a [f32], key_lens: &[usize], c: usize, lq: usize) -> Self {
        if lq <= Q_BLOCK {
            return Self::Given(k, c);
        }
        let mut transposed = vec![0f32; k.len()];
        let mut start = 0;
        for &lk in key_lens {
            transpose(&mut transposed[start..start + lk * c], &k[start..start + lk * c], lk, c);
            start += lk * c;
        }
        Self::Transposed(transposed)
    }

    /// Channels `first..first + d` of the `lk` keys that start at element `start`.
    fn mat(&self, start: usize, lk: usize, first: usize, d: usize) -> Mat<'_> {
        match self {
            Self::Given(k, c) => Mat::strided(&k[start + first..], lk, d, *c),
            Self::Transposed(k) => Mat::rows(&k[start + first * lk..], d, lk).t(),
        }
    }
}

/// `[rows, columns]` → `[columns, rows]`, in tiles that fit in the L1 cache.
fn transpose(out: &mut [f32], x: &[f32], rows: usize, columns: usize) {
    const TILE: usize = 32;
    if rows == 0 || columns == 0 {
        return;
    }
    for_each_piece(out, TILE * rows, |i, piece| {
        let first = i * TILE;
        for tile in (0..rows).step_by(TILE) {
            for (c, out) in piece.chunks_exact_mut(rows).enumerate() {
                for r in tile..(tile + TILE).min(rows) {
                    out[r] = x[r * columns + first + c];
                }
            }
        }
    });
}

/// Solves the problem of every batch entry and head, in blocks of query rows in parallel.
fn attend_all<'a>(
    out: &mut [f32],
    (b, heads, lq, dv): (usize, usize, usize, usize),
    problem: impl Fn(usize, usize) -> Problem<'a> + Sync,
) {
    let width = heads * dv;
    let n_blocks = lq.div_ceil(Q_BLOCK);
    let block_of = |task: usize| {
        let (batch, block) = (task / (heads * n_blocks), task % n_blocks);
        let head = (task / n_blocks) % heads;
        let first = block * Q_BLOCK;
        (batch, head, first, Q_BLOCK.min(lq - first))
    };
    let solve = |task: usize| {
        let (batch, head, first, n) = block_of(task);
        attend_block(&problem(batch, head), first, n)
    };
    let n_tasks = b * heads * n_blocks;
    let work = |p: Problem<'_>| p.k.rows * p.q.cols;
    let serial = n_tasks == 1 || b * heads * lq * work(problem(0, 0)) < 1 << 18;
    // Blocks are solved in groups, so that only a few results are in memory besides the output.
    let wave = rayon::current_num_threads().max(1) * 4;
    let mut write = |task: usize, result: &[f32]| {
        let (batch, head, first, n) = block_of(task);
        for (row, values) in result.chunks(dv).enumerate().take(n) {
            let at = (batch * lq + first + row) * width + head * dv;
            out[at..at + dv].copy_from_slice(values);
        }
    };
    if serial {
        (0..n_tasks).for_each(|task| write(task, &solve(task)));
        return;
    }
    for start in (0..n_tasks).step_by(wave) {
        let tasks = start..(start + wave).min(n_tasks);
        let results: Vec<Vec<f32>> = tasks.clone().into_par_iter().map(solve).collect();
        tasks.zip(results).for_each(|(task, result)| write(task, &result));
    }
}

/// Rows `first..first + n` of one problem: `[n, dv]`.
fn attend_block(p: &Problem<'_>, first: usize, n: usize) -> Vec<f32> {
    let (lk, dv) = (p.k.rows, p.v.cols);
    let k_block = K_BLOCK.min(lk);
    let q = Mat { data: &p.q.data[first * p.q.row_stride..], rows: n, ..p.q };
    let mut acc = vec![0f32; n * dv];
    let mut scores = vec![0f32; n * k_block];
    let mut row_max = vec![f32::NEG_INFINITY; n];
    let mut row_sum = vec![0f32; n];
    for key in (0..lk).step_by(k_block) {
        let len = k_block.min(lk - key);
        let k = Mat { data: &p.k.data[key * p.k.row_stride..], rows: len, ..p.k };
        let v = Mat { data: &p.v.data[key * p.v.row_stride..], rows: len, ..p.v };
        let scores = &mut scores[..n * len];
        matmul(scores, len, false, q, k.t(), p.scale, Threads::One);
        let bias = p.bias.map(|bias| Mat { data: &bias.data[first * bias.row_stride + key..], ..bias });
        online_softmax(scores, len, bias, &mut acc, &mut row_max, &mut row_sum);
        matmul(&mut acc, dv, true, Mat::rows(scores, n, len), v, 1.0, Threads::One);
    }
    divide_rows(&mut acc, &row_sum);
    acc
}

math::vectorised! {
    /// Converts rows of `len` scores to weights relative to the running maxima, and rescales the sums so far in
    /// `acc`.
    fn online_softmax(
        scores: &mut [f32],
        len: usize,
        bias: Option<Mat<'_>>,
        acc: &mut [f32],
        row_max: &mut [f32],
        row_sum: &mut [f32],
    ) {
        let width = acc.len() / row_max.len();
        for (row, scores) in scores.chunks_exact_mut(len).enumerate() {
            if let Some(bias) = &bias {
                let bias = &bias.data[row * bias.row_stride..][..len];
                scores.iter_mut().zip(bias).for_each(|(s, b)| *s += b);
            }
            let new_max = row_max[row].max(math::max(scores));
            // If all keys of a row are masked so far, there is no maximum; its weights must be 0 and not NaN.
            let shift = if new_max == f32::NEG_INFINITY { 0.0 } else { new_max };
            let sum = math::exp_shifted_sum(scores, shift);
            let keep = math::exp(row_max[row] - shift);
            row_sum[row] = row_sum[row] * keep + sum;
            row_max[row] = new_max;
            if keep != 1.0 {
                acc[row * width..][..width].iter_mut().for_each(|x| *x *= keep);
            }
        }
    }

    /// Divides every row by its sum.
    fn divide_rows(acc: &mut [f32], sums: &[f32]) {
        let width = acc.len() / sums.len();
        for (acc, sum) in acc.chunks_exact_mut(width).zip(sums) {
            let inv = 1.0 / sum;
            acc.iter_mut().for_each(|x| *x *= inv);
        }
    }
}
