"""The screens of runs: the list of them, one run with its figures and its answers."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from markupsafe import Markup
from starlette.routing import Route

from ratchet.ports import RunRow
from ratchet.records import Run
from ratchet.reports import texts
from ratchet.stores import sqlite_views
from ratchet.web import columns, counting, exporting, indexing, looks, pages, run_figures, run_rows
from ratchet.web.counting import Pace, Tally
from ratchet.web.indexing import View

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from ratchet.records import Score, Trace
    from ratchet.stores.sqlite import SQLiteStore

MOST_RUNS = 100
"""On one page of the list."""
FIRST_ROWS = 40
MOST_ROWS = 200
COUNT_FOR_S = 0.3
"""The list counts for so long; what is left over says so and is counted by the next request."""
SPLITS_WAIT_S = 0.4
"""How long one answer waits for the columns of a dataset that nobody looked at yet."""
_SMALL = 20_000
"""Rows up to which the page waits a moment for its columns rather than saying that they are being made."""
_WAIT_S = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One run in the list."""

    row: RunRow
    run: Run
    tally: Tally | None
    """None: not counted yet."""
    pace: Pace | None

    @property
    def title(self) -> str:
        return self.row.name or self.run.task.name or self.row.id[:13]


def runs(request: Request) -> Response:
    """The list of runs."""
    return pages.render(request, "runs.html", **_list(request))


def runs_live(request: Request) -> Response:
    """The rows of the list as they are now."""
    found = _list(request)
    return pages.fragment(
        request, "_runs_table.html", headers={} if found["live"] else {"X-Live": "done"}, **found
    )


def _list(request: Request) -> dict[str, Any]:
    store = pages.store(request)
    text = request.query_params.get("text", "")[:200]
    offset = _whole(request.query_params.get("offset", ""))
    everything = store.runs()
    fitting = [row for row in everything if _fits(row, text)]
    lines = _lines(store, fitting[offset : offset + MOST_RUNS])
    live = any(line.row.state == "running" or line.tally is None for line in lines)
    return {
        "lines": [_shown(line) for line in lines],
        "live": live,
        "text": text,
        "offset": offset,
        "total": len(fitting),
        "any": bool(everything),
        "next_offset": offset + MOST_RUNS if offset + MOST_RUNS < len(fitting) else None,
    }


def _fits(row: RunRow, text: str) -> bool:
    return all(word in f"{row.name} {row.id} {row.state}".lower() for word in text.lower().split())


def _lines(store: SQLiteStore, rows: list[RunRow]) -> list[Line]:
    until = time.monotonic() + COUNT_FOR_S
    found: list[Line] = []
    for row in rows:
        run = store.run(row.id)
        if run is None:
            continue
        tally = counting.tally(store, run) if time.monotonic() < until else None
        found.append(
            Line(
                row=row,
                run=run,
                tally=tally,
                pace=None if tally is None else counting.pace(store, row, tally),
            )
        )
    return found


def _shown(line: Line) -> dict[str, Any]:
    """A run in words and numbers."""
    row, tally = line.row, line.tally
    silent = line.pace is not None and line.pace.silent_s is not None
    return {
        "id": row.id,
        "title": line.title,
        "task": line.run.task.name if line.run.task.name != line.title else "",
        "state": row.state,
        "word": "silent" if silent else row.state,
        "reason": row.reason,
        "arms": [{"name": arm, "index": index} for index, arm in enumerate(line.run.arms)],
        "counted": tally is not None,
        "rows": "" if tally is None else f"{tally.rows:,}",
        "planned": "" if tally is None or tally.rows >= tally.planned else f"{tally.planned:,}",
        "failed": 0 if tally is None else tally.failed,
        "cost": "" if tally is None else run_rows.usd(tally.cost_usd),
        "when": when(row.created_at),
        "date": stamp(row.created_at),
        "took": _took(row),
        **progress_of(line),
    }


def progress_of(line: Line) -> dict[str, Any]:
    """Bar, pace and time left of a run under way; nothing of one that has ended."""
    pace, tally = line.pace, line.tally
    if pace is None or tally is None:
        return {"bar": "", "pace": "", "left": "", "silent": ""}
    speed = pace.rows_per_s
    return {
        "bar": run_figures.progress_bar(tally),
        "pace": ""
        if speed is None
        else f"{speed:,.0f} answers/s"
        if speed >= 10
        else f"{60 * speed:,.0f} answers/min",
        "left": "" if pace.left_s is None else f"{duration(pace.left_s)} left",
        "silent": "" if pace.silent_s is None else duration(pace.silent_s),
    }


def run(request: Request) -> Response:
    """The page of one run."""
    store = pages.store(request)
    found = _found(request)
    if found is None:
        return _unknown(request)
    line, wish = found, run_rows.asked(request.query_params)
    wait_s = _WAIT_S if line.tally and 0 < line.tally.rows <= _SMALL else 0.0
    view = indexing.view(store, line.row.id, wait_s=wait_s)
    if request.headers.get("x-part") == "#answers":  # a filter or a sort: nothing else on the page changes
        return pages.fragment(
            request,
            "_run_answers.html",
            headers={"Vary": "X-Fragment, X-Part"},
            line=_shown(line),
            arms=run_figures.arms_of(line.run),
            index_error=view.progress.error if view.progress else "",
            **_table(request, line.run, view, wish),
        )
    return pages.render(
        request,
        "run.html",
        line=_shown(line),
        **_overview(line, view),
        more=_more(line.run, view),
        **_table(request, line.run, view, wish),
        opened=_detail(request, line.run, wish.row) if wish.row else None,
    )


def _more(run: Run, view: View) -> Markup:
    """What stands behind "More figures": made once a version of the columns, as it never changes."""
    if view.table is None:
        return Markup("")
    key = str(view.table.folder)
    made = _MORE.get(key)
    if made is None:
        found = run_figures.more(run, columns.read_extra(view.table))
        if found is None:
            return Markup("")
        template = pages.environment().get_template("_run_more.html")
        made = Markup(template.render(more=found, arms=run_figures.arms_of(run)))
        while len(_MORE) >= _MOST_MADE:
            _MORE.pop(next(iter(_MORE)), None)
        _MORE[key] = made
    return made


_MORE: dict[str, Markup] = {}
_MOST_MADE = 8


def run_live(request: Request) -> Response:
    """What changes while a run is under way, or while its columns are made."""
    found = _found(request)
    if found is None:
        return _unknown(request)
    view = indexing.view(pages.store(request), found.row.id)
    overview = _overview(found, view)
    headers = {} if overview["live"] else {"X-Live": "done"}
    return pages.fragment(request, "_run_overview.html", headers=headers, line=_shown(found), **overview)


def _found(request: Request) -> Line | None:
    store, run_id = pages.store(request), request.path_params["run"]
    row, run = sqlite_views.run_row(store, run_id), store.run(run_id)
    if row is None or run is None:
        return None
    tally = counting.tally(store, run)
    return Line(row=row, run=run, tally=tally, pace=counting.pace(store, row, tally))


def _unknown(request: Request) -> Response:
    name = texts.cut(texts.visible(str(request.path_params["run"])), 60)
    return pages.problem(
        request, 404, f"There is no run {name} in this store.", "The list of runs has those that there are."
    )


def _overview(line: Line, view: View) -> dict[str, Any]:
    """The part above the rows; `live` while it will change by itself."""
    assert line.tally is not None
    figures = {} if view.table is None else columns.read_extra(view.table)
    failed = view.progress.error if view.progress else ""
    making = not view.fresh or "summary" not in figures
    return {
        **run_figures.overview(line.run, line.tally, figures),
        "live": line.row.state == "running" or (making and not failed),
        "step": view.progress.step if view.progress and making else "",
        "done": f"{100 * view.progress.share:.0f} %" if view.progress and view.progress.total else "",
        "index_error": failed,
        "version": "" if view.table is None else view.table.folder.name,
    }


def _table(request: Request, run: Run, view: View, wish: run_rows.Asked) -> dict[str, Any]:
    """The table of answers with its first rows, or those around the open one."""
    store, table = pages.store(request), view.table
    if table is None:
        return {"table": None, "wish": wish, "rows": [], "total": 0, "offset": 0, "open_index": None}
    choice = run_rows.chosen(store, run.id, table, wish)
    place = None
    if wish.row:
        row = int(table.find("trace", [wish.row])[0]) if _is_id(wish.row) else -1
        place = table.place(row, choice.filters, sort=choice.sort, among=choice.among) if row >= 0 else None
    offset = 0 if place is None or place < FIRST_ROWS // 2 else place - FIRST_ROWS // 3
    rows, total = run_rows.page(store, run, table, choice, offset=offset, limit=FIRST_ROWS)
    _watch(request, run).show(row["example"] for row in rows)
    errors = table.info("error")
    return {
        "table": table,
        "wish": wish,
        "rows": rows,
        "total": total,
        "offset": offset,
        "open_index": place,
        "score_columns": run_rows.shown_scores(table),
        "score_options": run_rows.score_options(table),
        "error_options": sorted(zip(errors.words, errors.counts, strict=True), key=lambda pair: -pair[1]),
        "flag_options": [
            (name, table.info(name).counts[1])
            for name in ("refused", "unparsable", "cached")
            if table.info(name).counts[1]
        ],
        "failed_count": table.info("failed").counts[1],
        "complete": choice.complete,
        "asked_query": wish.query(row=""),
    }


def rows(request: Request) -> Response:
    """Some rows of the table, as fragments."""
    store = pages.store(request)
    found, table = _run_and_table(request)
    if found is None or table is None:
        return _unknown(request)
    choice = run_rows.chosen(store, found.id, table, run_rows.asked(request.query_params))
    offset, limit = (_whole(request.query_params.get(name, "")) for name in ("offset", "limit"))
    shown, total = run_rows.page(
        store, found, table, choice, offset=offset, limit=min(limit or FIRST_ROWS, MOST_ROWS)
    )
    _watch(request, found).show(row["example"] for row in shown)
    return pages.fragment(
        request,
        "_run_rows.html",
        headers={"X-Total": str(total)},
        rows=shown,
        line={"id": found.id},
        several=len(found.arms) > 1,
        repeats=found.task.repeats > 1,
    )


def row(request: Request) -> Response:
    """One answer, to be shown beside the table."""
    store = pages.store(request)
    found = store.run(request.path_params["run"])
    opened = None if found is None else _detail(request, found, request.path_params["trace"])
    if found is None or opened is None:
        return pages.problem(
            request, 404, "There is no such answer in this run.", "Close it and open another row."
        )
    return pages.fragment(request, "_run_detail.html", opened=opened, line={"id": found.id})


def export(request: Request) -> Response:
    """The answers that the address asks for, as a file."""
    store = pages.store(request)
    found, table = _run_and_table(request)
    if found is None:
        return _unknown(request)
    if table is None:
        return pages.problem(
            request, 409, "The answers of this run are still being read.", "Try again in a moment."
        )
    choice = run_rows.chosen(store, found.id, table, run_rows.asked(request.query_params))
    return exporting.respond(
        request.query_params.get("format", "csv"),
        f"run-{found.name or found.id}",
        run_rows.export_names(table),
        _watch(request, found, "exported", wait_s=SPLITS_WAIT_S).showing(
            run_rows.export(store, table, choice), "example_id"
        ),
    )


def export_runs(request: Request) -> Response:
    """The list of runs as a file."""
    store = pages.store(request)
    names = ("id", "name", "task", "state", "reason", "arms", "answers", "planned", "errors", "cost_usd", "created_at",
             "finished_at")  # fmt: skip

    def lines() -> Any:
        for row in store.runs():
            found = store.run(row.id)
            if found is None:
                continue
            tally = counting.tally(store, found)
            yield {
                "id": row.id, "name": row.name, "task": found.task.name, "state": row.state, "reason": row.reason,
                "arms": list(found.arms), "answers": tally.rows, "planned": tally.planned, "errors": tally.failed,
                "cost_usd": tally.cost_usd, "created_at": row.created_at, "finished_at": row.finished_at,
            }  # fmt: skip

    return exporting.respond(request.query_params.get("format", "csv"), "runs", names, lines())


def _run_and_table(request: Request) -> tuple[Run | None, columns.Table | None]:
    store, run_id = pages.store(request), request.path_params["run"]
    found = store.run(run_id)
    return found, None if found is None else columns.read(store.path, f"run-{run_id}")


def _watch(request: Request, run: Run, did: str = "read", *, wait_s: float = 0.0) -> looks.Watch:
    return looks.Watch(request, run.task.dataset, f"{did} answers of run {run.id}", wait_s=wait_s)


def _detail(request: Request, run: Run, trace_id: str) -> dict[str, Any] | None:
    """One answer in short: what was asked and said, its scores with reasons, what it cost; None where it isn't the run's."""
    store = pages.store(request)
    trace = store.trace(trace_id) if _is_id(trace_id) else None
    if trace is None or trace.run_id != run.id:
        return None
    _watch(request, run, wait_s=SPLITS_WAIT_S).show((trace.example_id,))
    scores = list(store.scores(trace_id=trace.id))
    expected = next((s.metadata["expected"] for s in scores if s.metadata.get("expected") is not None), None)
    answer = (
        None
        if trace.answer is None or trace.answer == trace.output
        else texts.folded(texts.as_text(trace.answer))
    )
    arms = list(run.arms)
    return {
        "trace": trace,
        "arm": trace.arm or "a judge's call",
        "index": arms.index(trace.arm) if trace.arm in arms else 0,
        "input": texts.folded(run_rows.question_of(trace.input)),
        "messages": len(trace.input) if isinstance(trace.input, list) else 1,
        "output": texts.folded(texts.as_text(trace.refusal or trace.output))
        if trace.output is not None or trace.refusal
        else None,
        "answer": answer,
        "expected": None if expected is None else texts.folded(texts.as_text(expected)),
        "scores": [_score(score) for score in scores],
        "facts": _facts(trace),
        "others": _others(store, run, trace),
    }


def _score(score: Score) -> dict[str, Any]:
    value = score.value
    kind = "bool" if isinstance(value, bool) else "number" if isinstance(value, (int, float)) else "label"
    shown = value if isinstance(value, (bool, int, float, str)) or value is None else ", ".join(sorted(value))
    graded = kind == "number" and isinstance(value, (int, float)) and 0 <= value <= 1
    return {
        "name": score.name,
        "cell": run_rows.cell(shown, kind, graded=graded),
        "by": score.by or score.source,
        "reason": texts.folded(score.reason, most=600) if score.reason else None,
    }


def _facts(trace: Trace) -> list[tuple[str, str]]:
    facts = [
        ("Cost", run_rows.usd(trace.cost_usd)),
        ("Latency", run_rows.seconds(trace.latency_s)),
        ("First token", run_rows.seconds(trace.ttft_s) if trace.ttft_s is not None else ""),
        ("Waited", run_rows.seconds(trace.queue_s) if trace.queue_s else ""),
        (
            "Tokens",
            ""
            if trace.input_tokens is None
            else f"{trace.input_tokens:,} in, {trace.output_tokens or 0:,} out",
        ),
        ("Attempts", f"{trace.attempts}" if trace.attempts > 1 else ""),
        ("Ended by", trace.finish_reason or ""),
        ("Model", trace.model or ""),
    ]
    return [(name, value) for name, value in facts if value]


def _others(store: SQLiteStore, run: Run, trace: Trace) -> list[dict[str, Any]]:
    """The other answers to the same example."""
    if trace.example_id is None:
        return []
    found: list[dict[str, Any]] = []
    for index, arm in enumerate(list(run.arms)[:6]):
        for one in sqlite_views.siblings(store, run.id, arm, trace.example_id, most=8):
            found.append({"id": one.id, "arm": arm, "index": index, "repeat": one.repeat, "error": one.error_kind,
                          "here": one.id == trace.id})  # fmt: skip
    return found if len(found) > 1 else []


def _is_id(text: str) -> bool:
    return len(text) == 32 and all(c in "0123456789abcdef" for c in text)


def _whole(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def when(at: float) -> str:
    """`3 minutes ago`, `yesterday`, `12 March`."""
    passed = time.time() - at
    if at <= 0:
        return "–"
    if passed < 90:
        return "just now"
    if passed < 3600:
        return f"{passed / 60:.0f} minutes ago"
    if passed < 86_400:
        hours = round(passed / 3600)
        return f"{hours} hour{'s' if hours > 1 else ''} ago"
    day = time.localtime(at)
    same_year = day.tm_year == time.localtime().tm_year
    return f"{day.tm_mday} {time.strftime('%B' if same_year else '%B %Y', day)}"


def stamp(at: float) -> str:
    """The same to the second, in UTC."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at)) if at > 0 else ""


def duration(seconds: float) -> str:
    """`42 s`, `3 min`, `2 h 5 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def _took(row: RunRow) -> str:
    return "" if row.finished_at is None else duration(max(0.0, row.finished_at - row.created_at))


def as_context(line: Line) -> Mapping[str, Any]:
    """The line as other screens' templates show it."""
    return _shown(line)


routes = [
    Route("/runs", runs, methods=["GET"]),
    Route("/runs/live", runs_live, methods=["GET"]),
    Route("/runs/export", export_runs, methods=["GET"]),
    Route("/runs/{run}", run, methods=["GET"]),
    Route("/runs/{run}/live", run_live, methods=["GET"]),
    Route("/runs/{run}/rows", rows, methods=["GET"]),
    Route("/runs/{run}/rows/{trace}", row, methods=["GET"]),
    Route("/runs/{run}/export", export, methods=["GET"]),
]
