"""`Client` with a real server."""

from __future__ import annotations

import http.server
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import courtside
import pytest
from courtside import Client, Library, _events, client

from .conftest import CLIP, N_FRAMES, TOKEN, Home, running


@pytest.fixture(scope="module")
def tracked(served: tuple[Home, str]) -> tuple[Client, int, str, list[courtside.Job]]:
    """A client, a video that it uploaded, its job, and the events of the job."""
    home, address = served
    server = Client(address + "/", TOKEN)
    video = server.upload(CLIP)
    job_id = server.detect(video.id, target="local", prompt="ball")
    with running(home.worker(), home.folder, dict(os.environ)):
        events = list(server.events(job_id))
    return server, video.id, job_id, events


Tracked = tuple[Client, int, str, list[courtside.Job]]


def test_an_upload_is_stored_once(tracked: Tracked) -> None:
    server, video_id, _, _ = tracked
    assert server.upload(CLIP).id == video_id
    (video,) = server.videos()
    assert server.video(video_id) == video
    assert video.resolution == "120x90"
    assert Path(video.file_path).read_bytes() == CLIP.read_bytes()
    assert list(server.videos(processed=False)) == []


def test_a_job_is_followed_to_its_end(tracked: Tracked) -> None:
    server, video_id, job_id, events = tracked
    assert [job.id for job in events] == [job_id] * len(events)
    assert events[0].status == "pending"
    assert events[-1].status == "completed"
    assert [job.is_finished for job in events] == [False] * (len(events) - 1) + [True]
    assert events[-1].parameters["prompt"] == "ball"
    assert server.wait(job_id).id == job_id
    assert server.job(job_id).frames_done == N_FRAMES
    assert server.job(job_id).imported
    assert [job.id for job in server.jobs(video_id=video_id)] == [job_id]
    assert list(server.jobs(status="failed")) == []


def test_detections_are_those_of_the_library(
    served: tuple[Home, str], tracked: Tracked, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, video_id, job_id, _ = tracked
    library = Library(served[0].folder)
    want = [row[:4] for row in library.detections(video_id)]
    assert want
    for window in (2, 20_000):
        monkeypatch.setattr(client, "_WINDOW", window)
        assert [row[:4] for row in server.detections(video_id)] == want
    some = [row[:4] for row in server.detections(video_id, job_id=job_id, frame_start=2, frame_end=4, min_confidence=0.8)]
    assert some == [row[:4] for row in library.detections(video_id, frame_start=2, frame_end=4, min_confidence=0.8)]
    assert server.tracks(video_id) == [pytest.approx(track, abs=1e-9) for track in library.tracks(video_id, job_id=job_id)]


def test_an_export_is_a_file(tracked: Tracked, tmp_path: Path) -> None:
    server, video_id, _, _ = tracked
    file = server.export(video_id, tmp_path / "tracks.csv", format="csv")
    rows = file.read_text().splitlines()
    assert len(rows) == 1 + len(list(server.detections(video_id)))
    with pytest.raises(courtside.ApiError, match="format"):
        server.export(video_id, tmp_path / "none.xyz", format="xyz")
    assert [path.name for path in tmp_path.iterdir()] == ["tracks.csv"]


def test_errors_have_a_status_and_the_message_of_the_server(served: tuple[Home, str], tracked: Tracked) -> None:
    server, video_id, job_id, _ = tracked
    for call, status, message in (
        (lambda: server.video(99), 404, "99"),
        (lambda: server.job("../videos"), 422, "job_id"),
        (lambda: server.cancel(job_id), 409, ""),
        (lambda: server.detect(video_id, prompt=" "), 422, "prompt"),
        (lambda: list(server.events("unknown")), 404, ""),
        (lambda: Client(served[1], "wrong token").video(video_id), 401, "COURTSIDE_TOKEN"),
        (lambda: Client(served[1]).video(video_id), 401, "COURTSIDE_TOKEN"),
    ):
        with pytest.raises(courtside.ApiError) as caught:
            call()
        assert caught.value.status == status
        assert message in str(caught.value)
        assert TOKEN not in str(caught.value)


def test_a_server_that_is_not_there_is_named() -> None:
    with pytest.raises(courtside.ApiError, match=r"http://127\.0\.0\.1:9 cannot be reached") as caught:
        Client("http://127.0.0.1:9").video(1)
    assert caught.value.status is None
    for address in ("file:///etc/passwd", "127.0.0.1:8000", "http://user:secret@host"):
        with pytest.raises(ValueError, match="address"):
            Client(address)
    assert "token" not in repr(Client("http://127.0.0.1:9", "token"))


class Stub(http.server.BaseHTTPRequestHandler):
    """Answers each request with the next prepared response, and then closes the connection."""

    prepared: list[bytes]
    requests: list[str]

    def do_GET(self) -> None:
        self.requests.append(f"{self.path} {self.headers.get('Authorization')}")
        self.wfile.write(self.prepared.pop(0))
        self.close_connection = True

    def log_message(self, *_arguments: Any) -> None:
        pass


@pytest.fixture
def stub() -> Iterator[tuple[type[Stub], str]]:
    """A server with prepared responses, for what a real one does rarely."""
    kind = type("Prepared", (Stub,), {"prepared": [], "requests": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), kind) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield kind, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_redirect_does_not_get_the_token(stub: tuple[type[Stub], str]) -> None:
    kind, address = stub
    kind.prepared = [f"HTTP/1.1 302 Found\r\nLocation: {address}/elsewhere\r\nContent-Length: 0\r\n\r\n".encode()]
    with pytest.raises(courtside.ApiError, match="redirects"):
        Client(address, TOKEN).video(1)
    assert kind.requests == [f"/api/videos/1 Bearer {TOKEN}"]


def test_events_continue_after_the_connection_broke(
    stub: tuple[type[Stub], str], tracked: Tracked, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, address = stub
    server, _, job_id, _ = tracked
    body = server._connection.json("GET", f"/api/jobs/{job_id}")
    open_job = json.dumps({**body, "status": "processing"})
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
    first = head + f": keep-alive\n\ndata: {open_job}\n\n".encode()
    broken = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 9999\r\n\r\n"
    last = head + f"id: end\ndata: {json.dumps(body)}\n\n".encode()
    kind.prepared = [first, broken, b"", last]
    monkeypatch.setattr(client, "_RETRY_AFTER_S", 0)
    assert [job.status for job in Client(address).events(job_id)] == ["processing", "completed"]


def test_the_format_of_events() -> None:
    lines = b": comment\n\nevent: error\ndata: a\ndata:b\r\n\r\ndata: c\nid: end\n\ndata: incomplete\n".splitlines(True)
    assert list(_events.events(lines)) == [("error", "a\nb"), ("message", "c")]
