"""`track` with the real program and a tiny model."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO

import courtside
import pytest
from courtside import Kind, _program, track

from .conftest import CLIP, MODEL, N_FRAMES

LOOPS = 3
"""How often the clip is repeated, for a run that is long enough to interrupt."""


def test_tracks_a_clip(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out, mot = tmp_path / "out.json", tmp_path / "out.txt"
    results = track(CLIP, prompts=["ball", "box"], model=MODEL, out=out, mot=mot, last_frame=7)
    assert results.path == out
    detections = list(results)
    assert len(detections) == results.summary["detections"] == len(mot.read_text().splitlines())
    assert {detection.prompt for detection in detections} == {0, 1}
    assert max(detection.frame for detection in detections) == 7
    assert results.header.prompts == ("ball", "box")
    assert results.header.frames_processed == 8
    found = {row["track_id"]: row["n_frames"] for row in results.summary["tracks"]}
    assert {row.track_id: row.n_detections for row in results.tracks()} == found
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("show", [True, False])
def test_messages_of_the_program_appear_unless_they_are_not_wanted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], show: bool
) -> None:
    with pytest.raises(courtside.ProgramError):
        track(tmp_path / "none.mp4", model=MODEL, progress=show)
    assert ("none.mp4" in capsys.readouterr().err) == show


def test_errors_of_the_program_are_exceptions_with_kind_and_hint(tmp_path: Path) -> None:
    with pytest.raises(courtside.ProgramError, match=r"none\.mp4") as caught:
        track(tmp_path / "none.mp4", model=MODEL)
    assert (caught.value.kind, caught.value.exit_code) == (Kind.FAILED, 1)
    with pytest.raises(courtside.ProgramError, match="does not exist") as caught:
        track(CLIP, model=tmp_path / "no-model")
    assert caught.value.kind is Kind.CONFIG
    assert "config.json" in (caught.value.hint or "")
    assert "config.json" in str(caught.value)
    with pytest.raises(courtside.ProgramError) as caught:
        track(CLIP, model=MODEL, every=0)
    assert caught.value.kind is Kind.USAGE


def test_results_of_another_video_are_replaced_only_by_force(tmp_path: Path) -> None:
    out, copy = tmp_path / "out.json", tmp_path / "-other.mkv"
    track(CLIP, prompts="ball", model=MODEL, out=out, last_frame=0)
    copy.symlink_to(CLIP)
    with pytest.raises(courtside.ProgramError, match="another video"):
        track(copy, prompts="ball", model=MODEL, out=out, last_frame=0)
    assert track(copy, prompts="ball", model=MODEL, out=out, last_frame=0, force=True).header.job_id == "track--other"


def test_a_missing_program_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(_program, "_installed_with_package", list)
    monkeypatch.setattr("sysconfig.get_path", lambda _name: str(tmp_path))
    with pytest.raises(courtside.ProgramNotFound, match="pip install courtside"):
        track(CLIP)


def test_a_program_that_is_killed_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "courtside"
    program.write_text("#!/bin/sh\nkill -9 $$\n")
    program.chmod(0o755)
    monkeypatch.setattr(_program, "find_program", lambda: program)
    with pytest.raises(courtside.ProgramError, match="out of memory") as caught:
        track(CLIP)
    assert caught.value.exit_code == -signal.SIGKILL


SCRIPT = """
import sys, courtside
video, model, folder = sys.argv[1:]
try:
    results = courtside.track(
        video, prompts="ball", model=model, out=f"{folder}/out.json", checkpoint=f"{folder}/run.checkpoint",
        options=["--checkpoint-interval", "0.001"],
    )
except courtside.TrackingInterrupted as stopped:
    assert isinstance(stopped, KeyboardInterrupt)
    print("interrupted", stopped.frames_processed, stopped.checkpoint, stopped)
else:
    print("finished", results.header.frames_processed)
"""


def run_script(video: Path, folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SCRIPT, str(video), str(MODEL), str(folder)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    """Returns when a file exists. Fails if the process ends before."""
    while not path.exists():
        assert process.poll() is None, process.communicate()


def output(stream: IO[str] | None) -> str:
    assert stream is not None
    return stream.read()


def test_ctrl_c_writes_what_was_tracked_and_the_same_call_resumes(tmp_path: Path) -> None:
    video = tmp_path / "long.mkv"
    looped = ["ffmpeg", "-v", "error", "-stream_loop", str(LOOPS), "-i", str(CLIP), "-c", "copy", str(video)]
    subprocess.run(looped, check=True)
    process = run_script(video, tmp_path)
    wait_for(tmp_path / "run.checkpoint", process)
    process.send_signal(signal.SIGINT)
    said = output(process.stdout)
    assert process.wait() == 0, output(process.stderr)
    word, frames, checkpoint = said.split()[:3]
    assert word == "interrupted", said
    assert 0 < int(frames) < N_FRAMES * (LOOPS + 1)
    assert checkpoint == str(tmp_path / "run.checkpoint")
    assert "repeat the same call to resume" in said
    partial = courtside.read_results(tmp_path / "out.json")
    assert partial.header.frames_processed == int(frames)
    resumed = run_script(video, tmp_path)
    assert output(resumed.stdout).split() == ["finished", str(N_FRAMES * (LOOPS + 1))], output(resumed.stderr)
    assert resumed.wait() == 0


def test_python_m_courtside_is_the_program() -> None:
    command = [sys.executable, "-m", "courtside", "--version"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    assert done.stdout.startswith("courtside ")
