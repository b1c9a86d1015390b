//! Opens GPUs, with an error that explains why one is not usable, and reports their memory.

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::Device;
use candle_core::cuda_backend::cudarc::driver::{CudaContext, result, sys};

use super::libraries;
use crate::device_memory::DeviceMemory;

/// The CUDA version that the kernels are compiled for, in the format of `cuDriverGetVersion`.
const REQUIRED_VERSION: i32 = match i32::from_str_radix(env!("COURTSIDE_CUDA_VERSION"), 10) {
    Ok(version) => version,
    Err(_) => panic!("build.rs sets a number"),
};
/// The first driver for each CUDA version, from the release notes of the CUDA toolkit.
const DRIVERS: [(i32, &str); 10] = [
    (12_000, "525"),
    (12_010, "530"),
    (12_020, "535"),
    (12_030, "545"),
    (12_040, "550"),
    (12_050, "555"),
    (12_060, "560"),
    (12_080, "570"),
    (12_090, "575"),
    (13_000, "580"),
];
/// The first compute capability (Blackwell) that needs [`BLACKWELL_CUBLAS`].
const BLACKWELL: (i32, i32) = (10, 0);
/// The first cuBLAS with products for Blackwell.
const BLACKWELL_CUBLAS: (i32, i32) = (12, 8);
/// The lowest compute capability with bfloat16 products.
const REQUIRED_CAPABILITY: (i32, i32) = (8, 0);

/// The open GPUs. Each is opened once, because two handles would compute on two streams without synchronisation.
static OPEN: Mutex<Vec<(usize, Device)>> = Mutex::new(Vec::new());

/// Opens the GPU `ordinal` with a new stream, or returns it if it is open.
///
/// # Errors
/// A message that names what is missing or too old, with its version, and what to install.
pub(crate) fn open(ordinal: usize) -> Result<Device, String> {
    let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, device)) = open.iter().find(|(known, _)| *known == ordinal) {
        return Ok(device.clone());
    }
    let device = open_first(ordinal)?;
    open.push((ordinal, device.clone()));
    Ok(device)
}

fn open_first(ordinal: usize) -> Result<Device, String> {
    let cublas = libraries::load()?;
    let driver = |e: result::DriverError| format!("the driver failed: {e}");
    result::init().map_err(|e| {
        format!("the NVIDIA driver does not start ({e}); install driver {} or newer", required_driver())
    })?;
    let version = driver_version();
    if version < REQUIRED_VERSION {
        let (found, required) = (shown(version), shown(REQUIRED_VERSION));
        return Err(format!(
            "the driver supports CUDA {found}, but this program needs CUDA {required}: install driver {} or newer",
            required_driver()
        ));
    }
    let n = CudaContext::device_count().map_err(driver)?;
    if ordinal >= n as usize {
        return Err(format!("found {n} GPUs, numbered from 0: `nvidia-smi -L` lists them"));
    }
    let context = CudaContext::new(ordinal).map_err(driver)?;
    let (name, capability) = (context.name().map_err(driver)?, context.compute_capability().map_err(driver)?);
    if capability < REQUIRED_CAPABILITY {
        let ((major, minor), (required_major, required_minor)) = (capability, REQUIRED_CAPABILITY);
        return Err(format!(
            "{name} has compute capability {major}.{minor}, but bfloat16 needs {required_major}.{required_minor} \
             (A100, RTX 30 and newer)"
        ));
    }
    if let Some((major, minor)) =
        cublas.filter(|cublas| capability >= BLACKWELL && *cublas < BLACKWELL_CUBLAS)
    {
        let ((of_gpu, of_gpu_minor), (needed, needed_minor)) = (capability, BLACKWELL_CUBLAS);
        return Err(format!(
            "{name} (compute capability {of_gpu}.{of_gpu_minor}) needs cuBLAS {needed}.{needed_minor} or newer, and \
             {major}.{minor} is installed: install cuBLAS 13, or use an image built with CUDA=13"
        ));
    }
    let device = Device::new_cuda_with_stream(ordinal).map_err(|e| format!("cannot open {name}: {e}"))?;
    keep_freed_memory(&context).map_err(driver)?;
    if let Device::Cuda(cuda) = &device {
        #[expect(unsafe_code, reason = "one stream computes, and the copy stream waits for its own events")]
        unsafe {
            cuda.disable_event_tracking();
        }
    }
    Ok(device)
}

/// Describes a GPU: name, ordinal, compute capability, driver and memory.
pub(crate) fn describe(device: &Device) -> Option<String> {
    let context = context(device)?;
    let (major, minor) = context.compute_capability().ok()?;
    let (name, ordinal) = (context.name().ok()?, context.ordinal());
    let (driver, gib) = (shown(driver_version()), context.total_mem().ok()? as f64 / f64::from(1 << 30));
    Some(format!(
        "{name} (cuda:{ordinal}, compute capability {major}.{minor}, driver for CUDA {driver}, {gib:.1} GiB)"
    ))
}

/// Free and total memory of a GPU, and the use of its memory pool.
pub(crate) fn memory(device: &Device) -> Option<DeviceMemory> {
    let context = context(device)?;
    let (free, total) = context.mem_get_info().ok()?;
    let pool = pool(&context).ok()?;
    let number = |attribute| pool_number(pool, attribute).ok();
    Some(DeviceMemory {
        free: free as u64,
        total: total as u64,
        used: number(sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_USED_MEM_CURRENT)?,
        peak: number(sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_USED_MEM_HIGH)?,
    })
}

fn context(device: &Device) -> Option<Arc<CudaContext>> {
    let Device::Cuda(cuda) = device else { return None };
    Some(cuda.cuda_stream().context().clone())
}

fn driver_version() -> i32 {
    let mut version = 0;
    #[expect(unsafe_code, reason = "writes one integer")]
    let status = unsafe { sys::cuDriverGetVersion(&raw mut version) };
    if status == sys::CUresult::CUDA_SUCCESS { version } else { 0 }
}

/// The first driver that loads the kernels.
fn required_driver() -> &'static str {
    let known = DRIVERS.iter().find(|(version, _)| *version >= REQUIRED_VERSION);
    known.map_or(DRIVERS[DRIVERS.len() - 1].1, |(_, driver)| driver)
}

/// Formats a version: 13000 → "13.0".
fn shown(version: i32) -> String {
    format!("{}.{}", version / 1000, version % 1000 / 10)
}

fn pool(context: &Arc<CudaContext>) -> Result<sys::CUmemoryPool, result::DriverError> {
    context.bind_to_thread()?;
    let mut pool = std::ptr::null_mut();
    #[expect(unsafe_code, reason = "writes one handle, which lives as long as the device")]
    unsafe {
        sys::cuDeviceGetDefaultMemPool(&raw mut pool, context.cu_device()).result()?;
    }
    Ok(pool)
}

fn pool_number(
    pool: sys::CUmemoryPool,
    attribute: sys::CUmemPool_attribute,
) -> Result<u64, result::DriverError> {
    let mut value = 0u64;
    #[expect(unsafe_code, reason = "these attributes are 64-bit numbers")]
    unsafe {
        result::mem_pool::get_attribute(pool, attribute, (&raw mut value).cast())?;
    }
    Ok(value)
}

/// Keeps freed memory in the pool, instead of returning it to the driver at every synchronisation.
fn keep_freed_memory(context: &Arc<CudaContext>) -> Result<(), result::DriverError> {
    let pool = pool(context)?;
    let mut unlimited = u64::MAX;
    let attribute = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
    #[expect(unsafe_code, reason = "this attribute is a 64-bit number")]
    unsafe {
        result::mem_pool::set_attribute(pool, attribute, (&raw mut unlimited).cast())
    }
}
