//! Downloads that do not wait for work queued after the data they copy.

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::cuda_backend::cudarc::driver::{CudaEvent, CudaStream};
use candle_core::cuda_backend::{CudaDType, WrapErr};
use candle_core::{Device, Result, Storage, Tensor};

/// The copy streams, one per device.
static STREAMS: Mutex<Vec<Arc<CudaStream>>> = Mutex::new(Vec::new());

/// A requested download of a contiguous f32 tensor, as it is once all work queued before the request has run.
pub(crate) struct HostCopy {
    tensor: Tensor,
    is_ready: CudaEvent,
}

impl HostCopy {
    /// Requests a download, without blocking. `None` if the tensor is not on an NVIDIA GPU.
    pub(crate) fn of(tensor: &Tensor) -> Result<Option<Self>> {
        let Device::Cuda(device) = tensor.device() else { return Ok(None) };
        let is_ready = device.cuda_stream().record_event(None).w()?;
        Ok(Some(Self { tensor: tensor.clone(), is_ready }))
    }

    /// Waits for the numbers.
    pub(crate) fn numbers(&self) -> Result<Vec<f32>> {
        let Device::Cuda(device) = self.tensor.device() else { candle_core::bail!("not on a GPU") };
        let copies = copies(&device.cuda_stream())?;
        // The host waits, and not the copy stream, where the wait would delay downloads of other sessions.
        self.is_ready.synchronize().w()?;
        let (storage, layout) = self.tensor.storage_and_layout();
        let Storage::Cuda(storage) = &*storage else { candle_core::bail!("not on a GPU") };
        let start = layout.start_offset();
        let data = f32::as_cuda_slice(storage)?.slice(start..start + layout.shape().elem_count());
        let numbers = copies.clone_dtoh(&data).w()?;
        copies.synchronize().w()?;
        Ok(numbers)
    }
}

/// The copy stream of the device of `stream`.
fn copies(stream: &Arc<CudaStream>) -> Result<Arc<CudaStream>> {
    let mut streams = STREAMS.lock().unwrap_or_else(PoisonError::into_inner);
    let ordinal = stream.context().ordinal();
    if let Some(copies) = streams.iter().find(|s| s.context().ordinal() == ordinal) {
        return Ok(copies.clone());
    }
    let copies = stream.context().new_stream().w()?;
    streams.push(copies.clone());
    Ok(copies)
}
