"""Tests of the synthetic scenes: the ground truth is that of the picture, and a clip can be made again."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from scenes.scene import KINDS, Frame, Scene

SIZE = (320, 180)


def frames(kind: str, seed: int, n: int) -> list[Frame]:
    return list(Scene(kind, seed, SIZE, fps=10.0).frames(n))


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_frames(kind: str) -> None:
    first, second, other = frames(kind, 3, 8), frames(kind, 3, 8), frames(kind, 4, 8)
    for a, b in zip(first, second, strict=True):
        assert np.array_equal(a.image, b.image)
        assert np.array_equal(a.labels, b.labels)
        assert a.objects == b.objects
    assert not np.array_equal(first[-1].image, other[-1].image)


@pytest.mark.parametrize("kind", KINDS)
def test_boxes_and_masks_agree(kind: str) -> None:
    for frame in frames(kind, 5, 20):
        assert frame.image.shape == (SIZE[1], SIZE[0], 3)
        for seen in frame.objects:
            mask, (left, top, width, height) = frame.mask(seen), seen.box
            assert mask.sum() == seen.n_pixels == mask[top : top + height, left : left + width].sum()
            for edge in (mask[top, :], mask[top + height - 1, :], mask[:, left], mask[:, left + width - 1]):
                assert edge.any()


def test_a_game_has_two_teams_officials_and_a_ball() -> None:
    seen = {(found.kind, found.id) for seed in range(2) for frame in frames("game", seed, 40) for found in frame.objects}
    assert len({i for kind, i in seen if kind == "player"}) >= 10
    assert {kind for kind, _ in seen} == {"player", "referee", "ball"}


def test_people_move_by_little_from_frame_to_frame() -> None:
    """An id is the same person in every frame."""
    clip = frames("plaza", 8, 40)
    for before, after in zip(clip, clip[1:], strict=False):
        centres = [{s.id: np.array(s.box[:2]) + np.array(s.box[2:]) / 2 for s in f.objects} for f in (before, after)]
        for person in centres[0].keys() & centres[1].keys():
            assert np.linalg.norm(centres[0][person] - centres[1][person]) < 40
