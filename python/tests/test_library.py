"""`Library` on databases that the program made, and on one of the analyzer app."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import courtside
import pytest
from courtside import Library, read_results

from .conftest import CLIP, N_FRAMES, Home, peak_growth_kib


def results_of(home: Home, job: str) -> list[tuple[object, ...]]:
    """The detections in the bucket's results file of a job."""
    return [detection[:4] for detection in read_results(home.folder / "basketball-analyzer/results" / f"{job}.json")]


def test_videos_and_jobs(home: Home, jobs: dict[str, str]) -> None:
    library = Library(home.folder)
    (video,) = library.videos()
    assert library.video(video.id) == video
    assert Path(video.file_path) == CLIP
    assert (video.resolution, video.processed, video.processing_status) == ("120x90", True, "completed")
    assert video.upload_date is not None
    found = library.jobs()
    assert [job.id for job in found] == [jobs["box"], jobs["ball"]]  # newest first
    assert library.jobs(video.id) == found
    assert library.jobs(video.id + 1) == []
    assert [job.parameters["prompt"] for job in found] == ["box", "ball"]
    assert all(job.status == "completed" and job.is_finished and job.imported for job in found)
    assert found[0].created_at is not None
    assert found[1].created_at is not None
    assert found[0].created_at > found[1].created_at


def test_detections_of_a_video_are_those_of_its_latest_job(home: Home, jobs: dict[str, str]) -> None:
    library = Library(home.folder / "basketball_analyzer.db")
    of_video = [detection[:4] for detection in library.detections(1)]
    assert of_video == results_of(home, jobs["box"])
    assert library.job_of_video(1) == jobs["box"]
    of_job = [detection[:4] for detection in library.detections(1, job_id=jobs["ball"])]
    assert of_job == results_of(home, jobs["ball"])
    assert of_job != of_video
    for job in (None, jobs["ball"]):
        arguments = ("--job", job) if job else ()
        shown = home.run("tracks", "1", *arguments)["tracks"]
        tracks = library.tracks(1, job_id=job)
        assert [(row["track_id"], row["n_detections"]) for row in shown] == [track[:2] for track in tracks]


def test_detections_are_filtered(home: Home, jobs: dict[str, str]) -> None:
    library = Library(f"sqlite:///{home.folder}/basketball_analyzer.db")
    everything = list(library.detections(1, job_id=jobs["ball"]))
    some = list(library.detections(1, job_id=jobs["ball"], frame_start=2, frame_end=5, min_confidence=0.8))
    assert some == [row for row in everything if 2 <= row.frame <= 5 and row.confidence >= 0.8]
    assert 0 < len(some) < len(everything)
    assert everything[-1].frame == N_FRAMES - 1
    table = library.to_pandas(1, job_id=jobs["ball"])
    assert table["frame"].tolist() == [row.frame for row in everything]
    assert library.to_arrow(1).num_rows == len(list(library.detections(1)))


@pytest.mark.usefixtures("jobs")
def test_what_an_import_in_progress_wrote_is_not_visible(home: Home, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    with sqlite3.connect(home.folder / "basketball_analyzer.db") as source, sqlite3.connect(copy) as to:
        source.backup(to)
    before = list(Library(copy).detections(1))
    with sqlite3.connect(copy) as to:
        (last,) = to.execute("SELECT max(id) FROM player_detections").fetchone()
        insert = "INSERT INTO player_detections VALUES (?, 1, 3, NULL, 1, 2, 3, 4, 99, 0.5)"
        to.executemany(insert, [(last + 1,), (last + 2,)])
        to.execute("INSERT INTO courtside_writes VALUES (90, 'other', 1, 0)")
        to.execute("INSERT INTO courtside_ranges VALUES (90, ?, ?, 3, 1, 2, 3, 1, 2)", (last + 1, last + 2))
    assert list(Library(copy).detections(1)) == before
    # Once its import is complete, it is the latest one.
    with sqlite3.connect(copy) as to:
        columns = "job_id, video_id, sha256, n_detections, imported_at, write_id"
        to.execute(f"INSERT INTO courtside_imports ({columns}) VALUES ('other', 1, '', 2, '2999-01-01', 90)")
    assert [row.track_id for row in Library(copy).detections(1)] == [99, 99]
    # If its rows are deleted, the one before is the latest that has any.
    with sqlite3.connect(copy) as to:
        to.execute("DELETE FROM player_detections WHERE tracking_id = 99")
    assert list(Library(copy).detections(1)) == before
    # If there are no imports, the rows of other programs are the video's.
    with sqlite3.connect(copy) as to:
        to.execute("DELETE FROM courtside_imports")
        to.execute("INSERT INTO player_detections VALUES (?, 1, 0, 5, 1, 2, 3, 4, 7, 0.5)", (last + 9,))
    assert [(row.track_id, row.player_id) for row in Library(copy).detections(1)] == [(7, 5)]
    assert Library(copy).job_of_video(1) is None


def test_a_database_with_hundreds_of_ranges(home: Home, jobs: dict[str, str], tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    with sqlite3.connect(home.folder / "basketball_analyzer.db") as source, sqlite3.connect(copy) as to:
        source.backup(to)
        to.execute("INSERT INTO courtside_writes VALUES (90, 'other', 1, 0)")
        insert = "INSERT INTO player_detections VALUES (?, 1, ?, NULL, 1, 2, 3, 4, 99, 0.5)"
        to.executemany(insert, [(10_000 + 2 * i, i) for i in range(300)])
        ranges = "INSERT INTO courtside_ranges VALUES (90, ?, ?, ?, 1, 2, ?, 1, 2)"
        to.executemany(ranges, [(10_000 + 2 * i, 10_000 + 2 * i, i, i) for i in range(300)])
        columns = "job_id, video_id, sha256, n_detections, imported_at, write_id"
        to.execute(f"INSERT INTO courtside_imports ({columns}) VALUES ('other', 1, '', 300, '2999-01-01', 90)")
    assert [row.frame for row in Library(copy).detections(1)] == list(range(300))
    before = [row[:4] for row in Library(copy).detections(1, job_id=jobs["ball"])]
    assert before == results_of(home, jobs["ball"])


APP = """
CREATE TABLE alembic_version (version_num TEXT);
CREATE TABLE games (id INTEGER PRIMARY KEY, name TEXT);
CREATE TABLE videos (id INTEGER PRIMARY KEY, game_id INTEGER, file_path TEXT, processed BOOLEAN, processing_status TEXT);
CREATE TABLE player_detections (id INTEGER PRIMARY KEY, video_id INTEGER, frame_number INTEGER, player_id INTEGER,
    bbox_x FLOAT, bbox_y FLOAT, bbox_width FLOAT, bbox_height FLOAT, tracking_id INTEGER, confidence_score FLOAT);
CREATE INDEX ix_player_detections_video_frame ON player_detections (video_id, frame_number);
INSERT INTO videos VALUES (4, 1, 'a.mp4', 1, 'COMPLETED');
"""


def app_database(folder: Path, n: int) -> Path:
    """A database of an old revision of the analyzer app, which Courtside never wrote to."""
    path = folder / "app.db"
    with sqlite3.connect(path) as connection:
        connection.executescript(APP)
        insert = "INSERT INTO player_detections VALUES (NULL, 4, ?, NULL, 1, 2, 3, 4, ?, 0.5)"
        # Of each frame, the last track first.
        connection.executemany(insert, ((i // 10, 9 - i % 10) for i in range(n)))
    return path


def test_a_database_of_the_app_is_read_and_not_changed(tmp_path: Path) -> None:
    path = app_database(tmp_path, 30)
    content = path.read_bytes()
    library = Library(path)
    (video,) = library.videos()
    assert (video.id, video.r2_key, video.upload_date, video.processing_status) == (4, None, None, "completed")
    assert library.jobs() == []
    assert [row[:2] for row in library.detections(4)] == [(i // 10, i % 10) for i in range(30)]
    assert len(library.tracks(4)) == 10
    assert path.read_bytes() == content
    assert [file.name for file in tmp_path.iterdir()] == ["app.db"]


def test_detections_are_iterated_in_a_few_megabytes(tmp_path: Path) -> None:
    path = app_database(tmp_path, 300_000)
    work = f"assert sum(1 for _ in courtside.Library({str(path)!r}).detections(4)) == 300_000"
    assert peak_growth_kib("import courtside", work) < 8 * 1024


def test_an_iterator_does_not_see_later_changes(tmp_path: Path) -> None:
    path = app_database(tmp_path, 30_000)
    with sqlite3.connect(path) as writer:
        writer.execute("PRAGMA journal_mode = WAL")
    rows = Library(path).detections(4)
    first = next(rows)
    with sqlite3.connect(path) as writer:
        writer.execute("DELETE FROM player_detections WHERE frame_number > 10")
    assert len([first, *rows]) == 30_000
    assert len(list(Library(path).detections(4))) == 110


def test_errors_say_what_is_missing(tmp_path: Path, home: Home, jobs: dict[str, str]) -> None:
    with pytest.raises(courtside.LibraryError, match="there is no database"):
        Library(tmp_path)
    with pytest.raises(courtside.LibraryError, match="only URLs of SQLite") as caught:
        Library("postgresql://user:secret@host/db")
    assert "secret" not in str(caught.value)
    (tmp_path / "text.db").write_text("not a database" * 100)
    with pytest.raises(courtside.LibraryError, match="not a database"):
        Library(tmp_path / "text.db")
    with sqlite3.connect(tmp_path / "other.db") as other:
        other.execute("CREATE TABLE videos (id INTEGER)")
    with pytest.raises(courtside.LibraryError, match="not the database of a library"):
        Library(tmp_path / "other.db")
    library = Library(home.folder)
    with pytest.raises(courtside.LibraryError, match="no video 9"):
        library.video(9)
    with pytest.raises(courtside.LibraryError, match="no video 9"):
        list(library.detections(9, job_id=jobs["ball"]))
    with pytest.raises(courtside.LibraryError, match="courtside import --job-id unknown"):
        list(library.detections(1, job_id="unknown"))


def test_a_library_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = app_database(tmp_path, 1)
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE courtside_schema (version INTEGER NOT NULL)")
        connection.execute("INSERT INTO courtside_schema VALUES (99)")
    with pytest.raises(courtside.LibraryError, match="newer version"):
        list(Library(path).detections(4))
