#!/usr/bin/env bash
# Builds Dockerfile.worker and runs the image as a rented machine would. The base is a Debian made here, the program is the
# one that the tests have built, for the CPU, with a tiny model, and cuBLAS is left out; everything else is the real file.
#
#   COURTSIDE   the program [default: target/debug/courtside]
#   FAKE_R2     the S3 server [default: target/debug/fake-r2]
#
# Debian and Ubuntu only, as root or with sudo: containers are built by buildah and run by podman. The base and the layers
# are cached; remove the images localhost/courtside-* and the folder target/image to begin again.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v apt-get >/dev/null; then
    echo "test_image: not run: it needs apt-get to install podman, buildah and mmdebstrap" >&2
    exit 0
fi
if [ "$(id -u)" != 0 ]; then
    exec sudo --preserve-env=COURTSIDE,FAKE_R2,CARGO_TARGET_DIR "$0" "$@"
fi

readonly root=$PWD
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
courtside=$(realpath "${COURTSIDE:-$target/debug/courtside}")
fake_r2=$(realpath "${FAKE_R2:-$target/debug/fake-r2}")
cache=$target/image
folder=$(mktemp -d "${TMPDIR:-/tmp}/courtside-image.XXXXXX")
readonly base=localhost/courtside-base:trixie image=localhost/courtside-worker:test
readonly secret=secret-$RANDOM$RANDOM$RANDOM library=$folder/library
# shellcheck source=scripts/system_test.sh
. scripts/system_test.sh
export CONTAINERS_CONF=$folder/containers.conf
mkdir -p "$cache"

finish() {
    local code=$?
    trap - EXIT
    [ "$code" = 0 ] || tail -n 30 "$folder"/*.log >&2 2>/dev/null || true
    podman rm --all --force --time 0 >/dev/null 2>&1 || true
    pkill -f "^$fake_r2 --bucket games" || true
    [ -z "${registry:-}" ] || kill "$registry" 2>/dev/null || true
    rm -rf "$folder"
    exit "$code"
}
trap finish EXIT
trap 'exit 130' INT TERM HUP

install_tools() {
    local missing=() tool
    for tool in podman buildah runc mmdebstrap skopeo catatonit docker-registry; do
        command -v "$tool" >/dev/null || missing+=("$tool")
    done
    [ "${#missing[@]}" = 0 ] && return
    step "installing ${missing[*]}"
    apt-get -o DPkg::Lock::Timeout=300 update -qq
    DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends \
        podman buildah runc mmdebstrap skopeo catatonit docker-registry uidmap >/dev/null
}

# In a container without a cgroup hierarchy and a network of its own.
configure() {
    cat >"$CONTAINERS_CONF" <<'CONF'
[containers]
default_ulimits=["nofile=1024:4096","nproc=4096:4096"]
netns="host"
[engine]
runtime="runc"
cgroup_manager="cgroupfs"
events_logger="none"
CONF
}

make_base() {
    podman image exists "$base" && return
    step "making the base"
    if [ ! -e "$cache/base.tar" ]; then
        mmdebstrap --quiet --variant=minbase --include=ca-certificates trixie "$cache/base.partial.tar"
        mv "$cache/base.partial.tar" "$cache/base.tar"
    fi
    podman import --quiet --change 'CMD=["bash"]' "$cache/base.tar" "$base" >/dev/null
}

# The contexts that replace stages, and the image.
build() {
    mkdir "$folder/program" "$folder/cublas" "$folder/cublas/lib-cublas"
    cp "$courtside" "$folder/program/courtside"
    "$courtside" model copy "$folder/model" --model fixtures/wide >/dev/null
    buildah bud --quiet --isolation oci --layers --network host --build-arg BASE="$base" --build-arg RUST="$base" \
        --build-context program="$folder/program" --build-context cublas="$folder/cublas" \
        --build-context model="$folder/model" --build-arg VERSION=test \
        -f Dockerfile.worker -t "$image" . >"$folder/build.log" 2>&1
}

check_metadata() {
    local user labels
    user=$(podman inspect --format '{{.Config.User}}' "$image")
    [ "$user" = 10001:10001 ] || fail "the image runs as $user"
    labels=$(podman inspect --format '{{json .Config.Labels}}' "$image")
    local label
    for label in title description licenses version; do
        [[ $labels == *"org.opencontainers.image.$label"* ]] || fail "the image has no label $label"
    done
    echo "test_image: the image without cuBLAS has $(podman inspect --format '{{.Size}}' "$image") bytes"
}

# container NAME OPTIONS... -- ARGUMENTS...: run the image with the settings of the bucket.
container() {
    local name=$1 options=()
    shift
    while [ "$1" != -- ]; do
        options+=("$1")
        shift
    done
    shift
    podman run --name "$name" --env-file "$library/.env" "${options[@]}" "$image" "$@"
}

readonly worker=(worker --cloud --allow-cpu --once --speed-up 30 --checkpoint-interval 0.5)

is_tracking() {
    run --json status "$1" | grep -q '"state": "tracking"' && run --json status "$1" | grep -qE '"current": [1-9]'
}

check_doctor() {
    # shellcheck disable=SC2016
    container doctor --rm --read-only --cap-drop=all --security-opt=no-new-privileges -- doctor >"$folder/doctor.log" 2>&1 ||
        grep -qE '^FAIL +gpu' "$folder/doctor.log" || fail "doctor fails: $(cat "$folder/doctor.log")"
    grep -vE '^FAIL +gpu' "$folder/doctor.log" | grep -q '^FAIL' && fail "doctor fails: $(cat "$folder/doctor.log")"
    grep -qE '^ok +ffmpeg' "$folder/doctor.log" || fail "doctor found no ffmpeg"
    grep -qE '^ok +model +.*/models/sam3' "$folder/doctor.log" || fail "doctor found no model in /models/sam3"
}

# An undisturbed job, and the same one released by SIGTERM and continued in a container with a read-only root.
check_jobs() {
    local first second code=0
    first=$(submit_video)
    container first -- "${worker[@]}" >"$folder/first.log" 2>&1
    object "results/$first.json" | canonical >"$folder/expected.json"
    grep -q '"frame":' "$folder/expected.json" || fail "the job found nothing"
    step "stopping a worker in the middle of a job"
    second=$(submit_video)
    container second -- "${worker[@]}" >"$folder/second.log" 2>&1 &
    wait_for 60 "the worker tracks" is_tracking "$second"
    podman stop --time 30 second >/dev/null
    wait $! || code=$?
    [ "$code" = 130 ] || fail "after SIGTERM the worker exited with $code, not 130"
    grep -q "^released $second" "$folder/second.log" || fail "the worker did not release its job"
    container third --read-only --cap-drop=all --security-opt=no-new-privileges -- "${worker[@]}" \
        >"$folder/third.log" 2>&1
    run logs "$second" | grep -q "resuming at frame" || fail "the second worker did not resume"
    object "results/$second.json" | canonical >"$folder/found.json"
    cmp "$folder/expected.json" "$folder/found.json" || fail "the continued job has other results"
}

# A seccomp profile that hides Landlock, as of old container engines: decoding is refused, and the message says why.
check_hidden_landlock() {
    cat >"$folder/seccomp.json" <<'PROFILE'
{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"action": "SCMP_ACT_ERRNO", "errnoRet": 38,
 "names": ["landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self"]}]}
PROFILE
    container hidden --rm --security-opt seccomp="$folder/seccomp.json" -- doctor >"$folder/hidden.log" 2>&1 || true
    grep -q "seccomp profile" "$folder/hidden.log" ||
        fail "doctor does not say that the container hides Landlock: $(cat "$folder/hidden.log")"
}

# No setting of the bucket may be in a layer or in the configuration of the image.
check_secrets() {
    podman save --quiet --format oci-archive -o "$folder/image.tar" "$image"
    mkdir "$folder/oci"
    tar xf "$folder/image.tar" -C "$folder/oci"
    local blob
    for blob in "$folder"/oci/blobs/sha256/*; do
        if { gzip -dc "$blob" 2>/dev/null || cat "$blob"; } | grep -qaE "$secret|R2_SECRET_ACCESS_KEY=."; then
            fail "a layer has a secret"
        fi
    done
    [ "$(podman run --rm --entrypoint sh "$image" -c 'find / -xdev -name .env 2>/dev/null | wc -l')" = 0 ] ||
        fail "the image has an .env file"
}

check_registry() {
    cat >"$folder/registry.yml" <<CONF
version: 0.1
storage: {filesystem: {rootdirectory: $folder/registry}}
http: {addr: "127.0.0.1:0"}
CONF
    # The registry does not print a port that it chose itself.
    local port
    port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    sed -i "s/127.0.0.1:0/127.0.0.1:$port/" "$folder/registry.yml"
    docker-registry serve "$folder/registry.yml" >"$folder/registry.log" 2>&1 &
    registry=$!
    wait_for 20 "the registry" curl -fsS -o "$folder/registry.out" "http://127.0.0.1:$port/v2/"
    podman push --quiet --tls-verify=false "$image" "127.0.0.1:$port/courtside-worker:test"
    local pushed
    pushed=$(skopeo inspect --tls-verify=false --format '{{.Digest}}' "docker://127.0.0.1:$port/courtside-worker:test")
    podman pull --quiet --tls-verify=false "127.0.0.1:$port/courtside-worker@$pushed" >/dev/null
    podman run --rm "127.0.0.1:$port/courtside-worker@$pushed" --version | grep -q '^courtside ' ||
        fail "the pulled image does not run"
    podman rmi --force "127.0.0.1:$port/courtside-worker@$pushed" >/dev/null
}

install_tools
configure
make_base
step "building the image"
build
check_metadata
start_bucket
make_video 2
step "doctor"
check_doctor
check_hidden_landlock
step "tracking a job"
check_jobs
step "searching the layers for secrets"
check_secrets
step "pushing and pulling"
check_registry
step "passed"
