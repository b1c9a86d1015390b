//! What a sandboxed child may access.

use std::path::PathBuf;

/// The files that a child may open and the memory that it may use.
#[derive(Clone, Debug)]
#[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "only enforced on Linux"))]
pub(crate) struct Sandbox {
    /// Files and folders that may be read and executed.
    pub(crate) read: Vec<PathBuf>,
    /// The one existing file that may be written. `None` also forbids growing any file.
    pub(crate) write: Option<PathBuf>,
    /// Address space in bytes.
    pub(crate) memory_bytes: u64,
    /// Whether to restrict file and network access (see [`crate::Tools::disable_sandbox`]).
    pub(crate) restricts_access: bool,
}
