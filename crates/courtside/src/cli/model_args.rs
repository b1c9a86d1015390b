//! The flags that choose the model and what it runs on, shared by `track`, `worker` and `bench`.

use std::path::PathBuf;

use clap::ValueEnum;
use sam3::device::DeviceChoice;
use worker::engine::{EngineOptions, KernelChoice, WeightType};

/// Heading of these flags on a help page.
pub(super) const HEADING: &str = "Model and device";

/// Flags that choose a model folder.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct ModelArgs {
    /// Folder with the SAM3 model [default: find or download it]
    ///
    /// Without this flag, the model is looked for in CLOUD_MODEL_PATH, in /models/sam3 and in the Hugging Face cache.
    /// If it is in none of them, facebook/sam3 is downloaded with HF_TOKEN.
    #[arg(long, value_name = "DIR", help_heading = HEADING)]
    pub(super) model: Option<PathBuf>,
}

/// Flags that choose the device and its arithmetic.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct EngineArgs {
    /// Device to track on
    ///
    /// `auto` is the GPU in a build for GPUs and the CPU in any other build. If the GPU cannot be used, the command
    /// fails; it does not fall back to the CPU.
    #[arg(
        long,
        value_name = "auto|cpu|cuda[:N]|metal",
        default_value_t = DeviceChoice::Auto,
        help_heading = HEADING
    )]
    pub(super) device: DeviceChoice,
    /// Data type of the weights [default: f32 on a CPU, bf16 on a GPU]
    #[arg(long, value_name = "TYPE", value_enum, help_heading = HEADING)]
    pub(super) weights: Option<WeightsArg>,
    /// Kernels to use on an NVIDIA GPU
    #[arg(long, value_name = "KIND", value_enum, default_value_t = KernelsArg::Auto, help_heading = HEADING)]
    pub(super) kernels: KernelsArg,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum KernelsArg {
    /// Courtside's own kernels if they pass a check on this GPU at start, otherwise those of the libraries
    Auto,
    /// Kernels of cuBLAS and candle
    Library,
    /// Courtside's own kernels, without the check
    Fused,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum WeightsArg {
    /// 4 bytes per weight
    F32,
    /// 2 bytes per weight; a GPU also computes in bfloat16
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
