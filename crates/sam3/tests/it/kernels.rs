//! Runs the CUDA kernels thread by thread on the CPU (`kernels/host`), and compares them with references in double
//! precision.

use std::path::Path;
use std::process::Command;

#[test]
#[cfg(target_os = "linux")]
fn cuda_kernels_agree_with_their_references_on_the_cpu() {
    let kernels = Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels");
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("test_kernels");
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
    let compiled = Command::new(&compiler)
        .args(["-std=c++20", "-O2", "-I"])
        .args([&kernels, &kernels.join("host/test_kernels.cpp")])
        .arg("-o")
        .arg(&program)
        .output()
        .unwrap_or_else(|e| panic!("{compiler}: {e}; a C++ compiler is needed (`apt-get install g++`)"));
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    let ran = Command::new(&program).output().unwrap();
    let report = String::from_utf8_lossy(&ran.stdout);
    println!("{report}");
    assert!(ran.status.success(), "{report}\n{}", String::from_utf8_lossy(&ran.stderr));
    assert!(report.lines().filter(|line| line.starts_with("ok ")).count() > 50, "{report}");
}
