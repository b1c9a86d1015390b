"""Training windows of the memory: consecutive frames, and the masks of a few people who are visible in the first one."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch

from architecture import MASK_SIZE
from clips import Clip, choose
from detector_samples import MIN_VISIBLE, MIN_VISIBLE_BALL, resize, to_input

REAL_SHARE = 0.4
LONGEST_STRIDE = 3
RECONDITIONED_SHARES = (0.0, 0.5, 0.8, 0.8, 0.95)
"""Shares of frames that recondition the memory, to choose from: a detector misses some people."""


@dataclass(frozen=True)
class Window:
    """`images` [T, 3, S, S]; for n objects `masks` [n, T, M, M] with shares of covered area, and `visible` [n, T].

    `detected` maps frames to what a detector would find there, [n, M, M], 0 or 1: the memory starts from that of frame 0 and
    is reconditioned by the others. The first `n_free` frames are followed without gradients.
    """

    images: torch.Tensor
    masks: torch.Tensor
    visible: torch.Tensor
    detected: dict[int, torch.Tensor]
    n_free: int


def make_window(clips: list[Clip], n_frames: int, n_free: int, n_objects: int, rng: np.random.Generator) -> Window:
    """A random window of `n_frames` with at most `n_objects`."""
    while True:
        window = _try_window(clips, n_frames, n_free, n_objects, rng)
        if window is not None:
            return window


def _try_window(
    clips: list[Clip], n_frames: int, n_free: int, n_objects: int, rng: np.random.Generator
) -> Window | None:
    clip = choose(clips, REAL_SHARE, rng)
    stride = int(rng.integers(1, min(LONGEST_STRIDE, (len(clip.images) - 1) // (n_frames - 1)) + 1))
    start = int(rng.integers(len(clip.images) - (n_frames - 1) * stride))
    times = [start + k * stride for k in range(n_frames)]
    if rng.random() < 0.5:
        times.reverse()
    view = _View.random(clip.labels.shape[1:], n_frames, rng)
    labels = [view.of(clip.labels[t], k) for k, t in enumerate(times)]
    chosen = _choose(labels[0], clip, n_objects, rng)
    if not chosen:
        return None
    masks = np.stack([[_low_resolution(frame == label) for frame in labels] for label in chosen])
    share = rng.choice(RECONDITIONED_SHARES)
    detected = [0, *(t for t in range(1, n_frames) if rng.random() < share)]
    light, shift = rng.uniform(0.8, 1.2) * rng.normal(1, 0.04, 3), rng.uniform(-12, 12)
    frames = [resize(np.ascontiguousarray(view.of(clip.images[t], k))) for k, t in enumerate(times)]
    images = [to_input(np.clip(frame * light + shift, 0, 255)) for frame in frames]
    return Window(
        images=torch.stack(images),
        masks=torch.from_numpy(masks),
        visible=torch.from_numpy(masks.sum((-2, -1)) > MIN_VISIBLE / 2),
        detected={t: torch.from_numpy(np.stack([_disturbed(mask[t], rng) for mask in masks])) for t in detected},
        n_free=n_free,
    )


@dataclass(frozen=True)
class _View:
    """A part of each frame that drifts, as if the camera moved; mirrored or not."""

    corners: list[tuple[int, int]]  # of the part: left, top
    size: tuple[int, int]  # height, width
    is_mirrored: bool

    @classmethod
    def random(cls, shape: tuple[int, int], n_frames: int, rng: np.random.Generator) -> _View:
        height, width = shape
        scale = float(rng.uniform(0.55, 1.0)) if rng.random() < 0.6 else 1.0
        high, wide = round(height * scale), round(width * scale)
        free = np.array([width - wide, height - high])
        start = rng.uniform(0, 1, 2) * free
        speed = rng.normal(0, 3.0, 2) if rng.random() < 0.5 else np.zeros(2)
        corners = [np.clip(start + k * speed, 0, free).astype(int) for k in range(n_frames)]
        return cls([(int(x), int(y)) for x, y in corners], (high, wide), bool(rng.random() < 0.5))

    def of(self, image: np.ndarray, k: int) -> np.ndarray:
        x, y = self.corners[k]
        part = image[y : y + self.size[0], x : x + self.size[1]]
        return part[:, ::-1] if self.is_mirrored else part


def _choose(labels: np.ndarray, clip: Clip, n: int, rng: np.random.Generator) -> list[int]:
    """Labels of people close to each other, or of any; seldom of the ball."""
    places = {}
    for label in np.unique(labels).tolist():
        is_ball = clip.kinds.get(label) == "ball"
        if label == 0 or (is_ball and rng.random() < 0.5):
            continue
        mask = labels == label
        share = mask.sum() / mask.size * MASK_SIZE**2
        if share >= (MIN_VISIBLE_BALL if is_ball else MIN_VISIBLE):
            places[label] = np.argwhere(mask).mean(axis=0)
    there = list(places)
    if not there:
        return []
    first = places[there[int(rng.integers(len(there)))]]
    if rng.random() < 0.5:
        there.sort(key=lambda label: float(np.linalg.norm(places[label] - first)))
    else:
        rng.shuffle(there)
    return there[:n]


def _low_resolution(mask: np.ndarray) -> np.ndarray:
    return cv2.resize(mask.astype(np.float32), (MASK_SIZE, MASK_SIZE), interpolation=cv2.INTER_AREA)


def _disturbed(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The mask as a detector would have seen it: a little larger, smaller, or in another place; empty if it is."""
    if mask.sum() < MIN_VISIBLE_BALL:
        return np.zeros_like(mask)
    exact = (mask > 0.5).astype(np.float32)
    changed = exact
    if rng.random() < 0.4:
        kernel = np.ones((3, 3), np.uint8)
        changed = cv2.dilate(exact, kernel) if rng.random() < 0.5 else cv2.erode(exact, kernel)
    if rng.random() < 0.3:
        changed = np.roll(changed, tuple(rng.integers(-1, 2, 2).tolist()), axis=(0, 1))
    if changed.sum() >= 2:
        return changed
    return exact if exact.any() else (mask >= mask.max()).astype(np.float32)
