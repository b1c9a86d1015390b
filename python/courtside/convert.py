"""Detections as tables of pandas and pyarrow, and as `supervision.Detections`.

None of these libraries is required by this package; each function says which extra installs what it needs.
"""

from __future__ import annotations

import importlib
from array import array
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from .detections import AnyDetection

if TYPE_CHECKING:
    import pandas
    import pyarrow
    import supervision

NO_PROMPT = -1


def optional(module: str, extra: str, purpose: str) -> Any:
    """Imports an optional library, or says how to install it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        raise ImportError(f"{module} is needed {purpose}: pip install 'courtside[{extra}]'", name=module) from None


def columns(detections: Iterable[AnyDetection]) -> dict[str, array[Any]]:
    """The values of detections in columns of 8 bytes: integers, and floating point for pixels and confidence.

    `prompt` is there only if a detection has one; it is -1 for a detection without one.
    """
    frame, track_id, prompt = array("q"), array("q"), array("q")
    x, y, width, height, confidence = (array("d") for _ in range(5))
    for detection in detections:
        frame.append(detection.frame)
        track_id.append(detection.track_id)
        left, top, wide, high = detection.bbox
        x.append(left)
        y.append(top)
        width.append(wide)
        height.append(high)
        confidence.append(detection.confidence)
        index = getattr(detection, "prompt", None)
        prompt.append(NO_PROMPT if index is None else index)
    table: dict[str, array[Any]] = {"frame": frame, "track_id": track_id}
    table.update(x=x, y=y, width=width, height=height, confidence=confidence)
    if any(index != NO_PROMPT for index in prompt):
        table["prompt"] = prompt
    return table


def to_pandas(detections: Iterable[AnyDetection]) -> pandas.DataFrame:
    """A `DataFrame` with one row for each detection: `frame`, `track_id`, `x`, `y`, `width`, `height`, `confidence`, and
    `prompt` if there are several."""
    pd = optional("pandas", "pandas", "for to_pandas()")
    np = importlib.import_module("numpy")
    types = {"q": np.int64, "d": np.float64}
    table = columns(detections)
    return pd.DataFrame({name: np.frombuffer(column, types[column.typecode]) for name, column in table.items()})


def to_arrow(detections: Iterable[AnyDetection]) -> pyarrow.Table:
    """A `pyarrow.Table` with the columns of `to_pandas`."""
    pa = optional("pyarrow", "arrow", "for to_arrow()")
    types = {"q": pa.int64(), "d": pa.float64()}
    table = columns(detections)
    return pa.table(
        {
            name: pa.Array.from_buffers(types[column.typecode], len(column), [None, pa.py_buffer(column)])
            for name, column in table.items()
        }
    )


def to_supervision(detections: Iterable[AnyDetection]) -> supervision.Detections:
    """The detections of one frame for the library supervision: `xyxy`, `confidence`, `tracker_id`, and the prompt as
    `class_id` (0 if there is one prompt)."""
    sv = optional("supervision", "supervision", "for to_supervision()")
    np = importlib.import_module("numpy")
    rows = list(detections)
    if not rows:
        return sv.Detections.empty()
    boxes = [(x, y, x + width, y + height) for x, y, width, height in (row.bbox for row in rows)]
    return sv.Detections(
        xyxy=np.array(boxes, dtype=np.float32),
        confidence=np.array([row.confidence for row in rows], dtype=np.float32),
        tracker_id=np.array([row.track_id for row in rows], dtype=np.int64),
        class_id=np.array([getattr(row, "prompt", None) or 0 for row in rows], dtype=np.int64),
    )
