//! `courtside bench --verify`: compares Courtside's GPU kernels with the plain operations.

use std::fmt;

use sam3::bench::{Verified, verify_kernels};
use serde::Serialize;

use super::Args;
use client::failure::{Failure, Kind, Outcome};
use worker::engine::Engine;
use worker::failure::EngineResult;
use worker::kernel_trial;

/// The comparison of every kernel. The worker's kernel check reads it as JSON.
#[derive(Debug, Serialize)]
struct Verification {
    device: String,
    kernels: Vec<KernelRow>,
}

#[derive(Debug, Serialize)]
struct KernelRow {
    name: String,
    /// Largest difference from the plain operation.
    off: f32,
    allowed: f32,
    passed: bool,
}

impl fmt::Display for Verification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.device)?;
        writeln!(f, "{:<64} {:>10} {:>9}", "KERNEL", "DIFFERENCE", "ALLOWED")?;
        self.kernels.iter().try_for_each(|k| {
            let verdict = if k.passed { "" } else { "  WRONG" };
            writeln!(f, "{:<64} {:>10.1e} {:>9.1e}{verdict}", k.name, k.off, k.allowed)
        })
    }
}

pub(super) fn run(args: &Args, json: bool) -> Outcome<()> {
    if args.exit_with_stdin {
        kernel_trial::exit_when_stdin_closes();
    }
    let engine = Engine::open(args.engine.into())?;
    let row = |v: Verified| KernelRow { passed: v.passed(), name: v.name, off: v.off, allowed: v.allowed };
    let kernels: Vec<KernelRow> = verify_kernels(&engine.device).or_failure()?.into_iter().map(row).collect();
    if kernels.is_empty() {
        let message = format!("no kernels to verify on {}", engine.describe());
        return Err(Failure::msg(Kind::Config, message)
            .hint("verify a CUDA build (scripts/cuda/build_cuda.sh) on a machine with an NVIDIA GPU"));
    }
    let wrong: Vec<&str> = kernels.iter().filter(|k| !k.passed).map(|k| k.name.as_str()).collect();
    let wrong = wrong.join("; ");
    crate::cli::print(&Verification { device: engine.describe(), kernels }, json)?;
    if wrong.is_empty() {
        return Ok(());
    }
    let message = format!("these kernels disagree with the plain operations: {wrong}");
    Err(Failure::msg(Kind::Failed, message).hint(
        "please report this; `--kernels auto` and `--kernels library` do not use these kernels on this GPU",
    ))
}
