//! With the feature `cuda`: compiles the kernels to PTX for every GPU since the A100, and creates stubs of the CUDA
//! functions, so that the program is not linked with the CUDA libraries and starts without them.

#[cfg(feature = "cuda")]
#[expect(dead_code, reason = "the program uses the file names and messages")]
#[path = "src/ops/cuda/symbols.rs"]
mod symbols;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "cuda")]
    cuda::build();
}

#[cfg(feature = "cuda")]
mod cuda {
    use std::fmt::Write;
    use std::path::{Path, PathBuf};
    use std::process::Command;

    use crate::symbols::LIBRARIES;

    const KERNELS: [&str; 8] =
        ["attention", "boxes", "depthwise", "elementwise", "im2col", "norm", "resize", "rope"];
    /// Libraries that other crates link.
    const LINKED: [&str; 6] = ["cuda", "cublas", "cublasLt", "cudart", "curand", "nvrtc"];

    pub(crate) fn build() {
        println!("cargo::rerun-if-changed=kernels");
        println!("cargo::rerun-if-changed=src/ops/cuda/symbols.rs");
        println!("cargo::rerun-if-changed=stubs");
        println!("cargo::rerun-if-env-changed=CUDA_HOME");
        let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
        for name in KERNELS {
            let source = Path::new("kernels").join(name).with_extension("cu");
            compile(&source, &out.join(name).with_extension("ptx"));
        }
        let write = |name: &str, text: &str| {
            let path = out.join(name).with_extension("S");
            std::fs::write(&path, text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            path
        };
        let stubs = write("courtside_cuda", &stubs());
        cc::Build::new().file(stubs).file("stubs/unneeded.c").compile("courtside_cuda");
        println!("cargo::rustc-env=COURTSIDE_CUDA_VERSION={}", toolkit_version());
        for name in LINKED {
            // An empty library for the linker to find; the functions are in the stubs.
            let empty = format!(".globl courtside_no_{name}\ncourtside_no_{name}:\n{NOT_EXECUTABLE}");
            cc::Build::new().file(write(name, &empty)).cargo_metadata(false).compile(name);
        }
    }

    fn nvcc() -> PathBuf {
        match std::env::var_os("CUDA_HOME") {
            Some(home) => PathBuf::from(home).join("bin/nvcc"),
            None => PathBuf::from("nvcc"),
        }
    }

    /// The version of the compiler in the format of `cuDriverGetVersion`: 12040 for 12.4. Drivers that support this version
    /// can load the PTX.
    fn toolkit_version() -> u32 {
        let output = Command::new(nvcc()).arg("--version").output().expect("nvcc has compiled the kernels");
        let text = String::from_utf8_lossy(&output.stdout);
        let release = text.split("release ").nth(1).and_then(|rest| rest.split(',').next());
        let version = release.and_then(|release| release.trim().split_once('.'));
        let number = |(major, minor): (&str, &str)| {
            Some(major.parse::<u32>().ok()? * 1000 + minor.parse::<u32>().ok()? * 10)
        };
        version.and_then(number).unwrap_or_else(|| panic!("nvcc --version names no release: {text}"))
    }

    /// Compiles a kernel file. `-arch=compute_80` yields PTX only, which the driver compiles for the GPU in use. Fast math
    /// is off, because the resize is exact.
    fn compile(source: &Path, ptx: &Path) {
        let nvcc = nvcc();
        let mut command = Command::new(&nvcc);
        command.args(["-std=c++17", "-O3", "-arch=compute_80", "-ptx", "-o"]).args([ptx, source]);
        match command.output() {
            Ok(output) if output.status.success() => {}
            Ok(output) => {
                let message = String::from_utf8_lossy(&output.stderr);
                panic!("{}: {}\n{message}", source.display(), output.status)
            }
            Err(error) => panic!(
                "{}: {error}; the feature `cuda` needs the CUDA toolkit's nvcc, on PATH or in CUDA_HOME/bin: see \
                 scripts/cuda/build_cuda.sh",
                nvcc.display()
            ),
        }
    }

    const NOT_EXECUTABLE: &str = ".section .note.GNU-stack,\"\",%progbits\n";

    /// Each stub jumps to its entry in the table `courtside_cuda_functions`. Initially, every entry is a function that
    /// returns 999, CUDA's "unknown error".
    fn stubs() -> String {
        let architecture = std::env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default();
        let (missing, jump): (&str, fn(usize) -> String) = match architecture.as_str() {
            "x86_64" => ("mov $999, %eax\nret", |at| format!("jmp *courtside_cuda_functions+{at}(%rip)")),
            "aarch64" => ("mov w0, #999\nret", |at| {
                format!(
                    "adrp x16, courtside_cuda_functions+{at}\n\
                     ldr x16, [x16, #:lo12:courtside_cuda_functions+{at}]\nbr x16"
                )
            }),
            other => panic!("the feature `cuda` is for Linux on x86_64 and aarch64, not {other}"),
        };
        let functions: Vec<&str> = LIBRARIES.iter().flat_map(|library| library.functions).copied().collect();
        let mut text = format!(".text\nmissing:\n{missing}\n");
        for (i, name) in functions.iter().enumerate() {
            let jump = jump(8 * i);
            writeln!(text, ".globl {name}\n.type {name}, %function\n{name}:\n{jump}")
                .expect("writing to a string succeeds");
        }
        text += ".data\n.balign 8\n.globl courtside_cuda_functions\ncourtside_cuda_functions:\n";
        text += &".quad missing\n".repeat(functions.len());
        text + NOT_EXECUTABLE
    }
}
