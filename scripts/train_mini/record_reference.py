#!/usr/bin/env python3
"""Run transformers with courtside-mini over the beginning of a clip, and write what it shows on each frame.

    scripts/train_mini/record_reference.py models/courtside-mini fixtures/people/clip.mp4 fixtures/people/reference.json

The output is a JSON object with the prompt, and for both modes (`offline`, `streaming`) a list of frames, each a list of
[id, left, top, right, bottom, score]. Mask NMS, hole filling and sprinkle removal are on. Also prints the frames per second
of transformers. Needs the environment of train.sh.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(SCRIPTS), str(SCRIPTS / "reference")]

import numpy as np  # noqa: E402
import torch  # noqa: E402
from parity import checkpoint  # noqa: E402
from parity.cv_utils import kernels  # noqa: E402
from transformers.utils import logging  # noqa: E402


def decode(path: Path, n_frames: int) -> np.ndarray:
    """The first frames [n, H, W, 3] u8, converted to RGB as Courtside does."""
    probe = ["ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries", "stream=width,height", "-of", "csv=p=0"]
    size = subprocess.run([*probe, str(path)], stdout=subprocess.PIPE, check=True, text=True).stdout
    width, height = (int(extent) for extent in size.strip().strip(",").split(","))
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-frames:v", str(n_frames)]
    command += ["-vf", f"scale={width}:{height},format=rgb24", "-f", "rawvideo", "-"]
    raw = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    return np.frombuffer(raw, np.uint8).reshape(n_frames, height, width, 3)


def rows(post: dict) -> list[list[float]]:
    """What is shown on a frame."""
    ids, boxes, scores = post["object_ids"].tolist(), post["boxes"].tolist(), post["scores"].tolist()
    return [
        [person, *(round(side, 2) for side in box), round(score, 5)]
        for person, box, score in zip(ids, boxes, scores, strict=True)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("clip", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--prompt", default="person")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    logging.disable_progress_bar()
    model, processor = checkpoint.load(args.model)
    video = decode(args.clip, args.frames)
    shown: dict[str, list] = {}
    for mode in ("offline", "streaming"):
        started, frames = time.monotonic(), []
        with torch.inference_mode(), kernels(installed=True):
            if mode == "offline":
                session = processor.init_video_session(video=list(video), inference_device="cpu", dtype=torch.float32)
                processor.add_text_prompt(session, [args.prompt])
                for out in model.propagate_in_video_iterator(session, max_frame_num_to_track=args.frames):
                    frames.append(rows(processor.postprocess_outputs(session, out)))
            else:
                session = processor.init_video_session(inference_device="cpu", dtype=torch.float32)
                processor.add_text_prompt(session, [args.prompt])
                for image in video:
                    inputs = processor(images=image, device="cpu", return_tensors="pt")
                    out = model(inference_session=session, frame=inputs.pixel_values[0])
                    frames.append(rows(processor.postprocess_outputs(session, out, inputs.original_sizes)))
        shown[mode] = frames
        print(f"{mode}: {args.frames / (time.monotonic() - started):.2f} frames/s", flush=True)
    lines = [f'"prompt": {json.dumps(args.prompt)}']
    for mode, frames in shown.items():
        lines.append(f'"{mode}": [\n' + ",\n".join(json.dumps(frame) for frame in frames) + "\n]")
    args.out.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
