"""Results files, read as a stream: the file of an hour-long game has a million detections.

Files of `courtside track`, of workers, and of older programs are read: fields in any order, any spacing, unknown fields,
plain JSON, gzip or zstd.
"""

from __future__ import annotations

import gzip
import importlib
import os
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from . import _check, convert
from ._json_stream import JsonError, JsonStream, ReadsBytes
from .detections import Detection, Track, by_frame, tracks_of
from .errors import ResultsError

if TYPE_CHECKING:
    import pandas
    import pyarrow
    import supervision

_STANDARD = ("job_id", "video_id", "completed_at", "frames_processed")
_MAX_EXTRA = 1 << 20


@dataclass(frozen=True)
class Header:
    """The fields of a results file other than its detections. Older programs leave some out."""

    job_id: str | None
    """The job, or `track-NAME` of `courtside track`."""
    video_id: int | None
    """The video in the library that submitted the job; 0 if it is in none."""
    completed_at: str | None
    """When tracking ended, RFC 3339."""
    frames_processed: int | None
    """Number of frames that were tracked."""
    prompts: tuple[str, ...] = ()
    """What was tracked; `Detection.prompt` is an index in it."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Other fields, such as `missing_frames`. Fields of more than 1 MiB in total are left out."""


class Results:
    """A results file. Iterating over it yields its detections, each time from the start, in bounded memory.

    Methods that return a table need memory for all detections: about 60 bytes each.
    """

    def __init__(self, path: str | os.PathLike[str], *, summary: Mapping[str, Any] | None = None) -> None:
        self.path = Path(path)
        self.summary: Mapping[str, Any] = summary or {}
        """What `track` reported: `frames_processed`, `detections`, `seconds`, `fps`, `tracks`, `warnings` and others."""
        self._header: Header | None = None
        self._cursor: Iterator[tuple[int, list[Detection]]] | None = None
        self._next: tuple[int, list[Detection]] | None = None
        self._passed = -1

    def __repr__(self) -> str:
        return f"Results({str(self.path)!r})"

    @property
    def header(self) -> Header:
        """The other fields. If some of them are after the detections, the file is read once to the end."""
        if self._header is None:
            with self._open() as (stream, fields):
                _fields_before_detections(stream, fields)
                if not fields.keys() >= set(_STANDARD):
                    for _ in _detection_batches(stream, fields):
                        pass
            self._header = _header(fields)
        return self._header

    def __iter__(self) -> Iterator[Detection]:
        """The detections, in the order of the file.

        Raises `ResultsError` for a file that is incomplete or invalid, when it is found; detections before it were
        yielded by then.
        """
        with self._open() as (stream, fields):
            _fields_before_detections(stream, fields)
            check = _check.Checker()
            for batch in _detection_batches(stream, fields):
                yield from map(check.detection, batch)

    def frames(self) -> Iterator[tuple[int, list[Detection]]]:
        """Each frame that has detections, with them."""
        try:
            yield from by_frame(self)
        except ValueError as error:
            raise ResultsError(self.path, str(error), "use to_pandas() and sort them") from None

    def tracks(self) -> list[Track]:
        """The tracks, ordered by number."""
        return tracks_of(self)

    def to_pandas(self) -> pandas.DataFrame:
        """All detections as a table: `frame`, `track_id`, `x`, `y`, `width`, `height`, `confidence`, and `prompt` if there
        are several."""
        return convert.to_pandas(self)

    def to_arrow(self) -> pyarrow.Table:
        """All detections as an Arrow table, with the columns of `to_pandas`."""
        return convert.to_arrow(self)

    def to_supervision(self, frame: int) -> supervision.Detections:
        """The detections of one frame. Asking for frames in ascending order reads the file once."""
        return convert.to_supervision(self._on_frame(frame))

    def _on_frame(self, frame: int) -> list[Detection]:
        if self._cursor is None or frame <= self._passed:
            self._cursor, self._next, self._passed = self.frames(), None, -1
        while True:
            if self._next is None:
                self._next = next(self._cursor, None)
            if self._next is None or self._next[0] > frame:
                return []
            if self._next[0] == frame:
                return self._next[1]
            self._passed, self._next = self._next[0], None

    @contextmanager
    def _open(self) -> Iterator[tuple[JsonStream, dict[str, Any]]]:
        try:
            with open(self.path, "rb") as file, _decompressed(file) as plain:
                yield JsonStream(plain), {}
        except (JsonError, _check.InvalidDetection) as error:
            raise ResultsError(self.path, str(error)) from None
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ResultsError(self.path, f"cannot be decompressed: {error}") from None


def read_results(path: str | os.PathLike[str]) -> Results:
    """Opens a results file. Iterate over the result to read its detections in bounded memory."""
    results = Results(path)
    with open(results.path, "rb"):  # A missing file is an error here, not at the first detection.
        return results


def _fields_before_detections(stream: JsonStream, fields: dict[str, Any]) -> None:
    """Reads the fields before the detections, and takes the `[`."""
    stream.take("{")
    if not _next_field(stream, fields, "detections"):
        raise JsonError('it has no "detections": it is not a results file')
    if stream.skip_space() != "[":
        raise JsonError('"detections" is not an array')
    stream.take("[")


def _detection_batches(stream: JsonStream, fields: dict[str, Any]) -> Iterator[list[Any]]:
    """The detections in lists, and then the fields after them."""
    yield from stream.objects()
    if stream.take_if(","):
        _next_field(stream, fields, None)
    else:
        stream.take("}")
    if not stream.at_end():
        raise JsonError("there is more text after the results")


def _next_field(stream: JsonStream, fields: dict[str, Any], until: str | None) -> bool:
    """Reads fields up to the name `until`, whose value it leaves. Returns whether there is one."""
    if not fields and stream.take_if("}"):
        return False
    while True:
        name = stream.value()
        if not isinstance(name, str):
            raise JsonError("the name of a field is not text")
        stream.take(":")
        if name == "detections":
            if until is None:
                raise JsonError('"detections" is there twice')
            return True
        fields[name] = stream.value()
        if not stream.take_if(","):
            stream.take("}")
            return False


def _header(fields: Mapping[str, Any]) -> Header:
    prompts = fields.get("prompts")
    extra, left = {}, _MAX_EXTRA
    for name, value in fields.items():
        if name in _STANDARD or name == "prompts":
            continue
        left -= len(str(value))
        if left >= 0:
            extra[name] = value
    return Header(
        job_id=_check.text(fields.get("job_id")),
        video_id=_check.whole(fields.get("video_id")),
        completed_at=_check.text(fields.get("completed_at")),
        frames_processed=_check.whole(fields.get("frames_processed")),
        prompts=tuple(str(prompt) for prompt in prompts) if isinstance(prompts, list) else (),
        extra=extra,
    )


@contextmanager
def _decompressed(file: IO[bytes]) -> Iterator[ReadsBytes]:
    """The plain bytes of a file. The compression is told by the first bytes."""
    first = file.read(4)
    file.seek(0)
    if first.startswith(b"\x1f\x8b"):
        with gzip.open(file) as plain:
            yield plain
    elif first == b"\x28\xb5\x2f\xfd" or (first[1:] == b"\x2a\x4d\x18" and 0x50 <= first[0] <= 0x5F):
        with _open_zstd(file) as plain:
            yield plain
    else:
        yield file


def _open_zstd(file: IO[bytes]) -> Any:
    try:
        return importlib.import_module("compression.zstd").ZstdFile(file)
    except ImportError:
        zstandard = convert.optional("zstandard", "zstd", "to read results that are compressed with zstd")
        return zstandard.ZstdDecompressor(max_window_size=1 << 23).stream_reader(file, read_across_frames=True)
