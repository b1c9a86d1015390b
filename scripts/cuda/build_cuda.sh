#!/usr/bin/env bash
# Builds courtside for NVIDIA GPUs, on a machine with or without one: target/cuda/release/courtside.
#
#   scripts/cuda/build_cuda.sh            build
#   scripts/cuda/build_cuda.sh check      also lint, and check that no kernel spills registers
#   scripts/cuda/build_cuda.sh test       run the engine's parity tests on the GPU, or on an emulated one:
#                                         tools/cuda-emulator/run.sh scripts/cuda/build_cuda.sh test
#
# The program contains PTX for compute capability 8.0, which the driver compiles for the GPU in use. It is not linked with
# any CUDA library: it loads the driver and cuBLAS when a GPU is requested, so that it also starts on machines without them.
#
#   CUDA=12 (default)   compiled by CUDA 12.4, for drivers since 550
#   CUDA=13             compiled by CUDA 13.0, for drivers since 580, in target/cuda-13
#   CUDA_HOME           a toolkit to use instead of the one that scripts/cuda/install_toolkit.sh installs in target
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

CUDA=${CUDA:-12}
case $CUDA in
12) target=$PWD/target/cuda ;;
13) target=$PWD/target/cuda-13 ;;
*)
    echo "error: CUDA=$CUDA: it must be 12 or 13" >&2
    exit 2
    ;;
esac
if [ -z "${CUDA_HOME:-}" ]; then
    CUDA_HOME=$(scripts/cuda/install_toolkit.sh "$CUDA" "$target/toolkit-$CUDA")
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
echo "built ${target#"$PWD/"}/release/courtside"
