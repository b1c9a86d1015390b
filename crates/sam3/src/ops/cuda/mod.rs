//! NVIDIA GPUs: opening them, their memory, numbers on their way to the host, products with sums in f32, and
//! kernels of our own.
//!
//! Everything runs on one stream of the device; copies to the host run on a second one, so that they do not
//! wait for work that was queued after what they copy.

pub(super) mod attention;
pub(super) mod boxes;
mod constants;
mod download;
mod driver;
pub(super) mod fused;
mod gemm;
mod launch;
mod libraries;
mod picture;
mod symbols;
mod verify;

use std::sync::atomic::{AtomicBool, Ordering};

pub(crate) use download::HostCopy;
pub(crate) use driver::{describe, memory, open};
pub(crate) use gemm::matmul_transposed_f32;
pub(crate) use picture::pixel_values;
pub(crate) use verify::verify;

/// Whether kernels of our own are to be used.
static FUSED: AtomicBool = AtomicBool::new(false);

/// Turns kernels of our own on or off, for the whole process.
pub(crate) fn use_fused(on: bool) {
    FUSED.store(on, Ordering::Relaxed);
}

/// Whether they are on.
pub(crate) fn is_fused() -> bool {
    FUSED.load(Ordering::Relaxed)
}
