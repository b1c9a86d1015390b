"""`Client`: the HTTP interface of `courtside serve`, which is documented at its `/docs`."""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Optional
from urllib.parse import quote

from ._events import events
from ._http import Connection, chunks
from ._rows import Job, Video, job_of_body, video_of
from .detections import Detection, Track
from .errors import ApiError

_PAGE = 100
_WINDOW = 20_000
_RETRIES = 5
_RETRY_AFTER_S = 1.0


class Client:
    """A server's library over HTTP.

    `url` is the address of `courtside serve`, such as `http://127.0.0.1:8000`. `token` is the server's `COURTSIDE_TOKEN`.
    `timeout` is how long the server may send nothing, in seconds. All methods raise `ApiError`.
    """

    def __init__(self, url: str, token: str | None = None, *, timeout: float = 60.0) -> None:
        self._connection = Connection(url, token, timeout)

    def __repr__(self) -> str:
        return f"Client({self._connection.url!r})"

    def videos(self, *, game_id: int | None = None, processed: bool | None = None) -> Iterator[Video]:
        """The videos, page by page."""
        query: dict[str, Any] = {"game_id": game_id, "page_size": _PAGE}
        query["processed"] = None if processed is None else str(processed).lower()
        page, n_pages = 1, 1
        while page <= n_pages:
            body = self._connection.json("GET", "/api/videos", query={**query, "page": page})
            yield from map(video_of, body["videos"])
            page, n_pages = page + 1, body["total_pages"]

    def video(self, video_id: int) -> Video:
        """One video."""
        return video_of(self._connection.json("GET", f"/api/videos/{int(video_id)}"))

    def upload(self, path: str | os.PathLike[str]) -> Video:
        """Uploads a video in chunks. Returns the one that the library has already if it is the same file."""
        return video_of(self._connection.upload("/api/videos", Path(path)))

    def detect(
        self,
        video_id: int,
        *,
        target: str = "cloud",
        prompt: str | None = None,
        sample_interval: int | None = None,
        confidence_threshold: float | None = None,
        max_seconds: float | None = None,
    ) -> str:
        """Submits a video for tracking, to the bucket's workers or, with `target="local"`, to those of the server's machine.
        Returns the id of the job. What is not given has the server's default."""
        parameters = {
            "prompt": prompt,
            "sample_interval": sample_interval,
            "confidence_threshold": confidence_threshold,
            "max_seconds": max_seconds,
        }
        given = {name: value for name, value in parameters.items() if value is not None}
        path = f"/api/videos/{int(video_id)}/detect"
        body = self._connection.json("POST", path, query={"target": target}, body=given)
        return str(body["job_id"])

    def jobs(self, *, video_id: int | None = None, status: str | None = None) -> Iterator[Job]:
        """The jobs, newest first, page by page."""
        offset = 0
        while True:
            query = {"video_id": video_id, "status": status, "limit": _PAGE, "offset": offset}
            jobs = self._connection.json("GET", "/api/jobs", query=query)["jobs"]
            yield from map(job_of_body, jobs)
            offset += len(jobs)
            if len(jobs) < _PAGE:
                return

    def job(self, job_id: str) -> Job:
        """One job."""
        return job_of_body(self._connection.json("GET", _job_path(job_id)))

    def cancel(self, job_id: str) -> None:
        """Cancels a job."""
        self._connection.json("DELETE", _job_path(job_id))

    def retry(self, job_id: str) -> Job:
        """Makes a failed or cancelled job wait for a worker again."""
        return job_of_body(self._connection.json("POST", f"{_job_path(job_id)}/retry"))

    def events(self, job_id: str) -> Iterator[Job]:
        """The job now, and then whenever it changes, until it is finished. Reconnects if the connection breaks."""
        failures = 0
        while True:
            try:
                for job in self._events_until_closed(job_id):
                    failures = 0
                    yield job
                    if job.is_finished:
                        return
            except ApiError as error:
                failures += 1
                if error.status is not None or failures > _RETRIES:
                    raise
            time.sleep(_RETRY_AFTER_S)

    def wait(self, job_id: str) -> Job:
        """Waits until a job is finished, and returns it."""
        for job in self.events(job_id):
            if job.is_finished:
                return job
        raise AssertionError("events() ends with a finished job")

    def detections(
        self,
        video_id: int,
        *,
        job_id: str | None = None,
        frame_start: int | None = None,
        frame_end: int | None = None,
        min_confidence: float | None = None,
    ) -> Iterator[Detection]:
        """The detections of a video, ordered by frame, then track. Both ends are included. They are requested in windows, so
        that memory does not grow with their number."""
        query = {"frame_end": frame_end, "min_confidence": min_confidence, "job_id": job_id}
        query.update(format="columns", limit=_WINDOW)
        start: Optional[int] = frame_start
        while True:
            path = f"/api/videos/{int(video_id)}/detections"
            body = self._connection.json("GET", path, query={**query, "frame_start": start})
            yield from _detections(body)
            # The rest of the list must be of the same job, even if another one is imported meanwhile.
            query["job_id"] = body["job_id"]
            start = body["next_frame"]
            if start is None:
                return

    def tracks(self, video_id: int, *, job_id: str | None = None) -> list[Track]:
        """The tracks of a video, ordered by number."""
        body = self._connection.json("GET", f"/api/videos/{int(video_id)}/tracks", query={"job_id": job_id})
        names = ("tracking_id", "n_detections", "first_frame", "last_frame", "mean_confidence")
        return [Track(*(track[name] for name in names)) for track in body["tracks"]]

    def export(
        self,
        video_id: int,
        path: str | os.PathLike[str],
        *,
        format: str,
        job_id: str | None = None,
        min_confidence: float | None = None,
    ) -> Path:
        """Writes the detections of a video to a file: `mot`, `coco`, `csv`, `jsonl`, `parquet`, `cvat` or `video`. The file
        is written completely or not at all."""
        query = {"format": format, "job_id": job_id, "min_confidence": min_confidence}
        file = Path(path)
        with self._connection.open("GET", f"/api/videos/{int(video_id)}/export", query=query) as response:
            partial = file.with_name(f".{file.name}.{secrets.token_hex(4)}.partial")
            try:
                with open(partial, "xb") as out:
                    out.writelines(chunks(response))
                    out.flush()
                    os.fsync(out.fileno())
                os.replace(partial, file)
            finally:
                partial.unlink(missing_ok=True)
        return file

    def _events_until_closed(self, job_id: str) -> Iterator[Job]:
        with self._connection.open("GET", f"{_job_path(job_id)}/events") as response:
            for event in events(response):
                body = json.loads(event.data)
                if event.type == "error":
                    raise ApiError(response.status, str(body.get("detail")))
                yield job_of_body(body)


def _job_path(job_id: str) -> str:
    return f"/api/jobs/{quote(job_id, safe='')}"


def _detections(body: Mapping[str, Any]) -> Iterator[Detection]:
    boxes = zip(body["x"], body["y"], body["width"], body["height"])
    columns = (body["frame_number"], body["tracking_id"], boxes, body["confidence_score"])
    return map(Detection, *columns)
