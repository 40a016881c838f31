"""The answer key of a simulated model: which request has which right answer.

Requests never carry what is expected, so rows are found by the text of the messages alone.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from ratchet import codec
from ratchet.errors import CodecError, DatasetError
from ratchet.records import Json, Message

_WORD_START = re.compile(r"\b\w")
_SIZES = (32, 24, 16, 12, 8, 6, 5, 4, 3, 2, 1)
_FIELDS = ("prompt", "messages", "contains", "answer", "wrong", "labels", "difficulty")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One row of a key: the right answer to a request."""

    answer: Json
    """Text, or a JSON value that is written as JSON (or as a tool call: `{"name", "arguments"}`)."""
    wrong: tuple[Json, ...] = ()
    """Plausible wrong answers."""
    labels: tuple[str, ...] = ()
    """The vocabulary that wrong answers are taken from, where `wrong` is empty."""
    difficulty: float = 0.0
    prompt: str | None = None
    """Equals the last user message, or the whole prompt (all messages joined by blank lines)."""
    contains: str | None = None
    """Occurs in the messages."""


def normalise(text: str) -> str:
    """The text with each run of white space as one space."""
    return " ".join(text.split())


def message_text(message: Message) -> str:
    """The text of one message: its content, or the text parts of it."""
    content: Json = message.get("content")
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        parts = cast("list[Any]", content)
        return "\n".join(
            part if isinstance(part, str) else str(part.get("text") or "")
            for part in parts
            if isinstance(part, (str, dict))
        )
    return ""


class AnswerKey:
    """Finds the row that a request matches; a look-up takes no longer with more rows.

    Exact matches come before `contains`; of several `contains` the longest counts, then the first.
    """

    def __init__(self, answers: Iterable[Answer] = ()) -> None:
        self._exact: dict[str, Answer] = {}
        rows: list[tuple[str, Answer]] = []
        vocabulary: Counter[str] = Counter()
        self.count = 0
        for answer in answers:
            self.count += 1
            if isinstance(answer.answer, str) and len(vocabulary) <= 50:
                vocabulary[answer.answer] += 1
            if answer.prompt is not None:
                self._exact.setdefault(normalise(answer.prompt), answer)
            if answer.contains is not None:
                rows.append((normalise(answer.contains), answer))
        few = len(vocabulary) <= 50 and self.count >= 2 * len(vocabulary)
        self.vocabulary: tuple[str, ...] = tuple(sorted(vocabulary)) if few else ()
        """All the answers, where they are few: labels by the look of it."""
        self._anchored, self._loose = _Windows(), _Windows()
        self._index(rows)

    def _index(self, rows: list[tuple[str, Answer]]) -> None:
        """File each row under its rarest window that starts at a word.

        A word start inside the row's text is a word start wherever that text occurs, so a look-up tries only the
        words of a message. Rows without one (a single word) are tried at every position.
        """
        frequency: Counter[str] = Counter()
        choices: list[set[str]] = []
        for text, _ in rows:
            windows = {_window(text, start) for start in _anchors(text)}
            frequency.update(windows)
            choices.append(windows)
        for (text, answer), windows in zip(rows, choices, strict=True):
            if windows:
                self._anchored.add(min(windows, key=lambda w: (frequency[w], -len(w), w)), text, answer)
            elif text:
                self._loose.add(_window(text, 0), text, answer)

    def find(self, messages: Sequence[Message]) -> Answer | None:
        """The row that these messages match, or None."""
        texts = [normalise(message_text(message)) for message in messages]
        if self._exact:
            for message, text in zip(reversed(messages), reversed(texts), strict=True):
                if message.get("role") == "user":
                    if found := self._exact.get(text):
                        return found
                    break
            if found := self._exact.get(" ".join(filter(None, texts))):
                return found
        for text in reversed(texts):
            if found := self._anchored.longest(text, (m.start() for m in _WORD_START.finditer(text))):
                return found
        for text in reversed(texts):
            if found := self._loose.longest(text, range(len(text))):
                return found
        return None


class _Windows:
    """Rows filed under a piece of their text."""

    def __init__(self) -> None:
        self.rows: dict[str, list[tuple[str, Answer]]] = {}
        self.sizes: tuple[int, ...] = ()

    def add(self, window: str, text: str, answer: Answer) -> None:
        self.rows.setdefault(window, []).append((text, answer))
        if len(window) not in self.sizes:
            self.sizes = (*self.sizes, len(window))

    def longest(self, text: str, starts: Iterable[int]) -> Answer | None:
        best, found = 0, None
        get, sizes = self.rows.get, self.sizes
        if not sizes:
            return None
        for start in starts:
            for size in sizes:
                if (rows := get(text[start : start + size])) is None:
                    continue
                for piece, answer in rows:
                    if len(piece) > best and piece in text:
                        best, found = len(piece), answer
        return found


def _anchors(text: str) -> Iterator[int]:
    """Up to eight places, evenly spread, where a word starts; never the first character."""
    last = 0
    for eighth in range(8):
        found = _WORD_START.search(text, max(last + 1, len(text) * eighth // 8))
        if found is None:
            return
        last = found.start()
        yield last


def _window(text: str, start: int) -> str:
    left = len(text) - start
    return text[start : start + next(size for size in _SIZES if size <= left)]


def load_answers(*paths: str | Path) -> AnswerKey:
    """The key in these files: JSONL, JSON, CSV, TSV or YAML rows, by extension.

    Each row has one of `prompt`, `messages` or `contains`, an `answer`, and optionally `wrong`, `labels`
    and `difficulty`; further columns are left alone.

    Raises:
        DatasetError: A file or row can't be used; names file, line and column.
    """
    return AnswerKey(answer for path in paths for answer in _load(Path(path)))


def _load(path: Path) -> Iterator[Answer]:
    for line, row in _rows(path):
        yield make_answer(row, file=path, line=line)


def _rows(path: Path) -> Iterator[tuple[int, Json]]:
    """(line or row number from 1, row)."""
    kind = path.suffix.lower()
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"the answer key can't be read: {error}", file=path) from None
    if kind in (".csv", ".tsv"):
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter="\t" if kind == ".tsv" else ",")
        try:
            for row in reader:
                yield reader.line_num, {key: value for key, value in row.items() if value not in (None, "")}
        except csv.Error as error:
            raise DatasetError(f"not CSV: {error}", file=path, line=reader.line_num) from None
    elif kind in (".jsonl", ".ndjson"):
        for line, each in enumerate(text.split("\n"), 1):
            if each.strip():
                yield line, _json(each, path, line)
    elif kind == ".json":
        yield from _listed(_json(text, path, 1), path)
    elif kind in (".yaml", ".yml"):
        import yaml

        try:
            data = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        except yaml.YAMLError as error:
            raise DatasetError(f"not YAML: {error}", file=path) from None
        yield from _listed(data, path)
    else:
        raise DatasetError(
            f"{kind or 'no extension'!r}: expected .jsonl, .json, .csv, .tsv or .yaml", file=path
        )


def _listed(data: Json, path: Path) -> Iterator[tuple[int, Json]]:
    if not isinstance(data, list):
        raise DatasetError(f"a {type(data).__name__}, expected a list of rows", file=path)
    yield from enumerate(cast("list[Json]", data), 1)


def _json(text: str, path: Path, line: int) -> Json:
    try:
        return codec.parse(text)
    except CodecError as error:
        raise DatasetError(f"not JSON: {error}", file=path, line=line) from None


def make_answer(row: Json, *, file: str | Path | None = None, line: int | None = None) -> Answer:
    """The answer in one row of a key.

    Raises:
        DatasetError: A column is missing or of the wrong type.
    """

    def wrong(column: str, value: object, expected: str) -> DatasetError:
        return DatasetError(
            f"{str(value)[:60]!r}: expected {expected}", file=file, line=line, column=column, value=value
        )

    if not isinstance(row, Mapping):
        raise DatasetError(f"a {type(row).__name__}, expected a mapping", file=file, line=line)
    entry = cast("Mapping[str, Json]", row)
    if entry.get("answer") is None:
        raise DatasetError("no answer", file=file, line=line, column="answer")
    prompt = entry.get("prompt")
    if entry.get("messages") is not None:
        messages = _list(entry["messages"])
        if not messages or not all(isinstance(message, dict) for message in messages):
            raise wrong("messages", entry["messages"], "a list of messages")
        prompt = "\n\n".join(filter(None, (message_text(message) for message in messages)))
    contains = entry.get("contains")
    if prompt is None and contains is None:
        raise DatasetError("a row needs prompt, messages or contains", file=file, line=line, column="prompt")
    for column, value in (("prompt", prompt), ("contains", contains)):
        if value is not None and (not isinstance(value, str) or not value.strip()):
            raise wrong(column, value, "text")
    try:
        difficulty = float(entry.get("difficulty") or 0.0)
    except (TypeError, ValueError):
        raise wrong("difficulty", entry["difficulty"], "a number from 0 (easy) to 1 (hard)") from None
    labels = _list(entry.get("labels"))
    return Answer(
        answer=entry["answer"],
        wrong=tuple(_list(entry.get("wrong"))),
        labels=tuple(str(label) for label in labels),
        difficulty=difficulty,
        prompt=prompt,
        contains=contains,
    )


def _list(value: Json) -> list[Json]:
    """A list as it is, or read from JSON text, or from text with `|` between items (as CSV has it)."""
    if isinstance(value, list):
        return cast("list[Json]", value)
    if not isinstance(value, str):
        return []
    if value.lstrip().startswith("["):
        try:
            return cast("list[Json]", codec.parse(value))
        except CodecError:
            pass
    return [part.strip() for part in value.split("|") if part.strip()]
