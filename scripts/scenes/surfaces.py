"""Textures of grounds and walls, and the background that a camera sees of them."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .camera import Camera
from .figure import Colour, random_colour, shaded

COURT = (28.0, 15.0)
"""Length and width of a basketball court (FIBA rules, article 2)."""
RIM = np.array([1.575, 7.5, 3.05])
"""Centre of the left rim."""


@dataclass(frozen=True)
class Surface:
    """A rectangle in the world with a texture [H, W, 3]. `origin` is its first pixel's corner."""

    origin: np.ndarray
    across: np.ndarray  # unit vector along the texture's rows
    along: np.ndarray  # unit vector along its columns
    pixels_per_metre: float
    texture: np.ndarray

    def paint(self, image: np.ndarray, camera: Camera) -> None:
        """Draws it over `image`, which it must not reach behind."""
        plane = camera.homography(self.origin, self.across, self.along)
        scale = np.diag([1 / self.pixels_per_metre, 1 / self.pixels_per_metre, 1.0])
        cv2.warpPerspective(
            self.texture, plane @ scale, camera.size, image, cv2.INTER_AREA | cv2.INTER_LINEAR, cv2.BORDER_TRANSPARENT
        )


def noise(rng: np.random.Generator, shape: tuple[int, int], cells: int, amplitude: float) -> np.ndarray:
    """Smooth noise [H, W, 1] around 0."""
    height, width = shape
    rows, columns = max(2, height // cells), max(2, width // cells)
    coarse = rng.normal(0, amplitude, (rows, columns)).astype(np.float32)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)[..., None]


def finished(texture: np.ndarray) -> np.ndarray:
    return np.clip(texture, 0, 255).astype(np.uint8)


def court(rng: np.random.Generator) -> Surface:
    """The floor of a gym with a basketball court, whose near left corner is the origin of the world."""
    scale, margin = 36, 7.0
    height, width = (round((extent + 2 * margin) * scale) for extent in reversed(COURT))
    wood = np.array(random_wood(rng), np.float32)
    texture = np.full((height, width, 3), wood) + noise(rng, (height, width), 90, 9)
    plank = max(3, scale // 8)
    rows = rng.normal(0, 5, (height // plank + 1, 1, 1)).repeat(plank, axis=0)[:height]
    texture = finished(texture + rows + noise(rng, (height, width), 6, 4))
    paint, keys = random_colour(rng), random_colour(rng)

    def pixel(x: float, y: float) -> tuple[int, int]:
        return round((x + margin) * scale), round((COURT[1] - y + margin) * scale)

    if rng.random() < 0.7:
        border = texture.copy()
        cv2.rectangle(border, pixel(0, 0), pixel(*COURT), (0, 0, 0), -1)
        outside = np.any(border != 0, axis=2, keepdims=True)
        colour = np.array(paint, np.float32)
        texture = np.where(outside, finished(0.25 * texture + 0.75 * colour), texture)
    for mirrored in (False, True):
        def at(x: float, y: float, mirrored: bool = mirrored) -> tuple[int, int]:
            return pixel(COURT[0] - x if mirrored else x, y)

        if rng.random() < 0.8:
            cv2.rectangle(texture, at(0, 5.05), at(5.8, 9.95), keys, -1)
    line = (245, 245, 245) if rng.random() < 0.8 else (30, 30, 30)
    thick = max(2, round(0.06 * scale))
    cv2.rectangle(texture, pixel(0, 0), pixel(*COURT), line, thick, cv2.LINE_AA)
    cv2.line(texture, pixel(14, 0), pixel(14, 15), line, thick, cv2.LINE_AA)
    cv2.circle(texture, pixel(14, 7.5), round(1.8 * scale), line, thick, cv2.LINE_AA)
    for side in (0.0, COURT[0]):
        inwards = 1 if side == 0 else -1
        centre, angle = pixel(side + inwards * RIM[0], 7.5), (-90, 90) if side == 0 else (90, 270)
        cv2.rectangle(texture, pixel(side, 5.05), pixel(side + inwards * 5.8, 9.95), line, thick, cv2.LINE_AA)
        cv2.ellipse(texture, pixel(side + inwards * 5.8, 7.5), (round(1.8 * scale),) * 2, 0, *angle, line, thick, cv2.LINE_AA)
        cv2.ellipse(texture, centre, (round(6.75 * scale),) * 2, 0, *angle, line, thick, cv2.LINE_AA)
    origin = np.array([-margin, COURT[1] + margin, 0.0])
    return Surface(origin, np.array([1.0, 0, 0]), np.array([0, -1.0, 0]), scale, texture)


def random_wood(rng: np.random.Generator) -> Colour:
    """A colour of parquet, or of a plastic floor."""
    if rng.random() < 0.2:
        return random_colour(rng)
    light = rng.uniform(0.75, 1.1)
    return tuple(int(channel * light) for channel in (206, 164, 114))  # type: ignore[return-value]


def pavement(rng: np.random.Generator, extent: float) -> Surface:
    """A plaza of this length and width, around the origin of the world: paving, paths and lawns."""
    scale = 24
    size = round(2 * extent * scale)
    grey = np.array([rng.integers(90, 190)] * 3, np.float32) + rng.normal(0, 8, 3)
    texture = np.full((size, size, 3), grey, np.float32) + noise(rng, (size, size), 120, 10) + noise(rng, (size, size), 3, 7)
    if rng.random() < 0.5:
        slab = int(rng.integers(20, 60))
        texture[::slab] -= 18
        texture[:, ::slab] -= 18
    texture = finished(texture)
    for _ in range(rng.integers(0, 5)):
        corners = rng.uniform(0, size, 2) + rng.uniform(-0.4, 0.4, (4, 2)) * size
        hull = cv2.convexHull(corners.astype(np.int32))
        lawn = (int(rng.integers(40, 110)), int(rng.integers(80, 140)), int(rng.integers(30, 80)))
        cv2.fillConvexPoly(texture, hull, lawn if rng.random() < 0.6 else random_colour(rng, dark=True))
    for _ in range(rng.integers(0, 6)):
        ends = rng.integers(0, size, (2, 2))
        colour = (235, 235, 235) if rng.random() < 0.6 else random_colour(rng)
        cv2.line(texture, ends[0].tolist(), ends[1].tolist(), colour, int(rng.integers(2, 5)), cv2.LINE_AA)
    texture = finished(texture + noise(rng, (size, size), 5, 5))
    origin = np.array([-extent, extent, 0.0])
    return Surface(origin, np.array([1.0, 0, 0]), np.array([0, -1.0, 0]), scale, texture)


def wall(rng: np.random.Generator, x: tuple[float, float], y: float, stands: bool) -> Surface:
    """What is behind the ground: stands with a crowd, or buildings and trees. Reaches from `x[0]` to `x[1]`."""
    scale, top = 16, 26.0
    height, width = round(top * scale), round((x[1] - x[0]) * scale)
    base = np.array(random_colour(rng, dark=stands), np.float32)
    texture = finished(np.full((height, width, 3), base, np.float32) + noise(rng, (height, width), 60, 14))
    floor = height - 1
    if stands:
        draw_crowd(rng, texture, scale)
    else:
        for _ in range(rng.integers(4, 14)):
            left, wide, tall = rng.integers(0, width), rng.integers(2, 14) * scale, rng.integers(2, 20) * scale
            cv2.rectangle(texture, (int(left), int(floor - tall)), (int(left + wide), floor), random_colour(rng, dark=True), -1)
        for _ in range(rng.integers(0, 30)):
            centre = int(rng.integers(0, width)), int(floor - rng.integers(0, 5 * scale))
            green = shaded((70, 110, 50), float(rng.uniform(0.5, 1.2)))
            cv2.circle(texture, centre, int(rng.integers(1, 4) * scale), green, -1, cv2.LINE_AA)
    boards = round(rng.uniform(0.6, 1.1) * scale)
    if stands and rng.random() < 0.7:
        for left in range(0, width, 6 * scale):
            cv2.rectangle(texture, (left, floor - boards), (left + 6 * scale - 2, floor), random_colour(rng), -1)
    texture = finished(texture + noise(rng, (height, width), 4, 6))
    return Surface(np.array([x[0], y, top]), np.array([1.0, 0, 0]), np.array([0, 0, -1.0]), scale, texture)


def draw_crowd(rng: np.random.Generator, texture: np.ndarray, scale: int) -> None:
    """Rows of seats, with spectators too small to be tracked."""
    height, width, _ = texture.shape
    seats, filled = random_colour(rng, dark=True), rng.uniform(0.1, 0.8)
    for row in range(height // scale - 2):
        y = height - round((1.5 + 0.75 * row) * scale)
        cv2.rectangle(texture, (0, y), (width, y + scale // 3), shaded(seats, 0.7 + 0.3 * (row % 2)), -1)
        for x in range(0, width, round(0.55 * scale)):
            if rng.random() < filled:
                jitter = int(rng.integers(-2, 3))
                skin = shaded((220, 175, 140), float(rng.uniform(0.35, 1.0)))
                cv2.ellipse(texture, (x + jitter, y), (3, 4), 0, 0, 360, random_colour(rng), -1)
                cv2.circle(texture, (x + jitter, y - 5), 2, skin, -1)


class Background:
    """The ground and the wall behind it, with soft light."""

    def __init__(self, ground: Surface, behind: Surface) -> None:
        self.ground, self.behind = ground, behind
        self.outside = ground.texture.reshape(-1, 3).mean(axis=0)

    def paint(self, camera: Camera) -> np.ndarray:
        """The image [H, W, 3] without people."""
        width, height = camera.size
        image = np.full((height, width, 3), self.outside, np.float32).astype(np.uint8)
        self.ground.paint(image, camera)
        self.behind.paint(image, camera)
        return image


def hoops(image: np.ndarray, labels: np.ndarray, camera: Camera, colour: Colour) -> None:
    """Draws both backboards with their posts over what is behind them."""
    for end, inwards in ((0.0, 1.0), (COURT[0], -1.0)):
        x = end + inwards * 1.2
        board = np.array([[x, y, z] for y, z in ((6.6, 2.9), (8.4, 2.9), (8.4, 3.95), (6.6, 3.95))])
        post = np.array([[end - inwards * 1.0, 7.5, 0.0], [end - inwards * 0.6, 7.5, 2.6], [x, 7.5, 3.2]])
        pixels, _ = camera.project(np.concatenate([board, post]))
        corners = np.round(np.clip(pixels, -4000, 4000)).astype(np.int32)
        cv2.polylines(image, [corners[4:]], False, colour, 5, cv2.LINE_AA)
        cv2.polylines(labels, [corners[4:]], False, 0, 5)
        # A pane: what is behind it stays visible.
        pane = image.copy()
        cv2.fillConvexPoly(pane, corners[:4], (235, 240, 245), cv2.LINE_AA)
        cv2.addWeighted(pane, 0.35, image, 0.65, 0, dst=image)
        cv2.polylines(image, [corners[:4]], True, (240, 240, 240), 2, cv2.LINE_AA)
        turn = np.linspace(0, 2 * np.pi, 12, endpoint=False)
        centre = np.array([x + inwards * 0.38, 7.5, 3.05])
        rim = centre + 0.225 * np.stack([np.cos(turn), np.sin(turn), np.zeros_like(turn)], axis=1)
        pixels, _ = camera.project(rim)
        cv2.polylines(image, [np.round(np.clip(pixels, -4000, 4000)).astype(np.int32)], True, (225, 90, 40), 2, cv2.LINE_AA)
