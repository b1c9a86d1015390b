//! Memory usage of a GPU, as [`crate::device::memory`] reports it.

/// Memory of a device, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceMemory {
    /// Memory that is free for this program and others.
    pub free: u64,
    /// Total memory of the device.
    pub total: u64,
    /// Memory that this program's tensors take now.
    pub used: u64,
    /// Largest value of `used` since the program started.
    pub peak: u64,
}
