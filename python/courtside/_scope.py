"""Which rows of `player_detections` a video or a job has, as a condition on rows.

The rule is the program's: a video's detections are those of its latest import that still has rows; if there is none, those
that other programs inserted. What an import in progress has written is not visible. The SQL is that of `crates/store`.
"""

from __future__ import annotations

import sqlite3
from typing import NamedTuple, Optional

from .errors import LibraryError

NEWEST_SCHEMA = 3
"""Version of the program's tables that this package reads."""
_LISTED_RANGES = 64

# A range is the write's unless the app has deleted the rows and reused their ids: then its first and last row are others.
_STILL_OURS = """(NOT EXISTS (SELECT 1 FROM player_detections AS d WHERE d.id = r.first_id
        AND NOT (d.frame_number = r.first_frame AND d.bbox_x = r.first_x AND d.bbox_y = r.first_y))
    OR r.last_id > r.first_id AND EXISTS (SELECT 1 FROM player_detections AS d WHERE d.id = r.last_id
        AND d.frame_number = r.last_frame AND d.bbox_x = r.last_x AND d.bbox_y = r.last_y))"""


class Import(NamedTuple):
    """A job whose results are in the library."""

    job_id: str
    video_id: int
    n_detections: int
    write_id: Optional[int]


class Rows(NamedTuple):
    """A condition on `player_detections` with its parameters, and the job that the rows are of (`None`: other programs)."""

    condition: str
    parameters: tuple[int, ...]
    job_id: Optional[str]


def has_own_tables(connection: sqlite3.Connection) -> bool:
    """Whether Courtside has written to the database. Its tables must be of the version that this package knows."""
    exists = "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'courtside_schema')"
    if not connection.execute(exists).fetchone()[0]:
        return False
    version = connection.execute("SELECT max(version) FROM courtside_schema").fetchone()[0]
    if version == NEWEST_SCHEMA:
        return True
    if isinstance(version, int) and version > NEWEST_SCHEMA:
        raise LibraryError("the library was made by a newer version of Courtside", "pip install --upgrade courtside")
    raise LibraryError("the library was made by an older version of Courtside", "run `courtside status` there once")


def rows_of_video(connection: sqlite3.Connection, video_id: int) -> Rows:
    """The rows of the latest import of a video, otherwise those of other programs."""
    if not has_own_tables(connection):
        return Rows("video_id = ?", (video_id,), None)
    for job in _imports(connection, "video_id = ?", video_id):
        if job.n_detections == 0 or _has_any(connection, job):
            return _rows_of_import(connection, job)
    return _rows_of_others(connection, video_id)


def rows_of_job(connection: sqlite3.Connection, job_id: str) -> Rows | None:
    """The rows of a job; `None` if it is not imported."""
    if not has_own_tables(connection):
        return None
    imports = _imports(connection, "job_id = ?", job_id)
    return _rows_of_import(connection, imports[0]) if imports else None


def _imports(connection: sqlite3.Connection, condition: str, value: object) -> list[Import]:
    sql = f"""SELECT job_id, video_id, n_detections, write_id FROM courtside_imports WHERE {condition}
        ORDER BY imported_at DESC, id DESC"""
    return [Import(*row) for row in connection.execute(sql, (value,))]


def _has_any(connection: sqlite3.Connection, job: Import) -> bool:
    sql = f"""SELECT EXISTS (SELECT 1 FROM courtside_ranges AS r CROSS JOIN player_detections AS d NOT INDEXED
            ON d.id BETWEEN r.first_id AND r.last_id AND d.video_id = ?
        WHERE r.write_id = ? AND {_STILL_OURS})"""
    return bool(connection.execute(sql, (job.video_id, job.write_id)).fetchone()[0])


def _rows_of_import(connection: sqlite3.Connection, job: Import) -> Rows:
    sql = f"SELECT first_id, last_id FROM courtside_ranges AS r WHERE write_id = ? AND {_STILL_OURS} ORDER BY first_id"
    ranges = connection.execute(sql, (job.write_id,)).fetchall()
    condition, parameters = _in_ranges(ranges, _in_write("?"), job.write_id)
    return Rows(f"video_id = ? AND {condition}", (job.video_id, *parameters), job.job_id)


def _rows_of_others(connection: sqlite3.Connection, video_id: int) -> Rows:
    sql = f"""SELECT first_id, last_id FROM courtside_ranges AS r WHERE {_STILL_OURS}
        AND write_id IN (SELECT id FROM courtside_writes WHERE video_id = ?) ORDER BY first_id"""
    ranges = connection.execute(sql, (video_id,)).fetchall()
    among_all = f"EXISTS (SELECT 1 FROM courtside_writes AS w WHERE w.video_id = ? AND {_in_write('w.id')})"
    condition, parameters = _in_ranges(ranges, among_all, video_id)
    return Rows(f"video_id = ? AND NOT {condition}", (video_id, *parameters), None)


def _in_ranges(ranges: list[tuple[int, int]], among_all: str, key: int | None) -> tuple[str, tuple[int, ...]]:
    """A few ranges are listed, which is faster; SQLite limits the depth of a condition."""
    if not ranges or key is None:
        return "0", ()
    if len(ranges) > _LISTED_RANGES:
        return among_all, (key,)
    listed = " OR ".join(["id BETWEEN ? AND ?"] * len(ranges))
    return f"({listed})", tuple(bound for pair in ranges for bound in pair)


def _in_write(write_id: str) -> str:
    return f"""EXISTS (SELECT 1 FROM
            (SELECT * FROM courtside_ranges WHERE write_id = {write_id} AND first_id <= player_detections.id
             ORDER BY first_id DESC LIMIT 1) AS r
         WHERE r.last_id >= player_detections.id AND {_STILL_OURS})"""
