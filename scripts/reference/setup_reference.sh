#!/bin/sh
# Makes the Python environment of the reference (transformers on a CPU) in DIR: about 550 MB of downloads, 1.7 GB.
#
#     scripts/reference/setup_reference.sh DIR
#     DIR/bin/python scripts/reference/make_fixture.py wide --check
#
# Needs Python 3.11 (PYTHON names another one), gcc and readelf, Linux on x86_64. The PyPI wheel of torch wants
# several GB of CUDA libraries; cuda_stubs.py puts small stand-ins in their place, hence --no-deps.
set -eu

if [ $# -ne 1 ]; then
    echo "usage: $0 DIR" >&2
    exit 2
fi
here=$(cd "$(dirname "$0")" && pwd)
dir=$1

"${PYTHON:-python3.11}" -m venv "$dir"
pip="$dir/bin/python -m pip --disable-pip-version-check install"

# torch and torchvision first and alone, then everything that they and transformers need.
$pip --no-deps $(grep -E '^(torch|torchvision)==' "$here/requirements.txt")
$pip 'setuptools>=77.0.3' filelock typing-extensions sympy networkx jinja2 fsspec mpmath MarkupSafe \
    $(grep -vE '^(#|torch==|torchvision==|$)' "$here/requirements.txt")

"$dir/bin/python" "$here/cuda_stubs.py"
"$dir/bin/python" -c 'import torch, transformers; print("torch", torch.__version__, "transformers", transformers.__version__)'
