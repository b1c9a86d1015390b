//! NVIDIA GPUs: opening them, their memory, downloads, matrix products with f32 results, and the fused kernels.
//!
//! All work runs on one stream of the device. Downloads run on a second stream, so that they do not wait for work
//! that was queued after the data they copy.

pub(super) mod attention;
pub(super) mod boxes;
mod constants;
mod download;
mod driver;
pub(super) mod fused;
mod gemm;
mod image;
mod launch;
mod libraries;
mod symbols;
mod verify;

use std::sync::atomic::{AtomicBool, Ordering};

pub(crate) use download::HostCopy;
pub(crate) use driver::{describe, memory, open};
pub(crate) use gemm::matmul_transposed_f32;
pub(crate) use image::pixel_values;
pub(crate) use verify::verify;

/// Whether the fused kernels are enabled.
static FUSED: AtomicBool = AtomicBool::new(false);

/// Enables or disables the fused kernels for the process.
pub(crate) fn use_fused(on: bool) {
    FUSED.store(on, Ordering::Relaxed);
}

/// Whether the fused kernels are enabled.
pub(crate) fn is_fused() -> bool {
    FUSED.load(Ordering::Relaxed)
}
