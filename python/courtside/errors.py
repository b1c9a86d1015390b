"""Exceptions. Each has the message and, where there is one, a hint that says what to do."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from pathlib import Path


class Kind(enum.Enum):
    """What kind of failure the program reported. The values are its exit codes."""

    FAILED = 1
    """An ordinary failure, such as a missing file."""
    USAGE = 2
    """Invalid arguments."""
    CONFIG = 3
    """An invalid setting, or an unusable model."""
    REMOTE = 4
    """A remote service is unavailable."""
    TRACKING = 5
    """Tracking failed."""
    INTERNAL = 70
    """An internal error, or the program was killed."""
    INTERRUPTED = 130
    """The program was told to stop."""


class CourtsideError(Exception):
    """Base class of all errors of this package.

    `message` is one sentence; `hint` says what to do, or is `None`.
    """

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} (hint: {self.hint})" if self.hint else self.message


class ProgramNotFound(CourtsideError):
    """The program `courtside` is neither in this environment nor on the `PATH`."""


class ProgramError(CourtsideError):
    """The program reported an error.

    `kind` is the kind of failure, `causes` are the errors that caused it, `exit_code` is the program's; it is negative if a
    signal ended the program.
    """

    def __init__(
        self,
        message: str,
        hint: str | None = None,
        *,
        kind: Kind = Kind.INTERNAL,
        causes: Sequence[str] = (),
        exit_code: int = 70,
    ) -> None:
        super().__init__(message, hint)
        self.kind = kind
        self.causes = tuple(causes)
        self.exit_code = exit_code

    def __str__(self) -> str:
        text = ": ".join((self.message, *self.causes))
        return f"{text} (hint: {self.hint})" if self.hint else text


class TrackingInterrupted(KeyboardInterrupt):
    """Ctrl-C stopped `track`. What was tracked until then is in the results file.

    `frames_processed` is `None` if the program ended before it tracked any frame. With `checkpoint`, the same call resumes.
    """

    def __init__(self, frames_processed: int | None, checkpoint: Path | None) -> None:
        self.frames_processed = frames_processed
        self.checkpoint = checkpoint
        done = "before the first frame" if frames_processed is None else f"after {frames_processed} frames"
        hint = "repeat the same call to resume" if checkpoint else "pass checkpoint= to make a run resumable"
        super().__init__(f"tracking was interrupted {done} (hint: {hint})")


class ResultsError(CourtsideError):
    """A file is not a results file, is incomplete, or has an invalid detection. `path` is the file."""

    def __init__(self, path: Path, message: str, hint: str | None = None) -> None:
        super().__init__(f"{path}: {message}", hint)
        self.path = path


class LibraryError(CourtsideError):
    """The database of a library cannot be read, or does not have what was asked for."""


class ApiError(CourtsideError):
    """The server refused a request, or could not be reached.

    `status` is the HTTP status; `None` if there was no complete response.
    """

    def __init__(self, status: int | None, message: str, hint: str | None = None) -> None:
        super().__init__(message, hint)
        self.status = status
