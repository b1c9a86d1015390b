//! Bounds on the resources that one file may use. Files are untrusted: a few kilobytes can declare
//! a gigabyte-sized image or a million frames, or make the decoder hang.

use std::time::Duration;

/// Bounds on one file. [`Default`] suits hour-long games up to 8K.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Maximum number of pixels in one frame. Default 8192 x 4320.
    pub max_pixels: u64,
    /// Maximum number of frames in one file. Default 1,000,000 (over nine hours at 30 frames per second).
    pub max_frames: u64,
    /// How long a child process may run without progress before it is killed. Default 60 s.
    pub stall_timeout: Duration,
    /// Address space of a child process in bytes, in addition to 256 MiB for each of its threads
    /// (Linux only). Default 4 GiB.
    pub memory_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            max_pixels: 8192 * 4320,
            max_frames: 1_000_000,
            stall_timeout: Duration::from_secs(60),
            memory_bytes: 4 << 30,
        }
    }
}
