"""A JSON list of objects, read one object at a time: the file is never in memory whole."""

from __future__ import annotations

import re
from pathlib import Path
from typing import BinaryIO

import orjson

from ratchet.datasets.readers import _BOM, _CHUNK, _LISTS, MAX_ROW_BYTES, Rows, json_row
from ratchet.errors import DatasetError

# a whole string; a quote whose string has not ended yet; or a mark
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|["\[\]{},:]', re.DOTALL)
_SPACE = re.compile(rb"[ \t\r\n]*+")


def read_json(file: BinaryIO, path: Path) -> Rows:
    """The objects of a top-level list, or of the list under `examples` or `data`."""
    scanner = _Scanner(file, path)
    first = scanner.peek()
    if first == b"{":
        scanner.enter_list()
    elif first == b"[":
        scanner.skip(1)
    else:
        raise scanner.error('expected a list of objects, or {"examples": [...]}')
    yield from scanner.items()
    if first == b"{":
        scanner.leave_object()
    if scanner.peek():
        raise scanner.error("something follows the end of the JSON; one object a line is format='jsonl'")


class _Scanner:
    """A window of bytes on the file, a position in it, and the line that position is on."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file, self._path = file, path
        self._data = file.read(_CHUNK).removeprefix(_BOM)
        self._at = 0
        self._line = 1

    def error(self, message: str) -> DatasetError:
        near = self._data[self._at : self._at + 60].decode(errors="replace")
        found = f"found {near!r}" if near else "found the end of the file"
        return DatasetError(f"{found}: {message}", file=self._path, line=self._line, value=near)

    def skip(self, count: int) -> None:
        self._line += self._data.count(b"\n", self._at, self._at + count)
        self._at += count

    def _more(self) -> bool:
        """Read on, keeping what is not yet passed: as much again, so that long items stay linear."""
        rest = self._data[self._at :]
        if len(rest) > MAX_ROW_BYTES:
            raise self.error(f"an item longer than {MAX_ROW_BYTES // 2**20} MiB")
        chunk = self._file.read(max(_CHUNK, len(rest)))
        self._data, self._at = rest + chunk, 0
        return bool(chunk)

    def peek(self) -> bytes:
        """The next byte that is not white space; empty at the end."""
        while True:
            end = _SPACE.match(self._data, self._at).end()  # pyright: ignore[reportOptionalMemberAccess]
            self.skip(end - self._at)
            if self._at < len(self._data):
                return self._data[self._at : self._at + 1]
            if not self._more():
                return b""

    def value(self) -> bytes:
        """The bytes of the next value; it ends before a comma or closing bracket of its parent."""
        depth, searched = 0, self._at
        while True:
            for token in _TOKEN.finditer(self._data, searched):
                mark = self._data[token.start()]
                if mark == 0x22 and token.end() - token.start() == 1:
                    searched = token.start()
                    break
                if mark in b"[{":
                    depth += 1
                elif mark in b"]}":
                    depth -= 1
                if depth < 0 or (depth == 0 and mark in b",:"):
                    return self._taken(token.start())
            else:
                searched = len(self._data)
            searched -= self._at
            if not self._more():
                raise self.error("the JSON ends in the middle")
            searched += self._at

    def _taken(self, end: int) -> bytes:
        item = self._data[self._at : end]
        self.skip(len(item))
        return item

    def items(self) -> Rows:
        """Each item of the list that the position is in; leaves after its closing bracket."""
        if self.peek() == b"]":
            self.skip(1)
            return
        while True:
            self.peek()
            line = self._line
            item = self.value()
            try:
                yield line, orjson.loads(item)
            except orjson.JSONDecodeError:
                yield line, json_row(item, self._path, line)
            mark = self.peek()
            if mark not in (b",", b"]"):
                raise self.error("expected ',' or ']'")
            self.skip(1)
            if mark == b"]":
                return

    def enter_list(self) -> None:
        """Go to the first item under `examples` or `data` of the object that begins here."""
        self.skip(1)
        while self.peek() == b'"':
            key = self.value().strip().strip(b'"').decode(errors="replace")
            if self.peek() != b":":
                break
            self.skip(1)
            if self.peek() == b"[" and key in _LISTS:
                self.skip(1)
                return
            self.value()
            if self.peek() != b",":
                break
            self.skip(1)
        names = " or ".join(repr(name) for name in _LISTS)
        raise self.error(f"the object holds no list under {names}; one object a line is format='jsonl'")

    def leave_object(self) -> None:
        """Pass what follows the list in its object."""
        while self.peek() == b",":
            self.skip(1)
            self.value()
            if self.peek() == b":":
                self.skip(1)
                self.value()
        if self.peek() != b"}":
            raise self.error("expected ',' or '}'")
        self.skip(1)
