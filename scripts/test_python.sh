#!/usr/bin/env bash
# Lints, type-checks and tests the Python package with the program that `make test` has built, or the one that COURTSIDE
# names, and tests the synthetic scenes of scripts/scenes. Needs Python 3.11 to 3.14.
set -euo pipefail
cd "$(dirname "$0")/.."

target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
work=$target/python
venv=$work/venv
export COURTSIDE=${COURTSIDE:-$target/debug/courtside}
[ -x "$COURTSIDE" ] || { echo "error: there is no program $COURTSIDE; run: cargo build -p courtside" >&2; exit 1; }

# requirements.txt is written last: without it, the environment is incomplete.
if ! cmp -s python/tests/requirements.txt "$venv/requirements.txt"; then
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --no-compile --no-deps --only-binary :all: \
        -r python/tests/requirements.txt
    cp python/tests/requirements.txt "$venv/requirements.txt"
fi

export PYTHONPYCACHEPREFIX=$work/pycache
"$venv/bin/ruff" format --check --cache-dir "$work/ruff" python
"$venv/bin/ruff" check --cache-dir "$work/ruff" python
"$venv/bin/mypy" --cache-dir "$work/mypy"
PYTHONPATH=$PWD/python "$venv/bin/python" -m pytest -q -o cache_dir="$work/pytest"
"$venv/bin/python" -m pytest -q -o cache_dir="$work/pytest" --rootdir scripts scripts/test_scenes.py
