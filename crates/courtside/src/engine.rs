//! What models run on: a device and the numbers it computes in, chosen once at the start of a command.

use std::path::Path;

use clap::ValueEnum;
use sam3::device::{self, DeviceChoice, Kernels};
use sam3::{Device, Model, Precision, VideoConfig};

use crate::failure::Outcome;
use crate::kernel_trial::Trial;
use crate::say::say;

/// The choice, as a command line makes it.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct EngineArgs {
    /// Where to track: `auto` is the GPU in a build for GPUs, and the CPU in any other; `cpu`, `cuda`, `cuda:1`,
    /// `metal`. A GPU that cannot be used is an error, never a reason to take the CPU.
    #[arg(long, value_name = "auto|cpu|cuda[:N]|metal", default_value_t = DeviceChoice::Auto)]
    pub device: DeviceChoice,
    /// How weights are kept in memory. On a GPU, bf16 means that it also computes in bfloat16. f32 on a CPU and bf16
    /// on a GPU if not given.
    #[arg(long, value_enum)]
    pub weights: Option<WeightsArg>,
    /// On an NVIDIA GPU, which implementation of an operation runs.
    #[arg(long, value_enum, default_value_t = KernelsArg::Auto)]
    pub kernels: KernelsArg,
}

/// Which kernels an NVIDIA GPU runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum KernelsArg {
    /// Courtside's, if each of them agrees with the plain operation on the GPU that is there, which is tried while the
    /// model is loaded; otherwise the libraries', with a warning.
    Auto,
    /// The libraries' own.
    Library,
    /// Courtside's, where there is one, untried.
    Fused,
}

/// How weights are kept in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum WeightsArg {
    /// 4 bytes each.
    F32,
    /// 2 bytes each.
    Bf16,
}

/// An open device.
#[derive(Debug, Clone)]
pub struct Engine {
    /// The device.
    pub device: Device,
    /// What it computes in.
    pub precision: Precision,
    args: EngineArgs,
}

impl Engine {
    /// Opens the device that was asked for.
    ///
    /// # Errors
    /// What a GPU lacks.
    pub fn open(args: EngineArgs) -> Outcome<Self> {
        let device = device::open(args.device)?;
        if args.kernels == KernelsArg::Fused {
            device::use_kernels(Kernels::Fused, &device)?;
        }
        Ok(Self { precision: precision(&device, args.weights), device, args })
    }

    /// The processor, with the same wish for its weights.
    pub fn on_cpu(args: EngineArgs) -> Self {
        Self { precision: precision(&Device::Cpu, args.weights), device: Device::Cpu, args }
    }

    /// Loads a checkpoint for it, and meanwhile finds out which kernels are to run.
    ///
    /// # Errors
    /// What is wrong with the checkpoint.
    pub fn load(&self, folder: &Path) -> Outcome<Model> {
        self.choosing_kernels(|| Ok(Model::load(folder, self.precision, &self.device)?))
    }

    /// Random weights for it, and meanwhile finds out which kernels are to run.
    ///
    /// # Errors
    /// If the device fails.
    pub fn random(&self, config: VideoConfig) -> Outcome<Model> {
        self.choosing_kernels(|| Ok(Model::random(config, 1, self.precision, &self.device)?))
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
        let is_open = self.args.kernels == KernelsArg::Auto && device::kernels() == Kernels::Library;
        if !is_open || !self.device.is_cuda() || self.precision != Precision::Bf16 {
            return meanwhile();
        }
        let trial = Trial::start(self.args.device);
        let done = meanwhile()?;
        match trial.and_then(Trial::verdict) {
            Ok(n) => {
                device::use_kernels(Kernels::Fused, &self.device)?;
                say(format!("kernels: Courtside's; {n} comparisons with the plain operations agree"));
            }
            Err(why) => say(format!("warning: Courtside's kernels are not used, which costs speed: {why}")),
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

fn precision(device: &Device, weights: Option<WeightsArg>) -> Precision {
    match weights {
        None => device::natural_precision(device),
        Some(WeightsArg::F32) => Precision::F32,
        Some(WeightsArg::Bf16) if device.is_cpu() => Precision::Bf16Weights,
        Some(WeightsArg::Bf16) => Precision::Bf16,
    }
}
