#!/usr/bin/env bash
# Compiles the CUDA kernels to PTX (compute_80), and the PTX for each card it is meant for, and prints what
# each kernel needs. Fails if one does not compile, spills registers or keeps arrays in local memory. Needs
# nvcc on PATH or in $CUDA_HOME/bin, but no card. Given a folder, keeps the PTX there.
set -euo pipefail

keep=${1:-}
if [ -n "$keep" ]; then mkdir -p "$keep" && keep=$(cd "$keep" && pwd); fi
if [ -n "${CUDA_HOME:-}" ]; then PATH="$CUDA_HOME/bin:$PATH"; fi
command -v nvcc >/dev/null || { echo "error: no nvcc on PATH nor in \$CUDA_HOME/bin" >&2; exit 1; }
cd "$(dirname "$0")/../../crates/sam3/kernels"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

for source in *.cu; do
    name=${source%.cu}
    nvcc -std=c++17 -arch=compute_80 -ptx -Werror all-warnings -o "$work/$name.ptx" "$source"
    for arch in 80 86 89 90; do
        ptxas -v -arch="sm_$arch" -o "$work/cubin" "$work/$name.ptx" >"$work/said" 2>&1 ||
            { cat "$work/said" >&2; exit 1; }
        sed "s/^/$name /" "$work/said" >>"$work/log"
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
        print bad ? "FAILED: spills, local memory or nothing compiled" : kernels " compiled, none spills"
        exit bad
    }
' "$work/log"
