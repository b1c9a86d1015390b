#!/usr/bin/env bash
# Installs a wheel in a clean virtual environment, and runs the program, the demo and the tests of the package from there.
#
#   scripts/release/check_wheel.sh WHEEL
set -euo pipefail
[ $# = 1 ] || { echo "usage: scripts/release/check_wheel.sh WHEEL" >&2; exit 2; }
wheel=$(realpath "$1")
cd "$(dirname "$0")/../.."

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "$wheel"
"$folder/venv/bin/courtside" --version
COURTSIDE=$folder/venv/bin/courtside scripts/demo.sh
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check --no-compile --no-deps -r python/tests/requirements.txt
# Of the tests, the package in the environment is tested, and no other program than the one in the wheel.
cp -r python/tests "$folder/tests"
cd "$folder"
COURTSIDE_REPOSITORY=$OLDPWD PATH="$folder/venv/bin:$PATH" "$folder/venv/bin/python" -m pytest -q -p no:cacheprovider tests
