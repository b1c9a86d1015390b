#!/usr/bin/env bash
# Checks the frame numbers of every container, codec and property that is accepted, and writes docs/formats.md.
# Takes about 4 minutes.
set -euo pipefail
cd "$(dirname "$0")/.."
rows=$(mktemp)
trap 'rm -f "$rows"' EXIT
COURTSIDE_FORMATS_TABLE=$rows cargo test --locked -p video --test it -- table::
{
  cat <<'TEXT'
# Video formats

Written by `scripts/formats_table.sh` from the tests in `crates/video/tests/it/table.rs`; do not edit.

In each row, the number painted into every frame equals the frame's number: read from the start, from the middle,
after a resume, and every second and seventh frame; and the number of frames equals what ffmpeg delivers. *Resuming*
says whether decoding begins at a keyframe before the frame or at the start of the file. *Tracked while it arrives*
says whether a worker begins before the download of the file is complete.

TEXT
  cat "$rows"
  cat <<'TEXT'

Refused, with the command that converts the file: WMV (ASF), Ogg, MXF, raw DV, RealMedia, GIF and IVF files, and codecs
that are not in the table. Refused without one: playlists and other texts that refer to files, and anything else.

ffmpeg 5.1 and OpenCV also deliver the AV1 frames that an edit list hides; they have no number here, as in a player.
A transport stream of HEVC that begins between two keyframes has gray frames at its beginning, which are numbered: the
decoder delivers them.
TEXT
} > docs/formats.md
