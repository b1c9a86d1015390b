#!/usr/bin/env bash
# Installs the S3 servers that tests run against: Ceph's object gateway (Debian, Ubuntu) and moto (all systems).
#
# Takes no time if nothing is missing. moto is installed in target/s3-servers/venv, or in COURTSIDE_S3_VENV.
set -euo pipefail
cd "$(dirname "$0")/../.."

venv=${COURTSIDE_S3_VENV:-target/s3-servers/venv}
# Flask instead of moto's extra `server`, which installs the dependencies of other services too.
requirements=('moto[s3]==5.2.5' 'flask==3.1.2' 'flask-cors==6.0.1' 'gunicorn==23.0.0')

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

missing=()
if [ "$(uname -s)" = Linux ]; then
    command -v ceph-mon >/dev/null || missing+=(ceph-mon)
    command -v ceph-osd >/dev/null || missing+=(ceph-osd)
    command -v radosgw >/dev/null || missing+=(radosgw)
    command -v ceph >/dev/null && command -v radosgw-admin >/dev/null || missing+=(ceph-common radosgw)
    command -v setpriv >/dev/null && command -v flock >/dev/null || missing+=(util-linux)
fi
# On Debian, creating a virtual environment needs a separate package.
python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3 python3-venv)

if [ "${#missing[@]}" -gt 0 ]; then
    echo "installing: ${missing[*]}" >&2
    if command -v apt-get >/dev/null; then
        as_root apt-get update -qq
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
    else
        echo "error: apt-get not found: install ${missing[*]}" >&2
        exit 1
    fi
fi

# requirements.txt is written last: without it, the environment is incomplete.
if [ "$(cat "$venv/requirements.txt" 2>/dev/null)" != "$(printf '%s\n' "${requirements[@]}")" ]; then
    echo "installing moto into $venv" >&2
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check "${requirements[@]}"
    printf '%s\n' "${requirements[@]}" >"$venv/requirements.txt"
fi
