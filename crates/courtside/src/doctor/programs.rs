//! The programs beside us: ffmpeg, which everything needs, and the graphics card's, which nothing does yet.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use video::Tools;

use super::{Check, OnCheck};
use client::failure::Failure;
use client::subprocess::{Output, Subprocess};

/// A driver in trouble keeps its program waiting for ever.
const LIMIT: Duration = Duration::from_secs(15);

pub(super) fn ffmpeg(each: OnCheck<'_>) {
    let tools = match Tools::find() {
        Ok(tools) => tools,
        Err(error) => return each(Check::fail("ffmpeg", &Failure::from(error))),
    };
    let described: Vec<String> = [("ffmpeg", tools.ffmpeg()), ("ffprobe", tools.ffprobe())]
        .into_iter()
        .map(|(name, program)| format!("{name} {} at {}", version(program), program.display()))
        .collect();
    each(Check::ok("ffmpeg", described.join(", ")));
    let encoders = output(tools.ffmpeg(), &["-hide_banner", "-encoders"]).unwrap_or_default();
    if !encoders.split_whitespace().any(|word| word == "libx264") {
        let hint = "install an ffmpeg built with it (`apt-get install ffmpeg` or `brew install ffmpeg`)";
        each(Check::warn("ffmpeg", "it lacks libx264: annotated videos cannot be written", hint));
    }
}

/// The third word of `ffmpeg version 5.1.9 Copyright …`.
fn version(program: &Path) -> String {
    let banner = output(program, &["-version"]).unwrap_or_default();
    banner.split_whitespace().nth(2).unwrap_or("of an unknown version").to_owned()
}

pub(super) fn gpu(each: OnCheck<'_>) {
    if !cfg!(feature = "worker") {
        let message =
            "this build submits, imports and serves; tracking is in builds with the feature `worker`";
        return each(Check::ok("gpu", message));
    }
    #[cfg(feature = "worker")]
    if let Some(backend) = sam3::device::gpu_backend() {
        return each(match sam3::device::open(sam3::device::DeviceChoice::Auto) {
            Ok(device) => Check::ok("gpu", format!("{}, by {backend}", sam3::device::describe(&device))),
            Err(error) => Check::fail(
                "gpu",
                &worker::failure::engine_failure(error).hint("--device cpu tracks without it, slowly"),
            ),
        });
    }
    let query = ["--query-gpu=name,memory.total", "--format=csv,noheader"];
    let cards = on_path("nvidia-smi").and_then(|program| output(&program, &query)).unwrap_or_default();
    let cards: Vec<&str> = cards.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    each(match cards.is_empty() {
        true => Check::ok("gpu", "this build has no GPU backend: it tracks on the CPU"),
        false => Check::warn(
            "gpu",
            format!("{} is here, but this build has no GPU backend and cannot use it", cards.join("; ")),
            "expect the CPU's speed; `courtside bench` measures it",
        ),
    });
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// What a program prints; `None` if it fails or does not end. It sees nothing of our environment, which holds
/// secrets, but where libraries lie.
fn output(program: &Path, args: &[&str]) -> Option<String> {
    let mut command = Command::new(program);
    command.args(args).env_clear().env("LC_ALL", "C").stdin(Stdio::null());
    for name in ["LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    let ended = Subprocess::start(command).ok()?.wait(LIMIT).ok()?;
    Some(ended).filter(Output::succeeded).map(|ended| ended.stdout)
}
