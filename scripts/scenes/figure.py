"""Articulated people: limbs between joints, drawn as capsules from the farthest to the nearest."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from .camera import Camera

Colour = tuple[int, int, int]

SUBPIXEL_BITS = 4
N_ARC = 6
"""Corners of half a circle."""

SKINS: tuple[Colour, ...] = ((236, 200, 172), (214, 168, 132), (176, 124, 88), (128, 84, 58), (88, 58, 42), (62, 42, 32))
HAIRS: tuple[Colour, ...] = ((28, 24, 22), (54, 38, 26), (96, 66, 38), (168, 132, 78), (120, 118, 116), (70, 34, 22))


@dataclass(frozen=True)
class Look:
    """What a person looks like."""

    height: float
    girth: float  # relative to an average person
    skin: Colour
    hair: Colour
    long_hair: bool
    top: Colour
    bottom: Colour
    shoes: Colour
    long_sleeves: bool
    long_trousers: bool
    number: int | None = None
    number_colour: Colour = (255, 255, 255)

    @classmethod
    def random(cls, rng: np.random.Generator, tall: bool) -> Look:
        """A person in clothes of random colours."""
        return cls(
            height=float(rng.normal(1.96, 0.08) if tall else rng.normal(1.72, 0.1)),
            girth=float(rng.uniform(0.88, 1.2)),
            skin=SKINS[rng.integers(len(SKINS))],
            hair=HAIRS[rng.integers(len(HAIRS))],
            long_hair=bool(rng.random() < 0.3),
            top=random_colour(rng),
            bottom=random_colour(rng, dark=True),
            shoes=random_colour(rng, dark=bool(rng.random() < 0.5)),
            long_sleeves=bool(rng.random() < 0.6),
            long_trousers=bool(rng.random() < 0.8),
        )

    def dressed(self, top: Colour, bottom: Colour, number: int | None, number_colour: Colour) -> Look:
        """The same person in a uniform."""
        return replace(
            self, top=top, bottom=bottom, number=number, number_colour=number_colour, long_sleeves=False, long_trousers=False
        )


@dataclass
class Pose:
    """Where a person is and what they do."""

    position: np.ndarray  # [2], on the ground
    heading: float
    phase: float  # of the gait; a step is pi
    speed: float
    arms: str = "swing"  # swing, wide, up, front
    crouch: float = 0.0  # 0 to 1
    lift: float = 0.0  # of the lower foot above the ground


def random_colour(rng: np.random.Generator, dark: bool = False) -> Colour:
    """A colour of any hue; `dark` ones are not light."""
    hue, saturation = rng.integers(180), int(rng.choice((20, 60, 140, 200)))
    value = int(rng.integers(20, 110) if dark else rng.integers(50, 245))
    red, green, blue = cv2.cvtColor(np.array([[[hue, saturation, value]]], np.uint8), cv2.COLOR_HSV2RGB)[0, 0]
    return int(red), int(green), int(blue)


@dataclass(frozen=True)
class Limb:
    """A capsule between two points with two radii."""

    start: np.ndarray
    end: np.ndarray
    radii: tuple[float, float]
    colour: Colour


class Body:
    """The limbs of a person in a pose."""

    def __init__(self, look: Look, pose: Pose) -> None:
        self.look = look
        self.forward = np.array([np.cos(pose.heading), np.sin(pose.heading), 0.0])
        self.right = np.array([np.sin(pose.heading), -np.cos(pose.heading), 0.0])
        self.limbs: list[Limb] = []
        height, girth = look.height, look.girth
        self.unit = height * girth
        hips = np.array([pose.position[0], pose.position[1], height * (0.52 - 0.13 * pose.crouch)])
        lean = min(0.35, 0.05 * pose.speed) + 0.3 * pose.crouch
        spine = self._down(np.pi - lean)
        chest = hips + 0.29 * height * spine
        ankles = [self._leg(hips, pose, side) for side in (-1, 1)]
        self._torso(hips, chest)
        for side in (-1, 1):
            self._arm(chest, pose, side)
        self._head(chest + 0.05 * height * spine, spine)
        # The lower foot is on the ground.
        shift = np.array([0.0, 0.0, pose.lift + 0.045 * height - min(ankles)])
        self.limbs = [replace(limb, start=limb.start + shift, end=limb.end + shift) for limb in self.limbs]
        self.back = (chest + shift - 0.07 * height * spine, spine)

    def _down(self, angle: float) -> np.ndarray:
        """The direction downwards, turned forwards by an angle."""
        return np.sin(angle) * self.forward - np.array([0.0, 0.0, np.cos(angle)])

    def _add(self, start: np.ndarray, end: np.ndarray, radii: tuple[float, float], colour: Colour) -> None:
        self.limbs.append(Limb(start, end, (radii[0] * self.unit, radii[1] * self.unit), colour))

    def _leg(self, hips: np.ndarray, pose: Pose, side: int) -> float:
        """Adds a leg. Returns the height of its ankle."""
        look, height = self.look, self.look.height
        swing = min(1.0, 0.28 + 0.12 * pose.speed) if pose.speed > 0.1 else 0.06
        phase = pose.phase + (np.pi if side > 0 else 0.0)
        hip_angle = swing * np.sin(phase) + 0.75 * pose.crouch
        bend = 0.12 + 1.3 * pose.crouch + 1.6 * swing * max(0.0, np.cos(phase)) ** 2 * min(1.0, pose.speed / 2)
        spread = side * (0.05 + 0.05 * pose.crouch) * height
        hip = hips + spread * self.right
        knee = hip + 0.245 * height * self._down(hip_angle) + 0.4 * spread * pose.crouch * self.right
        ankle = knee + 0.246 * height * self._down(hip_angle - bend)
        toe = ankle + 0.1 * height * self.forward - np.array([0.0, 0.0, 0.02 * height])
        shank = look.bottom if look.long_trousers else look.skin
        cloth = 0.062 if look.long_trousers else 0.068
        self._add(ankle, toe, (0.024, 0.02), look.shoes)
        self._add(knee, ankle, (0.036, 0.026) if look.long_trousers else (0.031, 0.022), shank)
        self._add(hip, knee, (0.05, 0.036), look.bottom if look.long_trousers else look.skin)
        self._add(hip, hip + (0.7 if not look.long_trousers else 0.9) * (knee - hip), (cloth, 0.05), look.bottom)
        return float(ankle[2])

    def _torso(self, hips: np.ndarray, chest: np.ndarray) -> None:
        height = self.look.height
        for side in (-1, 1):
            start = hips + side * 0.03 * height * self.right
            self._add(start, chest + side * 0.055 * height * self.right, (0.062, 0.06), self.look.top)
        self._add(hips - 0.02 * height * self.right, hips + 0.02 * height * self.right, (0.068, 0.068), self.look.bottom)

    def _arm(self, chest: np.ndarray, pose: Pose, side: int) -> None:
        look, height = self.look, self.look.height
        phase = pose.phase + (0.0 if side > 0 else np.pi)
        shoulder = chest + side * 0.115 * height * self.right
        if pose.arms == "up":
            upper, fore = self._down(2.7), self._down(2.9)
        elif pose.arms == "wide":
            upper = 0.75 * side * self.right + 0.45 * self._down(0.5)
            fore = 0.7 * side * self.right + 0.5 * self._down(1.9)
        elif pose.arms == "front":
            upper, fore = self._down(0.5), self._down(1.6)
        else:
            swing = min(0.9, 0.15 + 0.12 * pose.speed) * np.sin(phase)
            upper = self._down(swing) + 0.12 * side * self.right
            fore = self._down(swing + 0.25 + min(1.2, 0.2 * pose.speed))
        elbow = shoulder + 0.17 * height * upper / np.linalg.norm(upper)
        hand = elbow + 0.16 * height * fore / np.linalg.norm(fore)
        self._add(elbow, hand, (0.022, 0.017), look.top if look.long_sleeves else look.skin)
        self._add(hand, hand + 0.03 * height * fore, (0.02, 0.016), look.skin)
        self._add(shoulder, elbow, (0.031, 0.024), look.top if look.long_sleeves else look.skin)
        self._add(shoulder, shoulder + 0.35 * (elbow - shoulder), (0.036, 0.032), look.top)

    def _head(self, neck: np.ndarray, spine: np.ndarray) -> None:
        look, height = self.look, self.look.height
        up = 0.5 * spine + np.array([0.0, 0.0, 0.5])
        head = neck + 0.075 * height * up
        self._add(neck - 0.03 * height * up, head, (0.03, 0.03), look.skin)
        scale = 1 / look.girth
        self._add(head, head + 0.035 * height * up, (0.047 * scale, 0.045 * scale), look.skin)
        crown = head + 0.042 * height * up - 0.014 * height * self.forward
        self._add(crown, crown + 0.01 * height * up, (0.046 * scale, 0.044 * scale), look.hair)
        if look.long_hair:
            self._add(crown, neck - 0.03 * height * self.forward, (0.04 * scale, 0.032 * scale), look.hair)

    def draw(self, image: np.ndarray, labels: np.ndarray, label: int, camera: Camera, light: float) -> None:
        """Paints the person into `image` [H, W, 3] and `label` into `labels` [H, W]. `light` shifts the lit side."""
        starts = np.stack([limb.start for limb in self.limbs])
        ends = np.stack([limb.end for limb in self.limbs])
        (first, near), (second, far) = camera.project(starts), camera.project(ends)
        order = np.argsort(-(near + far))
        for i in order:
            limb = self.limbs[i]
            radii = limb.radii[0] * camera.focal / near[i], limb.radii[1] * camera.focal / far[i]
            outline = capsule(first[i], second[i], radii)
            fill(image, labels, outline, shaded(limb.colour, 0.78), label)
            offset = np.array([light, -0.35]) * 0.4 * min(radii)
            inner = capsule(first[i] + offset, second[i] + offset, (0.62 * radii[0], 0.62 * radii[1]))
            fill(image, None, inner, limb.colour, label)
        self._draw_number(image, camera)

    def _draw_number(self, image: np.ndarray, camera: Camera) -> None:
        """Paints the number on the back or the chest, where it is large enough to be seen."""
        centre, _ = self.back
        to_camera = camera.position - centre
        facing = float(to_camera[:2] @ self.forward[:2]) / float(np.linalg.norm(to_camera))
        (pixel,), (depth,) = camera.project(centre[None])
        size = 0.11 * self.look.height * camera.focal / depth
        if self.look.number is None or abs(facing) < 0.6 or size < 7:
            return
        text, scale = str(self.look.number), size / 26
        (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
        at = int(pixel[0] - width / 2), int(pixel[1] + height / 2)
        cv2.putText(
            image, text, at, cv2.FONT_HERSHEY_SIMPLEX, scale, self.look.number_colour, max(1, round(scale * 2)), cv2.LINE_AA
        )


def capsule(start: np.ndarray, end: np.ndarray, radii: tuple[float, float]) -> np.ndarray:
    """The outline [n, 2] of the hull of two circles."""
    axis = end - start
    turn = float(np.arctan2(axis[1], axis[0])) if np.any(axis) else 0.0
    arc = turn + np.pi / 2 + np.linspace(0, np.pi, N_ARC)
    around = np.stack([np.cos(arc), np.sin(arc)], axis=1)
    return np.concatenate([start + radii[0] * around, end - radii[1] * around])


def fill(image: np.ndarray, labels: np.ndarray | None, outline: np.ndarray, colour: Colour, label: int) -> None:
    """Fills a convex polygon, with smooth edges in the image and hard ones in the labels."""
    corners = np.clip(outline, -4000, 4000)
    fixed = np.round(corners * (1 << SUBPIXEL_BITS)).astype(np.int32)
    cv2.fillConvexPoly(image, fixed, colour, cv2.LINE_AA, SUBPIXEL_BITS)
    if labels is not None:
        cv2.fillConvexPoly(labels, fixed, label, cv2.LINE_8, SUBPIXEL_BITS)


def shaded(colour: Colour, factor: float) -> Colour:
    """The colour with less light."""
    red, green, blue = (int(channel * factor) for channel in colour)
    return red, green, blue


def farthest_first(bodies: list[Body], camera: Camera) -> list[int]:
    """Indices of bodies, the farthest from the camera first."""
    distance = [camera.distance(body.limbs[0].start) for body in bodies]
    order: list[int] = np.argsort(distance)[::-1].tolist()
    return order
