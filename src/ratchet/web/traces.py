"""The page of one answer: what was sent and came back, where its time went, what it cost, what was said of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from ratchet.errors import DatasetError, RatchetError
from ratchet.records import Dataset, Example, Json, Run, Score, Trace
from ratchet.reports import waterfalls
from ratchet.reports.texts import as_text
from ratchet.stores import sqlite_views
from ratchet.web import (
    dataset_additions,
    dataset_rows,
    exporting,
    looks,
    pages,
    rendering,
    trace_facts,
)

if TYPE_CHECKING:
    from starlette.requests import Request

    from ratchet.stores.sqlite import SQLiteStore

SCORE_COLUMNS = ("trace_id", "name", "value", "source", "by", "reason", "against", "metadata", "created_at")
MOST_MESSAGES = 60
"""Shown of one input."""
MOST_EDITED = 20_000
"""Characters of an input that a form offers to edit."""
EXPECTED_WAIT_S = 0.4
MOST_READ = 4 * 2**20
"""Bytes of a dataset that is looked through at once where its columns are not there yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A trace with what the store knows around it."""

    trace: Trace
    run: Run | None
    scores: tuple[Score, ...]
    """The older ones included."""
    example: Example | None
    """As its dataset has it; None where that can't be read."""
    example_note: str
    """Why there is no example."""


def trace(request: Request) -> Response:
    """`/traces/{trace}`."""
    told = _told(request, wait_s=EXPECTED_WAIT_S)
    if told is None:
        return _missing(request)
    _note_look(request, told)
    return pages.render(request, "trace.html", **_context(request, told))


def text(request: Request) -> Response:
    """`/traces/{trace}/text?part=output&as=raw&from=4000`: one text of it, from one character on."""
    told = _told(request)
    if told is None:
        return _missing(request)
    _note_look(request, told)
    name, start = request.query_params.get("part", "output"), _number(request.query_params.get("from"))
    found = parts(told)
    if name not in found:
        return pages.problem(
            request, 404, f"This trace has no text named {name!r}.", f"It has: {', '.join(found)}."
        )
    block = rendering.block(found[name], name=name, view=request.query_params.get("as"), start=start)
    href = _href(told.trace)
    return pages.render(
        request, "trace_text.html", shown=block, href=href, src=f"{href}/text", back="Back to the trace",
        title=f"trace {told.trace.id[:12]}",
    )  # fmt: skip


def scores(request: Request) -> Response:
    """`/traces/{trace}/scores?format=csv`: all that was said of it, the older judgements included."""
    told = _told(request)
    if told is None:
        return _missing(request)
    rows = ({name: getattr(score, name) for name in SCORE_COLUMNS} for score in told.scores)
    name = f"scores-{told.trace.id[:12]}"
    return exporting.respond(request.query_params.get("format", "csv"), name, SCORE_COLUMNS, rows)


@pages.needs("label")
async def add(request: Request) -> Response:
    """`POST /traces/{trace}/add`: the example in a new version of a dataset."""
    fields = await pages.form(request)
    return await run_in_threadpool(_add, request, fields)


def _add(request: Request, fields: Mapping[str, str]) -> Response:
    told = _told(request, wait_s=5.0)
    if told is None:
        return _missing(request)
    store, who = pages.store(request), pages.person(request)
    given, expected = _editable(told)
    try:
        to: Dataset | None = None
        if fields.get("dataset"):
            to = dataset_rows.find(store, fields["dataset"])
            if to is None:
                raise DatasetError("the store no longer knows the dataset that was chosen; choose another")
        made = dataset_additions.add(
            store, told.trace, root=pages.settings(request).root, to=to, name=fields.get("name", "").strip(),
            input=dataset_additions.edited(fields.get("input"), given, "The input"),
            expected=dataset_additions.edited(fields.get("expected"), expected, "The expected answer"),
            by=who.name,
        )  # fmt: skip
    except RatchetError as error:
        return pages.render(
            request, "trace.html", status=422, **_context(request, told, fields=fields, error=str(error))
        )
    return RedirectResponse(f"{_href(told.trace)}?{urlencode({'added': made.id})}#add", status_code=303)


def _href(trace: Trace) -> str:
    return f"/traces/{trace.id}"


def _note_look(request: Request, told: Told) -> None:
    """Remember who saw this answer to a held-out example."""
    if told.run is not None and told.example is not None:
        looks.note_splits(
            pages.store(request), told.run.task.dataset.id, [told.example.split],
            by=pages.person(request).name, what=f"opened the trace {told.trace.id[:12]}",
        )  # fmt: skip


def _when(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if 0 < at < 1e11 else "–"


def _missing(request: Request) -> Response:
    id_ = request.path_params["trace"]
    return pages.problem(request, 404, f"The store has no trace {id_!r}.", "Runs list their answers: /runs")


def _number(given: str | None) -> int:
    return (
        int(given) if given is not None and given.isascii() and given.isdecimal() and len(given) < 12 else 0
    )


def _told(request: Request, *, wait_s: float = 0.0) -> Told | None:
    store = pages.store(request)
    found = store.trace(request.path_params["trace"])
    if found is None:
        return None
    run = store.run(found.run_id) if found.run_id else None
    example, note = _example(request, store, run, found, wait_s)
    scores = tuple(store.scores(trace_id=found.id, history=True))
    return Told(trace=found, run=run, scores=scores, example=example, example_note=note)


def _example(
    request: Request, store: SQLiteStore, run: Run | None, trace: Trace, wait_s: float
) -> tuple[Example | None, str]:
    """The example as its dataset has it, or why it can't be shown."""
    if run is None or trace.example_id is None or trace.arm is None:
        return None, ""
    dataset, root = run.task.dataset, pages.settings(request).root
    if why := dataset_rows.refusal(dataset, root):
        return None, why
    view = dataset_rows.view(store, dataset, root=root)
    try:
        if view.table is None and Path(dataset.path).stat().st_size > MOST_READ:
            view = dataset_rows.view(store, dataset, root=root, wait_s=wait_s)
            if view.table is None:
                failed = view.progress.error if view.progress else ""
                return None, failed or "Its dataset is being read for the first time; look again in a moment."
        found = dataset_rows.example_of(dataset, view.table, trace.example_id)
    except (RatchetError, OSError) as error:
        return None, str(error)
    return found, "" if found else "Its dataset has no example with this id."


def parts(told: Told) -> dict[str, Json]:
    """Every text of a trace by the name that the page gives it."""
    trace = told.trace
    messages = trace_facts.messages(trace)
    found: dict[str, Json] = {"output": trace.output}
    if trace.answer is not None and trace.answer != trace.output:
        found["answer"] = trace.answer
    if told.example is not None and told.example.expected is not None:
        found["expected"] = told.example.expected
    if not messages:
        found["input"] = trace.input
    for message in messages:
        found[message.part] = message.content
        found.update({call.part: call.arguments for call in message.calls})
    found.update({call.part: call.arguments for call in trace_facts.tool_calls(trace.tool_calls, "call")})
    found.update({line.part: line.score.reason or "" for line in trace_facts.score_lines(told.scores)})
    for name, value in (
        ("refusal", trace.refusal),
        ("answer_error", trace.answer_error),
        ("error", trace.error and trace.error.message),
        ("metadata", dict(trace.metadata) or None),
    ):
        if value is not None:
            found[name] = value
    return found


_RAW_FIRST = ("input", "reason", "error", "answer_error", "refusal", "expected")
"""Shown as they are at first: instructions and reasons are read for what they say, not for how they look."""


def _block(request: Request, name: str, value: Json) -> rendering.Block:
    wanted = request.query_params.get(f"{name}.as")
    if (
        wanted is None
        and isinstance(value, str)
        and name.startswith(_RAW_FIRST)
        and not rendering.is_json(value)
    ):
        wanted = "raw"
    return rendering.block(value, name=name, view=wanted)


def _context(
    request: Request, told: Told, *, fields: Mapping[str, str] | None = None, error: str = ""
) -> dict[str, Any]:
    trace, run = told.trace, told.run
    store = pages.store(request)
    price = run.prices.get(trace.arm) if run is not None and trace.arm is not None else None
    rows = waterfalls.steps(trace)
    messages = trace_facts.messages(trace)
    shown = messages[:MOST_MESSAGES]
    values = parts(told)
    hidden = {m.part for m in messages[MOST_MESSAGES:]}
    blocks = {
        name: _block(request, name, value)
        for name, value in values.items()
        if name not in hidden and (value is not None or name == "output")
    }
    return {
        "trace": trace,
        "run": run,
        "href": _href(trace),
        "outcome": trace_facts.outcome(trace),
        "time": trace_facts.where_time_went(trace),
        "cost": trace_facts.what_it_cost(trace, price),
        "waterfall": waterfalls.waterfall(rows, label="Steps of this answer"),
        "steps": rows,
        "made_at": _when(trace.created_at),
        "messages": shown,
        "more_messages": len(messages) - len(shown),
        "calls": trace_facts.tool_calls(trace.tool_calls, "call"),
        "blocks": blocks,
        "scores": trace_facts.score_lines(told.scores),
        "example": told.example,
        "example_note": told.example_note,
        "arms": list(run.arms) if run else [],
        "seconds": waterfalls.seconds,
        "dollars": trace_facts.dollars,
        "score_text": trace_facts.score_text,
        **_neighbours(store, told),
        **_adding(request, told, fields or {}, error),
    }


def _neighbours(store: SQLiteStore, told: Told) -> dict[str, Any]:
    """The answers to the same example: all of them, the one before, the one after."""
    trace, run = told.trace, told.run
    if run is None or trace.example_id is None or trace.arm is None:
        return {"siblings": [], "before": None, "after": None}
    found = [one for arm in run.arms for one in sqlite_views.siblings(store, run.id, arm, trace.example_id)]
    at = next((i for i, one in enumerate(found) if one.id == trace.id), None)
    if at is None:
        return {"siblings": found, "before": None, "after": None}
    return {
        "siblings": found,
        "before": found[at - 1] if at else None,
        "after": found[at + 1] if at + 1 < len(found) else None,
    }


def _editable(told: Told) -> tuple[Json, Json]:
    """Input and expected answer that the form starts from."""
    example = told.example
    return (example.input, example.expected) if example is not None else (told.trace.input, None)


def _adding(request: Request, told: Told, fields: Mapping[str, str], error: str) -> dict[str, Any]:
    """What the form that adds the example to a dataset shows."""
    store, root = pages.store(request), pages.settings(request).root
    shelf = dataset_rows.shelf(store)
    newest = {
        shelf.datasets[id_].name: shelf.datasets[id_] for id_ in shelf.refs.values() if id_ in shelf.datasets
    }
    for dataset in shelf.datasets.values():
        newest.setdefault(dataset.name, dataset)
    given, expected = _editable(told)
    input_text = as_text(given)
    added = request.query_params.get("added")
    made = shelf.datasets.get(added) or dataset_rows.kept(store, added) if added else None
    return {
        "choices": [d for d in newest.values() if not dataset_rows.refusal(d, root)],
        "fields": {
            "dataset": fields.get("dataset", told.run.task.dataset.id if told.run else ""),
            "name": fields.get("name", ""),
            "input": fields.get("input", input_text),
            "expected": fields.get("expected", as_text(expected)),
        },
        "input_too_long": len(input_text) > MOST_EDITED,
        "add_error": error,
        "added": made,
        "added_path": _relative(made, root) if made else "",
        "root": root,
    }


def _relative(dataset: Dataset, root: Path) -> str:
    """Its file as the project's configuration would name it."""
    path = Path(dataset.path)
    return str(path.relative_to(root)) if path.is_relative_to(root) else dataset.path


routes = [
    Route("/traces/{trace}", trace, methods=["GET"]),
    Route("/traces/{trace}/text", text, methods=["GET"]),
    Route("/traces/{trace}/scores", scores, methods=["GET"]),
    Route("/traces/{trace}/add", add, methods=["POST"]),
]
