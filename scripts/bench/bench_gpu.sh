#!/usr/bin/env bash
# Times Courtside and transformers' Sam3VideoModel on an NVIDIA GPU: checks the machine, builds Courtside if needed, tests
# its kernels on the GPU, creates a Python environment, and runs scripts/bench/bench_gpu.py.
#
#     scripts/bench/bench_gpu.sh [--no-verify] [--no-tests] [options of bench_gpu.py, see bench_gpu.py --help]
#     scripts/bench/bench_gpu.sh --long 5000
#     scripts/bench/bench_gpu.sh --device cpu --config tiny --frames 3 --objects 1,3 --only transformers    # without a GPU
#
#   --no-verify    do not run `courtside bench --device cuda --verify` first
#   --no-tests     do not run `scripts/cuda/build_cuda.sh test` first
#   --only courtside|transformers, --courtside PATH, --device cuda|cpu: as in bench_gpu.py
#
#   PYTHON                 Python 3.11 or newer. If it has torch and the transformers of requirements.txt, it is used
#                          unchanged; otherwise they are installed in COURTSIDE_BENCH_VENV
#   COURTSIDE_BENCH_VENV   Python environment, about 8 GB with CUDA [default: ~/.cache/courtside-bench-gpu]
#   CUDA_VISIBLE_DEVICES   the GPU
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
scripts=$root/scripts

say() { printf '%s\n' "$*" >&2; }
die() {
    printf 'error: %s\n' "$1" >&2
    shift
    if [ $# -gt 0 ]; then printf '       %s\n' "$@" >&2; fi
    exit 1
}
usage() { sed -n '2,/^set /{s/^# \{0,1\}//;/^set /d;p}' "$0"; }

# --- command line: options of this script are used here, all others are passed to bench_gpu.py -------------------
device=cuda
only=
courtside=
verify=yes
tests=yes
pass=()
while [ $# -gt 0 ]; do
    case $1 in
        -h | --help) usage; exit 0 ;;
        --no-verify) verify=no; shift; continue ;;
        --no-tests) tests=no; shift; continue ;;
        --device=*) device=${1#*=} ;;
        --only=*) only=${1#*=} ;;
        --courtside=*) courtside=${1#*=}; shift; continue ;;
        --device | --only | --courtside)
            [ $# -ge 2 ] || die "$1 needs a value" "scripts/bench/bench_gpu.sh --help"
            case $1 in
                --device) device=$2 ;;
                --only) only=$2 ;;
                --courtside) courtside=$2; shift 2; continue ;;
            esac
            pass+=("$1")
            shift
            ;;
    esac
    pass+=("$1")
    shift
done
case $device in cuda | cpu) ;; *) die "--device is cuda or cpu, not $device" ;; esac
case $only in '' | courtside | transformers) ;; *) die "--only is courtside or transformers, not $only" ;; esac

# --- GPU ---------------------------------------------------------------------------------------------------------
query() { nvidia-smi ${CUDA_VISIBLE_DEVICES:+-i "${CUDA_VISIBLE_DEVICES%%,*}"} --query-gpu="$1" --format="$2"; }
if [ "$device" = cuda ]; then
    export CUDA_DEVICE_ORDER=PCI_BUS_ID # the order of nvidia-smi
    command -v nvidia-smi >/dev/null || die "nvidia-smi not found" \
        "on a machine with an NVIDIA GPU, install its driver; start a container with --gpus all" \
        "without a GPU: --device cpu --config tiny --frames 3 --objects 1,3"
    query name,driver_version,memory.total,memory.used,utilization.gpu csv >&2 ||
        die "nvidia-smi finds no GPU" "check that the driver is loaded; start a container with --gpus all"
    used=$(query memory.used csv,noheader,nounits | head -n 1)
    if [[ $used =~ ^[0-9]+$ ]] && [ "$used" -gt 1024 ]; then
        say "warning: other processes use $used MiB of the GPU; times are wrong while they compute"
    fi
fi

# --- Courtside ---------------------------------------------------------------------------------------------------
if [ "$only" != transformers ]; then
    if [ -n "$courtside" ]; then
        [ -x "$courtside" ] || die "$courtside is not an executable file" "omit --courtside to build the program"
    elif [ "$device" = cpu ]; then
        courtside=$root/target/release/courtside
        [ -x "$courtside" ] || die "target/release/courtside not found" \
            "cargo build --release -p courtside, or --only transformers, or --courtside PATH"
    else
        courtside=$root/target/cuda/release/courtside
        if [ ! -x "$courtside" ]; then
            say "building Courtside ..."
            "$scripts/cuda/build_cuda.sh" >&2 || die "scripts/cuda/build_cuda.sh failed; its message is above"
        fi
    fi
    pass+=(--courtside "$courtside")
    if [ "$device" = cuda ] && [ "$verify" = yes ]; then
        say "comparing the kernels with the plain operations on this GPU ..."
        "$courtside" bench --device cuda --verify >&2 || die "the kernels are wrong on this GPU, see above" \
            "--no-verify measures anyway"
    fi
    if [ "$device" = cuda ] && [ "$tests" = yes ]; then
        say "running the parity tests on this GPU ..."
        "$scripts/cuda/build_cuda.sh" test >&2 || die "the tests failed on this GPU, see above" "--no-tests skips them"
    fi
fi

# --- Python ------------------------------------------------------------------------------------------------------
version=$(sed -n 's/^transformers==//p' "$scripts/reference/requirements.txt")
is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
has_reference() {
    "$1" -c "import torch, torchvision, transformers; assert transformers.__version__ == '$version'" 2>/dev/null
}

# Creates the environment in $venv with the Python in $1.
create_environment() {
    say "installing torch and transformers $version in $venv ..."
    if [ "$device" = cpu ] && [ "$(uname -sm)" = "Linux x86_64" ]; then
        PYTHON=$1 "$scripts/reference/setup_reference.sh" "$venv" >&2 || die "setup_reference.sh failed, see above"
        return
    fi
    "$1" -m venv "$venv" || die "$1 cannot create an environment" "on Debian or Ubuntu: apt-get install python3-venv"
    "$venv/bin/python" -m pip --disable-pip-version-check install -r "$scripts/reference/requirements.txt" >&2 ||
        die "the installation in $venv failed, see above" "run the script again to retry"
}

base=
for candidate in ${PYTHON:-python3.11 python3.12 python3.13 python3.14 python3}; do
    if is_new_enough "$candidate"; then base=$candidate; break; fi
done
[ -n "$base" ] || die "Python 3.11 or newer not found${PYTHON:+: PYTHON is $PYTHON}" \
    "on Debian 12 or Ubuntu 24.04: apt-get install python3-venv; or set PYTHON=..."

python=$base
if [ "$only" != courtside ]; then
    venv=${COURTSIDE_BENCH_VENV:-$HOME/.cache/courtside-bench-gpu}
    if ! has_reference "$base"; then
        python=$venv/bin/python
        has_reference "$python" || create_environment "$base"
        has_reference "$python" || die "cannot import torch or transformers $version from $venv" \
            "remove the folder and run the script again, or set PYTHON=... to a Python that has them"
    fi
    if [ "$device" = cuda ] && ! "$python" -c 'import torch; assert torch.cuda.is_available()' 2>/dev/null; then
        cuda=$("$python" -c 'import torch; print(torch.version.cuda)')
        die "torch cannot use the GPU: it is built for CUDA $cuda, the driver may be too old (see nvidia-smi)" \
            "update the driver; or create an environment with an older torch, torchvision and transformers==$version," \
            "and set PYTHON=... to its Python"
    fi
fi

exec "$python" "$scripts/bench/bench_gpu.py" "${pass[@]}"
