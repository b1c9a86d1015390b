//! What models run on: a device and the numbers it computes in, chosen once at the start of a command.

use crate::failure::EngineResult;
use std::path::Path;

use sam3::device::{self, DeviceChoice, Kernels};
use sam3::{Device, Model, Precision, VideoConfig};

use crate::kernel_trial::Trial;
use client::failure::Outcome;
use client::terminal::notify;

/// Which device to track on, and how.
#[derive(Debug, Clone, Copy)]
pub struct EngineOptions {
    /// The device. One that cannot be used is an error, never a reason to take the CPU.
    pub device: DeviceChoice,
    /// Type of the weights in memory; `None` for f32 on a CPU and bf16 on a GPU.
    pub weights: Option<WeightType>,
    /// Which kernels an NVIDIA GPU runs.
    pub kernels: KernelChoice,
}

/// Which kernels an NVIDIA GPU runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KernelChoice {
    /// Courtside's own, if each of them passes a comparison with the plain operation on this GPU; else the
    /// libraries', with a warning.
    Auto,
    /// The libraries'.
    Library,
    /// Courtside's own where there is one, without the comparison.
    Fused,
}

/// Type of the weights in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeightType {
    /// 4 bytes each.
    F32,
    /// 2 bytes each. On a GPU, activations are bfloat16 too.
    Bf16,
}

/// An open device.
#[derive(Debug, Clone)]
pub struct Engine {
    /// The device.
    pub device: Device,
    /// What it computes in.
    pub precision: Precision,
    options: EngineOptions,
}

impl Engine {
    /// Opens the device that was asked for.
    ///
    /// # Errors
    /// What a GPU lacks.
    pub fn open(options: EngineOptions) -> Outcome<Self> {
        let device = device::open(options.device).or_failure()?;
        if options.kernels == KernelChoice::Fused {
            device::use_kernels(Kernels::Fused, &device).or_failure()?;
        }
        Ok(Self { precision: precision(&device, options.weights), device, options })
    }

    /// The processor, with the same wish for its weights.
    pub fn on_cpu(options: EngineOptions) -> Self {
        Self { precision: precision(&Device::Cpu, options.weights), device: Device::Cpu, options }
    }

    /// Loads a checkpoint for it, and meanwhile finds out which kernels are to run.
    ///
    /// # Errors
    /// What is wrong with the checkpoint.
    pub fn load(&self, folder: &Path) -> Outcome<Model> {
        self.choosing_kernels(|| Model::load(folder, self.precision, &self.device).or_failure())
    }

    /// Random weights for it, and meanwhile finds out which kernels are to run.
    ///
    /// # Errors
    /// If the device fails.
    pub fn random(&self, config: VideoConfig) -> Outcome<Model> {
        self.choosing_kernels(|| Model::random(config, 1, self.precision, &self.device).or_failure())
    }

    /// Finds out which kernels are to run, for work without a model.
    ///
    /// # Errors
    /// If the device fails.
    pub fn choose_kernels(&self) -> Outcome<()> {
        self.choosing_kernels(|| Ok(()))
    }

    /// Does something else while Courtside's kernels are on trial, if there is a choice.
    fn choosing_kernels<T>(&self, meanwhile: impl FnOnce() -> Outcome<T>) -> Outcome<T> {
        let is_open = self.options.kernels == KernelChoice::Auto && device::kernels() == Kernels::Library;
        if !is_open || !self.device.is_cuda() || self.precision != Precision::Bf16 {
            return meanwhile();
        }
        let trial = Trial::start(self.options.device);
        let done = meanwhile()?;
        match trial.and_then(Trial::verdict) {
            Ok(n) => {
                device::use_kernels(Kernels::Fused, &self.device).or_failure()?;
                notify(format!("kernels: Courtside's; {n} comparisons with the plain operations agree"));
            }
            Err(why) => {
                notify(format!("warning: Courtside's kernels are not used, which costs speed: {why}"))
            }
        }
        Ok(done)
    }

    /// Whether there is a GPU in it.
    pub fn is_gpu(&self) -> bool {
        !self.device.is_cpu()
    }

    /// Which kernels an NVIDIA GPU runs; `None` for anything else.
    pub fn kernels(&self) -> Option<&'static str> {
        self.device.is_cuda().then(|| match device::kernels() {
            Kernels::Library => "library",
            Kernels::Fused => "fused",
        })
    }

    /// The device in words.
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
