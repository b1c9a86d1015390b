//! What a child process may touch. On Linux a child gets resource limits, dies with the thread
//! that started it, and sees through Landlock only the system's libraries and the files named
//! here, with no TCP at all. Elsewhere, and on kernels without Landlock, the whitelists given to
//! ffmpeg remain, and a note is logged.

use std::path::PathBuf;

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
pub(crate) use linux::apply;

#[cfg(not(target_os = "linux"))]
mod other;
#[cfg(not(target_os = "linux"))]
pub(crate) use other::apply;

/// The files a child may open and the memory it may take.
#[derive(Clone, Debug)]
#[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "only Linux has means to enforce it"))]
pub(crate) struct Sandbox {
    /// Files and folders that may be read and executed from.
    pub(crate) read: Vec<PathBuf>,
    /// The one existing file that may be written; `None` also forbids growing any file.
    pub(crate) write: Option<PathBuf>,
    /// Address space in bytes.
    pub(crate) memory_bytes: u64,
    /// Whether to restrict file and network access (see [`crate::Tools::find`]).
    pub(crate) landlock: bool,
}
