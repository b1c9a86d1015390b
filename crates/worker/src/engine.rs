//! The device that models run on, and the arithmetic: chosen once at the start of a command.

use std::path::Path;

use sam3::device::{self, DeviceChoice, Kernels};
use sam3::{Device, Model, Precision, VideoConfig};

use crate::failure::EngineResult;
use crate::kernel_trial::KernelTrial;
use client::failure::Outcome;
use client::terminal::notify;

/// Which device to track on, and with which arithmetic.
#[derive(Debug, Clone, Copy)]
pub struct EngineOptions {
    /// The device. A GPU that is not usable is an error: the CPU is never used in its place.
    pub device: DeviceChoice,
    /// Type of the weights in memory; `None` for f32 on a CPU and bf16 on a GPU.
    pub weights: Option<WeightType>,
    /// Which kernels run on an NVIDIA GPU.
    pub kernels: KernelChoice,
}

/// Which kernels run on an NVIDIA GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KernelChoice {
    /// Courtside's own kernels, if each of them agrees with the plain operation on this GPU; otherwise the libraries'
    /// kernels, with a warning.
    Auto,
    /// The kernels of NVIDIA's libraries and of candle.
    Library,
    /// Courtside's own kernels where they exist, without the comparison.
    Fused,
}

/// Type of the weights in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeightType {
    /// 4 bytes for each weight.
    F32,
    /// 2 bytes for each weight. On a GPU, activations are bfloat16 too.
    Bf16,
}

/// An open device, and how models on it compute.
#[derive(Debug, Clone)]
pub struct Engine {
    /// The device that tensors are on.
    pub device: Device,
    /// Types of weights and activations.
    pub precision: Precision,
    options: EngineOptions,
}

impl Engine {
    /// Opens the requested device.
    ///
    /// # Errors
    /// If the GPU is missing or not usable.
    pub fn open(options: EngineOptions) -> Outcome<Self> {
        let device = device::open(options.device).or_failure()?;
        if options.kernels == KernelChoice::Fused {
            device::use_kernels(Kernels::Fused, &device).or_failure()?;
        }
        Ok(Self { precision: precision(&device, options.weights), device, options })
    }

    /// The CPU, with the requested type of weights.
    pub fn on_cpu(options: EngineOptions) -> Self {
        Self { precision: precision(&Device::Cpu, options.weights), device: Device::Cpu, options }
    }

    /// Loads a model folder. While it loads, decides which kernels run.
    ///
    /// # Errors
    /// If the model folder is incomplete or does not fit the device.
    pub fn load(&self, folder: &Path) -> Outcome<Model> {
        self.choosing_kernels(|| Model::load(folder, self.precision, &self.device).or_failure())
    }

    /// Makes a model of random weights. While they are made, decides which kernels run.
    ///
    /// # Errors
    /// If the device fails.
    pub fn random(&self, config: VideoConfig) -> Outcome<Model> {
        self.choosing_kernels(|| Model::random(config, 1, self.precision, &self.device).or_failure())
    }

    /// Decides which kernels run, for work without a model.
    ///
    /// # Errors
    /// If the device fails.
    pub fn choose_kernels(&self) -> Outcome<()> {
        self.choosing_kernels(|| Ok(()))
    }

    /// Does `work` while Courtside's kernels are compared, if there is a choice of kernels.
    fn choosing_kernels<T>(&self, work: impl FnOnce() -> Outcome<T>) -> Outcome<T> {
        let is_open = self.options.kernels == KernelChoice::Auto && device::kernels() == Kernels::Library;
        if !is_open || !self.device.is_cuda() || self.precision != Precision::Bf16 {
            return work();
        }
        let trial = KernelTrial::start(self.options.device);
        let done = work()?;
        match trial.and_then(KernelTrial::finish) {
            Ok(n) => {
                device::use_kernels(Kernels::Fused, &self.device).or_failure()?;
                notify(format!("kernels: Courtside's; {n} comparisons with the plain operations agree"));
            }
            Err(why) => notify(format!("warning: tracking is slower, without Courtside's kernels: {why}")),
        }
        Ok(done)
    }

    /// Whether the device is a GPU.
    pub fn is_gpu(&self) -> bool {
        !self.device.is_cpu()
    }

    /// Which kernels run on an NVIDIA GPU, `fused` or `library`; `None` for other devices.
    pub fn kernels(&self) -> Option<&'static str> {
        self.device.is_cuda().then(|| match device::kernels() {
            Kernels::Library => "library",
            Kernels::Fused => "fused",
        })
    }

    /// A description of the device for messages.
    pub fn describe(&self) -> String {
        device::describe(&self.device)
    }
}

fn precision(device: &Device, weights: Option<WeightType>) -> Precision {
    match weights {
        None => device::natural_precision(device),
        Some(WeightType::F32) => Precision::F32,
        Some(WeightType::Bf16) if device.is_cpu() => Precision::Bf16Weights,
        Some(WeightType::Bf16) => Precision::Bf16,
    }
}
