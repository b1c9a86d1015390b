#!/usr/bin/env bash
# Runs a command on an emulated NVIDIA GPU, so that a build for GPUs can be tried on a machine that has none:
#
#   tools/cuda-emulator/run.sh target/cuda/release/courtside bench --device cuda --config tiny --objects 0,2
#   tools/cuda-emulator/run.sh scripts/cuda/build_cuda.sh test
#
# The command finds libcuda.so.1, libcublas.so.13 and libcurand.so.10 of tools/cuda-emulator, which run
# every kernel's PTX thread by thread on the processor. Slow, and no measure of speed; it finds wrong arguments,
# reads beyond memory, missing waits. Linux, with a C++ compiler (CXX) at hand.
#
#   EMULATED_CUDA_MIB          memory of the GPU in MiB (16384)
#   EMULATED_CUDA_CAPABILITY   compute capability (80)
#   EMULATED_CUDA_VERSION      the driver's CUDA version (13000)
#   EMULATED_CUDA_COUNTS       a file that is to say how often the GPU was asked for what
#   EMULATED_CUDA_ONLY_COUNT   1: run no kernel; for the real configuration, whose numbers then mean nothing
set -euo pipefail
[ $# -gt 0 ] || { sed -n '2,/^set/s/^# \{0,1\}//p' "$0" | sed '$d' >&2; exit 2; }

root=$(cd "$(dirname "$0")/../.." && pwd)
sources=$root/tools/cuda-emulator
folder=$root/target/emulated-cuda
mkdir -p "$folder/kernels"
if [ -n "$(find "$sources" "$root/crates/sam3/kernels/host" -newer "$folder/libcublas.so.13" -print -quit 2>/dev/null || echo new)" ]; then
    "${CXX:-c++}" -std=c++20 -O3 -march=native -ffast-math -fno-finite-math-only -fopenmp -fPIC -shared -Wall -Wextra \
        -c "$sources/libraries.cpp" -o "$folder/libraries.o"
    "${CXX:-c++}" -std=c++20 -O2 -ffp-contract=off -fopenmp -fPIC -shared -Wall -Wextra -c "$sources/cuda.cpp" -o "$folder/cuda.o"
    # One file under three names: the libraries share streams and memory.
    "${CXX:-c++}" -shared -fopenmp "$folder/cuda.o" "$folder/libraries.o" -ldl -o "$folder/libcuda.so.1.new"
    mv "$folder/libcuda.so.1.new" "$folder/libcuda.so.1"
    ln -sf libcuda.so.1 "$folder/libcublas.so.13"
    ln -sf libcuda.so.1 "$folder/libcurand.so.10"
fi
export EMULATED_CUDA_CACHE=$folder/kernels EMULATED_CUDA_HEADERS=$sources
export LD_LIBRARY_PATH=$folder${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
exec "$@"
