//! Asynchronous downloads from the device to the host.

use candle_core::{DType, Result, Tensor};

/// A requested download of a tensor, as f32 in row-major order.
///
/// Requesting does not block: work that is queued later runs while the host uses the numbers. On a CPU the numbers
/// are available immediately.
pub(crate) struct Download {
    tensor: Tensor,
    #[cfg(feature = "cuda")]
    copy: Option<super::cuda::HostCopy>,
}

impl Download {
    /// Requests a tensor as it will be once all work queued so far has run.
    pub(crate) fn of(tensor: &Tensor) -> Result<Self> {
        let tensor = tensor.to_dtype(DType::F32)?.contiguous()?;
        Ok(Self {
            #[cfg(feature = "cuda")]
            copy: super::cuda::HostCopy::of(&tensor)?,
            tensor,
        })
    }

    /// Waits for the numbers of a tensor `[n, ..]`, as n rows.
    pub(crate) fn rows(&self) -> Result<Vec<Vec<f32>>> {
        let n = self.tensor.dim(0)?;
        let numbers = self.numbers()?;
        let width = numbers.len() / n.max(1);
        Ok(numbers.chunks(width.max(1)).map(<[f32]>::to_vec).collect())
    }

    /// Waits for the numbers, as one vector.
    pub(crate) fn numbers(&self) -> Result<Vec<f32>> {
        #[cfg(feature = "cuda")]
        if let Some(copy) = &self.copy {
            return copy.numbers();
        }
        self.tensor.flatten_all()?.to_vec1()
    }
}
