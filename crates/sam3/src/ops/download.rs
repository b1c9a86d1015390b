//! Numbers on their way from the device to the host.

use candle_core::{DType, Result, Tensor};

/// A tensor that the host will want, f32, in order.
///
/// Asking waits for nothing: work that is queued afterwards runs while the host looks at what arrived. On a
/// CPU the numbers are there at once.
pub(crate) struct Download {
    tensor: Tensor,
    #[cfg(feature = "cuda")]
    copy: Option<super::cuda::HostCopy>,
}

impl Download {
    /// Asks for a tensor as it will be once everything queued so far has run.
    pub(crate) fn of(tensor: &Tensor) -> Result<Self> {
        let tensor = tensor.to_dtype(DType::F32)?.contiguous()?;
        Ok(Self {
            #[cfg(feature = "cuda")]
            copy: super::cuda::HostCopy::of(&tensor)?,
            tensor,
        })
    }

    /// Waits for the numbers, first dimension by first dimension: `[n, ..]` → n rows.
    pub(crate) fn rows(&self) -> Result<Vec<Vec<f32>>> {
        let n = self.tensor.dim(0)?;
        let numbers = self.numbers()?;
        let width = numbers.len() / n.max(1);
        Ok(numbers.chunks(width.max(1)).map(<[f32]>::to_vec).collect())
    }

    /// Waits for the numbers.
    pub(crate) fn numbers(&self) -> Result<Vec<f32>> {
        #[cfg(feature = "cuda")]
        if let Some(copy) = &self.copy {
            return copy.numbers();
        }
        self.tensor.flatten_all()?.to_vec1()
    }
}
