"""Results files: every form in which programs write them, invalid ones, and a million detections."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path
from typing import Any

import courtside
import pytest
from courtside import Detection, _json_stream, read_results

from .conftest import HEAD, peak_growth_kib, text_of

ROWS = [
    {"frame": 0, "track_id": 1, "bbox": [412.5, -8, 61.25, 143], "confidence": 0.9731, "prompt": 0},
    {"frame": 0, "track_id": 3, "bbox": [1, 2, 3, 4], "confidence": 1, "prompt": 1},
    {"frame": 4, "track_id": 1, "bbox": [413, -8, 61, 143.5], "confidence": 0.5, "prompt": 0},
]
DETECTIONS = [
    Detection(0, 1, (412.5, -8.0, 61.25, 143.0), 0.9731, 0),
    Detection(0, 3, (1.0, 2.0, 3.0, 4.0), 1.0, 1),
    Detection(4, 1, (413.0, -8.0, 61.0, 143.5), 0.5, 0),
]
FIELDS = {"job_id": "j", "video_id": 7, "completed_at": None, "frames_processed": 5, "prompts": ["a", 'b "}, {"']}
PLAIN = json.dumps({**FIELDS, "detections": ROWS}).encode()


def write(folder: Path, content: bytes | str) -> Path:
    path = folder / "results.json"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_a_million_detections_are_read_in_a_few_megabytes(million: Path) -> None:
    setup = "import courtside"
    work = f"""
results = courtside.read_results({str(million)!r})
assert results.header.frames_processed == 100_000
n = sum(1 for _ in results)
assert n == 1_000_000, n"""
    assert peak_growth_kib(setup, work) < 8 * 1024


def test_detections_on_one_line_before_the_other_fields_are_read_in_a_few_megabytes(tmp_path: Path) -> None:
    rows = text_of(100_000).replace("\n", " ").replace(":", ": ")
    path = write(tmp_path, f'{{"detections": [{rows}], "job_id": "older", "video_id": 3}}')
    work = f"""
results = courtside.read_results({str(path)!r})
assert results.header.job_id == "older" and results.header.frames_processed is None
assert sum(1 for _ in results) == 100_000"""
    assert peak_growth_kib("import courtside", work) < 8 * 1024


@pytest.mark.parametrize(
    "content",
    [
        PLAIN,
        json.dumps({**FIELDS, "detections": ROWS}, indent=2).encode(),
        json.dumps({"detections": ROWS, **FIELDS}, separators=(",", ":")).encode(),
        json.dumps({"a": {"detections": [1]}, **FIELDS, "detections": ROWS, "b": [{}, {}]}).encode() + b"\r\n\t ",
        json.dumps({**FIELDS, "detections": [{**row, "mask": {"rle": [{}, {"x": 1}]}} for row in ROWS]}).encode(),
        PLAIN.replace(b'"frame": 4', b'"frame": 4.0').replace(b'"frame"', b'"fram\\u0065"'),
        gzip.compress(PLAIN[:100]) + gzip.compress(PLAIN[100:]),
    ],
    ids=["plain", "indented", "fields last", "fields around", "unknown fields", "escapes", "gzip"],
)
def test_all_forms_of_a_file_have_the_same_detections(tmp_path: Path, content: bytes) -> None:
    results = read_results(write(tmp_path, content))
    assert list(results) == DETECTIONS
    assert list(results) == DETECTIONS  # again, from the start
    header = results.header
    assert (header.job_id, header.video_id, header.frames_processed) == ("j", 7, 5)
    assert header.prompts == ("a", 'b "}, {"')


def test_zstd_is_read(tmp_path: Path) -> None:
    zstandard = pytest.importorskip("zstandard", reason="the extra `zstd` is not installed")
    assert list(read_results(write(tmp_path, zstandard.compress(PLAIN)))) == DETECTIONS


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 50, 333])
def test_where_chunks_end_does_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(_json_stream, "CHUNK", chunk)
    monkeypatch.setattr(_json_stream.JsonStream._fill, "__defaults__", (chunk,))
    made = random.Random(chunk)
    rows: list[dict[str, Any]] = [
        {"frame": i, "track_id": made.randrange(10**6), "bbox": [made.random()] * 4, "confidence": made.random()}
        for i in range(200)
    ]
    for row in rows[::7]:
        row["note"] = made.choice(['é"},{"', [1, {"a": "},"}], {"b": {}}, "\\", "]}"])
    fields = {"job_id": 'j"},\\', "video_id": 12345678, "completed_at": None, "frames_processed": 5, "café": [{}, {}]}
    text = json.dumps({**fields, "detections": rows, "tail": "},{"}, ensure_ascii=False, indent=made.choice([None, 1]))
    results = read_results(write(tmp_path, text))
    want = [(row["frame"], row["track_id"], tuple(row["bbox"]), row["confidence"]) for row in rows]
    assert [detection[:4] for detection in results] == want
    assert results.header.job_id == fields["job_id"]
    assert results.header.video_id == 12345678
    assert results.header.extra["café"] == [{}, {}]


def test_a_file_that_ends_early_is_an_error_wherever_it_ends(tmp_path: Path) -> None:
    for end in range(len(PLAIN)):
        with pytest.raises(courtside.ResultsError):
            list(read_results(write(tmp_path, PLAIN[:end])))


def test_a_damaged_archive_is_an_error(tmp_path: Path) -> None:
    packed = gzip.compress(PLAIN)
    for content in (packed[:-9], packed[:20] + b"\0\0\0\0" + packed[24:], packed[:12]):
        with pytest.raises(courtside.ResultsError):
            list(read_results(write(tmp_path, content)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frame": -1}, "'frame'"),
        ({"frame": True}, "'frame'"),
        ({"frame": 1.5}, "'frame'"),
        ({"frame": 2**63}, "'frame'"),
        ({"track_id": "3"}, "'track_id'"),
        ({"bbox": [1, 2, 3]}, "bbox"),
        ({"bbox": [1, 2, -3, 4]}, "bbox"),
        ({"bbox": [1, 2, 3, 1e7]}, "bbox"),
        ({"bbox": ["1", 2, 3, 4]}, "bbox"),
        ({"bbox": None}, "bbox"),
        ({"confidence": 1.01}, "confidence"),
        ({"confidence": None}, "confidence"),
        ({"prompt": -1}, "'prompt'"),
        ({"frame": 0, "track_id": 3}, "track 3 is twice on frame 0"),
    ],
)
def test_an_invalid_detection_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = write(tmp_path, json.dumps({**FIELDS, "detections": [*ROWS[:2], {**ROWS[2], **change}]}))
    with pytest.raises(courtside.ResultsError, match="detection 2") as caught:
        list(read_results(path))
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b'{"job_id":"j"}',
        b'{"detections":null}',
        b'{"detections":[],"detections":[]}',
        PLAIN.replace(b"0.5,", b"NaN,"),
        PLAIN.replace(b"413", b"0413"),
        PLAIN.replace(b"}, {", b"} {"),
        PLAIN.replace(b"}]}", b"},]}"),
        PLAIN + b"{}",
        PLAIN.replace(b"0.5", b"[" * 100_000),
        b"\xff\xfe",
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(courtside.ResultsError):
        list(read_results(write(tmp_path, content)))


def test_a_confidence_that_rounding_put_outside_is_clamped(tmp_path: Path) -> None:
    rows = [{**ROWS[0], "confidence": 1.0004}, {**ROWS[1], "confidence": -0.0003}]
    results = read_results(write(tmp_path, json.dumps({**FIELDS, "detections": rows})))
    assert [detection.confidence for detection in results] == [1.0, 0.0]


def test_no_detections_are_no_detections(tmp_path: Path) -> None:
    results = read_results(write(tmp_path, HEAD + ',"detections":[\n]}\n'))
    assert list(results) == []
    assert results.tracks() == []
    assert results.header.prompts == ("p",)


def test_a_missing_file_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_results(tmp_path / "none.json")


def test_frames_and_tracks(tmp_path: Path) -> None:
    results = read_results(write(tmp_path, PLAIN))
    assert list(results.frames()) == [(0, DETECTIONS[:2]), (4, DETECTIONS[2:])]
    assert results.tracks() == [(1, 2, 0, 4, (0.9731 + 0.5) / 2), (3, 1, 0, 0, 1.0)]
    assert DETECTIONS[1].xyxy == (1.0, 2.0, 4.0, 6.0)
    unordered = read_results(write(tmp_path, json.dumps({**FIELDS, "detections": ROWS[::-1]})))
    assert len(list(unordered)) == 3
    with pytest.raises(courtside.ResultsError, match="not ordered"):
        list(unordered.frames())
