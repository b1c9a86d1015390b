#!/usr/bin/env bash
# Compiles the CUDA kernels to PTX (compute_80) and for each card they are meant for, and prints what each needs.
# Fails if one does not compile, spills registers or keeps arrays in local memory. Needs nvcc on PATH or in
# $CUDA_HOME/bin, but no card. With a folder as argument, keeps the PTX there.
set -euo pipefail

cd "$(dirname "$0")/../crates/sam3/kernels"
nvcc=nvcc
if [ -n "${CUDA_HOME:-}" ]; then nvcc="$CUDA_HOME/bin/nvcc"; fi
command -v "$nvcc" >/dev/null || { echo "error: no nvcc on PATH nor in \$CUDA_HOME/bin" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
ptx=${1:-$work}
case $ptx in /*) ;; *) ptx="$OLDPWD/$ptx" ;; esac
mkdir -p "$ptx"

for source in *.cu; do
    "$nvcc" -std=c++17 -arch=compute_80 -ptx -o "$ptx/${source%.cu}.ptx" "$source"
    for arch in 80 86 89 90; do
        "$nvcc" -std=c++17 -arch="sm_$arch" -cubin -Xptxas -v -o "$work/cubin" "$source" 2>&1 |
            sed "s/^/${source%.cu} /" >>"$work/log"
    done
done

awk '
    BEGIN { printf "%-12s %-30s %-6s %9s %7s %6s %6s\n", "file", "kernel", "arch", "registers", "shared", "stack", "spills" }
    / warning/ || / error/ { print; bad = 1 }
    match($0, /Compiling entry function .([a-z0-9_]+). for .(sm_[0-9]+)/) {
        split($0, part, "\047"); kernel = part[2]; arch = part[4]
    }
    /bytes stack frame/ {
        for (i = 2; i <= NF; ++i) {
            if ($(i + 2) == "stack") stack = $i
            if ($(i + 2) == "spill" && $(i + 3) ~ /stores/) spills = $i
            if ($(i + 2) == "spill" && $(i + 3) ~ /loads/) spills += $i
        }
    }
    / Used [0-9]+ registers/ {
        shared = 0
        for (i = 2; i <= NF; ++i) {
            if ($i == "Used") registers = $(i + 1)
            if ($(i + 2) ~ /^smem/) shared = $i
        }
        printf "%-12s %-30s %-6s %9d %7d %6d %6d\n", $1, kernel, arch, registers, shared, stack, spills
        if (stack + spills > 0) bad = 1
        ++kernels
    }
    END {
        if (!kernels) { print "no kernels"; bad = 1 }
        print bad ? "FAILED" : kernels " kernels without spills or local memory"
        exit bad
    }
' "$work/log"
