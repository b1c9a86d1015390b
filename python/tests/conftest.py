"""The program that the tests run, a library that it made, and files with a million detections.

`COURTSIDE` names the program; without it, the one that is installed with the package is tested. `COURTSIDE_REPOSITORY` is
the repository, if the tests are not in it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import courtside
import pytest

REPOSITORY = Path(os.environ.get("COURTSIDE_REPOSITORY") or Path(__file__).resolve().parents[2])
MODEL = REPOSITORY / "fixtures" / "wide"
CLIP = MODEL / "clip.mkv"
N_FRAMES = 14
"""Frames of the clip."""
TOKEN = "0123456789abcdef0123"  # noqa: S105
SETTINGS = ("R2_", "WORKER_", "DATABASE_URL", "VIDEO_STORAGE_PATH", "SINGLE_JOB", "COURTSIDE_", "CLOUD_", "SAM3_")


@pytest.fixture(scope="session", autouse=True)
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The program, with no settings of the user's; on the `PATH` if `COURTSIDE` names it."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(SETTINGS)]:
            patch.delenv(name)
        given = os.environ.get("COURTSIDE")
        if given:
            folder = tmp_path_factory.mktemp("bin")
            (folder / "courtside").symlink_to(Path(given).resolve())
            patch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        yield courtside.find_program()


@dataclass(frozen=True)
class Home:
    """The folder of a library."""

    program: Path
    folder: Path

    def run(self, *arguments: str) -> Any:
        """Runs a command in the folder. Returns what it prints as JSON."""
        command = [str(self.program), "--json", "--library", str(self.folder), *arguments]
        done = subprocess.run(command, cwd=self.folder, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    def worker(self) -> list[str]:
        """The command of a worker of the library."""
        return [str(self.program), "--library", str(self.folder), "worker", "--local", "--model", str(MODEL)]

    def track(self, prompt: str) -> str:
        """Submits, tracks and imports the clip. Returns the job."""
        job: str = self.run("submit", str(CLIP), "--prompt", prompt, "--again")["job_id"]
        self.run("worker", "--local", "--once", "--model", str(MODEL))
        self.run("import", "--job-id", job)
        return job


@pytest.fixture(scope="session")
def home(program: Path, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A library with one video, which was tracked twice: see `jobs`."""
    return Home(program, tmp_path_factory.mktemp("library"))


@pytest.fixture(scope="session")
def jobs(home: Home) -> dict[str, str]:
    """The jobs of the library by what they tracked, in the order of their imports."""
    return {prompt: home.track(prompt) for prompt in ("ball", "box")}


@pytest.fixture(scope="module")
def served(program: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Home, str]]:
    """A library, and the address of its server."""
    home = Home(program, tmp_path_factory.mktemp("served"))
    command = [str(program), "--json", "--library", str(home.folder), "serve", "--port", "0"]
    environment = {**os.environ, "COURTSIDE_TOKEN": TOKEN}
    with running(command, home.folder, environment) as server:
        assert server.stdout is not None
        yield home, json.loads(server.stdout.readline())["address"]


@contextmanager
def running(command: list[str], folder: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """Runs a program in a folder while the caller works, and then ends it."""
    settings = {**environment, "CLOUD_WORKER_POLL_INTERVAL": "1"}
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True, env=settings) as process:
        try:
            yield process
        finally:
            process.terminate()


def text_of(n: int, *, first: int = 0) -> str:
    """`n` detections as the program writes them, ten on each frame."""
    lines = (
        f'{{"frame":{i // 10},"track_id":{i % 10},"bbox":[{i % 1900},{i % 1000}.5,60.25,140],"confidence":0.9731}}'
        for i in range(first, first + n)
    )
    return ",\n".join(lines)


HEAD = '{"job_id":"j","video_id":7,"completed_at":"2026-01-02T03:04:05Z","frames_processed":100000,"prompts":["p"]'


@pytest.fixture(scope="session")
def million(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results file of an hour-long game."""
    path = tmp_path_factory.mktemp("million") / "results.json"
    with open(path, "w") as file:
        file.write(HEAD + ',"detections":[\n')
        for first in range(0, 1_000_000, 50_000):
            file.write((",\n" if first else "") + text_of(50_000, first=first))
        file.write("\n]}\n")
    return path


def peak_growth_kib(setup: str, work: str) -> int:
    """By how many KiB `work` raises the peak memory of a Python process, after `setup`. Both are Python code."""
    code = "\n".join(
        (
            "import resource, sys",
            "def peak():",
            "    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss",
            "    return used // 1024 if sys.platform == 'darwin' else used",
            setup,
            "before = peak()",
            work,
            "print(peak() - before)",
        )
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return int(done.stdout.splitlines()[-1])
