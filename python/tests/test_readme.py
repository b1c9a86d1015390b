"""The examples of the README, in the order in which they are there."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from .conftest import CLIP, MODEL, REPOSITORY, TOKEN, Home, running

EXAMPLES = re.findall(r"(?ms)^```python\n(.*?)^```$", (REPOSITORY / "python" / "README.md").read_text())
ADDRESS = "http://127.0.0.1:8000"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The working folder of the examples, with a video."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "game.mp4").symlink_to(CLIP)
    return folder


def run(example: str) -> None:
    exec(compile(example, "README.md", "exec"), {})


@pytest.mark.parametrize("number", range(4))
def test_examples_of_files(number: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("CLOUD_MODEL_PATH", str(MODEL))
    # The tiny model knows other things than basketball players.
    run(EXAMPLES[number].replace("basketball player", "ball"))
    assert (folder / "annotated.mp4").exists() == (number == 3)


@pytest.mark.usefixtures("jobs")
def test_example_of_a_library(home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(home.folder)
    run(EXAMPLES[4])
    assert "clip.mkv" in capsys.readouterr().out


def test_example_of_a_server(served: tuple[Home, str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, address = served
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COURTSIDE_TOKEN", TOKEN)
    assert ADDRESS in EXAMPLES[5]
    with running(home.worker(), home.folder, dict(os.environ)):
        run(EXAMPLES[5].replace(ADDRESS, address))
    assert (folder / "tracks.csv").read_text().count("\n") > 1
    assert len(EXAMPLES) == 6
