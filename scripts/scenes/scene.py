"""Frames of a synthetic game or plaza, with the visible part of every person and of the ball."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from . import surfaces
from .camera import Camera
from .figure import Body, Colour, farthest_first, random_colour
from .motion import Game, Plaza
from .surfaces import COURT, Background

KINDS = ("game", "plaza")
BALL = 1
"""Label of the ball; the person with id `i` has the label `i + 2`."""
LONGEST_STEP = 0.02
"""Longest step of the simulation, in seconds."""
MIN_PIXELS = 12
"""People with fewer visible pixels are left out."""


@dataclass(frozen=True)
class Visible:
    """An object that is visible in a frame. `box` is left, top, width and height of its visible part in pixels."""

    id: int
    kind: str  # player, referee, person, ball
    label: int
    box: tuple[int, int, int, int]
    n_pixels: int


@dataclass(frozen=True)
class Frame:
    """`image` [H, W, 3] u8 RGB, `labels` [H, W] i32 with 0 for the background, and what is visible."""

    image: np.ndarray
    labels: np.ndarray
    objects: list[Visible]

    def mask(self, visible: Visible) -> np.ndarray:
        """The visible part [H, W] of an object."""
        return self.labels == visible.label


@dataclass(frozen=True)
class Stage:
    """What is filmed, and from where."""

    motion: Game | Plaza
    background: Background
    place: np.ndarray  # of the camera
    width: float  # of the picture, in metres at the distance of its centre
    follows: bool  # whether the camera follows the ball
    aim: Callable[[np.ndarray], np.ndarray]  # from what is followed [2] to the centre of the picture [3]
    hoops: Colour | None


def game_stage(rng: np.random.Generator) -> Stage:
    """A gym, filmed from the stands: a wide shot of the court, or a narrower one that follows the ball."""
    follows = bool(rng.random() < 0.8)
    depth = COURT[1] + float(rng.uniform(2.5, 6.0))
    place = np.array([14.0 + rng.normal(0, 3), -float(rng.uniform(9, 20)), float(rng.uniform(3.5, 10))])
    return Stage(
        motion=Game(rng),
        background=Background(
            surfaces.court(rng), surfaces.wall(rng, (-30.0, 58.0), depth, stands=bool(rng.random() < 0.75))
        ),
        place=place,
        width=(15.0 if follows else 30.0) / float(rng.uniform(0.75, 1.35)),
        follows=follows,
        aim=lambda focus: np.array([focus[0], 0.55 * focus[1] + 2.5, 1.0]),
        hoops=random_colour(rng, dark=True),
    )


def plaza_stage(rng: np.random.Generator) -> Stage:
    """A plaza, filmed by a camera on a building."""
    extent = float(rng.uniform(12, 22))
    return Stage(
        motion=Plaza(rng, 0.8 * extent),
        background=Background(
            surfaces.pavement(rng, extent), surfaces.wall(rng, (-80.0, 80.0), 0.98 * extent, stands=False)
        ),
        place=np.array([rng.normal(0, 4), -extent - float(rng.uniform(2, 8)), float(rng.uniform(3, 11))]),
        width=1.36 * extent / float(rng.uniform(0.7, 1.2)),
        follows=False,
        aim=lambda focus: np.array([focus[0], focus[1] + 1.5, 0.5]),
        hoops=None,
    )


class Scene:
    """A clip that is a pure function of its kind (one of `KINDS`), seed, size and frame rate."""

    def __init__(self, kind: str, seed: int, size: tuple[int, int] = (768, 432), fps: float = 25.0) -> None:
        rng = np.random.default_rng((KINDS.index(kind), seed))
        self.size, self.fps, self.rng = size, fps, rng
        self.light = float(rng.uniform(-1, 1))
        self.lens = Lens.random(rng)
        self.stage = game_stage(rng) if kind == "game" else plaza_stage(rng)
        self.focus = self.stage.motion.focus.copy()
        self.shake = np.zeros(2)

    def frames(self, n: int) -> Iterator[Frame]:
        """The first `n` frames."""
        n_steps = max(1, round(1 / self.fps / LONGEST_STEP))
        for _ in range(n):
            for _ in range(n_steps):
                self.stage.motion.step(1 / self.fps / n_steps)
            yield self._render(self._camera())

    def _camera(self) -> Camera:
        """The camera of this moment: it lags behind what it follows, and shakes a little."""
        stage = self.stage
        if stage.follows:
            self.focus += (stage.motion.focus - self.focus) * min(1.0, 1.6 / self.fps)
        self.shake = 0.9 * self.shake + self.rng.normal(0, 0.012, 2)
        target = stage.aim(self.focus + self.shake)
        distance = float(np.linalg.norm(target - stage.place))
        return Camera.looking_at(stage.place, target, self.size[0] * distance / stage.width, self.size)

    def _render(self, camera: Camera) -> Frame:
        motion = self.stage.motion
        image = self.stage.background.paint(camera)
        labels = np.zeros(image.shape[:2], np.int32)
        people = [person for person in motion.people if not person.away]
        bodies = [Body(person.look, person.pose) for person in people]
        self._draw_shadows(image, [person.pose.position for person in people], camera)
        if self.stage.hoops is not None:
            surfaces.hoops(image, labels, camera, self.stage.hoops)
        ball = motion.ball.position if isinstance(motion, Game) else None
        for i in farthest_first(bodies, camera):
            if ball is not None and camera.distance(bodies[i].limbs[0].start) < camera.distance(ball):
                self._draw_ball(image, labels, ball, camera)
                ball = None
            bodies[i].draw(image, labels, people[i].id + 2, camera, self.light)
        if ball is not None:
            self._draw_ball(image, labels, ball, camera)
        kinds = {person.id + 2: person.kind for person in people} | {BALL: "ball"}
        return Frame(self.lens.expose(image, self.rng), labels, visible(labels, kinds))

    def _draw_shadows(self, image: np.ndarray, feet: list[np.ndarray], camera: Camera) -> None:
        shadow = np.zeros(image.shape[:2], np.uint8)
        turn = np.linspace(0, 2 * np.pi, 16, endpoint=False)
        around = np.stack([0.42 * np.cos(turn) + 0.15 * self.light, 0.25 * np.sin(turn), np.zeros(16)], axis=1)
        for position in feet:
            pixels, _ = camera.project(around + np.array([position[0], position[1], 0.0]))
            cv2.fillConvexPoly(shadow, np.round(np.clip(pixels, -4000, 4000)).astype(np.int32), 90)
        shadow = cv2.GaussianBlur(shadow, (0, 0), 2.0)
        np.multiply(image, 1 - shadow[..., None] / 255.0, out=image, casting="unsafe")

    def _draw_ball(self, image: np.ndarray, labels: np.ndarray, ball: np.ndarray, camera: Camera) -> None:
        (pixel,), (depth,) = camera.project(ball[None])
        radius = 0.121 * camera.focal / float(depth)
        x, y = (round(16 * float(np.clip(value, -2000, 2000))) for value in pixel)
        cv2.circle(image, (x, y), round(16 * radius), (200, 104, 44), -1, cv2.LINE_AA, 4)
        lit = x + round(4 * radius * self.light), y - round(5 * radius)
        cv2.circle(image, lit, round(9 * radius), (228, 140, 74), -1, cv2.LINE_AA, 4)
        cv2.circle(labels, (x, y), round(16 * radius), BALL, -1, cv2.LINE_8, 4)


@dataclass(frozen=True)
class Lens:
    """Exposure, blur, noise and compression of a camera."""

    gain: np.ndarray  # [3]
    blur: float  # standard deviation in pixels
    noise: float  # standard deviation in grey levels
    quality: int  # of JPEG

    @classmethod
    def random(cls, rng: np.random.Generator) -> Lens:
        gain = rng.normal(1.0, 0.06, 3) * rng.uniform(0.75, 1.15)
        return cls(gain, float(rng.uniform(0, 0.9)), float(rng.uniform(0, 5)), int(rng.integers(45, 96)))

    def expose(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """What the camera makes of an image [H, W, 3]."""
        exposed = image.astype(np.float32) * self.gain.astype(np.float32)
        if self.blur > 0.3:
            exposed = cv2.GaussianBlur(exposed, (0, 0), self.blur)
        exposed += rng.normal(0, self.noise, (*image.shape[:2], 1)).astype(np.float32)
        digital = np.clip(exposed, 0, 255).astype(np.uint8)
        _, packed = cv2.imencode(".jpg", digital[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, self.quality])
        return np.ascontiguousarray(cv2.imdecode(packed, cv2.IMREAD_COLOR)[..., ::-1])


def visible(labels: np.ndarray, kinds: dict[int, str]) -> list[Visible]:
    """The objects in a label image that are large enough."""
    found = []
    for label in np.unique(labels).tolist():
        mask = labels == label
        n_pixels = int(mask.sum())
        if label == 0 or (n_pixels < MIN_PIXELS and label != BALL):
            continue
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        left, top = int(columns[0]), int(rows[0])
        box = (left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1)
        found.append(Visible(label - 2, kinds[label], label, box, n_pixels))
    return found
