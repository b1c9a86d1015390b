#!/usr/bin/env bash
# Tracks a video from end to end. MODEL and VIDEO name your own; without them, the tiny checkpoint of
# fixtures/wide tracks the synthetic clip that it was trained on.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p demo

options=()
if [ -z "${VIDEO:-}" ]; then
    VIDEO=fixtures/wide/clip.mkv
    MODEL=fixtures/wide
    options+=(--prompt ball --prompt box)
fi
[ -z "${MODEL:-}" ] || options+=(--model "$MODEL")

exec "$COURTSIDE" track "$VIDEO" "${options[@]}" \
    --out demo/tracks.json --mot demo/tracks.txt --annotated demo/annotated.mp4
