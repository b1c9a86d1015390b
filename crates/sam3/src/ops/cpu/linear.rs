//! Matrix products on the CPU: a safe wrapper of `gemm`, and the linear layers that use it.

use candle_core::{CpuStorage, DType, Result, Shape, Storage, Tensor};
use gemm::Parallelism;

use super::{for_each_piece, math, with_data};
use crate::ops::Activation;

/// A matrix inside a slice: `rows` × `cols`, element (r, c) at `r * row_stride + c * col_stride`.
#[derive(Clone, Copy)]
pub(crate) struct Mat<'a> {
    pub data: &'a [f32],
    pub rows: usize,
    pub cols: usize,
    pub row_stride: usize,
    pub col_stride: usize,
}

impl<'a> Mat<'a> {
    /// A matrix with contiguous rows.
    pub(crate) fn rows(data: &'a [f32], rows: usize, cols: usize) -> Self {
        Self { data, rows, cols, row_stride: cols, col_stride: 1 }
    }

    /// A matrix with rows `row_stride` elements apart.
    pub(crate) fn strided(data: &'a [f32], rows: usize, cols: usize, row_stride: usize) -> Self {
        Self { data, rows, cols, row_stride, col_stride: 1 }
    }

    /// The transposed matrix, as a view of the same data.
    pub(crate) fn t(self) -> Self {
        Self {
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
            ..self
        }
    }

    fn fits(&self) -> bool {
        self.rows == 0
            || self.cols == 0
            || (self.rows - 1) * self.row_stride + (self.cols - 1) * self.col_stride < self.data.len()
    }
}

/// Whether a product may use several threads.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Threads {
    /// No: the caller already runs on a thread of the pool.
    One,
    /// All threads of the pool.
    All,
}

/// `out = keep · out + scale · a b`, `out` row-major with rows `out_stride` apart.
pub(crate) fn matmul(
    out: &mut [f32],
    out_stride: usize,
    keep: bool,
    a: Mat<'_>,
    b: Mat<'_>,
    scale: f32,
    threads: Threads,
) {
    let (m, n, k) = (a.rows, b.cols, a.cols);
    if m == 0 || n == 0 {
        return;
    }
    assert!(k == b.rows && a.fits() && b.fits() && out_stride >= n, "matmul: shapes do not fit");
    assert!((m - 1) * out_stride + n <= out.len(), "matmul: the output is too short");
    let parallelism = match threads {
        Threads::One => Parallelism::None,
        Threads::All => Parallelism::Rayon(0),
    };
    #[expect(unsafe_code, reason = "gemm takes raw pointers; the bounds of all three were just checked")]
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            out_stride as isize,
            keep,
            a.data.as_ptr(),
            a.col_stride as isize,
            a.row_stride as isize,
            b.data.as_ptr(),
            b.col_stride as isize,
            b.row_stride as isize,
            1.0,
            scale,
            false,
            false,
            false,
            parallelism,
        );
    }
}

/// Runs `f` on a weight's data as f32, converting it from bf16 if needed.
pub(crate) fn with_weight<T>(w: &Tensor, f: impl FnOnce(&[f32]) -> Result<T>) -> Result<T> {
    if w.dtype() != DType::BF16 {
        return with_data(w, f);
    }
    let w = w.contiguous()?;
    let (storage, layout) = w.storage_and_layout();
    let Storage::Cpu(CpuStorage::BF16(data)) = &*storage else {
        candle_core::bail!("expected bf16 weights on the CPU")
    };
    let start = layout.start_offset();
    let data = &data[start..start + layout.shape().elem_count()];
    let mut wide = vec![0f32; data.len()];
    const PIECE: usize = 64 * 1024;
    for_each_piece(&mut wide, PIECE, |i, piece| {
        let source = &data[i * PIECE..];
        widen(piece, source);
    });
    f(&wide)
}

/// `activation(x wᵀ + b)`: x `[.., in]`, w `[out, in]`, b `[out]` → `[.., out]`.
pub(crate) fn linear(x: &Tensor, w: &Tensor, b: Option<&Tensor>, activation: Activation) -> Result<Tensor> {
    let shape = output_shape(x, w)?;
    let mut out = vec![0f32; shape.elem_count()];
    if let Some(b) = b {
        with_weight(b, |b| {
            for_each_piece(&mut out, b.len(), |_, row| row.copy_from_slice(b));
            Ok(())
        })?;
    }
    product(&mut out, b.is_some(), x, w)?;
    activate(&mut out, activation);
    Tensor::from_vec(out, shape, x.device())
}

/// `residual + x wᵀ + b`, with the residual repeated along leading dimensions.
pub(crate) fn linear_add(x: &Tensor, (w, b): (&Tensor, &Tensor), residual: &Tensor) -> Result<Tensor> {
    let shape = output_shape(x, w)?;
    let mut out = vec![0f32; shape.elem_count()];
    with_data(residual, |residual| {
        with_weight(b, |b| {
            let n_rows = residual.len() / b.len().max(1);
            for_each_piece(&mut out, b.len(), |i, row| {
                let before = &residual[i % n_rows * b.len()..];
                row.iter_mut().zip(before).zip(b).for_each(|((o, r), b)| *o = r + b);
            });
            Ok(())
        })
    })?;
    product(&mut out, true, x, w)?;
    Tensor::from_vec(out, shape, x.device())
}

/// `[.., out]` for x `[.., in]` and w `[out, in]`.
fn output_shape(x: &Tensor, w: &Tensor) -> Result<Shape> {
    let (n_out, n_in) = w.dims2()?;
    let mut shape = x.dims().to_vec();
    match shape.last_mut() {
        Some(last) if *last == n_in => *last = n_out,
        _ => candle_core::bail!("linear: input {:?} does not fit weight {:?}", x.shape(), w.shape()),
    }
    Ok(Shape::from(shape))
}

/// `out = x wᵀ`, or `out += x wᵀ` if `keep`.
fn product(out: &mut [f32], keep: bool, x: &Tensor, w: &Tensor) -> Result<()> {
    let (n_out, n_in) = w.dims2()?;
    with_data(x, |x| {
        with_weight(w, |w| {
            let (x, w) = (Mat::rows(x, x.len() / n_in.max(1), n_in), Mat::rows(w, n_out, n_in));
            matmul(out, n_out, keep, x, w.t(), 1.0, Threads::All);
            Ok(())
        })
    })
}

/// Sum of two tensors, with the smaller one repeated along leading dimensions.
pub(crate) fn add(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let (large, small) = if a.elem_count() >= b.elem_count() { (a, b) } else { (b, a) };
    let shape = large.shape().broadcast_shape_binary_op(small.shape(), "add")?;
    let repeated = small.dims().iter().skip_while(|&&d| d == 1).copied().collect::<Vec<_>>();
    if shape.elem_count() != large.elem_count() || !large.dims().ends_with(&repeated) {
        return a.broadcast_add(b);
    }
    let mut out = with_data(large, |x| Ok(x.to_vec()))?;
    with_data(small, |y| {
        const PIECE: usize = 8 * 1024;
        if y.len() < PIECE {
            let whole = y.len() * (PIECE / y.len().max(1)).max(1);
            for_each_piece(&mut out, whole.max(1), |_, piece| {
                piece.chunks_mut(y.len()).for_each(|chunk| accumulate(chunk, y));
            });
        } else {
            for repetition in out.chunks_mut(y.len()) {
                for_each_piece(repetition, PIECE, |i, piece| accumulate(piece, &y[i * PIECE..]));
            }
        }
        Ok(())
    })?;
    Tensor::from_vec(out, shape, large.device())
}

/// Applies an activation to a tensor.
pub(crate) fn activation(x: &Tensor, activation: Activation) -> Result<Tensor> {
    let mut out = with_data(x, |x| Ok(x.to_vec()))?;
    activate(&mut out, activation);
    Tensor::from_vec(out, x.shape(), x.device())
}

/// Applies an activation in place.
pub(crate) fn activate(data: &mut [f32], activation: Activation) {
    const PIECE: usize = 8 * 1024;
    let apply = match activation {
        Activation::None => return,
        Activation::Relu => math::relu,
        Activation::Gelu => math::gelu,
        Activation::Sigmoid => math::sigmoid,
    };
    for_each_piece(data, PIECE, |_, piece| apply(piece));
}

math::vectorised! {
    fn accumulate(out: &mut [f32], x: &[f32]) {
        out.iter_mut().zip(x).for_each(|(o, x)| *o += x);
    }

    fn widen(out: &mut [f32], x: &[half::bf16]) {
        out.iter_mut().zip(x).for_each(|(o, x)| *o = f32::from_bits(u32::from(x.to_bits()) << 16));
    }
}
