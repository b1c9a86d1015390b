#!/usr/bin/env bash
# Starts the program with an empty library and tests its HTTP interface against /openapi.json with schemathesis. Fails on
# a server error, an undocumented response, or a response that does not match its schema.
#
#   COURTSIDE   the program [default: target/debug/courtside]
#   EXAMPLES    examples per operation [default: 20]
set -euo pipefail
cd "$(dirname "$0")/.."

readonly version=4.32.5
readonly target="$(realpath -m "${CARGO_TARGET_DIR:-target}")"
readonly config="$PWD/scripts/schemathesis.toml"
readonly courtside="$(realpath "${COURTSIDE:-$target/debug/courtside}")"
readonly venv="$target/schemathesis/venv"
readonly folder="$(mktemp -d)"
server=

finish() {
    local code=$?
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    [ "$code" = 0 ] || { echo "--- log of the server:" >&2; cat "$folder/stderr" >&2 2>/dev/null || true; }
    rm -rf "$folder"
}
trap finish EXIT

if ! "$venv/bin/python" -c "import importlib.metadata as m; assert m.version('schemathesis') == '$version'" 2>/dev/null; then
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check "schemathesis==$version"
fi

mkdir "$folder/videos"
cp fixtures/wide/clip.mkv "$folder/videos/"
env -i PATH="$PATH" HOME="$folder" DATABASE_URL="sqlite:///$folder/library.db" VIDEO_STORAGE_PATH="$folder/videos" \
    "$courtside" --json serve --port 0 >"$folder/stdout" 2>"$folder/stderr" &
server=$!
for _ in $(seq 300); do
    [ -s "$folder/stdout" ] || ! kill -0 "$server" 2>/dev/null || { sleep 0.1; continue; }
    break
done

# Add a video with detections, as the analyzer app writes them.
"$venv/bin/python" - "$folder" <<'PYTHON'
import json, sqlite3, sys, urllib.request

folder = sys.argv[1]
address = json.load(open(f"{folder}/stdout"))["address"]
body = json.dumps({"file_path": "clip.mkv"}).encode()
request = urllib.request.Request(f"{address}/api/videos", body, {"Content-Type": "application/json"})
video = json.load(urllib.request.urlopen(request))["id"]
with sqlite3.connect(f"{folder}/library.db") as library:
    rows = [(video, frame, 1.5, 2.5, 30.0, 60.0, track, 0.75) for frame in range(14) for track in (1, 2)]
    library.executemany(
        "INSERT INTO player_detections (video_id, frame_number, bbox_x, bbox_y, bbox_width, bbox_height,"
        " tracking_id, confidence_score) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
open(f"{folder}/address", "w").write(address)
PYTHON

# schemathesis writes its examples to the current folder.
cd "$folder"
"$venv/bin/st" --config-file "$config" run "$(cat address)/openapi.json" \
    --phases coverage,fuzzing,stateful --max-examples "${EXAMPLES:-20}" --seed 20260501 \
    --generation-deterministic --continue-on-failure --request-timeout 20

# The server must shut down cleanly and must not have panicked.
kill -TERM "$server"
wait "$server"
server=
if grep -q panicked stderr; then
    exit 1
fi
