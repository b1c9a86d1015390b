#!/bin/sh
# Creates the Python environment of the reference (transformers on a CPU) in DIR: downloads about 550 MB, uses 1.7 GB.
#
#     scripts/reference/setup_reference.sh DIR
#     DIR/bin/python scripts/reference/make_fixture.py wide --check
#
# Needs Linux on x86_64, Python 3.11 (or another one in PYTHON), gcc and readelf. torch's wheel depends on several GB of
# CUDA libraries; --no-deps skips them, and cuda_stubs.py creates small stubs in their place.
set -eu

if [ $# -ne 1 ]; then
    echo "usage: $0 DIR" >&2
    exit 2
fi
here=$(cd "$(dirname "$0")" && pwd)
dir=$1

"${PYTHON:-python3.11}" -m venv "$dir"
pip="$dir/bin/python -m pip --disable-pip-version-check install"

# torch and torchvision without dependencies, then the dependencies of both and of transformers.
$pip --no-deps $(grep -E '^(torch|torchvision)==' "$here/requirements.txt")
$pip 'setuptools>=77.0.3' filelock typing-extensions sympy networkx jinja2 fsspec mpmath MarkupSafe \
    $(grep -vE '^(#|torch==|torchvision==|$)' "$here/requirements.txt")

"$dir/bin/python" "$here/cuda_stubs.py"
"$dir/bin/python" -c 'import torch, transformers; print("torch", torch.__version__, "transformers", transformers.__version__)'
