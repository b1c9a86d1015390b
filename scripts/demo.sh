#!/usr/bin/env bash
# Submits, tracks and imports a video on this machine, and exports it annotated. The bucket is a folder. Set MODEL and
# VIDEO to use your own, and PROMPT to follow others; the default is a clip of people and a small model that has not seen it.
#
# Run by `make demo`, which builds the program and sets COURTSIDE to its path. Everything is written to demo/.
set -euo pipefail
cd "$(dirname "$0")/.."
program=$(realpath "$COURTSIDE")
root=$PWD
mkdir -p demo && cd demo

# Ignore settings for another bucket or library.
for name in $(env | grep -oE '^(R2_[A-Z_]+|DATABASE_URL|VIDEO_STORAGE_PATH|WORKER_[A-Z_]+|SINGLE_JOB)=' | tr -d =); do
    unset "$name"
done
absolute() { case $1 in /*) echo "$1" ;; *) echo "$root/$1" ;; esac; }

if [ -z "${VIDEO:-}" ]; then
    VIDEO=fixtures/people/clip.mp4
    PROMPT=${PROMPT:-person}
fi
prompt=(${PROMPT:+--prompt "$PROMPT"})
if [ -z "${MODEL:-}" ]; then
    MODEL=models/courtside-mini
    cat <<'END'
The model is courtside-mini, a small one for trying Courtside. It finds most people of footage like its own, and confuses those
who pass each other: it is no substitute for SAM3. To get SAM3, request access at https://huggingface.co/facebook/sam3, download it with
`HF_TOKEN=... target/release/courtside model path`, and run `make demo MODEL=FOLDER VIDEO=FILE`.
END
fi
model=(--model "$(absolute "$MODEL")")
show() { printf '\n$ %s\n' "$*"; }

# --again: an earlier run may have submitted the same.
show courtside submit "$VIDEO" "${prompt[@]}" --again
"$program" --json submit "$(absolute "$VIDEO")" "${prompt[@]}" --again >submitted.json
job=$(sed -n 's/.*"job_id": "\([^"]*\)".*/\1/p' submitted.json)
video=$(sed -n 's/.*"video_id": \([0-9]*\).*/\1/p' submitted.json)
echo "job $job of video $video"

show courtside worker --local --once "${model[@]}"
"$program" worker --local --once "${model[@]}"

show courtside status
"$program" status

show courtside import --job-id "$job"
"$program" import --job-id "$job"

show courtside export "$job" --format video
"$program" export "$job" --format video --out annotated.mp4
"$program" export "$job" --format mot --out tracks.txt
# Sixteen frames of the video.
frames=$(ffprobe -v error -select_streams v:0 -show_entries packet=pts -of csv=p=0 annotated.mp4 | wc -l)
ffmpeg -v error -y -i annotated.mp4 -vf "select=not(mod(n\,$(((frames + 15) / 16)))),scale=480:-2,tile=4x4" \
    -frames:v 1 contact-sheet.png

show courtside tracks "$job"
"$program" tracks "$job"

echo
echo "annotated video:  $PWD/annotated.mp4"
echo "contact sheet:    $PWD/contact-sheet.png, sixteen of its frames"
echo "tracks:           $PWD/tracks.txt (MOT Challenge), $PWD/basketball_analyzer.db (SQLite)"
echo "look at it:       cd $PWD && $program open $video   then   http://127.0.0.1:8000/#/videos/$video"
