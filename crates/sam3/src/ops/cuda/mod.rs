//! NVIDIA GPUs: opening them, their memory, numbers on their way to the host, products with sums in f32, and
//! kernels of our own.
//!
//! Everything runs on one stream of the device; copies to the host run on a second one, so that they do not
//! wait for work that was queued after what they copy.

mod download;
mod driver;
mod gemm;

pub(crate) use download::HostCopy;
pub(crate) use driver::{describe, memory, open};
pub(crate) use gemm::matmul_transposed_f32;
