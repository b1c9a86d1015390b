#!/usr/bin/env python3
"""Compare Courtside with simple trackers on footage that courtside-mini was not trained on.

    scripts/train_mini/evaluate.py vtest --clips CLIPS --work WORK --program PROGRAM --model MODEL
    scripts/train_mini/evaluate.py games --n 10 --frames 1000 --work WORK --program PROGRAM --model MODEL

`vtest` uses frames 400 to 794 of vtest.avi, or to `--last`; `games` renders games with seeds that training never uses. Prints
HOTA, MOTA and IDF1 (trackeval), and the ids per true person. The others: OpenCV's HOG detector and its background subtraction,
and for vtest its public detections, each followed by SORT and ByteTrack (the package `trackers`, default settings).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import supervision
import trackers
from trackeval.metrics import CLEAR, HOTA, Identity

SCRIPTS = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(SCRIPTS))

VTEST = (400, 794)
"""First and last frame, counted from 0, that training does not use."""
PERSON, REFEREE = 1, 2
"""Classes of people in the ground truth of rendered scenes."""
HOG_STEP = 4
"""The window of the HOG detector moves by this many pixels."""
MIN_BLOB = 150
"""Smallest moving blob in pixels."""

Boxes = dict[int, list[tuple[int, float, float, float, float]]]
"""For each frame, counted from 0: id, left, top, width and height in pixels."""
Detector = Callable[[int, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""From a frame's number and its BGR image to boxes (left, top, right, bottom) [n, 4] and scores [n]."""


@dataclass(frozen=True)
class Clip:
    """A video with ground truth. Frames `first` to `last` are evaluated."""

    name: str
    path: Path
    truth: Boxes
    first: int
    last: int
    fps: float

    def frames(self) -> Iterator[tuple[int, np.ndarray]]:
        capture = cv2.VideoCapture(str(self.path))
        for t in range(self.last + 1):
            is_read, image = capture.read()
            if not is_read:
                raise ValueError(f"{self.path} ends before frame {t}")
            if t >= self.first:
                yield t, image


def vtest(clips: Path, last: int) -> Clip:
    return Clip("vtest", clips / "vtest.avi", read_mot(clips / "vtest-gt/gt/gt.txt", None), VTEST[0], last, fps=10.0)


def game(work: Path, seed: int, n_frames: int) -> Clip:
    path = work / f"game-{seed}-{n_frames}.mp4"
    if not path.with_suffix(".gt.txt").exists():
        command = [sys.executable, str(SCRIPTS / "render_scene.py"), "game", str(seed), str(path)]
        subprocess.run([*command, "--frames", str(n_frames)], check=True)
    truth = read_mot(path.with_suffix(".gt.txt"), {PERSON, REFEREE})
    return Clip(f"game {seed}", path, truth, 0, n_frames - 1, fps=25.0)


def read_mot(path: Path, classes: set[int] | None) -> Boxes:
    """Boxes of a file in MOT Challenge format. Classes, where there are any, are in column 8."""
    boxes: Boxes = {}
    for line in path.read_text().splitlines():
        frame, person, left, top, width, height, *rest = (float(value) for value in line.split(","))
        if classes is None or int(rest[1]) in classes:
            boxes.setdefault(int(frame) - 1, []).append((int(person), left, top, width, height))
    return boxes


def courtside(clip: Clip, program: Path, model: Path, work: Path, prompt: str) -> Boxes:
    results = work / f"{clip.path.stem}.json"
    results.unlink(missing_ok=True)
    command = [program, "track", clip.path, "--model", model, "--prompt", prompt, "--out", results]
    subprocess.run([*command, "--from", str(clip.first), "--to", str(clip.last)], check=True, stdout=subprocess.DEVNULL)
    boxes: Boxes = {}
    for found in json.loads(results.read_text())["detections"]:
        boxes.setdefault(found["frame"], []).append((found["track_id"], *found["bbox"]))
    return boxes


def hog() -> Detector:
    """The people detector of Dalal and Triggs (2005) that OpenCV has trained."""
    descriptor = cv2.HOGDescriptor()
    descriptor.setSVMDetector(cv2.HOGDescriptor_getDefaultPeopleDetector())

    def detect(_t: int, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        # Its people are at least 96 pixels tall.
        doubled = cv2.resize(image, None, fx=2, fy=2)
        boxes, scores = descriptor.detectMultiScale(doubled, winStride=(2 * HOG_STEP,) * 2, scale=1.05)
        return corners(np.array(boxes, float).reshape(-1, 4) / 2), np.array(scores, float).reshape(-1)

    return detect


def background_subtraction() -> Detector:
    """Blobs that differ from a mixture of Gaussians (Zivkovic 2004)."""
    model = cv2.createBackgroundSubtractorMOG2(history=200, detectShadows=True)

    def detect(_t: int, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        moving = (model.apply(image) == 255).astype(np.uint8)
        moving = cv2.morphologyEx(moving, cv2.MORPH_CLOSE, np.ones((7, 3), np.uint8))
        _, _, blobs, _ = cv2.connectedComponentsWithStats(moving)
        boxes = np.array([blob[:4] for blob in blobs[1:] if blob[4] >= MIN_BLOB], float).reshape(-1, 4)
        return corners(boxes), np.ones(len(boxes))

    return detect


def public_detections(path: Path) -> Detector:
    found: dict[int, list[list[float]]] = {}
    for line in path.read_text().splitlines():
        values = [float(value) for value in line.split(",")]
        found.setdefault(int(values[0]) - 1, []).append(values[2:7])

    def detect(t: int, _image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows = np.array(found.get(t, []), float).reshape(-1, 5)
        return corners(rows[:, :4]), rows[:, 4]

    return detect


def corners(boxes: np.ndarray) -> np.ndarray:
    """Left, top, width, height [n, 4] as left, top, right, bottom."""
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)


def follow(clip: Clip, detect: Detector, tracker: trackers.SORTTracker | trackers.ByteTrackTracker) -> Boxes:
    """Detections of every frame, linked by a tracker."""
    boxes: Boxes = {}
    for t, image in clip.frames():
        found, scores = detect(t, image)
        detections = supervision.Detections(xyxy=found, confidence=scores, class_id=np.zeros(len(found), int))
        tracked = tracker.update(detections)
        for (left, top, right, bottom), person in zip(tracked.xyxy, tracked.tracker_id, strict=True):
            if person >= 0:
                boxes.setdefault(t, []).append((int(person), left, top, right - left, bottom - top))
    return boxes


def sequence(clip: Clip, found: Boxes) -> dict:
    """The input of trackeval's metrics."""
    truth_ids = number(clip.truth, clip)
    found_ids = number(found, clip)
    data = {
        "num_timesteps": clip.last - clip.first + 1,
        "num_gt_ids": len(truth_ids),
        "num_tracker_ids": len(found_ids),
        "gt_ids": [],
        "tracker_ids": [],
        "similarity_scores": [],
        "num_gt_dets": 0,
        "num_tracker_dets": 0,
    }
    for t in range(clip.first, clip.last + 1):
        true, seen = clip.truth.get(t, []), found.get(t, [])
        data["gt_ids"].append(np.array([truth_ids[box[0]] for box in true], int))
        data["tracker_ids"].append(np.array([found_ids[box[0]] for box in seen], int))
        data["similarity_scores"].append(iou(true, seen))
        data["num_gt_dets"] += len(true)
        data["num_tracker_dets"] += len(seen)
    return data


def number(boxes: Boxes, clip: Clip) -> dict[int, int]:
    """Consecutive numbers for the ids."""
    ids = sorted({box[0] for t in range(clip.first, clip.last + 1) for box in boxes.get(t, [])})
    return {person: k for k, person in enumerate(ids)}


def iou(true: list, seen: list) -> np.ndarray:
    a = np.array([box[1:] for box in true], float).reshape(-1, 1, 4)
    b = np.array([box[1:] for box in seen], float).reshape(1, -1, 4)
    low, high = np.maximum(a[..., :2], b[..., :2]), np.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:])
    inner = np.clip(high - low, 0, None).prod(-1)
    return inner / np.maximum(a[..., 2:].prod(-1) + b[..., 2:].prod(-1) - inner, 1e-9)


def report(name: str, sequences: list[dict], seconds: float, n_frames: int) -> None:
    """One row: metrics over all sequences, weighted as trackeval combines them."""
    metrics = {"HOTA": HOTA(), "CLEAR": CLEAR({"PRINT_CONFIG": False}), "Identity": Identity({"PRINT_CONFIG": False})}
    rows = {}
    for key, metric in metrics.items():
        rows[key] = metric.combine_sequences({str(i): metric.eval_sequence(data) for i, data in enumerate(sequences)})
    hota, clear, identity = rows["HOTA"], rows["CLEAR"], rows["Identity"]
    ids = sum(data["num_tracker_ids"] for data in sequences) / max(1, sum(data["num_gt_ids"] for data in sequences))
    print(
        f"| {name} | {hota['HOTA'].mean():.3f} | {hota['DetA'].mean():.3f} | {hota['AssA'].mean():.3f} "
        f"| {clear['MOTA']:.3f} | {identity['IDF1']:.3f} | {clear['CLR_Re']:.2f} | {clear['CLR_Pr']:.2f} | {int(clear['IDSW'])} | {ids:.2f} "
        f"| {n_frames / seconds:.2f} |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("what", choices=("vtest", "games"))
    parser.add_argument("--clips", type=Path, help="folder of vtest.avi and vtest-gt")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--program", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--prompt", default="person")
    parser.add_argument("--n", type=int, default=10, help="games to render")
    parser.add_argument("--frames", type=int, default=1000, help="frames of a game")
    parser.add_argument("--last", type=int, default=VTEST[1], help="last frame of vtest")
    parser.add_argument("--only", action="store_true", help="leave the other trackers out")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    if args.what == "vtest":
        clips = [vtest(args.clips, args.last)]
    else:
        clips = [game(args.work, seed, args.frames) for seed in range(args.n)]
    others: dict[str, Callable[[], Detector]] = {"HOG": hog, "background subtraction": background_subtraction}
    if args.what == "vtest":
        others["public detections"] = lambda: public_detections(args.clips / "vtest-gt/det/det.txt")
    n_frames = sum(clip.last - clip.first + 1 for clip in clips)
    print(f"{n_frames} frames\n")
    print("| | HOTA | DetA | AssA | MOTA | IDF1 | recall | precision | switches | ids per person | frames/s |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    started = time.monotonic()
    found = [courtside(clip, args.program, args.model, args.work, args.prompt) for clip in clips]
    took = time.monotonic() - started
    report("courtside", [sequence(clip, boxes) for clip, boxes in zip(clips, found, strict=True)], took, n_frames)
    for name, make in {} if args.only else others.items():
        for label, tracker in (("SORT", trackers.SORTTracker), ("ByteTrack", trackers.ByteTrackTracker)):
            started = time.monotonic()
            found = [follow(clip, make(), tracker(frame_rate=clip.fps)) for clip in clips]
            took = time.monotonic() - started
            report(
                f"{name}, {label}", [sequence(clip, boxes) for clip, boxes in zip(clips, found, strict=True)], took, n_frames
            )


if __name__ == "__main__":
    main()
