#!/usr/bin/env bash
# Builds courtside for NVIDIA GPUs, on a machine with or without one: target/cuda/release/courtside.
#
#   scripts/cuda/build_cuda.sh            build
#   scripts/cuda/build_cuda.sh check      also lint, and check that no kernel spills registers
#   scripts/cuda/build_cuda.sh test       run the engine's parity tests on the GPU, or on an emulated one:
#                                         tools/cuda-emulator/run.sh scripts/cuda/build_cuda.sh test
#
# Uses the CUDA 13 compiler in CUDA_HOME if that is set, and otherwise one from PyPI in target/cuda/toolkit (270 MB).
# The program contains PTX for compute capability 8.0, which drivers since 580 compile for the GPU in use. It is not
# linked with any CUDA library: it loads the driver, cuBLAS and cuRAND when a GPU is requested, so that it also starts
# on machines without them.
set -euo pipefail
cd "$(dirname "$0")/../.."

command=${1:-build}
case $command in
build | check | test) ;;
*)
    echo "usage: scripts/cuda/build_cuda.sh [check|test]" >&2
    exit 2
    ;;
esac

target=$PWD/target/cuda
if [ -z "${CUDA_HOME:-}" ]; then
    venv=$target/toolkit
    CUDA_HOME=$(echo "$venv"/lib/python3.*/site-packages/nvidia/cu13)
    if [ ! -x "$CUDA_HOME/bin/nvcc" ]; then
        command -v python3 >/dev/null || { echo "error: python3 is needed to download the CUDA compiler" >&2; exit 1; }
        python3 -m venv "$venv"
        "$venv/bin/pip" install --quiet --disable-pip-version-check \
            nvidia-cuda-nvcc==13.0.88 nvidia-cuda-runtime==13.0.96 nvidia-cuda-crt==13.0.88 \
            nvidia-nvvm==13.0.88 nvidia-cuda-cccl==13.0.85
        CUDA_HOME=$(echo "$venv"/lib/python3.*/site-packages/nvidia/cu13)
    fi
    # The CUDA runtime is linked statically: the linker looks for libcudart.a in lib64.
    ln -sfn lib "$CUDA_HOME/lib64"
    ln -sfn libcudart_static.a "$CUDA_HOME/lib/libcudart.a"
fi
[ -x "$CUDA_HOME/bin/nvcc" ] || { echo "error: no nvcc in $CUDA_HOME/bin" >&2; exit 1; }
export CUDA_HOME PATH="$CUDA_HOME/bin:$PATH"
export CUDA_COMPUTE_CAP=80 CUDAFORGE_THREADS=${CUDAFORGE_THREADS:-$(nproc)}

case $command in
check)
    cargo clippy --locked --release -p sam3 -p courtside --features cuda --all-targets --target-dir "$target" -- -D warnings
    scripts/cuda/check_kernels.sh
    ;;
test)
    for kernels in library fused; do
        COURTSIDE_TEST_DEVICE=cuda COURTSIDE_TEST_KERNELS=$kernels \
            cargo test --locked --release -p sam3 --features cuda --target-dir "$target" -- parity
    done
    exit
    ;;
esac
cargo build --locked --release -p courtside --features cuda --target-dir "$target"
echo "built target/cuda/release/courtside"
