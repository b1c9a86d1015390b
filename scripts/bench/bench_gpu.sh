#!/usr/bin/env bash
# Times Courtside and transformers' Sam3VideoModel on this machine's NVIDIA GPU: checks the machine, builds Courtside
# if need be, proves its kernels on the card, makes a Python environment, and runs scripts/bench/bench_gpu.py.
#
#     scripts/bench/bench_gpu.sh [--no-verify] [--no-tests] [options of bench_gpu.py, see bench_gpu.py --help]
#     scripts/bench/bench_gpu.sh --long 5000
#     scripts/bench/bench_gpu.sh --device cpu --config tiny --frames 3 --objects 1,3 --only transformers     (without a GPU)
#
#   --no-verify    does not run `courtside bench --device cuda --verify` first
#   --no-tests     does not run `scripts/cuda/build_cuda.sh test` first
#   --only courtside|transformers, --courtside PATH, --device cuda|cpu: as in bench_gpu.py
#
# PYTHON names a Python of 3.11 or newer. If it has torch and the transformers of requirements.txt, it is used as it
# is; otherwise they are installed into COURTSIDE_BENCH_VENV (~/.cache/courtside-bench-gpu), some 8 GB with CUDA.
# CUDA_VISIBLE_DEVICES chooses the card.
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

# --- the command line: some options are this script's, the others go on as they are ------------------------------
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

# --- the card ----------------------------------------------------------------------------------------------------
query() { nvidia-smi ${CUDA_VISIBLE_DEVICES:+-i "${CUDA_VISIBLE_DEVICES%%,*}"} --query-gpu="$1" --format="$2"; }
if [ "$device" = cuda ]; then
    export CUDA_DEVICE_ORDER=PCI_BUS_ID # as nvidia-smi counts
    command -v nvidia-smi >/dev/null || die "nvidia-smi is not here" \
        "on a machine with an NVIDIA GPU, install its driver; in a container, start it with the GPU (--gpus all)" \
        "without a GPU: --device cpu --config tiny --frames 3 --objects 1,3"
    query name,driver_version,memory.total,memory.used,utilization.gpu csv >&2 ||
        die "nvidia-smi finds no GPU" "is the driver loaded, and does the container see the card?"
    used=$(query memory.used csv,noheader,nounits | head -n 1)
    if [[ $used =~ ^[0-9]+$ ]] && [ "$used" -gt 1024 ]; then
        say "warning: $used MiB of the card are in use by others; its times will be wrong while they compute"
    fi
fi

# --- ours --------------------------------------------------------------------------------------------------------
if [ "$only" != transformers ]; then
    if [ -n "$courtside" ]; then
        [ -x "$courtside" ] || die "$courtside is no program" "leave --courtside out to have it built"
    elif [ "$device" = cpu ]; then
        courtside=$root/target/release/courtside
        [ -x "$courtside" ] || die "target/release/courtside is missing" \
            "cargo build --release, or --only transformers, or --courtside PATH"
    else
        courtside=$root/target/cuda/release/courtside
        if [ ! -x "$courtside" ]; then
            [ -x "$scripts/cuda/build_cuda.sh" ] || die "scripts/cuda/build_cuda.sh is missing" "name a program with --courtside"
            say "building Courtside for this card ..."
            "$scripts/cuda/build_cuda.sh" >&2 || die "scripts/cuda/build_cuda.sh failed; its message is above"
            [ -x "$courtside" ] || die "scripts/cuda/build_cuda.sh made no target/cuda/release/courtside"
        fi
    fi
    pass+=(--courtside "$courtside")
    if [ "$device" = cuda ] && [ "$verify" = yes ]; then
        say "comparing the kernels with plain ones on this card ..."
        "$courtside" bench --device cuda --verify >&2 || die "the kernels are wrong on this card, see above" \
            "figures of wrong results are worth nothing; --no-verify measures nevertheless"
    fi
    if [ "$device" = cuda ] && [ "$tests" = yes ]; then
        [ -x "$scripts/cuda/build_cuda.sh" ] || die "scripts/cuda/build_cuda.sh is missing" "--no-tests leaves the tests out"
        say "running the parity tests on this card ..."
        "$scripts/cuda/build_cuda.sh" test >&2 || die "the tests failed on this card, see above" "--no-tests leaves them out"
    fi
fi

# --- Python ------------------------------------------------------------------------------------------------------
wanted=$(sed -n 's/^transformers==//p' "$scripts/reference/requirements.txt")
is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
has_reference() {
    "$1" -c "import torch, torchvision, transformers; assert transformers.__version__ == '$wanted'" 2>/dev/null
}

# Makes the environment in $venv with the Python in $1.
make_environment() {
    say "installing torch and transformers $wanted into $venv ..."
    if [ "$device" = cpu ] && [ "$(uname -sm)" = "Linux x86_64" ]; then
        PYTHON=$1 "$scripts/reference/setup_reference.sh" "$venv" >&2 || die "scripts/reference/setup_reference.sh failed, see above"
        return
    fi
    "$1" -m venv "$venv" || die "$1 cannot make an environment" "on Debian or Ubuntu: apt-get install python3-venv"
    "$venv/bin/python" -m pip --disable-pip-version-check install -r "$scripts/reference/requirements.txt" >&2 ||
        die "the installation failed, see above" "the environment is in $venv; another run tries again"
}

base=
for candidate in ${PYTHON:-python3.11 python3.12 python3.13 python3.14 python3}; do
    if is_new_enough "$candidate"; then base=$candidate; break; fi
done
[ -n "$base" ] || die "no Python of 3.11 or newer is here${PYTHON:+: PYTHON is $PYTHON}" \
    "on Debian 12 or Ubuntu 24.04: apt-get install python3-venv; or name one: PYTHON=..."

python=$base
if [ "$only" != courtside ]; then
    venv=${COURTSIDE_BENCH_VENV:-$HOME/.cache/courtside-bench-gpu}
    if ! has_reference "$base"; then
        python=$venv/bin/python
        has_reference "$python" || make_environment "$base"
        has_reference "$python" || die "torch or transformers $wanted cannot be imported from $venv" \
            "remove the folder and run this again, or name a Python that has them: PYTHON=..."
    fi
    if [ "$device" = cuda ] && ! "$python" -c 'import torch; assert torch.cuda.is_available()' 2>/dev/null; then
        cuda=$("$python" -c 'import torch; print(torch.version.cuda)')
        die "torch cannot use the card: it is built for CUDA $cuda, perhaps newer than the driver's (see nvidia-smi)" \
            "update the driver; or make an environment with an older torch, torchvision and transformers==$wanted," \
            "and name its Python: PYTHON=... scripts/bench/bench_gpu.sh"
    fi
fi

exec "$python" "$scripts/bench/bench_gpu.py" "${pass[@]}"
