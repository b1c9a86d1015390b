"""Server-sent events: the part of the format that the server uses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple


class Event(NamedTuple):
    """An event with its type and its data."""

    type: str
    data: str


def events(lines: Iterable[bytes]) -> Iterator[Event]:
    """The events in the lines of a response. Comments, which keep the connection open, are left out."""
    kind = "message"
    data: list[str] = []
    for line in lines:
        text = line.decode("utf-8", "replace").rstrip("\r\n")
        if not text:
            if data:
                yield Event(kind, "\n".join(data))
            kind, data = "message", []
            continue
        name, _, value = text.partition(":")
        value = value[1:] if value.startswith(" ") else value
        if name == "event":
            kind = value
        elif name == "data":
            data.append(value)
