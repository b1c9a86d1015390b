#!/usr/bin/env bash
# The whole way of a game on this machine: submit, worker, status, import, annotated video. The bucket is a
# folder. MODEL and VIDEO name your own; without them, the tiny checkpoint of fixtures/wide tracks the synthetic
# clip that it was trained on.
set -euo pipefail
cd "$(dirname "$0")/.."
program=$(realpath "$COURTSIDE")
root=$PWD
mkdir -p demo && cd demo

# What is set for another bucket or library is none of the demo's.
for name in $(env | grep -oE '^(R2_[A-Z_]+|DATABASE_URL|VIDEO_STORAGE_PATH|WORKER_[A-Z_]+|SINGLE_JOB)=' | tr -d =); do
    unset "$name"
done
absolute() { case $1 in /*) echo "$1" ;; *) echo "$root/$1" ;; esac; }

prompt=()
if [ -z "${VIDEO:-}" ]; then
    VIDEO=fixtures/wide/clip.mkv
    MODEL=fixtures/wide
    prompt=(--prompt ball)
fi
model=()
[ -z "${MODEL:-}" ] || model=(--model "$(absolute "$MODEL")")
say() { printf '\n$ %s\n' "$*"; }

say courtside submit "$VIDEO" "${prompt[@]}"
"$program" --json submit "$(absolute "$VIDEO")" "${prompt[@]}" >submitted.json
job=$(sed -n 's/.*"job_id": "\([^"]*\)".*/\1/p' submitted.json)
video=$(sed -n 's/.*"video_id": \([0-9]*\).*/\1/p' submitted.json)
echo "job $job of video $video"

say courtside worker --local --once "${model[@]}"
"$program" worker --local --once "${model[@]}"

say courtside status
"$program" status

say courtside import --job-id "$job"
"$program" import --job-id "$job"

say courtside export "$job" --format video
"$program" export "$job" --format video --out annotated.mp4
"$program" export "$job" --format mot --out tracks.txt

say courtside tracks "$job"
"$program" tracks "$job"

echo "annotated video:  $PWD/annotated.mp4"
echo "tracks:           $PWD/tracks.txt (MOT Challenge), $PWD/basketball_analyzer.db (SQLite)"
echo "the API:          cd $PWD && $program serve   then   http://127.0.0.1:8000/docs"
