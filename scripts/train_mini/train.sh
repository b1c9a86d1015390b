#!/bin/sh
# Trains courtside-mini from nothing: creates the Python environment, renders the games, and trains.
#
#     scripts/train_mini/train.sh WORK CLIPS [OPTION...]
#
# WORK keeps the environment, the rendered clips (6 GB), the state, and the model in WORK/model; the same command continues
# after an interruption. CLIPS is a folder with vtest.avi (of OpenCV's samples) and vtest-gt/gt/gt.txt (its people, in MOT
# Challenge format). OPTION is passed to train.py.
set -eu

if [ $# -lt 2 ]; then
    echo "usage: $0 WORK CLIPS [OPTION...]" >&2
    exit 2
fi
here=$(cd "$(dirname "$0")" && pwd)
work=$1 clips=$2
shift 2
mkdir -p "$work"
if [ ! -e "$work/environment/complete" ]; then
    "$here/../reference/setup_reference.sh" "$work/environment"
    "$work/environment/bin/python" -m pip --disable-pip-version-check install -r "$here/requirements.txt"
    touch "$work/environment/complete"
fi
exec "$work/environment/bin/python" "$here/train.py" "$work" "$work/model" --clips "$clips" "$@"
