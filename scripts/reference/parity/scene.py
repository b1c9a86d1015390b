"""Synthetic clips: coloured shapes on a noisy gradient, with exact masks.

A clip is a pure function of its `Scene`; every frame has its own noise seed, so a single frame can be
rendered without the ones before it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

GHOST = "ghost"
"""Name of a static region that the detector reports only while the white marker is visible."""

Position = tuple[float, float]


def _disk(dx: np.ndarray, dy: np.ndarray, r: float) -> np.ndarray:
    return dx**2 + dy**2 < r**2


def _box(dx: np.ndarray, dy: np.ndarray, half_width: float, half_height: float) -> np.ndarray:
    return (abs(dx) < half_width) & (abs(dy) < half_height)


SHAPES: dict[str, Callable[[np.ndarray, np.ndarray, float], np.ndarray]] = {
    "disk": _disk,
    "square": lambda dx, dy, r: _box(dx, dy, r, r),
    "bar": lambda dx, dy, r: _box(dx, dy, r, 4 * r),
    # A square with a hole and a disk with a detached speck, small enough for the clean-up kernels.
    "frame": lambda dx, dy, r: _box(dx, dy, r, r) & ~_box(dx, dy, 0.3 * r, 0.3 * r),
    "satellite": lambda dx, dy, r: _disk(dx, dy, r) | _disk(dx + 1.35 * r, dy - 0.8 * r, 0.36 * r),
}
"""Functions that compute a shape's mask from the offsets to its centre and its radius."""


@dataclass(frozen=True)
class Actor:
    """A moving shape. `path(t)` is its centre in source pixels, or None while it is outside the frame."""

    name: str
    shape: str  # a key of SHAPES
    colour: tuple[int, int, int]
    radius: float
    path: Callable[[int], Position | None]


@dataclass(frozen=True)
class Frame:
    """A rendered frame: `image` [H, W, 3] u8, the visible part of every actor, and whether the marker is on."""

    image: np.ndarray
    masks: dict[str, np.ndarray]
    marker: bool


@dataclass(frozen=True)
class Scene:
    """A clip: size, length, the actors in drawing order (later ones cover earlier ones), the marker's frames."""

    width: int
    height: int
    n_frames: int
    actors: tuple[Actor, ...]
    marker_frames: int

    @cached_property
    def frames(self) -> list[Frame]:
        return [self._render(t) for t in range(self.n_frames)]

    @cached_property
    def video(self) -> np.ndarray:
        """The clip as [T, H, W, 3] u8."""
        return np.stack([frame.image for frame in self.frames])

    @cached_property
    def _grid(self) -> tuple[np.ndarray, np.ndarray]:
        yy, xx = np.mgrid[0 : self.height, 0 : self.width].astype(np.float32)
        return yy, xx

    @cached_property
    def ghost_region(self) -> np.ndarray:
        """The lower left corner, tinted a little."""
        yy, xx = self._grid
        return (yy > self.height * 0.72) & (xx < self.width * 0.28)

    def target_mask(self, name: str, t: int) -> np.ndarray:
        """The visible mask of an actor, or of the ghost region without the actors in front of it."""
        masks = self.frames[t].masks
        if name == GHOST:
            return self.ghost_region & ~np.any(list(masks.values()), axis=0)
        return masks[name]

    def whole_mask(self, name: str, t: int) -> np.ndarray:
        """An actor's shape, also where others cover it."""
        actor = next(actor for actor in self.actors if actor.name == name)
        position = actor.path(t)
        return np.zeros((self.height, self.width), bool) if position is None else self._shape(actor, position)

    def _shape(self, actor: Actor, position: Position) -> np.ndarray:
        yy, xx = self._grid
        return SHAPES[actor.shape](xx - position[0], yy - position[1], actor.radius)

    def _render(self, t: int) -> Frame:
        yy, xx = self._grid
        w, h = self.width, self.height
        image = np.stack([60 + 40 * xx / w, 70 + 30 * yy / h, 90 + 20 * (xx + yy) / (w + h)], axis=-1)
        image[self.ghost_region] += np.array([35, 0, 35])
        masks = {actor.name: np.zeros((h, w), bool) for actor in self.actors}
        for actor in self.actors:
            position = actor.path(t)
            if position is None:
                continue
            mask = self._shape(actor, position)
            for other in masks.values():
                other &= ~mask
            masks[actor.name] = mask
            image[mask] = actor.colour
        marker = t < self.marker_frames
        if marker:
            image[2:10, 2:10] = 255
        image = image + np.random.default_rng(1000 + t).normal(0, 4, image.shape)
        return Frame(np.clip(image, 0, 255).astype(np.uint8), masks, marker)
