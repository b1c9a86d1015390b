#!/usr/bin/env bash
# Tests the emulated driver on its own, without a GPU, nvcc or Courtside: builds it, then runs every case of
# tests/smoke.cpp in a separate process and checks how it ends. Part of `make test`. Linux only.
set -euo pipefail
cd "$(dirname "$0")"

if [ "$(uname -s)" != Linux ]; then
    echo "cuda-emulator: skipped, it runs on Linux only"
    exit
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"${CXX:-c++}" -std=c++20 -O1 -Wall -Wextra -Werror tests/smoke.cpp -ldl -o "$work/smoke"

failed=0
# check CASE STATUS MESSAGE: the case must exit with STATUS and print MESSAGE.
check() {
    local status=0
    ./run.sh "$work/smoke" "$1" tests/smoke.ptx >"$work/output" 2>&1 || status=$?
    if [ "$status" = "$2" ] && grep -qF "$3" "$work/output"; then
        echo "ok     cuda-emulator: $1"
    else
        echo "FAILED cuda-emulator: $1: expected status $2 and \"$3\", got status $status:"
        sed 's/^/       /' "$work/output"
        failed=1
    fi
}

check computes 0 completed
check shares_memory_in_a_block 0 completed
check shuffles_in_a_warp 0 completed
check orders_streams_by_events 0 completed
check shows_a_missing_wait 0 completed
check uninitialised_memory_is_nan 0 completed
check multiplies_matrices 0 completed
check refuses_bad_calls 0 completed
check detects_read_beyond_the_end 1 "scale_add: touched memory outside its buffers"
check detects_use_after_free 1 "scale_add: touched memory outside its buffers"
check detects_copy_beyond_the_end 1 "copy to the GPU: address range is not allocated"
check detects_missing_barrier 1 "missing_barrier: some threads ended while others wait at a barrier"
exit "$failed"
