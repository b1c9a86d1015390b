"""Training clips with a label image per frame: synthetic games and plazas, and the first part of vtest.avi.

A clip is a folder: `images.npy` [T, H, W, 3] u8 RGB, `labels.npy` [T, H, W] u8 with 0 for the background, and `kinds.json`,
which maps labels to `player`, `referee`, `ball` or `person`. A label is the same object in every frame. Folders are written
under another name first, so that one that exists is complete.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np

from scenes.scene import BALL, Scene

SYNTHETIC_SIZE = (768, 432)
N_FRAMES = 40
"""Frames of a synthetic clip."""
N_GAMES, N_PLAZAS = 64, 40
FIRST_SEED = 1000
"""Training seeds start here; seeds below are for evaluation."""
VTEST_SIZE = (768, 576)
VTEST_FRAMES = 400
"""Frames 0 to 399 of vtest.avi are for training, the others for evaluation."""
PERSON_THRESHOLD = 14
"""Grey levels by which a person differs from the background."""


@dataclass(frozen=True)
class Clip:
    """A clip whose frames are mapped into memory."""

    images: np.ndarray
    labels: np.ndarray
    kinds: dict[int, str]
    is_real: bool

    @classmethod
    def open(cls, folder: Path) -> Clip:
        kinds = json.loads((folder / "kinds.json").read_text())
        return cls(
            images=np.load(folder / "images.npy", mmap_mode="r"),
            labels=np.load(folder / "labels.npy", mmap_mode="r"),
            kinds={int(label): kind for label, kind in kinds.items()},
            is_real=folder.name.startswith("vtest"),
        )

    @cached_property
    def background(self) -> np.ndarray:
        """The image [H, W, 3] without people, for a camera that does not move."""
        return np.median(self.images[::8], axis=0).astype(np.uint8)


def choose(clips: list[Clip], real_share: float, rng: np.random.Generator) -> Clip:
    """A random clip: a real one with probability `real_share`."""
    is_real = bool(rng.random() < real_share)
    pool = [clip for clip in clips if clip.is_real == is_real]
    return pool[int(rng.integers(len(pool)))]


def _save(folder: Path, images: np.ndarray, labels: np.ndarray, kinds: dict[int, str]) -> None:
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    np.save(partial / "images.npy", images)
    np.save(partial / "labels.npy", labels)
    (partial / "kinds.json").write_text(json.dumps(kinds))
    partial.rename(folder)


def prepare(folder: Path, clips: Path) -> list[Path]:
    """Render and decode whatever is missing in `folder`. `clips` holds vtest.avi and its ground truth."""
    wanted = [folder / "vtest"]
    if not wanted[0].exists():
        _prepare_vtest(wanted[0], clips)
    for i in range(max(N_GAMES, N_PLAZAS)):
        for kind, n in (("game", N_GAMES), ("plaza", N_PLAZAS)):
            if i < n:
                wanted.append(folder / f"{kind}-{FIRST_SEED + i}")
                if not wanted[-1].exists():
                    _render(wanted[-1], kind, FIRST_SEED + i)
                    print(f"rendered {wanted[-1].name}", flush=True)
    return wanted


def _render(folder: Path, kind: str, seed: int) -> None:
    scene = Scene(kind, seed, SYNTHETIC_SIZE, fps=(10.0, 12.5, 25.0)[seed % 3])
    images, labels, kinds = [], [], {}
    for frame in scene.frames(N_FRAMES):
        images.append(frame.image)
        labels.append(frame.labels.astype(np.uint8))
        kinds |= {visible.label: visible.kind for visible in frame.objects}
    assert max(kinds, default=BALL) < 256, "labels are stored in 8 bits"
    _save(folder, np.stack(images), np.stack(labels), kinds)


def _prepare_vtest(folder: Path, clips: Path) -> None:
    """Masks are what differs from the median image within the boxes of the ground truth."""
    width, height = VTEST_SIZE
    command = ["ffmpeg", "-v", "error", "-i", str(clips / "vtest.avi"), "-frames:v", str(VTEST_FRAMES)]
    raw = subprocess.run([*command, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"], stdout=subprocess.PIPE, check=True).stdout
    images = np.frombuffer(raw, np.uint8).reshape(VTEST_FRAMES, height, width, 3)
    boxes: list[list[tuple[int, float, float, float, float]]] = [[] for _ in range(VTEST_FRAMES)]
    for line in (clips / "vtest-gt/gt/gt.txt").read_text().splitlines():
        frame, person, left, top, wide, high = (float(value) for value in line.split(",")[:6])
        if frame <= VTEST_FRAMES:
            boxes[int(frame) - 1].append((int(person), left, top, left + wide, top + high))
    background = np.median(images[::8], axis=0).astype(np.int16)
    labels = np.stack([_label_people(image, background, people) for image, people in zip(images, boxes, strict=True)])
    people = {person for frame in boxes for person, *_ in frame}
    _save(folder, images, labels, dict.fromkeys(people, "person"))


def _label_people(
    image: np.ndarray, background: np.ndarray, people: list[tuple[int, float, float, float, float]]
) -> np.ndarray:
    """The label image [H, W] of a frame. Where boxes overlap, the person whose feet are lower is in front."""
    height, width = image.shape[:2]
    difference = np.abs(image - background).max(axis=-1).astype(np.float32)
    foreground = cv2.blur(difference, (5, 5)) > PERSON_THRESHOLD
    labels = np.zeros((height, width), np.uint8)
    for person, left, top, right, bottom in sorted(people, key=lambda box: box[4]):
        x0, y0 = max(0, round(left)), max(0, round(top))
        x1, y1 = min(width, round(right)), min(height, round(bottom))
        if x1 - x0 < 4 or y1 - y0 < 6:
            continue
        part = foreground[y0:y1, x0:x1]
        if part.mean() < 0.25:
            part = _ellipse(y1 - y0, x1 - x0)
        labels[y0:y1, x0:x1][part] = person
    return labels


def _ellipse(height: int, width: int) -> np.ndarray:
    """A filled ellipse [height, width], for people who look like the background."""
    y, x = np.mgrid[0:height, 0:width]
    return ((x + 0.5) / width * 2 - 1) ** 2 + ((y + 0.5) / height * 2 - 1) ** 2 < 0.9
