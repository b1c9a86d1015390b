"""`track`: tracks a video on this machine."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Union

from . import _program
from .errors import TrackingInterrupted
from .results import Results

PathLike = Union[str, "os.PathLike[str]"]


def track(
    video: PathLike,
    *,
    prompts: str | Sequence[str] | None = None,
    model: PathLike | None = None,
    out: PathLike = "tracks.json",
    annotated: PathLike | None = None,
    mot: PathLike | None = None,
    checkpoint: PathLike | None = None,
    every: int = 1,
    first_frame: int = 0,
    last_frame: int | None = None,
    max_tracks: int | None = None,
    retire_after: int | None = None,
    max_missing: float | None = None,
    device: str | None = None,
    force: bool = False,
    progress: bool = True,
    options: Sequence[str] = (),
) -> Results:
    """Tracks everything that the prompts name, with `courtside track`, and returns the results.

    `prompts` is a phrase or several; the default is `SAM3_PROMPT` or "basketball player". `model` is a folder; without it,
    the program looks in the usual places and downloads it if needed. `annotated` is a copy of the video to write, with the
    tracks drawn into it; `mot` a file of MOT Challenge text. Frames are counted from 0; `last_frame` is included.
    `options` are further options of `courtside track`, such as `["--weights", "bf16"]`.

    Progress and warnings appear on standard error unless `progress` is false; `Results.summary` has the warnings.

    Ctrl-C finishes the current frame, writes the results so far and raises `TrackingInterrupted`, which is a
    `KeyboardInterrupt`. With `checkpoint`, the same call resumes. A second Ctrl-C ends the program at once.

    Raises `ProgramError` for what the program reports, and `ProgramNotFound`.
    """
    arguments = ["track", *options, f"--out={os.fspath(out)}", f"--every={every}", f"--from={first_frame}"]
    arguments += [f"--prompt={prompt}" for prompt in ([prompts] if isinstance(prompts, str) else prompts or ())]
    optional = {
        "model": model,
        "annotated": annotated,
        "mot": mot,
        "checkpoint": checkpoint,
        "to": last_frame,
        "max-tracks": max_tracks,
        "retire-after": retire_after,
        "max-missing": max_missing,
        "device": device,
    }
    arguments += [f"--{name}={_text(value)}" for name, value in optional.items() if value is not None]
    arguments += ["--force"] if force else []
    finished = _program.run([*arguments, "--", os.fspath(video)], progress=progress)
    if finished.was_interrupted:
        frames = finished.output.get("frames_processed")
        saved = None if checkpoint is None else Path(checkpoint)
        raise TrackingInterrupted(frames if isinstance(frames, int) else None, saved)
    if finished.exit_code != 0:
        raise finished.error()
    return Results(out, summary=finished.output)


def _text(value: PathLike | float) -> str:
    return str(value) if isinstance(value, (int, float)) else os.fspath(value)
