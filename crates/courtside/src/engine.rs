//! What models run on: a device and the numbers it computes in, chosen once at the start of a command.

use clap::ValueEnum;
use sam3::device::{self, DeviceChoice, Kernels};
use sam3::{Device, Precision};

use crate::failure::Outcome;

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
    /// On an NVIDIA GPU, which implementation of an operation runs. `courtside bench --device cuda --verify` tells
    /// whether the fused ones agree with the libraries' on the GPU that is there.
    #[arg(long, value_enum, default_value_t = KernelsArg::Library)]
    pub kernels: KernelsArg,
}

/// Which kernels an NVIDIA GPU runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum KernelsArg {
    /// The libraries' own.
    Library,
    /// Courtside's, where there is one.
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
        Ok(Self { precision: precision(&device, args.weights), device })
    }

    /// The processor, with the same wish for its weights.
    pub fn on_cpu(args: EngineArgs) -> Self {
        Self { precision: precision(&Device::Cpu, args.weights), device: Device::Cpu }
    }

    /// Whether there is a GPU in it.
    pub fn is_gpu(&self) -> bool {
        !self.device.is_cpu()
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
