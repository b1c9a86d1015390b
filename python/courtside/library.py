"""`Library`: reads the SQLite database of a library, or of the analyzer app. It never writes to it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Optional
from urllib.parse import quote

from . import _scope, convert
from ._rows import JOB_COLUMNS, VIDEO_COLUMNS, Job, Video, job_of, video_of
from .detections import BBox, Track, tracks_of
from .errors import LibraryError

if TYPE_CHECKING:
    import pandas
    import pyarrow

DATABASE = "basketball_analyzer.db"
_DETECTION_COLUMNS = (
    """frame_number, tracking_id, bbox_x, bbox_y, bbox_width, bbox_height, confidence_score, id, player_id"""
)
_BATCH = 1000


class StoredDetection(NamedTuple):
    """A detection in the library."""

    frame: int
    """0-based frame number in the source video."""
    track_id: int
    """Number of the track, unique within a job."""
    bbox: BBox
    """Left, top, width and height in source pixels."""
    confidence: float
    """Confidence of the model, 0 to 1."""
    id: int
    """Primary key of its row."""
    player_id: Optional[int]
    """The player that the app assigned."""


class Library:
    """The videos, jobs and detections of a library.

    `path` is the database, the folder that has it, or a `DATABASE_URL` such as `sqlite:///./basketball_analyzer.db`. Each
    call reads what the database has then; an iterator reads the state at its first step to its end. A video's detections
    are those of the job that was imported last, unless `job_id` names another one.
    """

    def __init__(self, path: str | os.PathLike[str] = ".") -> None:
        self.path = _database(path)
        with self._read() as connection:
            names = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if not names >= {"games", "videos", "player_detections"}:
            raise LibraryError(f"{self.path} is not the database of a library")

    def __repr__(self) -> str:
        return f"Library({str(self.path)!r})"

    def videos(self) -> list[Video]:
        """All videos, ordered by number."""
        with self._read() as connection:
            columns = _select(connection, "videos", VIDEO_COLUMNS)
            return [video_of(row) for row in connection.execute(f"SELECT {columns} FROM videos ORDER BY id")]

    def video(self, video_id: int) -> Video:
        """One video. Raises `LibraryError` if no video has this number."""
        with self._read() as connection:
            columns = _select(connection, "videos", VIDEO_COLUMNS)
            row = connection.execute(f"SELECT {columns} FROM videos WHERE id = ?", (video_id,)).fetchone()
        if row is None:
            raise LibraryError(f"the library has no video {video_id}", "`courtside videos list` lists them")
        return video_of(row)

    def jobs(self, video_id: int | None = None) -> list[Job]:
        """The jobs of a video or of all videos, newest first. Their state is that of the program's latest look at the
        bucket: `courtside status` looks."""
        with self._read() as connection:
            sources, imported = [], "0"
            if _scope.has_own_tables(connection):
                sources.append(f"SELECT {_select(connection, 'courtside_jobs', JOB_COLUMNS)} FROM courtside_jobs")
                imported = "id IN (SELECT job_id FROM courtside_imports)"
            if _columns(connection, "processing_jobs"):
                known = "WHERE id NOT IN (SELECT id FROM courtside_jobs)" if sources else ""
                apps = _select(connection, "processing_jobs", JOB_COLUMNS)
                sources.append(f"SELECT {apps} FROM processing_jobs {known}")
            if not sources:
                return []
            sql = f"""SELECT *, {imported} AS imported FROM ({" UNION ALL ".join(sources)})
                WHERE :video IS NULL OR video_id = :video ORDER BY julianday(created_at) DESC"""
            return [job_of(row) for row in connection.execute(sql, {"video": video_id})]

    def detections(
        self,
        video_id: int,
        *,
        job_id: str | None = None,
        frame_start: int | None = None,
        frame_end: int | None = None,
        min_confidence: float | None = None,
    ) -> Iterator[StoredDetection]:
        """The detections of a video, ordered by frame, then track, in bounded memory. Both ends are included."""
        with self._read() as connection:
            rows = self._rows(connection, video_id, job_id)
            filters = {
                "frame_number >= ?": frame_start,
                "frame_number <= ?": frame_end,
                "confidence_score >= ?": min_confidence,
            }
            used = {condition: value for condition, value in filters.items() if value is not None}
            condition = " AND ".join((rows.condition, *used))
            sql = f"SELECT {_DETECTION_COLUMNS} FROM player_detections WHERE {condition} ORDER BY frame_number"
            yield from _by_track(connection.execute(sql, (*rows.parameters, *used.values())))

    def tracks(self, video_id: int, *, job_id: str | None = None) -> list[Track]:
        """The tracks of a video, ordered by number."""
        return tracks_of(self.detections(video_id, job_id=job_id))

    def job_of_video(self, video_id: int) -> str | None:
        """Return the job whose detections the video has, or `None` without detections or if another program wrote them."""
        with self._read() as connection:
            return _scope.rows_of_video(connection, video_id).job_id

    def to_pandas(self, video_id: int, *, job_id: str | None = None) -> pandas.DataFrame:
        """All detections of a video as a table; see `Results.to_pandas`."""
        return convert.to_pandas(self.detections(video_id, job_id=job_id))

    def to_arrow(self, video_id: int, *, job_id: str | None = None) -> pyarrow.Table:
        """All detections of a video as an Arrow table; see `Results.to_pandas`."""
        return convert.to_arrow(self.detections(video_id, job_id=job_id))

    def _rows(self, connection: sqlite3.Connection, video_id: int, job_id: str | None) -> _scope.Rows:
        if connection.execute("SELECT 1 FROM videos WHERE id = ?", (video_id,)).fetchone() is None:
            raise LibraryError(f"the library has no video {video_id}", "`courtside videos list` lists them")
        if job_id is None:
            return _scope.rows_of_video(connection, video_id)
        rows = _scope.rows_of_job(connection, job_id)
        if rows is None or rows.parameters[0] != video_id:
            hint = f"`courtside import --job-id {job_id}` imports its results"
            raise LibraryError(f"no results of job {job_id} are imported for video {video_id}", hint)
        return rows

    @contextmanager
    def _read(self) -> Iterator[sqlite3.Connection]:
        """A connection that only reads, on one snapshot of the database."""
        connection = None
        try:
            url = f"file:{quote(str(self.path))}?mode=ro"
            # An iterator may be resumed in another thread; it is never used by two at once.
            connection = sqlite3.connect(url, uri=True, isolation_level=None, timeout=10, check_same_thread=False)
            connection.row_factory = sqlite3.Row
            connection.execute("BEGIN")
            yield connection
        except sqlite3.Error as error:
            raise LibraryError(f"cannot read {self.path}: {error}") from None
        finally:
            if connection is not None:
                connection.close()


def _database(path: str | os.PathLike[str]) -> Path:
    """The database file that a path or a URL names."""
    text = os.fspath(path)
    scheme, separator, rest = text.partition("://")
    if separator:
        if scheme.split("+")[0].lower() != "sqlite" or not rest.startswith("/"):
            raise LibraryError("only URLs of SQLite are supported", "write sqlite:///RELATIVE or sqlite:////ABSOLUTE")
        text = rest[1:].split("?")[0]
    file = Path(text).absolute()
    if file.is_dir():
        file = file / DATABASE
    if not file.is_file():
        raise LibraryError(f"there is no database {file}", "name the database, or the folder of a library")
    return file


def _columns(connection: sqlite3.Connection, table: str) -> set[str]:
    return {row[0] for row in connection.execute(f"SELECT name FROM pragma_table_info('{table}')")}


def _select(connection: sqlite3.Connection, table: str, wanted: tuple[str, ...]) -> str:
    """A list for `SELECT`. Columns that an older database lacks are null."""
    present = _columns(connection, table)
    return ", ".join(name if name in present else f"NULL AS {name}" for name in wanted)


def _by_track(cursor: sqlite3.Cursor) -> Iterator[StoredDetection]:
    """Orders the rows of each frame by track. The index orders them by frame; sorting all of them would take memory."""
    frame: list[StoredDetection] = []
    rows: list[Any] = cursor.fetchmany(_BATCH)
    while rows:
        for number, track_id, x, y, width, height, confidence, key, player_id in rows:
            if frame and frame[0].frame != number:
                yield from _sorted(frame)
                frame = []
            frame.append(StoredDetection(number, track_id, (x, y, width, height), confidence, key, player_id))
        rows = cursor.fetchmany(_BATCH)
    yield from _sorted(frame)


def _sorted(frame: list[StoredDetection]) -> list[StoredDetection]:
    return sorted(frame, key=lambda detection: (detection.track_id, detection.id))
