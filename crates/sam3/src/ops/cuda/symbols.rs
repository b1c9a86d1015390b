//! The functions of the CUDA libraries that the program calls. `build.rs` creates a stub for each, so that the program
//! is not linked with these libraries; [`super::libraries`] fills the stubs when a GPU is requested.
//!
//! A function that is called but not listed here is an undefined symbol at link time: add it. Functions that candle refers
//! to and the program does not need are in `stubs/unneeded.c`.

/// A CUDA library and the functions that the program calls.
pub(crate) struct Library {
    /// Its name and how to install it, for messages.
    pub(crate) what: &'static str,
    /// File names to load, the preferred one first.
    pub(crate) files: &'static [&'static str],
    /// The functions, in the order of their stubs.
    pub(crate) functions: &'static [&'static str],
}

/// All libraries, in the order of their stubs.
pub(crate) const LIBRARIES: [Library; 2] = [
    Library {
        what: "the NVIDIA driver",
        files: &["libcuda.so.1"],
        functions: &[
            "cuCtxDestroy_v2",
            "cuCtxGetCurrent",
            "cuCtxSetCurrent",
            "cuCtxSynchronize",
            "cuDeviceGet",
            "cuDeviceGetAttribute",
            "cuDeviceGetCount",
            "cuDeviceGetDefaultMemPool",
            "cuDeviceGetName",
            "cuDevicePrimaryCtxRelease_v2",
            "cuDevicePrimaryCtxRetain",
            "cuDeviceTotalMem_v2",
            "cuDriverGetVersion",
            "cuEventCreate",
            "cuEventDestroy_v2",
            "cuEventRecord",
            "cuEventSynchronize",
            "cuFuncSetAttribute",
            "cuGetErrorString",
            "cuInit",
            "cuLaunchKernel",
            "cuMemAllocAsync",
            "cuMemAlloc_v2",
            "cuMemFreeAsync",
            "cuMemFree_v2",
            "cuMemGetInfo_v2",
            "cuMemPoolGetAttribute",
            "cuMemPoolSetAttribute",
            "cuMemcpyDtoDAsync_v2",
            "cuMemcpyDtoHAsync_v2",
            "cuMemcpyHtoDAsync_v2",
            "cuMemcpyPeerAsync",
            "cuMemsetD8Async",
            "cuModuleGetFunction",
            "cuModuleLoad",
            "cuModuleLoadData",
            "cuModuleUnload",
            "cuStreamCreate",
            "cuStreamDestroy_v2",
            "cuStreamIsCapturing",
            "cuStreamSynchronize",
            "cuStreamWaitEvent",
        ],
    },
    Library {
        what: "cuBLAS (`pip install nvidia-cublas-cu12`; with driver 580 or newer also `pip install nvidia-cublas`)",
        files: &["libcublas.so.13", "libcublas.so.12"],
        functions: &[
            "cublasCreate_v2",
            "cublasDestroy_v2",
            "cublasDgemmStridedBatched",
            "cublasGemmStridedBatchedEx",
            "cublasSetStream_v2",
        ],
    },
];
