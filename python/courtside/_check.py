"""Detections from untrusted JSON. What the program refuses is refused here too."""

from __future__ import annotations

from typing import Any

from .detections import Detection

MAX_PIXELS = 1e6
"""Largest coordinate or size, whatever the sign."""
MAX_INTEGER = (1 << 63) - 1
MAX_ON_FRAME = 100_000
CONFIDENCE_TOLERANCE = 1e-3
"""Rounding in other programs may put a confidence this far outside 0..1. It is clamped."""
_NUMBER = frozenset((int, float))


class InvalidDetection(ValueError):
    """A detection breaks the format."""


class Checker:
    """Converts detections in the order of the file. Remembers the tracks of the current frame only."""

    def __init__(self) -> None:
        self._n = 0
        self._frame = -1
        self._tracks: set[int] = set()

    def detection(self, value: Any) -> Detection:
        """Checks the next value of the file and converts it."""
        try:
            detection = _convert(value)
            self._check_frame(detection.frame, detection.track_id)
        except InvalidDetection as error:
            raise InvalidDetection(f"detection {self._n}: {error}") from None
        self._n += 1
        return detection

    def _check_frame(self, frame: int, track_id: int) -> None:
        if frame != self._frame:
            self._frame = frame
            self._tracks.clear()
        if track_id in self._tracks:
            raise InvalidDetection(f"track {track_id} is twice on frame {frame}")
        self._tracks.add(track_id)
        if len(self._tracks) > MAX_ON_FRAME:
            raise InvalidDetection(f"frame {frame} has more than {MAX_ON_FRAME} detections")


def _convert(value: Any) -> Detection:
    try:
        frame, track_id, bbox = value["frame"], value["track_id"], value["bbox"]
        confidence, prompt = value["confidence"], value.get("prompt")
        left, top, width, height = bbox
    except KeyError as error:
        raise InvalidDetection(f"it has no {error.args[0]!r}") from None
    except (TypeError, ValueError, AttributeError):
        raise InvalidDetection("it is not an object with a bbox of four numbers") from None
    # The first conditions are what nearly all detections pass. `bool` is a kind of `int`, but another type.
    if not (type(frame) is type(track_id) is int and 0 <= frame <= MAX_INTEGER and 0 <= track_id <= MAX_INTEGER):
        frame, track_id = _integer("frame", frame), _integer("track_id", track_id)
    if not (type(confidence) is float and 0.0 <= confidence <= 1.0):
        confidence = _confidence(confidence)
    if not (
        type(left) in _NUMBER
        and type(top) in _NUMBER
        and type(width) in _NUMBER
        and type(height) in _NUMBER
        and -MAX_PIXELS <= left <= MAX_PIXELS
        and -MAX_PIXELS <= top <= MAX_PIXELS
        and 0 <= width <= MAX_PIXELS
        and 0 <= height <= MAX_PIXELS
    ):
        raise InvalidDetection(f"its bbox is not left, top, width and height in pixels: {str(bbox)[:80]}")
    box = (float(left), float(top), float(width), float(height))
    return Detection(frame, track_id, box, confidence, None if prompt is None else _integer("prompt", prompt))


def _integer(name: str, value: Any) -> int:
    number = whole(value)
    if number is None or not 0 <= number <= MAX_INTEGER:
        raise InvalidDetection(f"{name!r} is not a non-negative integer: {str(value)[:40]}")
    return number


def _confidence(value: Any) -> float:
    if type(value) not in _NUMBER or not -CONFIDENCE_TOLERANCE <= value <= 1 + CONFIDENCE_TOLERANCE:
        raise InvalidDetection(f"its confidence is not in 0..1: {str(value)[:40]}")
    return min(max(float(value), 0.0), 1.0)


def whole(value: Any) -> int | None:
    """An integer, also if it is written as `12.0`; `None` for anything else."""
    if type(value) is int:
        return value
    return int(value) if type(value) is float and value.is_integer() else None


def text(value: Any) -> str | None:
    """Text; `None` for anything else."""
    return value if isinstance(value, str) else None
