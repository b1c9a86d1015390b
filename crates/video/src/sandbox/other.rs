//! Systems without Landlock: the child is restricted only by the whitelists on its command line.

use std::io;
use std::process::Command;
use std::sync::Once;

use crate::sandbox::policy::Sandbox;

/// Applies nothing; logs that once.
pub(crate) fn apply(_command: &mut Command, _sandbox: &Sandbox) -> io::Result<()> {
    static NOTE: Once = Once::new();
    NOTE.call_once(|| {
        tracing::info!("no sandbox on this system: decoding is restricted only by ffmpeg's whitelists");
    });
    Ok(())
}

/// Nothing is supported, so nothing is missing.
pub(crate) fn check_support() -> Result<(), String> {
    Ok(())
}
