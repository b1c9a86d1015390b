#!/usr/bin/env bash
# Installs missing tools for building and testing: a C and C++ compiler, ffmpeg, Rust. Debian, Ubuntu and macOS.
set -euo pipefail

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

missing=()
command -v cc >/dev/null && command -v c++ >/dev/null || missing+=(g++ libc6-dev)
command -v ffmpeg >/dev/null && command -v ffprobe >/dev/null || missing+=(ffmpeg)
# Without Node.js, scripts/build_ui.sh installs it from PyPI.
command -v npm >/dev/null || python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
command -v cargo >/dev/null || command -v curl >/dev/null || missing+=(curl ca-certificates)

if [ "${#missing[@]}" -gt 0 ]; then
    echo "installing: ${missing[*]}" >&2
    if command -v apt-get >/dev/null; then
        as_root apt-get update -qq
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
    elif command -v brew >/dev/null; then
        brew install ffmpeg
    else
        echo "error: found neither apt-get nor brew: install ffmpeg 5.1 or newer and a C++ compiler" >&2
        exit 1
    fi
fi

if ! command -v cargo >/dev/null; then
    echo "installing Rust" >&2
    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --profile minimal -c rustfmt -c clippy
fi
