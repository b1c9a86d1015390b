//! Matrix products of bf16 with f32 results, with cuBLAS; candle would round the result to bf16.

use candle_core::cuda_backend::cudarc::cublas::{result, sys};
use candle_core::cuda_backend::cudarc::driver::{DevicePtr, DevicePtrMut};
use candle_core::cuda_backend::{CudaDType, CudaStorage, WrapErr};
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};
use half::bf16;

/// `scale · a bᵀ` of bf16 tensors: a `[.., m, k]`, b `[.., n, k]` → f32 `[.., m, n]`.
pub(crate) fn matmul_transposed_f32(a: &Tensor, b: &Tensor, scale: f32) -> Result<Tensor> {
    a.contiguous()?.apply_op2_no_bwd(&b.contiguous()?, &TransposedProduct { scale })
}

struct TransposedProduct {
    scale: f32,
}

/// Batch, m, n and k of the two shapes.
fn sizes(a: &Shape, b: &Shape) -> Result<(usize, usize, usize, usize)> {
    let (a, b) = (a.dims(), b.dims());
    let (Some((&[m, k], batch)), Some((&[n, kb], batch_b))) =
        (a.split_last_chunk().map(|(h, t)| (t, h)), b.split_last_chunk().map(|(h, t)| (t, h)))
    else {
        candle_core::bail!("cannot multiply {a:?} and {b:?}")
    };
    if batch != batch_b || k != kb {
        candle_core::bail!("cannot multiply {a:?} and {b:?} transposed")
    }
    Ok((batch.iter().product(), m, n, k))
}

impl CustomOp2 for TransposedProduct {
    fn name(&self) -> &'static str {
        "matmul-transposed-f32"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        candle_core::bail!("for CUDA only")
    }

    fn cuda_fwd(
        &self,
        a: &CudaStorage,
        a_layout: &Layout,
        b: &CudaStorage,
        b_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let (batch, m, n, k) = sizes(a_layout.shape(), b_layout.shape())?;
        let mut dims = a_layout.dims().to_vec();
        if let Some(last) = dims.last_mut() {
            *last = n;
        }
        let device = a.device.clone();
        let stream = device.cuda_stream();
        let a = bf16::as_cuda_slice(a)?.slice(a_layout.start_offset()..);
        let b = bf16::as_cuda_slice(b)?.slice(b_layout.start_offset()..);
        #[expect(unsafe_code, reason = "the product below writes every element")]
        let mut out = unsafe { device.alloc::<f32>(batch * m * n)? };
        let (scale, zero) = (self.scale, 0f32);
        {
            let (a, _reading_a) = a.device_ptr(&stream);
            let (b, _reading_b) = b.device_ptr(&stream);
            let (c, _writing) = out.device_ptr_mut(&stream);
            // cuBLAS is column-major: the row-major a, b and out are its aᵀ, bᵀ and outᵀ = b aᵀ.
            #[expect(unsafe_code, reason = "sizes and strides are those of the three allocations")]
            unsafe {
                result::gemm_strided_batched_ex(
                    *device.cublas_handle().handle(),
                    sys::cublasOperation_t::CUBLAS_OP_T,
                    sys::cublasOperation_t::CUBLAS_OP_N,
                    n as i32,
                    m as i32,
                    k as i32,
                    (&raw const scale).cast(),
                    b as *const _,
                    sys::cudaDataType_t::CUDA_R_16BF,
                    k as i32,
                    (n * k) as i64,
                    a as *const _,
                    sys::cudaDataType_t::CUDA_R_16BF,
                    k as i32,
                    (m * k) as i64,
                    (&raw const zero).cast(),
                    c as *mut _,
                    sys::cudaDataType_t::CUDA_R_32F,
                    n as i32,
                    (m * n) as i64,
                    batch as i32,
                    sys::cublasComputeType_t::CUBLAS_COMPUTE_32F,
                    sys::cublasGemmAlgo_t::CUBLAS_GEMM_DEFAULT_TENSOR_OP,
                )
                .w()?;
            }
        }
        Ok((CudaStorage::wrap_cuda_slice(out, device), Shape::from(dims)))
    }
}
