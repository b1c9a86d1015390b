#!/usr/bin/env bash
# Writes what a package has besides the program: manual pages and shell completions, which the program prints itself.
#
#   scripts/release/stage.sh PROGRAM FOLDER
set -euo pipefail
[ $# = 2 ] || { echo "usage: scripts/release/stage.sh PROGRAM FOLDER" >&2; exit 2; }
program=$1 folder=$2

rm -rf "$folder"
mkdir -p "$folder/completions"
"$program" man --out "$folder/man"
"$program" completions bash >"$folder/completions/courtside.bash"
"$program" completions zsh >"$folder/completions/_courtside"
"$program" completions fish >"$folder/completions/courtside.fish"
