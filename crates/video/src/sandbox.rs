//! Restricting what a child process can access. On Linux a child gets resource limits, dies with
//! the thread that started it, and can access only the system's libraries and the files named in
//! its [`policy::Sandbox`] through Landlock, with no TCP at all; a kernel without Landlock is an error.
//! Other systems have no such restriction: only ffmpeg's own whitelists remain, and a message is logged.

pub(crate) mod policy;

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
pub(crate) use linux::{apply, check_support};

#[cfg(not(target_os = "linux"))]
mod other;
#[cfg(not(target_os = "linux"))]
pub(crate) use other::{apply, check_support};
