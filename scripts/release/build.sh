#!/usr/bin/env bash
# Builds the packages of a release for one platform, in OUT: a tarball and, for some platforms, a wheel and a .deb.
#
#   scripts/release/build.sh x86_64-unknown-linux-gnu cpu OUT       tarball, .deb
#   scripts/release/build.sh x86_64-unknown-linux-gnu cuda12 OUT    tarball, wheel: it also runs without a GPU
#   scripts/release/build.sh x86_64-unknown-linux-gnu cuda13 OUT    tarball
#   scripts/release/build.sh aarch64-unknown-linux-gnu cpu OUT      tarball, wheel, .deb
#   scripts/release/build.sh aarch64-apple-darwin metal OUT         tarball, wheel
#
# Runs on a machine of the platform, because the program itself writes its manual pages and completions. On Linux, zig links
# for glibc 2.28. Needs maturin and, on Linux, cargo-zigbuild, ziglang and cargo-deb.
set -euo pipefail
cd "$(dirname "$0")/../.."

usage() {
    sed -n 's/^#   //p' "$0" >&2
    exit 2
}
[ $# = 3 ] || usage
target=$1 variant=$2
mkdir -p "$3"
out=$(realpath "$3")
features=() wheel=true deb=true
case $target/$variant in
x86_64-unknown-linux-gnu/cpu) wheel=false ;;
aarch64-unknown-linux-gnu/cpu) ;;
x86_64-unknown-linux-gnu/cuda12) deb=false features=(--features cuda) ;;
x86_64-unknown-linux-gnu/cuda13) deb=false wheel=false features=(--features cuda) ;;
aarch64-apple-darwin/metal) deb=false features=(--features metal) ;;
*) usage ;;
esac

# The same CUDA as scripts/cuda/build_cuda.sh, which links with the system's libraries instead.
case $variant in
cuda*)
    CUDA_HOME=$(scripts/cuda/install_toolkit.sh "${variant#cuda}" "$PWD/target/release-toolkit-$variant")
    export CUDA_HOME PATH="$CUDA_HOME/bin:$PATH" CUDA_COMPUTE_CAP=80 CUDAFORGE_THREADS=${CUDAFORGE_THREADS:-$(nproc)}
    ;;
esac
scripts/build_ui.sh
export CARGO_TARGET_DIR=$PWD/target/release-$variant

zig=() program=$CARGO_TARGET_DIR/$target/release/courtside
case $target in
*linux*)
    cargo zigbuild --locked --release -p courtside --target "$target.2.28" "${features[@]}"
    zig=(--zig --compatibility manylinux_2_28)
    ;;
*) cargo build --locked --release -p courtside --target "$target" "${features[@]}" ;;
esac

scripts/release/stage.sh "$program" target/stage
suffix=$target
[ "$variant" = cpu ] || [ "$variant" = metal ] || suffix=$target-$variant
scripts/release/tarball.py "$program" target/stage "$suffix" "$out"
if $wheel; then
    maturin build --release --target "$target" "${zig[@]}" "${features[@]}" --out "$out"
fi
if $deb; then
    cargo deb --no-build --target "$target" -p courtside --output "$out"
fi
