#!/usr/bin/env bash
# Compiles the CUDA kernels to PTX (compute_80), and the PTX for each supported GPU, and prints the registers and
# memory of each kernel. Fails if a kernel does not compile, spills registers or uses local memory.
#
#   scripts/cuda/check_kernels.sh [FOLDER]      FOLDER: keep the PTX there
#
# Needs nvcc on PATH, in $CUDA_HOME/bin, or downloaded by build_cuda.sh; no GPU.
set -euo pipefail

keep=${1:-}
if [ -n "$keep" ]; then mkdir -p "$keep" && keep=$(cd "$keep" && pwd); fi
cd "$(dirname "$0")/../../crates/sam3/kernels"
downloaded=$(echo "$PWD"/../../../target/cuda/toolkit/lib/python3.*/site-packages/nvidia/cu13)
for home in "$downloaded" "${CUDA_HOME:-}"; do
    if [ -x "$home/bin/nvcc" ]; then PATH="$home/bin:$PATH"; fi
done
command -v nvcc >/dev/null || { echo "error: no nvcc on PATH or in \$CUDA_HOME/bin" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

for source in *.cu; do
    name=${source%.cu}
    nvcc -std=c++17 -arch=compute_80 -ptx -Werror all-warnings -o "$work/$name.ptx" "$source"
    for arch in 80 86 89 90; do
        ptxas -v -arch="sm_$arch" -o "$work/cubin" "$work/$name.ptx" >"$work/output" 2>&1 ||
            { cat "$work/output" >&2; exit 1; }
        sed "s/^/$name /" "$work/output" >>"$work/log"
    done
done
if [ -n "$keep" ]; then cp "$work"/*.ptx "$keep"; fi

awk '
    BEGIN {
        row = "%-12s %-30s %-6s %9s %7s %6s %7s\n"
        printf row, "file", "kernel", "arch", "registers", "shared", "stack", "spilled"
    }
    / warning/ { print; bad = 1 }
    /Compiling entry function/ { split($0, part, "\047"); kernel = part[2]; arch = part[4] }
    /bytes stack frame/ {
        spilled = 0
        for (i = 2; i < NF; ++i) {
            if ($(i + 2) == "stack") stack = $i
            if ($(i + 2) == "spill") spilled += $i
        }
    }
    / Used [0-9]+ registers/ {
        shared = 0
        for (i = 2; i < NF; ++i) {
            if ($i == "Used") registers = $(i + 1)
            if ($(i + 2) ~ /^smem/) shared = $i
        }
        printf row, $1, kernel, arch, registers, shared, stack, spilled
        bad = bad || stack + spilled > 0
        ++kernels
    }
    END {
        bad = bad || !kernels
        print bad ? "FAILED: spills, local memory, a warning, or nothing compiled" : kernels " compiled, none spills"
        exit bad
    }
' "$work/log"
