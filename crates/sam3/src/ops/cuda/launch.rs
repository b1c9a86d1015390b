//! Launching the fused kernels: their inputs as tensors, their result as a new tensor.

use std::sync::Arc;

use candle_core::cuda_backend::cudarc::driver::{
    CudaFunction, CudaSlice, CudaStream, CudaView, DeviceRepr, LaunchConfig, sys,
};
use candle_core::cuda_backend::{CudaDType, WrapErr};
use candle_core::op::BackpropOp;
use candle_core::{CudaDevice, CudaStorage, Device, Result, Shape, Storage, StorageRef, Tensor};

/// Alignment in bytes of the inputs, for the kernels' vector loads.
const ALIGNMENT: usize = 16;

/// The GPU of a tensor.
pub(super) fn device_of(x: &Tensor) -> Result<&CudaDevice> {
    match x.device() {
        Device::Cuda(device) => Ok(device),
        _ => candle_core::bail!("not on an NVIDIA GPU"),
    }
}

/// Read access to the memory of a contiguous and aligned tensor.
pub(super) struct Reading<'a> {
    storage: StorageRef<'a>,
    start: usize,
}

impl<'a> Reading<'a> {
    /// Access to a tensor that [`dense`] returned.
    pub(super) fn of(tensor: &'a Tensor) -> Result<Self> {
        let (storage, layout) = tensor.storage_and_layout();
        if !layout.is_contiguous() {
            candle_core::bail!("the input of a kernel is not contiguous")
        }
        Ok(Self { storage, start: layout.start_offset() })
    }

    pub(super) fn view<T: CudaDType>(&self) -> Result<CudaView<'_, T>> {
        let Storage::Cuda(storage) = &*self.storage else { candle_core::bail!("not on an NVIDIA GPU") };
        Ok(T::as_cuda_slice(storage)?.slice(self.start..))
    }
}

/// The same tensor, contiguous and aligned for vector loads.
pub(super) fn dense(x: &Tensor) -> Result<Tensor> {
    let x = x.contiguous()?;
    let start = x.layout().start_offset() * x.dtype().size_in_bytes();
    if start.is_multiple_of(ALIGNMENT) { Ok(x) } else { x.force_contiguous() }
}

/// Wraps the result of a kernel in a tensor.
pub(super) fn written<T: CudaDType>(
    out: CudaSlice<T>,
    shape: impl Into<Shape>,
    device: &CudaDevice,
) -> Tensor {
    let storage = CudaStorage::wrap_cuda_slice(out, device.clone());
    Tensor::from_storage(Storage::Cuda(storage), shape, BackpropOp::none(), false)
}

/// Allocates uninitialised memory for the result of a kernel.
pub(super) fn unwritten<T: DeviceRepr>(device: &CudaDevice, len: usize) -> Result<CudaSlice<T>> {
    #[expect(unsafe_code, reason = "the kernel writes every element")]
    unsafe {
        device.alloc::<T>(len)
    }
}

/// A loaded kernel, and the stream to run it on.
pub(super) struct Kernel {
    pub(super) function: CudaFunction,
    pub(super) stream: Arc<CudaStream>,
}

/// Loads the kernel `name` of `kernels/{file}.cu`, or returns it if it is loaded.
pub(super) fn kernel(device: &CudaDevice, file: &'static str, name: &str) -> Result<Kernel> {
    let ptx = match file {
        "attention" => include_str!(concat!(env!("OUT_DIR"), "/attention.ptx")),
        "boxes" => include_str!(concat!(env!("OUT_DIR"), "/boxes.ptx")),
        "depthwise" => include_str!(concat!(env!("OUT_DIR"), "/depthwise.ptx")),
        "elementwise" => include_str!(concat!(env!("OUT_DIR"), "/elementwise.ptx")),
        "im2col" => include_str!(concat!(env!("OUT_DIR"), "/im2col.ptx")),
        "norm" => include_str!(concat!(env!("OUT_DIR"), "/norm.ptx")),
        "resize" => include_str!(concat!(env!("OUT_DIR"), "/resize.ptx")),
        "rope" => include_str!(concat!(env!("OUT_DIR"), "/rope.ptx")),
        _ => candle_core::bail!("no kernel file {file}"),
    };
    let function = device.get_or_load_custom_func(name, file, ptx)?.into_cuda_function();
    Ok(Kernel { function, stream: device.cuda_stream() })
}

/// Raises a kernel's limit of shared memory if it needs more than the default limit.
pub(super) fn allow_shared(kernel: &Kernel, bytes: u32) -> Result<()> {
    const DEFAULT_LIMIT: u32 = 48 << 10;
    if bytes > DEFAULT_LIMIT {
        let attribute = sys::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        kernel.function.set_attribute(attribute, bytes as i32).w()?;
    }
    Ok(())
}

/// A launch of `grid` blocks, with `threads` threads and `shared_mem_bytes` of dynamic shared memory per block.
pub(super) fn launch_config(
    grid: (usize, usize, usize),
    threads: usize,
    shared_mem_bytes: u32,
) -> LaunchConfig {
    LaunchConfig {
        grid_dim: (grid.0 as u32, grid.1 as u32, grid.2 as u32),
        block_dim: (threads as u32, 1, 1),
        shared_mem_bytes,
    }
}

/// Queues a kernel: `launch!(kernel, config, argument, ...)`. The arguments are views, slices and numbers of exactly
/// the types that the kernel declares.
macro_rules! launch {
    ($kernel:expr, $config:expr, $($argument:expr),+ $(,)?) => {{
        use candle_core::cuda_backend::cudarc::driver::PushKernelArg as _;
        let kernel = &$kernel;
        let mut launch = kernel.stream.launch_builder(&kernel.function);
        launch!(@push launch, $config, $($argument),+)
    }};
    // Nested, so that each view lives until the kernel is queued.
    (@push $launch:ident, $config:expr, $first:expr $(, $rest:expr)*) => {
        match $first {
            argument => {
                $launch.arg(argument);
                launch!(@push $launch, $config $(, $rest)*)
            }
        }
    };
    (@push $launch:ident, $config:expr) => {{
        #[expect(unsafe_code, reason = "the arguments have the types and order that kernels/ declares")]
        unsafe { $launch.launch($config) }.w()?;
    }};
}
pub(super) use launch;
