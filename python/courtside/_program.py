"""Finds the program `courtside` and runs it."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from .errors import Kind, ProgramError, ProgramNotFound

NAME = "courtside.exe" if os.name == "nt" else "courtside"
_KEPT_LINES = 50


def find_program() -> Path:
    """The program that was installed with this package, otherwise the one in this environment, otherwise on the `PATH`."""
    candidates = [*_installed_with_package(), Path(sysconfig.get_path("scripts")) / NAME]
    for candidate in candidates:
        if os.access(candidate, os.X_OK) and candidate.is_file():
            return candidate
    on_path = shutil.which(NAME)
    if on_path:
        return Path(on_path)
    raise ProgramNotFound(
        f"the program {NAME} was not found: not in {candidates[-1].parent}, nor on the PATH",
        "install the wheel with `pip install courtside`, or put the program on the PATH",
    )


def _installed_with_package() -> list[Path]:
    """Where pip put the program of this package's wheel, whatever the scheme of the installation."""
    try:
        files = importlib.metadata.files("courtside") or []
    except importlib.metadata.PackageNotFoundError:
        return []
    return [Path(str(file.locate())).resolve() for file in files if file.name == NAME]


@dataclass(frozen=True)
class Finished:
    """What a run of the program printed: JSON on standard output, and whether Ctrl-C stopped it."""

    output: Mapping[str, Any]
    exit_code: int
    was_interrupted: bool
    last_lines: Sequence[str]

    def error(self) -> ProgramError:
        """The error that the program reported."""
        for text in (self.output, *map(_json_object, reversed(self.last_lines))):
            error = text.get("error")
            if isinstance(error, dict):
                return _reported(error, self.exit_code)
        if self.exit_code < 0:
            name = signal.strsignal(-self.exit_code) or str(-self.exit_code)
            hint = "it may have run out of memory" if self.exit_code == -9 else None
            return ProgramError(f"the program was ended by a signal ({name})", hint, exit_code=self.exit_code)
        lines = "; ".join(self.last_lines[-3:]) or "it printed no reason"
        return ProgramError(f"the program failed: {lines}", kind=_kind(self.exit_code), exit_code=self.exit_code)


def run(arguments: Sequence[str], *, progress: bool) -> Finished:
    """Runs the program with `--json`. Progress and warnings appear on standard error, or are discarded.

    On the first Ctrl-C the program is told to stop, and awaited; on the second it exits at once. It runs in a session of its
    own, so that a terminal does not send it a signal besides.
    """
    show_on_terminal = progress and _stderr_is_terminal()
    process = subprocess.Popen(
        [str(find_program()), "--json", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=None if show_on_terminal else subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    )
    output: list[str] = []
    last_lines: deque[str] = deque(maxlen=_KEPT_LINES)
    readers = [_start(_collect, process.stdout, output)]
    if process.stderr is not None:
        readers.append(_start(_pass_on, process.stderr, last_lines, progress))
    try:
        was_interrupted = _wait(process)
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
        for reader in readers:
            reader.join()
    return Finished(_json_object("".join(output)), process.returncode, was_interrupted, list(last_lines))


def _wait(process: subprocess.Popen[str]) -> bool:
    """Waits for the end of the program. Returns whether Ctrl-C was pressed meanwhile."""
    was_interrupted = False
    while True:
        try:
            process.wait()
            return was_interrupted
        except KeyboardInterrupt:
            was_interrupted = True
            process.send_signal(signal.SIGINT)


def _start(target: Any, *arguments: Any) -> threading.Thread:
    thread = threading.Thread(target=target, args=arguments, daemon=True)
    thread.start()
    return thread


def _collect(stream: IO[str], into: list[str]) -> None:
    with stream:
        into.append(stream.read())


def _pass_on(stream: IO[str], last_lines: deque[str], show: bool) -> None:
    with stream:
        for line in stream:
            last_lines.append(line.rstrip())
            if show and not _json_object(line):
                print(line, end="", file=sys.stderr, flush=True)


def _stderr_is_terminal() -> bool:
    """Whether `sys.stderr` is the terminal that a child process would write to."""
    try:
        return sys.stderr.fileno() == 2 and sys.stderr.isatty()
    except (AttributeError, OSError, ValueError):
        return False


def _json_object(text: str) -> Mapping[str, Any]:
    """Parses a JSON object; empty if the text is something else."""
    if not re.match(r"\s*\{", text):
        return {}
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _kind(exit_code: int) -> Kind:
    try:
        return Kind(exit_code)
    except ValueError:
        return Kind.INTERNAL


def _reported(error: Mapping[str, Any], exit_code: int) -> ProgramError:
    hint, causes = error.get("hint"), error.get("causes")
    return ProgramError(
        str(error.get("message", "the program failed")),
        hint if isinstance(hint, str) else None,
        kind=_kind(exit_code),
        causes=[str(cause) for cause in causes] if isinstance(causes, list) else (),
        exit_code=exit_code,
    )
