#!/usr/bin/env bash
# Checks the page's source, and tests the page in Chromium with the program that `make test` has built, or the one that
# COURTSIDE names. CHROMIUM names another browser of that kind. Needs ffmpeg and python3.
set -euo pipefail
cd "$(dirname "$0")/.."

target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
export COURTSIDE=${COURTSIDE:-$target/debug/courtside}
[ -x "$COURTSIDE" ] || { echo "error: there is no program $COURTSIDE; run: cargo build -p courtside" >&2; exit 1; }

if [ -z "${CHROMIUM:-}" ]; then
    for candidate in chromium chromium-browser google-chrome \
        "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"; do
        CHROMIUM=$(command -v "$candidate") && break
    done
    if [ -z "${CHROMIUM:-}" ]; then
        command -v apt-get >/dev/null || { echo "error: install Chromium or Chrome" >&2; exit 1; }
        echo "installing: chromium" >&2
        as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }
        as_root apt-get update -qq
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null
        CHROMIUM=$(command -v chromium)
    fi
fi
export CHROMIUM
scripts/build_ui.sh npm run --silent check
scripts/build_ui.sh npm test
