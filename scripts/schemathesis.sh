#!/usr/bin/env bash
# Starts the built program on a library of its own and lets schemathesis try the HTTP interface against what
# /openapi.json says of it. Fails on a server error, an answer that is not described, or one of another shape.
#
# COURTSIDE=program to use another build than target/debug/courtside.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly version=4.32.5
readonly target="$(realpath -m "${CARGO_TARGET_DIR:-target}")"
readonly config="$PWD/scripts/schemathesis.toml"
readonly courtside="$(realpath "${COURTSIDE:-$target/debug/courtside}")"
readonly venv="$target/schemathesis/venv"
readonly place="$(mktemp -d)"
server=

finish() {
    local code=$?
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    [ "$code" = 0 ] || { echo "--- what the server said:" >&2; cat "$place/stderr" >&2 2>/dev/null || true; }
    rm -rf "$place"
}
trap finish EXIT

if ! "$venv/bin/python" -c "import importlib.metadata as m; assert m.version('schemathesis') == '$version'" 2>/dev/null; then
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check "schemathesis==$version"
fi

mkdir "$place/videos"
cp fixtures/wide/clip.mkv "$place/videos/"
env -i PATH="$PATH" HOME="$place" DATABASE_URL="sqlite:///$place/library.db" VIDEO_STORAGE_PATH="$place/videos" \
    "$courtside" --json serve --port 0 >"$place/stdout" 2>"$place/stderr" &
server=$!
for _ in $(seq 300); do
    [ -s "$place/stdout" ] || ! kill -0 "$server" 2>/dev/null || { sleep 0.1; continue; }
    break
done

# Something to look at: a video with detections, as the analyzer app writes them.
"$venv/bin/python" - "$place" <<'PYTHON'
import json, sqlite3, sys, urllib.request

place = sys.argv[1]
address = json.load(open(f"{place}/stdout"))["address"]
body = json.dumps({"file_path": "clip.mkv"}).encode()
request = urllib.request.Request(f"{address}/api/videos", body, {"Content-Type": "application/json"})
video = json.load(urllib.request.urlopen(request))["id"]
with sqlite3.connect(f"{place}/library.db") as library:
    rows = [(video, frame, 1.5, 2.5, 30.0, 60.0, track, 0.75) for frame in range(14) for track in (1, 2)]
    library.executemany(
        "INSERT INTO player_detections (video_id, frame_number, bbox_x, bbox_y, bbox_width, bbox_height,"
        " tracking_id, confidence_score) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
open(f"{place}/address", "w").write(address)
PYTHON

# It keeps what it found in the folder it runs in.
cd "$place"
"$venv/bin/st" --config-file "$config" run "$(cat address)/openapi.json" \
    --phases coverage,fuzzing,stateful --max-examples "${EXAMPLES:-20}" --seed 20260501 \
    --generation-deterministic --continue-on-failure --request-timeout 20

# It ended well, too: nothing that was tried is left behind.
kill -TERM "$server"
wait "$server"
server=
if grep -q panicked stderr; then
    exit 1
fi
