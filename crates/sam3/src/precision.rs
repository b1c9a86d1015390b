//! The number types that a model stores its weights in and computes in.

use candle_core::DType;

/// Number types of a model's weights and activations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// Weights and activations in f32.
    #[default]
    F32,
    /// Weights rounded to bfloat16 and widened where they are used; activations in f32. Halves the memory that the
    /// weights take on a CPU.
    Bf16Weights,
    /// Weights and activations in bfloat16; sums, softmax, norms, rotary angles, boxes, scores and mask logits in
    /// f32. Meant for GPUs; a CPU computes the same, but slowly.
    Bf16,
}

impl Precision {
    /// Type of large weights.
    pub(crate) fn weights(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::Bf16Weights | Self::Bf16 => DType::BF16,
        }
    }

    /// Type of activations and of the small parameters that are added to them.
    pub(crate) fn activations(self) -> DType {
        match self {
            Self::F32 | Self::Bf16Weights => DType::F32,
            Self::Bf16 => DType::BF16,
        }
    }
}
