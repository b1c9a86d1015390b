//! Programs and drivers on this machine: ffmpeg, which every command with a video needs, and the GPU.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use video::Tools;

use super::{Check, OnCheck};
use client::failure::Failure;
use client::subprocess::{Output, Subprocess};

/// Timeout of a program. `nvidia-smi` may hang if the driver is faulty.
const TIMEOUT: Duration = Duration::from_secs(15);

pub(super) fn check_ffmpeg(on_check: OnCheck<'_>) {
    let tools = match Tools::find() {
        Ok(tools) => tools,
        Err(error) => return on_check(Check::fail("ffmpeg", &Failure::from(error))),
    };
    let described: Vec<String> = [("ffmpeg", tools.ffmpeg()), ("ffprobe", tools.ffprobe())]
        .into_iter()
        .map(|(name, program)| format!("{name} {} at {}", version(program), program.display()))
        .collect();
    on_check(Check::ok("ffmpeg", described.join(", ")));
    let encoders = stdout_of(tools.ffmpeg(), &["-hide_banner", "-encoders"]).unwrap_or_default();
    if !encoders.split_whitespace().any(|word| word == "libx264") {
        let message = "ffmpeg has no libx264 encoder, so annotated videos cannot be written";
        let hint = "install an ffmpeg with libx264 (`apt-get install ffmpeg` or `brew install ffmpeg`)";
        on_check(Check::warn("ffmpeg", message, hint));
    }
}

/// The third word of `ffmpeg version 5.1.9 Copyright …`.
fn version(program: &Path) -> String {
    let banner = stdout_of(program, &["-version"]).unwrap_or_default();
    banner.split_whitespace().nth(2).unwrap_or("(unknown version)").to_owned()
}

#[cfg(not(feature = "worker"))]
pub(super) fn check_gpu(on_check: OnCheck<'_>) {
    let message = "not used: this build submits, imports and serves, and does not track";
    on_check(Check::ok("gpu", message));
}

#[cfg(feature = "worker")]
pub(super) fn check_gpu(on_check: OnCheck<'_>) {
    use sam3::device::{DeviceChoice, describe, gpu_backend, open};
    if let Some(backend) = gpu_backend() {
        return on_check(match open(DeviceChoice::Auto) {
            Ok(device) => Check::ok("gpu", format!("{} ({backend})", describe(&device))),
            Err(error) => {
                let failure = worker::failure::engine_failure(error);
                Check::fail("gpu", &failure.hint("use --device cpu to track on the CPU, which is slow"))
            }
        });
    }
    let query = ["--query-gpu=name,memory.total", "--format=csv,noheader"];
    let gpus = on_path("nvidia-smi").and_then(|program| stdout_of(&program, &query)).unwrap_or_default();
    let gpus: Vec<&str> = gpus.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    on_check(match gpus.is_empty() {
        true => Check::ok("gpu", "not used: this build tracks on the CPU"),
        false => Check::warn(
            "gpu",
            format!("{} is not used: this build tracks on the CPU", gpus.join("; ")),
            "build with GPU support (scripts/cuda/build_cuda.sh)",
        ),
    });
}

#[cfg(feature = "worker")]
fn on_path(name: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// The standard output of a program; `None` if it fails or times out. The program gets no environment, which may
/// contain secrets, except the search paths of libraries.
fn stdout_of(program: &Path, args: &[&str]) -> Option<String> {
    let mut command = Command::new(program);
    command.args(args).env_clear().env("LC_ALL", "C").stdin(Stdio::null());
    for name in ["LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    let output = Subprocess::start(command).ok()?.wait(TIMEOUT).ok()?;
    Some(output).filter(Output::succeeded).map(|output| output.stdout)
}
