"""Videos and jobs, as the library and the HTTP interface have them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

VIDEO_COLUMNS = (
    *("id", "game_id", "file_path", "r2_key", "duration_seconds", "fps", "resolution", "upload_date"),
    *("processed", "processing_status"),
)
JOB_COLUMNS = (
    *("id", "status", "video_id", "parameters", "progress_current", "progress_total", "progress_message"),
    *("error_message", "created_at", "started_at", "completed_at", "worker_id"),
)


@dataclass(frozen=True)
class Video:
    """A video of a library."""

    id: int
    game_id: int
    file_path: str
    """The file, on the machine of the library."""
    r2_key: str | None
    """Its key in the bucket, once it was uploaded."""
    duration_seconds: float | None
    fps: float | None
    """Average frames per second."""
    resolution: str | None
    """Width and height in pixels, such as `1920x1080`."""
    upload_date: datetime | None
    """When it was added."""
    processed: bool
    """Whether detections of it were ever imported."""
    processing_status: str
    """`pending`, `processing`, `completed` or `failed`."""


@dataclass(frozen=True)
class Job:
    """A job: a video to track, with its parameters."""

    id: str
    status: str
    """`pending`, `processing`, `completed`, `failed` or `cancelled`."""
    video_id: int | None
    parameters: Mapping[str, Any]
    frames_done: int
    frames_total: int
    """0 or -1 if unknown."""
    message: str | None
    """What the job is doing, for people."""
    error: str | None
    created_at: datetime | None
    started_at: datetime | None
    completed_at: datetime | None
    worker_id: str | None
    imported: bool
    """Whether its results are in the library."""

    @property
    def is_finished(self) -> bool:
        """Whether the job stays as it is unless the user retries it."""
        return self.status in ("completed", "failed", "cancelled")


def video_of(row: Any) -> Video:
    """A video, of a row or of a body of the HTTP interface."""
    values = {name: row[name] for name in VIDEO_COLUMNS}
    values["upload_date"] = time_of(values["upload_date"])
    values["processed"] = bool(values["processed"])
    values["processing_status"] = str(values["processing_status"] or "pending").lower()
    return Video(**values)


def job_of(row: Any) -> Job:
    """A job, of a row of the library."""
    return Job(
        id=str(row["id"]),
        status=str(row["status"]).lower(),
        video_id=row["video_id"],
        parameters=_object(row["parameters"]),
        frames_done=row["progress_current"] or 0,
        frames_total=row["progress_total"] or 0,
        message=row["progress_message"],
        error=row["error_message"],
        created_at=time_of(row["created_at"]),
        started_at=time_of(row["started_at"]),
        completed_at=time_of(row["completed_at"]),
        worker_id=row["worker_id"],
        imported=bool(row["imported"]),
    )


def job_of_body(body: Mapping[str, Any]) -> Job:
    """A job, of a body of the HTTP interface."""
    metadata, progress = body["metadata"], body["progress"]
    return Job(
        id=body["id"],
        status=body["status"],
        video_id=metadata.get("video_id"),
        parameters=metadata.get("parameters") or {},
        frames_done=progress["current"],
        frames_total=progress["total"],
        message=progress["message"],
        error=body["error"],
        created_at=time_of(body["created_at"]),
        started_at=time_of(body["started_at"]),
        completed_at=time_of(body["completed_at"]),
        worker_id=metadata.get("worker_id"),
        imported=metadata.get("state") == "imported",
    )


def time_of(value: Any) -> datetime | None:
    """A time in UTC, of the forms that the app and the program write; `None` for anything else."""
    pattern = r"(\d{4}-\d\d-\d\d)[ Tt](\d\d:\d\d:\d\d)(\.\d+)?\s*(Z|z|[+-]\d\d:?\d\d)?"
    match = re.fullmatch(pattern, value.strip()) if isinstance(value, str) else None
    if not match:
        return None
    day, clock, fraction, offset = match.groups()
    offset = "+0000" if offset in (None, "Z", "z") else offset.replace(":", "")
    text = f"{day} {clock}.{(fraction or '.')[1:7].ljust(6, '0')} {offset}"
    try:
        return datetime.strptime(text, "%Y-%m-%d %H:%M:%S.%f %z").astimezone(timezone.utc)
    except (ValueError, OverflowError):
        return None


def _object(value: Any) -> Mapping[str, Any]:
    try:
        parsed = json.loads(value) if isinstance(value, str) else None
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}
