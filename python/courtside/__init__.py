"""Courtside tracks every player through a video with SAM3. This package runs the program and reads what it writes.

* `track` tracks a video on this machine.
* `read_results` reads a results file, `Library` the SQLite database, `Client` the HTTP interface.

Detections are read one by one, so that the million of an hour-long game need no memory; they convert to pandas, pyarrow and
`supervision.Detections`.
"""

from __future__ import annotations

from ._program import find_program
from ._rows import Job, Video
from .client import Client
from .detections import BBox, Detection, Track
from .errors import (
    ApiError,
    CourtsideError,
    Kind,
    LibraryError,
    ProgramError,
    ProgramNotFound,
    ResultsError,
    TrackingInterrupted,
)
from .library import Library, StoredDetection
from .results import Header, Results, read_results
from .tracking import track

__all__ = [
    "ApiError",
    "BBox",
    "Client",
    "CourtsideError",
    "Detection",
    "Header",
    "Job",
    "Kind",
    "Library",
    "LibraryError",
    "ProgramError",
    "ProgramNotFound",
    "Results",
    "ResultsError",
    "StoredDetection",
    "Track",
    "TrackingInterrupted",
    "Video",
    "find_program",
    "read_results",
    "track",
]
