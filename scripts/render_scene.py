#!/usr/bin/env python3
"""Render a synthetic basketball game, or pedestrians on a plaza, with exact ground truth.

    scripts/render_scene.py game 7 game-7.mp4 --frames 1000

Writes the video, and next to it game-7.gt.txt in MOT Challenge format: frame from 1, id, left, top, width, height, 1, class
(1 player or pedestrian, 2 referee, 3 ball), visible share of the box. The same kind, seed, size and frame rate give the same
frames. Needs numpy, opencv-python-headless and ffmpeg.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from scenes.scene import KINDS, Scene

CLASSES = {"player": 1, "person": 1, "referee": 2, "ball": 3}
BALL_ID = 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("seed", type=int)
    parser.add_argument("out", type=Path, help="video to write, such as game-7.mp4")
    parser.add_argument("--frames", type=int, default=250)
    parser.add_argument("--size", default="768x432", help="width and height, even")
    parser.add_argument("--fps", type=float, default=25.0)
    args = parser.parse_args()
    width, height = (int(extent) for extent in args.size.split("x"))
    encoder = subprocess.Popen(
        [
            "ffmpeg",
            "-v",
            "error",
            "-y",
            "-f",
            "rawvideo",
            "-pix_fmt",
            "rgb24",
            "-s",
            f"{width}x{height}",
            "-r",
            str(args.fps),
        ]
        + ["-i", "pipe:0", "-c:v", "libx264", "-preset", "veryfast", "-crf", "20", "-pix_fmt", "yuv420p", str(args.out)],
        stdin=subprocess.PIPE,
    )
    assert encoder.stdin is not None
    lines = []
    for t, frame in enumerate(Scene(args.kind, args.seed, (width, height), args.fps).frames(args.frames), start=1):
        encoder.stdin.write(frame.image.tobytes())
        for seen in frame.objects:
            left, top, wide, high = seen.box
            person = BALL_ID if seen.kind == "ball" else seen.id + 1
            share = seen.n_pixels / (wide * high)
            lines.append(f"{t},{person},{left},{top},{wide},{high},1,{CLASSES[seen.kind]},{share:.3f}\n")
        print(f"\rframe {t} of {args.frames}", end="", file=sys.stderr)
    print(file=sys.stderr)
    encoder.stdin.close()
    if encoder.wait() != 0:
        sys.exit(f"error: ffmpeg cannot write {args.out}")
    truth = args.out.with_suffix(".gt.txt")
    truth.write_text("".join(lines))
    print(f"{args.out}, {truth}")


if __name__ == "__main__":
    main()
