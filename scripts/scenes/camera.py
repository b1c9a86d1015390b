"""A pinhole camera."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

NEAR = 0.5
"""Smallest distance in front of the camera that is drawn."""


@dataclass(frozen=True)
class Camera:
    """A camera without distortion. `rotation` [3, 3] turns world axes into right, down and forward."""

    position: np.ndarray  # [3]
    rotation: np.ndarray
    focal: float  # pixels
    size: tuple[int, int]  # width and height in pixels

    @classmethod
    def looking_at(
        cls, position: np.ndarray, target: np.ndarray, focal: float, size: tuple[int, int], roll: float = 0.0
    ) -> Camera:
        """A camera at `position` whose image has `target` in its centre."""
        forward = (target - position) / np.linalg.norm(target - position)
        right = np.cross(forward, (0.0, 0.0, 1.0))
        right /= np.linalg.norm(right)
        down = np.cross(forward, right)
        cos, sin = np.cos(roll), np.sin(roll)
        axes = np.stack([cos * right + sin * down, cos * down - sin * right, forward])
        return cls(np.asarray(position, float), axes, focal, size)

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixels [n, 2] of points [n, 3], and their distances [n] along the axis. Points behind it are put at `NEAR`."""
        seen = (points - self.position) @ self.rotation.T
        depth = np.maximum(seen[:, 2], NEAR)
        centre = np.array(self.size) / 2
        return seen[:, :2] * (self.focal / depth)[:, None] + centre, depth

    def distance(self, point: np.ndarray) -> float:
        """How far a point [3] is away."""
        return float(np.linalg.norm(point - self.position))

    def homography(self, origin: np.ndarray, across: np.ndarray, along: np.ndarray) -> np.ndarray:
        """The map [3, 3] from coordinates in a plane, in metres from `origin`, to pixels."""
        columns = np.stack([across, along, origin - self.position], axis=1)
        width, height = self.size
        intrinsic = np.array([[self.focal, 0, width / 2], [0, self.focal, height / 2], [0, 0, 1]])
        return intrinsic @ self.rotation @ columns
