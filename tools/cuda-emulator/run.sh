#!/usr/bin/env bash
# Runs a command on an emulated NVIDIA GPU, to test a CUDA build on a machine without one:
#
#   tools/cuda-emulator/run.sh target/cuda/release/courtside bench --device cuda --config tiny --tracks 0,2
#   tools/cuda-emulator/run.sh scripts/cuda/build_cuda.sh test
#
# Builds the emulated libcuda.so.1, libcublas.so.12 and libcublas.so.13 in target/emulated-cuda if their sources
# changed, and puts them first in LD_LIBRARY_PATH. Needs Linux and a C++20 compiler (CXX). Slow; speed on the
# emulator says nothing about speed on a GPU.
#
#   EMULATED_CUDA_MIB          memory of the GPU in MiB [default: 16384]
#   EMULATED_CUDA_CAPABILITY   compute capability [default: 80]
#   EMULATED_CUDA_VERSION      CUDA version of the driver and cuBLAS [default: 13000]
#   EMULATED_CUDA_COUNTS       file to write the number of launches, copies and waits to
#   EMULATED_CUDA_ONLY_COUNT   1: count but do not run kernels; for the real configuration, results are meaningless
set -euo pipefail
[ $# -gt 0 ] || { sed -n '2,/^set/s/^# \{0,1\}//p' "$0" | sed '$d' >&2; exit 2; }

root=$(cd "$(dirname "$0")/../.." && pwd)
sources=$root/tools/cuda-emulator
folder=$root/target/emulated-cuda
mkdir -p "$folder/kernels"

is_stale() {
    [ ! -e "$folder/libcublas.so.13" ] || [ -n "$(find "$sources" "$root/crates/sam3/kernels/host" -maxdepth 1 \
        \( -name '*.h' -o -name '*.cpp' \) -newer "$folder/libcuda.so.1" -print -quit)" ]
}
if is_stale; then
    compile() { "${CXX:-c++}" -std=c++20 -fopenmp -fPIC -Wall -Wextra "$@"; }
    compile -O3 -march=native -ffast-math -fno-finite-math-only -c "$sources/libraries.cpp" -o "$folder/libraries.o"
    compile -O2 -ffp-contract=off -c "$sources/cuda.cpp" -o "$folder/cuda.o"
    # One library under several names, because cuBLAS shares streams and memory with the driver.
    compile -shared "$folder/cuda.o" "$folder/libraries.o" -ldl -o "$folder/libcuda.so.1.new"
    mv "$folder/libcuda.so.1.new" "$folder/libcuda.so.1"
    ln -sf libcuda.so.1 "$folder/libcublas.so.13"
    ln -sf libcuda.so.1 "$folder/libcublas.so.12"
fi
export EMULATED_CUDA_CACHE=$folder/kernels EMULATED_CUDA_HEADERS=$sources
export LD_LIBRARY_PATH=$folder${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
exec "$@"
