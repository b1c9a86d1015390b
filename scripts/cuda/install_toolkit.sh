#!/usr/bin/env bash
# Installs the parts of a CUDA toolkit that building Courtside needs: nvcc and the headers. Prints the folder, for
# CUDA_HOME.
#
#   scripts/cuda/install_toolkit.sh 12 FOLDER     CUDA 12.4: PTX for drivers since 550. From Debian and PyPI, 130 MB
#   scripts/cuda/install_toolkit.sh 13 FOLDER     CUDA 13.0: PTX for drivers since 580. From PyPI, 270 MB
#
# PyPI has no nvcc of CUDA 12, and Debian's package of it depends on 2.5 GB of libraries, so that its programs and the
# headers of PyPI are combined here. Needs python3, curl, and ar or dpkg-deb. x86-64 Linux only.
set -euo pipefail

version=${1:-} folder=${2:-}
if [ $# != 2 ] || { [ "$version" != 12 ] && [ "$version" != 13 ]; }; then
    echo "usage: scripts/cuda/install_toolkit.sh 12|13 FOLDER" >&2
    exit 2
fi
command -v python3 >/dev/null || { echo "error: python3 is needed to download the CUDA compiler" >&2; exit 1; }

DEB=pool/non-free/n/nvidia-cuda-toolkit/nvidia-cuda-toolkit_12.4.131~12.4.1-2_amd64.deb
DEB_SHA256=cd5fe85aee38d108b315f408a688641478f2402622a10c677478eb7a6c4e5319

# install_wheels PACKAGE==VERSION...: into a virtual environment, whose site-packages folder it prints.
install_wheels() {
    python3 -m venv "$folder.new/venv"
    "$folder.new/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps "$@"
    echo "$folder.new"/venv/lib/python3.*/site-packages
}

# extract_deb FILE FOLDER
extract_deb() {
    if command -v dpkg-deb >/dev/null; then
        dpkg-deb -x "$1" "$2"
    else
        (cd "$2" && ar x "$1" data.tar.xz && tar xf data.tar.xz)
    fi
}

install_12() {
    local home=$folder.new/home packages programs
    packages=$(install_wheels nvidia-cuda-nvcc-cu12==12.4.131 nvidia-cuda-runtime-cu12==12.4.127 \
        nvidia-cuda-cccl-cu12==12.4.127.post1)
    mkdir -p "$folder.new/deb" "$home/bin" "$home/nvvm/bin" "$home/nvvm/libdevice" "$home/lib64" "$home/include"
    curl -fsSL --retry 3 -o "$folder.new/toolkit.deb" "https://deb.debian.org/debian/$DEB" \
        || curl -fsSL --retry 3 -o "$folder.new/toolkit.deb" "http://deb.debian.org/debian/$DEB"
    echo "$DEB_SHA256  $folder.new/toolkit.deb" | sha256sum --check --quiet >&2
    extract_deb "$folder.new/toolkit.deb" "$folder.new/deb"
    programs=$folder.new/deb/usr/lib/nvidia-cuda-toolkit
    mv "$folder.new"/deb/usr/bin/{bin2c,cudafe++,cuobjdump,fatbinary,nvdisasm,nvlink,ptxas} "$home/bin/"
    mv "$programs/bin/nvcc" "$programs/bin/crt" "$home/bin/"
    mv "$programs/bin/cicc" "$home/nvvm/bin/"
    mv "$programs"/libdevice/* "$home/nvvm/libdevice/"
    cp -r "$packages"/nvidia/*/include/. "$home/include/"
    # glibc declares these functions since 2.41, and as functions that do not throw.
    sed -i -E 's/^(.*(double|float) +(sinpi|cospi)f?\((double|float) x\));/\1 noexcept (true);/' \
        "$home/include/crt/math_functions.h"
    # Debian's profile has the paths of its package.
    cat >"$home/bin/nvcc.profile" <<'PROFILE'
TOP              = $(_HERE_)/..
NVVMIR_LIBRARY_DIR = $(TOP)/nvvm/libdevice
PATH            += $(TOP)/nvvm/bin:$(_HERE_):
INCLUDES        +=  "-I$(TOP)/include" $(_SPACE_)
LIBRARIES        =+ $(_SPACE_) "-L$(TOP)/lib64"
PROFILE
    rm -rf "$folder.new/deb" "$folder.new/toolkit.deb" "$folder.new/venv"
}

install_13() {
    local packages
    packages=$(install_wheels nvidia-cuda-nvcc==13.0.88 nvidia-cuda-runtime==13.0.96 nvidia-cuda-crt==13.0.88 \
        nvidia-nvvm==13.0.88 nvidia-cuda-cccl==13.0.85)
    mv "$packages/nvidia/cu13" "$folder.new/home"
    ln -sfn lib "$folder.new/home/lib64"
    rm -rf "$folder.new/venv"
}

if [ ! -x "$folder/home/bin/nvcc" ]; then
    rm -rf "$folder" "$folder.new"
    mkdir -p "$folder.new"
    "install_$version"
    mv "$folder.new" "$folder"
fi
echo "$folder/home"
