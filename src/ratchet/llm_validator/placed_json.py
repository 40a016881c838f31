"""JSON with the line of every value, and errors that say what a person did wrong."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TypeAlias

from ratchet.errors import ConfigError
from ratchet.records import Json

Path: TypeAlias = tuple[str | int, ...]

MAX_DEPTH = 100

_SPACE = re.compile(r"[ \t\r\n]*")
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\.)*"')
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?(?![\w.])")
_WORD = re.compile(r"[\w+.-]+|/[/*]|'|.", re.DOTALL)
_CONSTANTS: dict[str, Json] = {"true": True, "false": False, "null": None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A JSON value, the line (from 1) where each part of it begins, and keys that stand twice."""

    value: Json
    lines: dict[Path, int] = field(default_factory=dict[Path, int])
    doubled: tuple[tuple[Path, int], ...] = ()
    """Path and line of every second occurrence: the last one counts, as in Python's own reader."""


def parse(text: str) -> Placed:
    """The value in this text.

    Raises:
        ConfigError: It is not JSON; `line` and message say where and why.
    """
    reader = _Reader(text)
    value = reader.value(())
    reader.space()
    if reader.at < len(text):
        raise reader.error(f"{reader.found()} follows the end of the JSON")
    return Placed(value=value, lines=reader.lines, doubled=tuple(reader.doubled))


class _Reader:
    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0
        self.lines: dict[Path, int] = {}
        self.doubled: list[tuple[Path, int]] = []
        self._counted_at, self._line = 0, 1

    def line(self) -> int:
        self._line += self.text.count("\n", self._counted_at, self.at)
        self._counted_at = self.at
        return self._line

    def error(self, message: str) -> ConfigError:
        return ConfigError(f"not JSON: {message}", line=self.line())

    def space(self) -> str:
        """The next character that is no white space; empty at the end."""
        match = _SPACE.match(self.text, self.at)
        self.at = match.end() if match else self.at
        return self.text[self.at : self.at + 1]

    def found(self) -> str:
        match = _WORD.match(self.text, self.at)
        if match is None:
            return "the end of the file"
        word = match[0][:40]
        return f"the comment {word}" if word in ("//", "/*") else repr(word)

    def value(self, path: Path) -> Json:
        if len(path) > MAX_DEPTH:
            raise self.error(f"nested more than {MAX_DEPTH} deep")
        opening = self.space()
        self.lines[path] = self.line()
        if opening == "{":
            return self._object(path)
        if opening == "[":
            return self._list(path)
        if opening == '"':
            return self._text()
        if number := _NUMBER.match(self.text, self.at):
            self.at = number.end()
            return self._number(number[0])
        word = _WORD.match(self.text, self.at)
        if word and word[0] in _CONSTANTS:
            self.at = word.end()
            return _CONSTANTS[word[0]]
        raise self.error(f"found {self.found()}, expected a value{self._why(word[0] if word else '')}")

    def _why(self, word: str) -> str:
        if word == "'":
            return "; text stands in double quotes"
        if word.lower() in ("true", "false", "none", "null"):
            return f"; JSON writes it {'null' if word.lower() in ('none', 'null') else word.lower()}"
        if word.lower().lstrip("+-") in ("nan", "inf", "infinity"):
            return "; a missing value is null"
        return ""

    def _number(self, text: str) -> int | float:
        number = float(text)
        if number in (float("inf"), float("-inf")) or len(text) > 400:
            raise self.error(f"the number {text[:40]} is too large")
        return number if any(mark in text for mark in ".eE") else int(text)

    def _text(self) -> str:
        match = _STRING.match(self.text, self.at)
        if match is None:
            raise self.error("a text without its closing quote; a line end inside it is written \\n")
        try:
            value: str = json.loads(match[0])
        except ValueError as error:
            raise self.error(f"{match[0][:60]}: {getattr(error, 'msg', error)}") from None
        self.at = match.end()
        return value

    def _object(self, path: Path) -> dict[str, Json]:
        self.at += 1
        found: dict[str, Json] = {}
        if self.space() == "}":
            self.at += 1
            return found
        while True:
            if self.space() != '"':
                hint = "; names stand in double quotes" if self.space() not in ("", "}") else ""
                raise self.error(f"found {self.found()}, expected a key{hint}")
            line, key = self.line(), self._text()
            if key in found:
                self.doubled.append(((*path, key), line))
            if self.space() != ":":
                raise self.error(f"found {self.found()} after the key {key!r}, expected ':'")
            self.at += 1
            found[key] = self.value((*path, key))
            if not self._goes_on("}"):
                return found

    def _list(self, path: Path) -> list[Json]:
        self.at += 1
        found: list[Json] = []
        if self.space() == "]":
            self.at += 1
            return found
        while True:
            found.append(self.value((*path, len(found))))
            if not self._goes_on("]"):
                return found

    def _goes_on(self, closing: str) -> bool:
        """Whether another member follows; past the comma or the closing mark."""
        mark = self.space()
        if mark == closing:
            self.at += 1
            return False
        if mark != ",":
            raise self.error(f"found {self.found()}, expected ',' or {closing!r}")
        self.at += 1
        if self.space() == closing:
            raise self.error(f"a comma before the closing {closing!r}; remove it")
        return True
