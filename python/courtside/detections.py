"""A detection, as results files and the library have it, and the track that it belongs to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple, Optional, Protocol, Tuple

BBox = Tuple[float, float, float, float]
"""Left, top, width and height in source pixels; the origin is the top left corner of the frame."""


class Detection(NamedTuple):
    """The box of one track on one frame."""

    frame: int
    """0-based frame number in the source video."""
    track_id: int
    """Number of the track, unique within a job."""
    bbox: BBox
    """Left, top, width and height in source pixels, after rotation metadata is applied."""
    confidence: float
    """Confidence of the model, 0 to 1."""
    prompt: Optional[int] = None
    """Index of the prompt in `Header.prompts`; `None` if there was one prompt only."""

    @property
    def xyxy(self) -> BBox:
        """Left, top, right and bottom in source pixels."""
        x, y, width, height = self.bbox
        return (x, y, x + width, y + height)


class AnyDetection(Protocol):
    """What every kind of detection has."""

    @property
    def frame(self) -> int: ...
    @property
    def track_id(self) -> int: ...
    @property
    def bbox(self) -> BBox: ...
    @property
    def confidence(self) -> float: ...


class Track(NamedTuple):
    """Statistics of one track."""

    track_id: int
    n_detections: int
    first_frame: int
    """0-based number of the first frame with a detection."""
    last_frame: int
    mean_confidence: float


def tracks_of(detections: Iterable[AnyDetection]) -> list[Track]:
    """The tracks of detections in any order, ordered by track. Memory grows with the number of tracks only."""
    sums: dict[int, list[float]] = {}
    for detection in detections:
        frame = detection.frame
        entry = sums.get(detection.track_id)
        if entry is None:
            sums[detection.track_id] = [1, frame, frame, detection.confidence]
            continue
        entry[0] += 1
        entry[1] = min(entry[1], frame)
        entry[2] = max(entry[2], frame)
        entry[3] += detection.confidence
    return [
        Track(track_id, int(n), int(first), int(last), confidence / n)
        for track_id, (n, first, last, confidence) in sorted(sums.items())
    ]


def by_frame(detections: Iterable[Detection]) -> Iterator[tuple[int, list[Detection]]]:
    """Each frame with its detections, of detections that are ordered by frame.

    Raises `ValueError` at a detection that is not in order.
    """
    current = -1
    group: list[Detection] = []
    for detection in detections:
        if detection.frame != current:
            if detection.frame < current:
                raise ValueError(f"the detections are not ordered: frame {detection.frame} is after frame {current}")
            if group:
                yield current, group
            current, group = detection.frame, []
        group.append(detection)
    if group:
        yield current, group
