"""The table of a dataset's examples: which rows fit what the address asks for, and how each stands in one line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ratchet.records import Dataset, Json
from ratchet.reports.texts import as_text, cut
from ratchet.web import dataset_rows
from ratchet.web.columns import Filter, Ints, Table

MOST_FOUND = 500
"""Rows that one search gives."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the address asks for."""

    split: str = ""
    group: str = ""
    label: str = ""
    only: str = ""
    """"repeated", "near" or "leaks"."""
    text: str = ""
    start: int = 0
    """The row that a search begins with."""
    look: str = ""

    @property
    def query(self) -> dict[str, str]:
        """The parts of an address's query that say this."""
        pairs = {"split": self.split, "group": self.group, "label": self.label, "only": self.only, "q": self.text,
                 "start": str(self.start or ""), "look": self.look}  # fmt: skip
        return {name: value for name, value in pairs.items() if value}

    @property
    def filters(self) -> list[Filter]:
        found = [
            Filter(column=name, op="is", value=value)
            for name, value in (("split", self.split), ("group", self.group), ("label", self.label))
            if value
        ]
        return [*found, *([Filter(column=self.only, op="is", value=True)] if self.only else [])]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One row of the table of examples."""

    row: int
    id: str
    input: str
    expected: str
    group: str
    split: str
    marks: tuple[str, ...]
    hidden: bool


def chosen(
    dataset: Dataset, table: Table, asked: Asked, unlocked: frozenset[str], *, offset: int = 0, limit: int
) -> tuple[list[int], int, int | None]:
    """The rows asked for, how many fit in all, and where a search that was cut short goes on."""
    among: Ints | None = None
    following: int | None = None
    if asked.text:
        found, following = _search(
            dataset.path, str(table.folder), asked.text, asked.start, _Holder(dataset, table)
        )
        among = np.array(found, np.int64)
        if "split" in table.columns and asked.split not in unlocked:
            # what is held out is not found by its text either
            words = table.info("split").words
            hidden = [
                code
                for code, word in enumerate(words)
                if dataset_rows.is_held_out(word) and word not in unlocked
            ]
            among = among[~np.isin(table.values("split")[among], hidden)]
    page = table.page(asked.filters, offset=offset, limit=limit, among=among)
    return [int(r) for r in page.rows], page.total, following


class _Holder:
    """Carries what a cached search needs and its key does not."""

    def __init__(self, dataset: Dataset, table: Table) -> None:
        self.dataset, self.table = dataset, table

    def __hash__(self) -> int:
        return 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Holder)


@lru_cache(maxsize=16)
def _search(
    path: str, folder: str, text: str, start: int, holder: _Holder
) -> tuple[tuple[int, ...], int | None]:
    found = dataset_rows.search(holder.dataset, holder.table, text, start=start, most=MOST_FOUND)
    return found.rows, found.following


def lines(dataset: Dataset, table: Table, rows: Sequence[int], unlocked: frozenset[str]) -> list[Line]:
    names = [name for name in ("id", "split", "group", "repeated", "near", "leaks") if name in table.columns]
    facts = table.records(rows, names)
    shown = [f for f in facts if not dataset_rows.is_held_out(f.get("split")) or f.get("split") in unlocked]
    examples = dict(
        zip(
            (f["row"] for f in shown),
            dataset_rows.examples(dataset, table, [f["row"] for f in shown]),
            strict=True,
        )
    )
    words = {"repeated": "twice", "near": "twin", "leaks": "leaks"}
    return [
        Line(
            row=fact["row"],
            id=fact["id"],
            input=_short(examples[fact["row"]].input) if fact["row"] in examples else "",
            expected=_short(examples[fact["row"]].expected, 60) if fact["row"] in examples else "",
            group=fact.get("group") or "",
            split=fact.get("split") or "",
            marks=tuple(
                word
                for name, word in words.items()
                if fact.get(name) and not (name == "near" and fact["repeated"])
            ),
            hidden=fact["row"] not in examples,
        )
        for fact in facts
    ]


def _short(value: Json, most: int = 140) -> str:
    """One line of it: a single variable stands by itself, messages by their texts."""
    if isinstance(value, dict) and len(value) == 1:
        value = next(iter(value.values()))
    if (
        isinstance(value, list)
        and value
        and all(isinstance(item, dict) and "content" in item for item in value)
    ):
        value = " ".join(as_text(item["content"])[:most] for item in value[:4])
    text = as_text(value)
    return cut(" ".join(text[: 4 * most].split()), most)
