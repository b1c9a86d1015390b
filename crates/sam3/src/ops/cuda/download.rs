//! Copies to the host that do not wait for work queued behind what they copy.

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::cuda_backend::cudarc::driver::{CudaEvent, CudaStream};
use candle_core::cuda_backend::{CudaDType, WrapErr};
use candle_core::{Device, Result, Storage, Tensor};

/// The copying streams, one for each device.
static STREAMS: Mutex<Vec<Arc<CudaStream>>> = Mutex::new(Vec::new());

/// An f32 tensor, contiguous, as it is once everything queued before has run.
pub(crate) struct HostCopy {
    tensor: Tensor,
    is_ready: CudaEvent,
}

impl HostCopy {
    /// `None` for a tensor of another device. Waits for nothing.
    pub(crate) fn of(tensor: &Tensor) -> Result<Option<Self>> {
        let Device::Cuda(device) = tensor.device() else { return Ok(None) };
        let is_ready = device.cuda_stream().record_event(None).w()?;
        Ok(Some(Self { tensor: tensor.clone(), is_ready }))
    }

    /// Waits for the numbers.
    pub(crate) fn numbers(&self) -> Result<Vec<f32>> {
        let Device::Cuda(device) = self.tensor.device() else { candle_core::bail!("not on a GPU") };
        let copies = copies(&device.cuda_stream())?;
        // Here, and not on the copying stream, where it would hold up other sessions' copies.
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

/// The copying stream of the device that `stream` computes on.
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
