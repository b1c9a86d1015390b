//! Compares the engine's modules with outputs of the reference, for the tiny models and at the real configuration.

mod layers;
mod preprocessing;
mod real_shapes;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::{DType, Device, Tensor};

use crate::model::Model;
use crate::precision::Precision;

/// Largest difference of any element of a module's output, relative to the output's largest magnitude or to 1. Both
/// compute in f32 but sum in a different order; the difference between PyTorch in f32 and in f64 is 1e-5.
pub(crate) const RELATIVE_TOLERANCE: f32 = 1e-4;

/// The same in bfloat16, which rounds every step to 8 bits: twice the difference of modules on a CPU.
const BF16_TOLERANCE: f32 = 2.6e-2;

/// Type, device and tolerance of the tests at the real configuration: f32 on the CPU, or bfloat16 on the device in
/// `COURTSIDE_TEST_DEVICE`, with the fused kernels if `COURTSIDE_TEST_KERNELS` is `fused`.
pub(crate) struct Arithmetic {
    pub precision: Precision,
    pub device: Device,
    pub tolerance: f32,
}

/// The arithmetic that the environment selects.
pub(crate) fn arithmetic() -> Arithmetic {
    match std::env::var("COURTSIDE_TEST_DEVICE") {
        Ok(name) => {
            let device = crate::device::open(name.parse().unwrap()).unwrap();
            if std::env::var("COURTSIDE_TEST_KERNELS").is_ok_and(|kernels| kernels == "fused") {
                crate::device::use_kernels(crate::device::Kernels::Fused, &device).unwrap();
            }
            Arithmetic { precision: Precision::Bf16, device, tolerance: BF16_TOLERANCE }
        }
        Err(_) => {
            Arithmetic { precision: Precision::F32, device: Device::Cpu, tolerance: RELATIVE_TOLERANCE }
        }
    }
}

/// The fixtures with tiny models.
pub(crate) const CHECKPOINTS: [&str; 2] = ["wide", "narrow"];

/// The folder of a fixture.
pub(crate) fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(name)
}

pub(crate) fn read_json(path: &Path) -> serde_json::Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// A tiny model with its clip and the outputs of the reference.
pub(crate) struct Checkpoint {
    pub model: Arc<Model>,
    pub prompts: Vec<String>,
    pub reference: serde_json::Value,
    pub tensors: HashMap<String, Tensor>,
}

impl Checkpoint {
    pub(crate) fn open(name: &str) -> Self {
        let folder = folder(name);
        let reference = read_json(&folder.join("reference.json"));
        Self {
            model: Arc::new(Model::load(&folder, Precision::F32, &Device::Cpu).unwrap()),
            prompts: serde_json::from_value(reference["prompts"].clone()).unwrap(),
            tensors: candle_core::safetensors::load(folder.join("reference.safetensors"), &Device::Cpu)
                .unwrap(),
            reference,
        }
    }

    /// Height and width of the source frames.
    pub(crate) fn frame_size(&self) -> (usize, usize) {
        let (_, height, width, _) = self.tensors["video"].dims4().unwrap();
        (height, width)
    }

    pub(crate) fn n_frames(&self) -> usize {
        self.tensors["video"].dim(0).unwrap()
    }

    /// Pixel values of frame `t` in the reference, `[1, size, size, 3]`.
    pub(crate) fn pixel_values(&self, t: usize) -> Tensor {
        let resized = self.tensors["resized"].get(t).unwrap().to_dtype(DType::F32).unwrap();
        let normed = ((resized - 127.5).unwrap() / 127.5).unwrap();
        normed.permute((1, 2, 0)).unwrap().contiguous().unwrap().unsqueeze(0).unwrap()
    }
}

/// All elements in order, as f32.
pub(crate) fn numbers(tensor: &Tensor) -> Vec<f32> {
    tensor.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// Converts images to the reference's layout: `[n, h, w, c]` → `[n, c, h, w]`.
pub(crate) fn channels_first(x: &Tensor) -> Tensor {
    x.permute((0, 3, 1, 2)).unwrap().contiguous().unwrap()
}

/// Converts images from the reference's layout: `[n, c, h, w]` → `[n, h, w, c]`.
pub(crate) fn channels_last(x: &Tensor) -> Tensor {
    x.permute((0, 2, 3, 1)).unwrap().contiguous().unwrap()
}

/// Largest difference relative to the largest expected magnitude, or to 1. Infinite if any difference is NaN.
pub(crate) fn relative_difference(got: &[f32], want: &[f32]) -> f32 {
    assert_eq!(got.len(), want.len());
    let scale = want.iter().fold(1.0, |scale: f32, w| scale.max(w.abs()));
    let differences = got.iter().zip(want).map(|(g, w)| (g - w).abs());
    let worst = differences.fold(0.0, |worst: f32, d| if d.is_nan() { f32::INFINITY } else { worst.max(d) });
    worst / scale
}
