//! The flags that choose the device and the arithmetic, shared by `track`, `worker` and `bench`.

use clap::ValueEnum;
use sam3::device::DeviceChoice;
use worker::engine::{EngineOptions, KernelChoice, WeightType};

/// The choice, as a command line makes it.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct EngineArgs {
    /// Where to track: `auto` is the GPU in a build for GPUs, and the CPU in any other; `cpu`, `cuda`, `cuda:1`,
    /// `metal`. A GPU that cannot be used is an error, never a reason to take the CPU.
    #[arg(long, value_name = "auto|cpu|cuda[:N]|metal", default_value_t = DeviceChoice::Auto)]
    pub(super) device: DeviceChoice,
    /// How weights are kept in memory. On a GPU, bf16 means that it also computes in bfloat16. f32 on a CPU and bf16
    /// on a GPU if not given.
    #[arg(long, value_enum)]
    pub(super) weights: Option<WeightsArg>,
    /// On an NVIDIA GPU, which implementation of an operation runs.
    #[arg(long, value_enum, default_value_t = KernelsArg::Auto)]
    pub(super) kernels: KernelsArg,
}

/// Which kernels an NVIDIA GPU runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum KernelsArg {
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
pub(super) enum WeightsArg {
    /// 4 bytes each.
    F32,
    /// 2 bytes each.
    Bf16,
}

impl From<EngineArgs> for EngineOptions {
    fn from(args: EngineArgs) -> Self {
        Self {
            device: args.device,
            weights: args.weights.map(|weights| match weights {
                WeightsArg::F32 => WeightType::F32,
                WeightsArg::Bf16 => WeightType::Bf16,
            }),
            kernels: match args.kernels {
                KernelsArg::Auto => KernelChoice::Auto,
                KernelsArg::Library => KernelChoice::Library,
                KernelsArg::Fused => KernelChoice::Fused,
            },
        }
    }
}
