"""Rows of a comparison as the page asks for them: filtered and sorted in columns, texts read from the store."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from ratchet.reports import reading, rows, texts, views
from ratchet.web import exporting, labels_seen, pages
from ratchet.web.access import ROLES
from ratchet.web.columns import Filter, Ints, Page, Table

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from ratchet.stores.sqlite import SQLiteStore
    from ratchet.verdicts.keeping import Kept

SHOWN = ("all", "worse", "better", "flipped", "errored", "unlabelled")
_SORTS = {"id": "example", "a": "before", "b": "after", "gain": "gain"}
LABEL = "good"
"""The name of the label that `g` and `b` give."""
_AT_ONCE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The view that the address asks for; what makes no sense is left out."""

    show: str = "all"
    sort: str = "gain"
    text: str = ""
    slice: str = ""
    """`name:value`, hidden characters made visible."""
    row: int | None = None

    @classmethod
    def of(cls, request: Request) -> Asked:
        """What this request's query says."""
        given = request.query_params
        sort = given.get("sort", "gain")
        row = given.get("row", "")
        return cls(
            show=given.get("show", "all") if given.get("show") in SHOWN else "all",
            sort=sort if sort.removeprefix("-") in _SORTS else "gain",
            text=given.get("text", "")[:200],
            slice=given.get("slice", "")[:1000],
            row=int(row) if row.isascii() and row.isdigit() and len(row) < 10 else None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A kept verdict with its columns."""

    kept: Kept
    table: Table
    view: Mapping[str, Any]
    store: SQLiteStore

    def page(self, asked: Asked, *, offset: int, limit: int) -> Page:
        """The numbers of the rows of this view from `offset` on."""
        return self.table.page(
            self._filters(asked), sort=self._sort(asked), offset=offset, limit=limit, among=self._among(asked)
        )

    def place(self, asked: Asked, row: int) -> int | None:
        """Where this row stands in the view."""
        return self.table.place(row, self._filters(asked), sort=self._sort(asked), among=self._among(asked))

    def _sort(self, asked: Asked) -> str:
        name = _SORTS[asked.sort.removeprefix("-")]
        if name not in self.table.columns:
            return ""
        return f"-{name}" if asked.sort.startswith("-") else name

    def _filters(self, asked: Asked) -> list[Filter]:
        found: list[Filter] = []
        if asked.show in ("worse", "better", "flipped", "errored"):
            found.append(Filter(column=asked.show, op="is", value=True))
        if asked.slice:
            column, word = self._slice(asked.slice)
            found.append(Filter(column=column, op="is", value=word))
        return [one for one in found if one.column in self.table.columns]

    def _slice(self, wanted: str) -> tuple[str, str]:
        """Column and value of `name:value`; no row has what is not there."""
        for name, info in self.table.columns.items():
            if name.startswith("slice:"):
                for word in info.words:
                    if texts.visible(f"{name.removeprefix('slice:')}:{word}") == wanted:
                        return name, word
        return next((name for name in self.table.columns if name.startswith("slice:")), ""), "\0"

    def _among(self, asked: Asked) -> Ints | None:
        """The rows that hold every word in their id or input, and no label of a person where that is asked."""
        import numpy as np

        found: Ints | None = None
        for word in asked.text.split()[:8]:
            fitting = self._holding(word)
            found = fitting if found is None else np.intersect1d(found, fitting)
        if asked.show == "unlabelled" and "after_trace" in self.table.columns:
            labelled = self.table.find("after_trace", list(labels_seen.of_people(self.store)))
            every = np.arange(len(self.table)) if found is None else found
            found = np.setdiff1d(every, labelled)
        return found

    def _holding(self, word: str) -> Ints:
        import numpy as np

        parts = [
            self.table.holding(name, word) for name in ("example", "input") if name in self.table.columns
        ]
        for name, info in self.table.columns.items():
            if name.startswith("slice:"):
                codes = [code for code, value in enumerate(info.words) if word.lower() in value.lower()]
                if codes:
                    parts.append(np.flatnonzero(np.isin(self.table.values(name), codes)))
        return np.unique(np.concatenate(parts))

    def records(self, numbers: Ints | Sequence[int]) -> list[dict[str, Any]]:
        """What the table shows of these rows."""
        slices = [name for name in self.table.columns if name.startswith("slice:")]
        names = [
            name
            for name in ("example", "input", "before", "after", "gain", "flipped", "errored", "after_trace")
            if name in self.table.columns
        ]
        return self.table.records(numbers, [*names, *slices])

    def items(self, numbers: Ints | Sequence[int], *, previews: bool = True) -> list[dict[str, Any]]:
        """These rows as `_row.html` shows them."""
        records = self.records(numbers)
        inputs = self._previews(records) if previews else {}
        given = labels_seen.of_people(self.store)
        return [
            {
                **rows.item(
                    record["row"],
                    record["example"] or "",
                    cells=self.view["cells"],
                    before=_nan(record.get("before")),
                    after=_nan(record.get("after")),
                    gain=_nan(record.get("gain")),
                    preview=record.get("input") or inputs.get(record["row"], ""),
                    slices={n.removeprefix("slice:"): v for n, v in record.items() if n.startswith("slice:")},
                    flipped=bool(record.get("flipped")),
                    errored=bool(record.get("errored")),
                ),
                "labelled": labels_seen.mark(given.get(record.get("after_trace") or "")),
            }
            for record in records
        ]

    def _previews(self, records: Sequence[Mapping[str, Any]]) -> dict[int, str]:
        """The inputs of rows whose dataset could not be read, from their traces."""
        wanted = {
            record["after_trace"]: record["row"]
            for record in records
            if not record.get("input") and record.get("after_trace")
        }
        found = self.store.traces_by_id(list(wanted), at_most_bytes=64_000) if wanted else {}
        return {
            wanted[trace_id]: texts.cut(rows.preview(trace.input), 120) for trace_id, trace in found.items()
        }

    def fragments(self, request: Request, numbers: Ints | Sequence[int]) -> list[Markup]:
        """These rows as HTML."""
        template = pages.environment().get_template("_row.html")
        return [
            Markup(
                template.render(
                    row=item, link=f"{request.url.path.partition('/rows')[0]}?row={item['index']}"
                )
            )
            for item in self.items(numbers)
        ]

    def detail(self, request: Request, row: int) -> Markup:
        """What opens beside the table: both sides of one example."""
        (item,) = self.items([row], previews=False)
        called = views.Names(**self.view["called"])
        example = item["id"]
        reader = reading.Reader(
            self.store, self.kept.sources, [example], expected={example: self._expected(row)}
        )
        found = reader.detail(0)
        shown = rows.detail(found, called)
        now = {**live(request, self.kept), "given": item["labelled"]}
        template = pages.environment().get_template("_detail.html")
        return Markup(template.render(row=item, called=called, metric=self.view["metric"], live=now, **shown))

    def _expected(self, row: int) -> str | None:
        if "expected" not in self.table.columns:
            return None
        return self.table.records([row], ["expected"])[0]["expected"]


def of(request: Request, kept: Kept, table: Table) -> Comparison:
    """The comparison that this request is about."""
    from ratchet.verdicts import keeping

    store = pages.store(request)
    return Comparison(kept=kept, table=table, view=keeping.view_of(store, kept), store=store)


def live(request: Request, kept: Kept) -> dict[str, Any]:
    """What templates need beyond a report's: where things are, and what this person may do."""
    may = ROLES.index(pages.person(request).role) >= ROLES.index("label")
    return {"href": f"/compare/{kept.id}", "can_label": may, "label_name": LABEL, "given": ""}


def exported(found: Comparison, asked: Asked, kind: str) -> Response:
    """The rows of this view, in its order, as CSV or JSONL.

    Raises:
        UnknownNameError: No such format.
    """
    numbers = found.page(asked, offset=0, limit=len(found.table)).rows
    names = [name for name in found.table.columns if name not in ("input", "expected")]
    return exporting.respond(
        kind, f"comparison-{found.kept.id[:12]}", [*names, "label"], _exported(found, numbers, names)
    )


def _exported(found: Comparison, numbers: Ints, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    given = labels_seen.of_people(found.store)
    for start in range(0, len(numbers), _AT_ONCE):
        for record in found.table.records(numbers[start : start + _AT_ONCE], names):
            gain = record.get("gain")
            if isinstance(gain, float) and not math.isfinite(gain):
                record["gain"] = "lost" if gain < 0 else "won"
            yield {**record, "label": labels_seen.mark(given.get(record.get("after_trace") or ""))}


def _nan(value: float | None) -> float:
    return math.nan if value is None else value
