//! Systems without Landlock: the child runs with the whitelists of its command line only.

use std::io;
use std::process::Command;
use std::sync::Once;

use super::Sandbox;

/// Nothing to apply here; says so once.
pub(crate) fn apply(_command: &mut Command, _sandbox: &Sandbox) -> io::Result<()> {
    static NOTE: Once = Once::new();
    NOTE.call_once(|| {
        tracing::info!(
            "no process confinement on this system: videos are decoded with ffmpeg's whitelists only"
        );
    });
    Ok(())
}
