"""The table of a run's answers: what the address asks for, which rows that is, and how each of them reads."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from ratchet.records import Json, Run
from ratchet.reports import numbers, texts
from ratchet.stores import sqlite_views
from ratchet.web import searching
from ratchet.web.columns import Filter, Ints, Table

if TYPE_CHECKING:
    from ratchet.stores.sqlite import SQLiteStore

MOST_SCORES = 4
"""Columns of scores in the table; a row's detail and the export have all."""
MOST_LABELS = 30
PREVIEW = 160
PREVIEW_BYTES = 262_144
"""Larger traces are named by their size in the table, so that no row makes the server read megabytes."""
RANGES = 5
_STATES = ("failed", "refused", "unparsable", "cached")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the address asks of the table."""

    arm: str = ""
    error: str = ""
    """"ok", "failed", "refused", "unparsable", "cached", or a kind of error."""
    score: str = ""
    """A column and what it is to be: `score:judge|0.2..0.4`, `score:exact|1`, `score:label|billing`, `…|none`."""
    text: str = ""
    sort: str = ""
    row: str = ""
    """Id of the open row's trace."""

    @property
    def filtered(self) -> bool:
        return bool(self.arm or self.error or self.score or self.text.strip())

    def query(self, **changes: str) -> str:
        """The address's query for this with these changed; empty ones are left out."""
        values = {name: getattr(self, name) for name in Asked.__slots__} | changes
        return urlencode({name: value for name, value in values.items() if value})


def asked(query: Mapping[str, str]) -> Asked:
    """What this query of an address asks for; unknown keys are ignored, long values cut."""
    return Asked(**{name: query.get(name, "")[:500] for name in Asked.__slots__})


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The rows that fit, as the table is to give them."""

    filters: tuple[Filter, ...]
    among: Ints | None
    sort: str
    complete: bool
    """The text was looked for in all answers."""


def chosen(store: SQLiteStore, run_id: str, table: Table, wish: Asked) -> Chosen:
    """The filters that this wish means on this table.

    Raises:
        UnknownNameError: The table has no such column to sort or filter by.
    """
    filters: list[Filter] = []
    if wish.arm:
        filters.append(Filter(column="arm", op="is", value=wish.arm))
    if wish.error == "ok":
        filters += [Filter(column=name, op="is", value=False) for name in ("failed", "refused", "unparsable")]
    elif wish.error in _STATES:
        filters.append(Filter(column=wish.error, op="is", value=True))
    elif wish.error:
        filters.append(Filter(column="error", op="is", value=wish.error))
    if wish.score:
        filters += score_filters(table, wish.score)
    if wish.sort:
        table.info(wish.sort.removeprefix("-"))
    among, complete = None, True
    if wish.text.strip():
        found = searching.search(store, run_id, table, wish.text)
        among, complete = found.rows, found.complete
    return Chosen(filters=tuple(filters), among=among, sort=wish.sort, complete=complete)


def score_filters(table: Table, score: str) -> list[Filter]:
    """`score:judge|0.2..0.4` as filters: from 0.2 on, below 0.4."""
    names = [s["column"] for s in table.facts["scores"] if score.startswith(f"{s['column']}|")]
    column = max(names, key=len, default=score.partition("|")[0])
    value = score[len(column) + 1 :]
    info = table.info(column)
    if value == "none":
        return [Filter(column=column, op="missing")]
    if info.kind == "code":
        return [Filter(column=column, op="is", value=value)]
    low, dots, high = value.partition("..")
    if not dots:
        return [Filter(column=column, op="is", value=_number(value))]
    found = [Filter(column=column, op="at_least", value=_number(low))] if low else []
    return [*found, Filter(column=column, op="below", value=_number(high))] if high else found


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan  # a hand-written address: equal to nothing, so no row


def score_options(table: Table) -> list[tuple[str, list[tuple[str, str]]]]:
    """For each score its name and the choices that the filter offers, as (value, words)."""
    found: list[tuple[str, list[tuple[str, str]]]] = []
    for score in table.facts["scores"]:
        column, info = score["column"], table.info(score["column"])
        choices: list[tuple[str, str]] = []
        if score["kind"] == "bool":
            choices = [(f"{column}|0", "failed"), (f"{column}|1", "passed")]
        elif score["kind"] == "label":
            common = sorted(range(len(info.words)), key=lambda code: -info.counts[code])[:MOST_LABELS]
            choices = [(f"{column}|{info.words[code]}", info.words[code]) for code in common]
        elif info.low is not None and info.high is not None:
            low, high = (0.0, 1.0) if info.low >= 0 and info.high <= 1 else (info.low, info.high)
            step = (high - low) / RANGES or 1.0
            for k in range(RANGES):
                start, end = f"{low + k * step:.6g}", f"{low + (k + 1) * step:.6g}"
                last = k == RANGES - 1
                choices.append(
                    (
                        f"{column}|{start}..{'' if last else end}",
                        f"{start} {'and more' if last else f'to {end}'}",
                    )
                )
        if info.known < table.rows:
            choices.append((f"{column}|none", "not scored"))
        found.append((name_of(score), choices))
    return found


def name_of(score: Mapping[str, str]) -> str:
    """What the score is called: people's labels say that they are."""
    return f"{score['name']} (people)" if score["source"] == "human" else score["name"]


def shown_scores(table: Table) -> list[dict[str, str]]:
    """The scores that have a column in the table."""
    return [{**s, "title": name_of(s)} for s in table.facts["scores"][:MOST_SCORES]]


def page(
    store: SQLiteStore, run: Run, table: Table, choice: Chosen, *, offset: int, limit: int
) -> tuple[list[dict[str, Any]], int]:
    """Some rows as the template shows them, and how many there are in all."""
    found = table.page(choice.filters, sort=choice.sort, offset=offset, limit=limit, among=choice.among)
    return read(store, run, table, found.rows), found.total


def read(store: SQLiteStore, run: Run, table: Table, rows: Sequence[int] | Ints) -> list[dict[str, Any]]:
    """These rows as the template shows them."""
    scores = shown_scores(table)
    names = (
        "trace",
        "example",
        "arm",
        "error",
        "cost_usd",
        "latency_s",
        "repeat",
        *_STATES,
        *(s["column"] for s in scores),
    )
    records = table.records(rows, names)
    traces = previews(store, [r["trace"] for r in records if r["trace"]])
    letters = {arm: index for index, arm in enumerate(run.arms)}
    graded = {s["column"]: _is_graded(table, s["column"]) for s in scores}
    return [
        {
            "id": record["trace"],
            "example": record["example"] or "",
            "repeat": int(record["repeat"] or 0),
            "arm": record["arm"] or "",
            "letter": letters.get(record["arm"] or "", 0),
            "input": traces.get(record["trace"] or "", LONG).asked,
            "answer": traces.get(record["trace"] or "", LONG).said,
            "scores": [cell(record[s["column"]], s["kind"], graded=graded[s["column"]]) for s in scores],
            "latency": seconds(record["latency_s"]),
            "cost": usd(record["cost_usd"]),
            "state": state(record),
        }
        for record in records
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """The beginnings of what was asked and of what came back, each on one line."""

    asked: str
    said: str


LONG = Preview(asked="", said="A long answer: open it to read it.")


def previews(store: SQLiteStore, ids: Sequence[str]) -> dict[str, Preview]:
    """One line of each of these answers, but for very large ones."""
    found: dict[str, Preview] = {}
    for id_, trace in sqlite_views.previews(store, ids, at_most_bytes=PREVIEW_BYTES).items():
        error = trace.get("error")
        said = error.get("message") if error else trace.get("refusal") or trace.get("output")
        found[id_] = Preview(
            asked=preview(question_of(trace.get("input"))), said=preview(texts.as_text(said))
        )
    return found


def _is_graded(table: Table, column: str) -> bool:
    info = table.info(column)
    return info.kind == "number" and info.low is not None and info.low >= 0 and (info.high or 0.0) <= 1


def preview(text: str) -> str:
    """The beginning of a text on one line."""
    return texts.cut(" ".join(text[: 4 * PREVIEW].split()), PREVIEW)


def question_of(value: Json) -> str:
    """What was asked: the last message of a person, or the variables' values."""
    if isinstance(value, list):
        said = [m for m in value if isinstance(m, dict)]
        asked_by = [m for m in said if m.get("role") == "user"] or said
        return texts.as_text(asked_by[-1].get("content")) if asked_by else texts.as_text(value)
    if isinstance(value, dict):
        return ", ".join(v if isinstance(v, str) else texts.as_text(v) for v in value.values())
    return texts.as_text(value)


def cell(value: float | str | None, kind: str, *, graded: bool) -> dict[str, str]:
    """A score as a cell: text, a grade for its tint, and a mark for pass and fail."""
    if value is None:
        return {"text": "–", "grade": "none", "mark": ""}
    if isinstance(value, str):
        return {"text": texts.cut(value, 40) or "(none)", "grade": "", "mark": ""}
    if kind == "bool":
        return (
            {"text": "pass", "grade": "q4", "mark": "✓"}
            if value
            else {"text": "fail", "grade": "q0", "mark": "✕"}
        )
    if graded:
        return {"text": f"{value:.2f}", "grade": f"q{min(4, int(5 * value))}", "mark": ""}
    return {"text": f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}", "grade": "q2", "mark": ""}


def state(record: Mapping[str, Any]) -> dict[str, str]:
    """How the answer ended, in a word."""
    if record["error"]:
        return {"word": str(record["error"]).replace("_", " "), "tone": "error"}
    for name in ("refused", "unparsable", "cached"):
        if record[name]:
            return {"word": name, "tone": ""}
    return {"word": "", "tone": ""}


def seconds(value: float | None) -> str:
    """`840 ms`, `2.1 s`, `95 s`; a dash where nothing was timed."""
    if value is None or value != value:
        return "–"
    return f"{1000 * value:,.0f} ms" if value < 1 else f"{value:.1f} s" if value < 100 else f"{value:,.0f} s"


def usd(value: float | None) -> str:
    """`$0.0031`, `$12.40`; a dash where the price is unknown."""
    if value is None or value != value:
        return "–"
    if value == 0:
        return "$0"
    return (
        f"${value:,.2f}"
        if abs(value) >= 1
        else f"${numbers.Unit(digits=max(2, min(7, 1 - math.floor(math.log10(abs(value)))))).bare(value, signed=False)}"
    )


EXPORTED = (
    "trace_id", "example_id", "arm", "repeat", "group", "error", "error_message", "refused", "unparsable", "cached",
    "cost_usd", "latency_s", "ttft_s", "input_tokens", "output_tokens", "attempts", "created_at", "model", "input", "output",
    "answer",
)  # fmt: skip
_KEPT = ("error", "refused", "unparsable", "cached", "cost_usd", "latency_s", "ttft_s", "created_at", "arm")
_COUNTED = ("repeat", "input_tokens", "output_tokens", "attempts")


def export_names(table: Table) -> list[str]:
    """The columns of an export: facts, texts, then every score by its column's name."""
    return [*EXPORTED, *(score["column"] for score in table.facts["scores"])]


def export(store: SQLiteStore, table: Table, choice: Chosen, *, batch: int = 200) -> Iterator[dict[str, Any]]:
    """Every row that fits with its texts, a few hundred at a time in memory."""
    order = table.ordered(choice.filters, sort=choice.sort, among=choice.among)
    total = table.rows if order is None else len(order)
    booleans = {s["column"] for s in table.facts["scores"] if s["kind"] == "bool"}
    for start in range(0, total, batch):
        some = range(start, min(total, start + batch)) if order is None else order[start : start + batch]
        records = table.records(list(some) if order is None else some)  # type: ignore[arg-type]
        traces = store.traces_by_id([r["trace"] for r in records if r["trace"]])
        for record in records:
            trace = traces.get(record["trace"] or "")
            row = {name: record[name] for name in _KEPT}
            row |= {name: None if record[name] is None else int(record[name]) for name in _COUNTED}
            row |= {
                "trace_id": record["trace"],
                "example_id": record["example"],
                "group": record.get("group"),
            }
            if trace is not None:
                row |= {
                    "model": trace.model,
                    "input": trace.input,
                    "output": trace.output,
                    "answer": trace.answer,
                }
                row["error_message"] = trace.error.message if trace.error else None
            for score in table.facts["scores"]:
                value = record[score["column"]]
                row[score["column"]] = (
                    bool(value) if value is not None and score["column"] in booleans else value
                )
            yield row
