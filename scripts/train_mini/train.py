#!/usr/bin/env python3
"""Train courtside-mini, a small SAM3 checkpoint that follows people: first the detector, then the memory.

    scripts/train_mini/train.py WORK OUT --clips CLIPS

WORK keeps the rendered clips and the state of the training; the same command continues where it was stopped. OUT is the
model folder. CLIPS holds vtest.avi and vtest-gt/gt/gt.txt. Needs the environment that train.sh creates.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(SCRIPTS), str(SCRIPTS / "reference")]

import cv2  # noqa: E402
import torch  # noqa: E402

import architecture  # noqa: E402
import attention  # noqa: E402
import clips  # noqa: E402
import detector  # noqa: E402
import memory  # noqa: E402
from state import Stage  # noqa: E402
from transformers import CLIPTokenizer, Sam3VideoModel  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--clips", type=Path, required=True, help="folder of vtest.avi and vtest-gt")
    parser.add_argument("--detector-steps", type=int, default=6000)
    parser.add_argument("--memory-steps", type=int, default=3000)
    parser.add_argument("--from", dest="source", type=Path, help="start from the weights of this model folder")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(1)
    folders = clips.prepare(args.work / "clips", args.clips)
    model, words = architecture.build(args.seed)
    model.eval()
    attention.use(model)
    if args.source is not None:
        architecture.load_weights(model, args.source)
    first = detector.DetectorTraining(model, words, args.work)
    for _ in first.run(folders, args.detector_steps, args.seed):
        save_average(first.stage, model, words, args.out)
    first.stage.swap_average()
    second = memory.MemoryTraining(model, args.work)
    for _ in second.run(folders, args.memory_steps, args.seed):
        save_average(second.stage, model, words, args.out)


def save_average(stage: Stage, model: Sam3VideoModel, words: CLIPTokenizer, out: Path) -> None:
    stage.swap_average()
    architecture.save(model, words, out)
    stage.swap_average()


if __name__ == "__main__":
    main()
