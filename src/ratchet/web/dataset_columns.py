"""A dataset as columns and facts: a row an example, in the order of its file. Not for the server's process.

Columns: `id` (text), `split` (code), `group` (text), `label` (code), `offset` (where the row begins), and the flags
`repeated` (its content stands there twice), `near` (its input does, but for case, spaces and punctuation) and `leaks`
(its group or its input stands in another split as well). Plain JSONL is read from the file itself; of every other
format the rows are kept in `rows.jsonl`.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
import unicodedata
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from ratchet import codec, datasets
from ratchet.datasets import readers
from ratchet.datasets.rows import body_of
from ratchet.errors import DatasetError
from ratchet.records import Dataset, Example, Json
from ratchet.reports.texts import cut
from ratchet.stores.sqlite import SQLiteStore
from ratchet.web import dataset_rows
from ratchet.web.columns import AnyArray, Ints, Words, Writer

MOST_SETS = 50
"""Of duplicates and of leaks, named in the facts; all are counted."""
MOST_IDS = 10
"""Named of one set."""
MOST_SKIPPED = 50
MOST_LABELS = 200
_NOT_WORD = re.compile(r"[\W_]+")

Report = Callable[..., None]


def build(store: Path, dataset_id: str, report: Report) -> None:
    """Write the dataset's columns and facts.

    Raises:
        DatasetError: The store knows no such dataset, or its file no longer holds it.
    """
    started_s = time.perf_counter()
    with SQLiteStore(store, read_only=True) as kept:
        dataset = dataset_rows.find(kept, dataset_id)
    if dataset is None:
        raise DatasetError(f"the store knows no dataset {dataset_id}")
    path = Path(dataset.path)
    report("reading the file", 0, dataset.count)
    stamp = readers.stamp_of(path)
    found = datasets.examples(dataset)  # reads it once to be sure that it is still the same
    writer = Writer(store, f"dataset-{dataset_id}", dataset.count)
    try:
        own_file = dataset_rows.is_plain(dataset)
        rows = _Rows()
        with (writer.folder / dataset_rows.ROWS).open("wb") as copy:
            for count, example in enumerate(found):
                rows.add(example, None if own_file else copy)
                if count % 1000 == 0:
                    report("reading examples", count, dataset.count)
        report("looking for duplicates", 0, 0)
        offsets = np.array(list(_line_starts(path)) if own_file else rows.starts, np.float64)
        extra = rows.write(writer, offsets)
        extra["skipped"] = _skipped(dataset) if dataset.skipped else []
        facts = {"dataset_id": dataset_id, "stamp": list(stamp), "plain": own_file,
                 "took_s": time.perf_counter() - started_s}  # fmt: skip
        writer.finish(facts, extra)
    except BaseException:
        writer.abandon()
        raise


def _line_starts(path: Path) -> Iterator[int]:
    """Where each line that isn't blank begins."""
    at = 0
    with path.open("rb") as file:
        for line in file:
            start = at + (3 if not at and line.startswith(b"\xef\xbb\xbf") else 0)
            if line.strip(b" \t\r\n\xef\xbb\xbf" if not at else b" \t\r\n"):
                yield start
            at += len(line)


def _skipped(dataset: Dataset) -> list[dict[str, Json]]:
    """The rows that were left out, and why."""
    found: list[dict[str, Json]] = []

    def note(problem: DatasetError) -> None:
        if len(found) < MOST_SKIPPED:
            found.append({"line": problem.line, "column": problem.column, "why": cut(problem.message, 300)})

    columns = dataset.columns
    datasets.load(
        dataset.path, id=columns.id, input=columns.input, expected=columns.expected, group=columns.group,
        split=columns.split, metadata=columns.metadata, types=columns.types, format=dataset.format,
        on_bad_row="skip", on_problem=note,
    )  # fmt: skip
    return found


class _Rows:
    """What is kept of each example: codes and hashes."""

    def __init__(self) -> None:
        self.starts = array("Q")
        self._ids: list[str] = []
        self._splits, self._groups, self._labels = Words(), Words(), Words()
        self._split, self._group, self._label = (array("i") for _ in range(3))
        self._content, self._near = array("Q"), array("Q")
        self._counts: dict[str, int] = {}
        self._at = 0

    def add(self, example: Example, copy: BinaryIO | None) -> None:
        """One example; written to `copy` where there is one."""
        self._ids.append(example.id)
        self._split.append(self._splits.of(example.split))
        self._group.append(self._groups.of(example.group))
        self._label.append(self._labels.of(self._label_of(example.expected)))
        self._content.append(_hash(body_of(example)))
        self._near.append(_hash(normal(example.input).encode("utf-8", "replace")))
        if copy is not None:
            self.starts.append(self._at)
            self._at += copy.write(codec.dumps(example) + b"\n")

    def _label_of(self, expected: Json) -> str | None:
        """The expected answer where it may be a label: each label of several counts, the row is under the first."""
        labels = _labels(expected)
        for label in labels:
            if label in self._counts or len(self._counts) <= MOST_LABELS:
                self._counts[label] = self._counts.get(label, 0) + 1
        return labels[0] if labels and len(self._labels.texts) <= MOST_LABELS else None

    def write(self, writer: Writer, offsets: AnyArray) -> dict[str, Any]:
        """Hand all columns to the writer; the facts about them."""
        if len(offsets) != len(self._ids):
            raise DatasetError(
                f"has {len(offsets)} rows, expected {len(self._ids)}; it changed while it was read"
            )
        split, group = np.array(self._split, np.int32), np.array(self._group, np.int32)
        content, near = np.array(self._content, np.uint64), np.array(self._near, np.uint64)
        has_labels = 0 < len(self._counts) <= MOST_LABELS
        writer.number("offset", offsets, order=False)
        writer.text("id", np.arange(len(self._ids), dtype=np.int32), self._ids)
        writer.code("split", split, self._splits.texts)
        writer.text("group", group, self._groups.texts)
        if has_labels:
            writer.code("label", np.array(self._label, np.int32), self._labels.texts)
        exact_sets, exact = _twice(content)
        near_sets, alike = _twice(near)
        group_leaks, by_group = _across(group.astype(np.int64), split, group >= 0)
        input_leaks, by_input = _across(near.astype(np.int64), split, split >= 0)
        writer.flag("repeated", exact)
        writer.flag("near", alike)
        writer.flag("leaks", by_group | by_input)
        sizes = np.bincount(group[group >= 0]) if (group >= 0).any() else np.zeros(0, np.int64)
        return {
            "labels": dict(sorted(self._counts.items(), key=lambda item: -item[1])) if has_labels else None,
            "splits": self._tally(split, self._splits.texts),
            "unsplit": int((split < 0).sum()),
            "groups": len(sizes),
            "ungrouped": int((group < 0).sum()),
            "largest_group": int(sizes.max()) if len(sizes) else 0,
            "largest_group_name": cut(self._groups.texts[int(sizes.argmax())], 80) if len(sizes) else "",
            "repeated": {"rows": int(exact.sum()), "count": len(exact_sets), "sets": self._named(exact_sets)},
            "near": {"rows": int(alike.sum()), "count": len(near_sets), "sets": self._named(near_sets)},
            "group_leaks": {
                "rows": int(by_group.sum()),
                "count": len(group_leaks),
                "sets": self._named(group_leaks, split, group),
            },
            "input_leaks": {
                "rows": int(by_input.sum()),
                "count": len(input_leaks),
                "sets": self._named(input_leaks, split),
            },
        }

    def _tally(self, codes: Ints, words: list[str]) -> dict[str, int]:
        counts = np.bincount(codes[codes >= 0], minlength=len(words)) if words else []
        return {word: int(count) for word, count in zip(words, counts, strict=True)}

    def _named(
        self, sets: list[Ints], split: Ints | None = None, group: Ints | None = None
    ) -> list[dict[str, Json]]:
        """The first of these sets: how many rows, some of their ids, the splits that they stand in."""
        named: list[dict[str, Json]] = []
        for rows in sets[:MOST_SETS]:
            one: dict[str, Json] = {
                "count": len(rows),
                "ids": [cut(self._ids[int(row)], 80) for row in rows[:MOST_IDS]],
            }
            if split is not None:
                codes = sorted({int(split[row]) for row in rows})
                one["splits"] = [self._splits.texts[code] if code >= 0 else "(none)" for code in codes]
            if group is not None:
                one["group"] = cut(self._groups.texts[int(group[rows[0]])], 80)
            named.append(one)
        return named


def _twice(hashes: AnyArray) -> tuple[list[Ints], AnyArray]:
    """The sets of rows with equal hashes, in order of their first row, and which rows are in one."""
    order = np.argsort(hashes, kind="stable")
    ranked = hashes[order]
    edges = np.flatnonzero(np.concatenate(([True], ranked[1:] != ranked[:-1], [True])))
    sizes = np.diff(edges)
    inside = np.zeros(len(hashes), np.bool_)
    inside[order[np.repeat(sizes > 1, sizes)]] = True
    sets = [order[edges[i] : edges[i + 1]] for i in np.flatnonzero(sizes > 1)]
    return sorted(sets, key=lambda rows: int(rows[0])), inside


def _across(keys: AnyArray, split: Ints, usable: AnyArray) -> tuple[list[Ints], AnyArray]:
    """The sets of rows with one key that stand in several splits, and which rows are in one."""
    inside = np.zeros(len(keys), np.bool_)
    rows = np.flatnonzero(usable & (split >= 0))
    if not len(rows):
        return [], inside
    sets, _ = _twice(keys[rows])
    crossing = [rows[some] for some in sets if len(np.unique(split[rows[some]])) > 1]
    for some in crossing:
        inside[some] = True
    return crossing, inside


def _labels(expected: Json) -> list[str]:
    if expected is None:
        return ["(none)"]
    values = cast("list[Json]", expected) if isinstance(expected, list) else [expected]
    return [
        value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) for value in values
    ] or ["(none)"]


def normal(value: Json) -> str:
    """The value's text without case, spaces, punctuation and ways of writing one character.

    >>> normal("  Café — OK? ") == normal("cafe\u0301 ok")
    True
    """
    text = _joined(value)
    folded = text.lower() if text.isascii() else unicodedata.normalize("NFKC", text).casefold()
    return _NOT_WORD.sub(" ", folded).strip()


def _joined(value: Json) -> str:
    """All of its texts, in order."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return "\n".join(_joined(item) for item in cast("dict[str, Json]", value).values())
    if isinstance(value, list):
        return "\n".join(_joined(item) for item in cast("list[Json]", value))
    return "" if value is None else json.dumps(value)


def _hash(data: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big")
