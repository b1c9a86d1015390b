//! How much one file may ask of the machine. Files come from strangers: a few kilobytes can
//! announce a picture of a gigabyte, a million frames, or nothing at all for ever.

use std::time::Duration;

/// Bounds on what a file may cost. [`Default`] suits hour-long games up to 8K.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Most pixels in one picture. Default 8192 x 4320.
    pub max_pixels: u64,
    /// Most frames in one file. Default 1,000,000 (over nine hours at 30 frames per second).
    pub max_frames: u64,
    /// A child process that shows no progress for this long is killed. Default 60 s.
    pub stall_timeout: Duration,
    /// Address space of a child process in bytes, besides 256 MiB for each of its threads
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
