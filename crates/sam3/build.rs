//! With the feature `cuda`, compiles the kernels to PTX that every GPU since the A100 can run.

use std::path::{Path, PathBuf};
use std::process::Command;

const KERNELS: [&str; 6] = ["attention", "depthwise", "elementwise", "norm", "resize", "rope"];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var_os("CARGO_FEATURE_CUDA").is_none() {
        return;
    }
    println!("cargo::rerun-if-changed=kernels");
    println!("cargo::rerun-if-env-changed=CUDA_HOME");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo says where to write"));
    for name in KERNELS {
        compile(&Path::new("kernels").join(name).with_extension("cu"), &out.join(name).with_extension("ptx"));
    }
}

/// `-arch=compute_80` is PTX alone, which the driver compiles for the GPU that is there. No fast math: the
/// resize is exact.
fn compile(source: &Path, ptx: &Path) {
    let nvcc = match std::env::var_os("CUDA_HOME") {
        Some(home) => PathBuf::from(home).join("bin/nvcc"),
        None => PathBuf::from("nvcc"),
    };
    let mut command = Command::new(&nvcc);
    command.args(["-std=c++17", "-O3", "-arch=compute_80", "-ptx", "-o"]).args([ptx, source]);
    match command.output() {
        Ok(output) if output.status.success() => {}
        Ok(output) => {
            panic!("{}: {}\n{}", source.display(), output.status, String::from_utf8_lossy(&output.stderr))
        }
        Err(error) => panic!(
            "{}: {error}; the feature `cuda` needs the CUDA toolkit's nvcc, on PATH or in CUDA_HOME/bin: see \
             scripts/build_cuda.sh",
            nvcc.display()
        ),
    }
}
