//! Devices: selected by name, and opened or refused with a reason, but never replaced silently.

use std::fmt;
use std::str::FromStr;

use candle_core::Device;

pub use crate::device_memory::DeviceMemory;
use crate::error::{Error, Result};
use crate::ops;
use crate::precision::Precision;

/// A device selected by name: `auto`, `cpu`, `cuda`, `cuda:1`, `metal`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// The first GPU in a build for GPUs, and the CPU in any other.
    #[default]
    Auto,
    /// The CPU, even in a build for GPUs.
    Cpu,
    /// An NVIDIA GPU, by its ordinal from 0.
    Cuda(usize),
    /// An Apple GPU, by its ordinal from 0.
    Metal(usize),
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let wrong = || format!("{text:?} is not a device: use auto, cpu, cuda, cuda:N, metal or metal:N");
        let (kind, number) = text.split_once(':').map_or((text, None), |(kind, n)| (kind, Some(n)));
        let ordinal = number.map(|n| n.parse().map_err(|_| wrong())).transpose()?;
        match (kind, ordinal) {
            ("auto", None) => Ok(Self::Auto),
            ("cpu", None) => Ok(Self::Cpu),
            ("cuda", n) => Ok(Self::Cuda(n.unwrap_or(0))),
            ("metal", n) => Ok(Self::Metal(n.unwrap_or(0))),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(n) => write!(f, "cuda:{n}"),
            Self::Metal(n) => write!(f, "metal:{n}"),
        }
    }
}

/// The GPU backend of this build, for messages: `CUDA`, `Metal`, or `None` in a build for CPUs.
pub fn gpu_backend() -> Option<&'static str> {
    if cfg!(feature = "cuda") {
        Some("CUDA")
    } else if cfg!(feature = "metal") {
        Some("Metal")
    } else {
        None
    }
}

/// Opens a device.
///
/// # Errors
/// [`Error::Device`] if the build lacks the backend, the driver is missing or too old, the GPU does not support
/// bfloat16, or a library is not installed. The message names what is missing, its version, and what to do.
pub fn open(choice: DeviceChoice) -> Result<Device> {
    match choice {
        DeviceChoice::Cpu => Ok(Device::Cpu),
        DeviceChoice::Cuda(ordinal) => open_cuda(ordinal),
        DeviceChoice::Metal(ordinal) => open_metal(ordinal),
        DeviceChoice::Auto => match gpu_backend() {
            Some("CUDA") => open_cuda(0),
            Some(_) => open_metal(0),
            None => Ok(Device::Cpu),
        },
    }
}

fn no_backend(device: DeviceChoice, how: &str) -> Error {
    let device = device.to_string();
    Error::Device { device, what: format!("this build does not support it: {how}") }
}

fn open_cuda(ordinal: usize) -> Result<Device> {
    let device = DeviceChoice::Cuda(ordinal);
    if !cfg!(feature = "cuda") {
        return Err(no_backend(device, "scripts/cuda/build_cuda.sh builds the program with CUDA"));
    }
    ops::open_cuda(ordinal).map_err(|what| Error::Device { device: device.to_string(), what })
}

fn open_metal(ordinal: usize) -> Result<Device> {
    let device = DeviceChoice::Metal(ordinal);
    if !cfg!(feature = "metal") {
        return Err(no_backend(
            device,
            "on a Mac, build it with cargo build --release -p courtside --features metal",
        ));
    }
    Device::new_metal(ordinal)
        .map_err(|e| Error::Device { device: device.to_string(), what: format!("cannot open it: {e}") })
}

/// Describes a device for messages: `CPU`, `NVIDIA H200 (cuda:0, compute capability 9.0, driver for CUDA 13.0,
/// 139.8 GiB)`.
pub fn describe(device: &Device) -> String {
    match device {
        Device::Cpu => "CPU".to_owned(),
        Device::Metal(_) => "Apple GPU (Metal)".to_owned(),
        Device::Cuda(_) => ops::describe_cuda(device).unwrap_or_else(|| "NVIDIA GPU".to_owned()),
    }
}

/// The implementation of operations on an NVIDIA GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kernels {
    /// cuBLAS and candle's kernels.
    #[default]
    Library,
    /// Courtside's kernels, where there is one: attention without a score matrix, norms, rotary angles, and
    /// elementwise operations in one pass. See [`crate::bench::verify_kernels`].
    Fused,
}

/// Selects the kernels for this process. Only [`Precision::Bf16`] on an NVIDIA GPU is affected.
///
/// # Errors
/// [`Error::Device`] for [`Kernels::Fused`] on any other device.
pub fn use_kernels(kernels: Kernels, device: &Device) -> Result<()> {
    if kernels == Kernels::Fused && !device.is_cuda() {
        let what = "has no fused kernels, which are for NVIDIA GPUs".to_owned();
        return Err(Error::Device { device: describe(device), what });
    }
    ops::use_fused(kernels == Kernels::Fused);
    Ok(())
}

/// The kernels that this process uses.
pub fn kernels() -> Kernels {
    if ops::is_fused() { Kernels::Fused } else { Kernels::Library }
}

/// Memory of an NVIDIA GPU; `None` for other devices, or if the driver does not report it.
pub fn memory(device: &Device) -> Option<DeviceMemory> {
    match device {
        Device::Cuda(_) => ops::cuda_memory(device),
        Device::Cpu | Device::Metal(_) => None,
    }
}

/// The default precision of a device: f32 on a CPU, bfloat16 on a GPU.
pub fn natural_precision(device: &Device) -> Precision {
    if device.is_cpu() { Precision::F32 } else { Precision::Bf16 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_names_are_parsed_and_displayed() {
        for (text, choice) in [
            ("auto", DeviceChoice::Auto),
            ("cpu", DeviceChoice::Cpu),
            ("cuda:0", DeviceChoice::Cuda(0)),
            ("cuda:3", DeviceChoice::Cuda(3)),
            ("metal:1", DeviceChoice::Metal(1)),
        ] {
            assert_eq!(text.parse(), Ok(choice));
            assert_eq!(choice.to_string(), text);
        }
        assert_eq!("cuda".parse(), Ok(DeviceChoice::Cuda(0)));
        for wrong in ["gpu", "cuda:x", "cpu:0", "", "cuda:-1"] {
            assert!(wrong.parse::<DeviceChoice>().unwrap_err().contains("use auto, cpu"), "{wrong}");
        }
    }

    #[cfg(not(any(feature = "cuda", feature = "metal")))]
    #[test]
    fn a_missing_backend_is_refused_by_name() {
        assert!(open(DeviceChoice::Auto).unwrap().is_cpu());
        for choice in [DeviceChoice::Cuda(0), DeviceChoice::Metal(0)] {
            let error = open(choice).unwrap_err().to_string();
            assert!(error.contains(&choice.to_string()) && error.contains("build"), "{error}");
        }
    }
}
