"""A reader for one large JSON object with one large array, in bounded memory.

The file is read in chunks. Of the array, as many whole objects as the buffer has are parsed at once by the standard
library's parser, which is written in C. Whether they are whole needs no search: text up to a `}` that is followed by a
comma is a list of whole values exactly if it parses as one.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from typing import Any, NoReturn, Protocol

CHUNK = 1 << 16
"""Number of bytes that are read at once."""
MAX_VALUE = 1 << 24
"""Largest value outside the array, and largest object in it, in characters."""

_SPACE = " \t\n\r"


class ReadsBytes(Protocol):
    """A file that is read."""

    def read(self, size: int, /) -> bytes: ...


class JsonError(ValueError):
    """The text is not JSON of the expected form."""


def _reject_constant(name: str) -> NoReturn:
    raise JsonError(f"{name} is not a number in JSON")


_DECODER = json.JSONDecoder(parse_constant=_reject_constant)


class JsonStream:
    """Reads JSON values one after the other from a file of bytes in UTF-8."""

    def __init__(self, file: ReadsBytes) -> None:
        self._file = file
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._text = ""
        self._at = 0
        self._ended = False
        self._bulk_failed = False

    def skip_space(self) -> str:
        """Skips white space. Returns the next character without taking it, or "" at the end of the file."""
        while True:
            text, at = self._text, self._at
            while at < len(text) and text[at] in _SPACE:
                at += 1
            self._at = at
            if at < len(text):
                return text[at]
            if not self._fill():
                return ""

    def take(self, expected: str) -> None:
        """Takes one character, after white space."""
        found = self.skip_space()
        if found != expected:
            raise JsonError(f"expected {expected!r}, found {found!r}" if found else f"the file ends before {expected!r}")
        self._at += 1

    def take_if(self, expected: str) -> bool:
        """Takes one character after white space if it is the expected one."""
        if self.skip_space() != expected:
            return False
        self._at += 1
        return True

    def value(self) -> Any:
        """Takes the next value, of at most `MAX_VALUE` characters."""
        if not self.skip_space():
            raise JsonError("the file ends before it is complete")
        wanted = CHUNK
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except JsonError:
                raise
            except RecursionError:
                raise JsonError("a value is nested too deeply") from None
            except ValueError as error:
                if self._ended:
                    raise JsonError(self._describe(error)) from None
            else:
                # A number that ends where the buffer ends may have more digits.
                if end < len(self._text) or self._ended:
                    self._at = end
                    return value
            if len(self._text) - self._at > MAX_VALUE:
                raise JsonError(f"not JSON, or a value of more than {MAX_VALUE >> 20} MiB")
            wanted *= 2
            self._fill(wanted)

    def objects(self) -> Iterator[list[Any]]:
        """The elements of an array whose `[` was taken, in lists. Takes the `]`."""
        if self.take_if("]"):
            return
        while True:
            batch = self._whole_objects()
            if batch is None:
                batch = [self.value()]
                is_last = not self.take_if(",")
                yield batch
                if is_last:
                    self.take("]")
                    return
            else:
                yield batch

    def at_end(self) -> bool:
        """Whether only white space is left."""
        return not self.skip_space()

    def _whole_objects(self) -> list[Any] | None:
        """The objects that the buffer has whole, each followed by a comma; `None` to take one value by itself.

        If that fails, it is not tried again before there is more text.
        """
        if len(self._text) - self._at < CHUNK // 2:
            self._fill()
            self._bulk_failed = False
        if self._bulk_failed:
            return None
        end = self._text.rfind("},", self._at)
        self._bulk_failed = True
        if end < 0:
            return None
        try:
            batch = json.loads(f"[{self._text[self._at : end + 1]}]", parse_constant=_reject_constant)
        except (ValueError, RecursionError):
            return None
        self._at = end + 2
        self._bulk_failed = False
        return list(batch)

    def _fill(self, size: int = CHUNK) -> bool:
        """Reads more bytes. Returns whether there is more text."""
        self._text, self._at = self._text[self._at :], 0
        while not self._ended:
            data = self._file.read(size)
            self._ended = not data
            try:
                more = self._decoder.decode(data, final=self._ended)
            except UnicodeDecodeError:
                raise JsonError("the file is not UTF-8 text") from None
            if more:
                self._text += more
                return True
        return False

    def _describe(self, error: ValueError) -> str:
        if isinstance(error, json.JSONDecodeError) and error.pos >= len(self._text.rstrip()):
            return "the file ends before it is complete"
        start = getattr(error, "pos", self._at)
        return f"not JSON at {self._text[start : start + 40]!r}"
