"""The compare screen: which variant is better and how sure, what regressions have in common, example by example."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from ratchet.stores import sqlite_views
from ratchet.web import comparison_rows, indexing, looks, pages
from ratchet.web.columns import read as read_columns

if TYPE_CHECKING:
    from starlette.requests import Request

    from ratchet.verdicts.keeping import Kept
    from ratchet.web.columns import Ints, Table
    from ratchet.web.comparison_rows import Comparison

FIRST_ROWS = 40
MOST_ROWS = 200
_MOST_LISTED = 200
_AT_ONCE = 10_000
_WAIT_S = 0.4
"""How long one example waits for the columns of a dataset that nobody looked at yet."""


def compare(request: Request) -> Response:
    """Every kept verdict, newest first; those of one run with `?run=`."""
    from ratchet.verdicts import keeping

    store = pages.store(request)
    run_id = request.query_params.get("run") or None
    found = keeping.kept(store, run_id=run_id, limit=_MOST_LISTED + 1)
    return pages.render(
        request, "comparisons.html", verdicts=found[:_MOST_LISTED], more=len(found) > _MOST_LISTED, run_id=run_id,
        words=_WORDS, has_runs=bool(store.runs(limit=1)),
    )  # fmt: skip


_WORDS = {"ship": "Ship", "hold": "Hold", "inconclusive": "Inconclusive", "invalid": "Invalid"}


def comparison(request: Request) -> Response:
    """One verdict with its table of examples, as far as the columns are made."""
    from ratchet.reports import drawing
    from ratchet.verdicts import keeping

    store = pages.store(request)
    kept = _kept(request)
    if kept is None:
        return _unknown(request)
    context = drawing.drawn(keeping.view_of(store, kept))
    if any(context["counts"].values()):
        table = _table(request, kept)
        context |= (
            _rows(request, kept, table) if table is not None else {"progress": _progress(request, kept)}
        )
    siblings = _siblings(keeping.kept(store, run_id=kept.run_ids[0]), kept) if kept.run_ids else []
    found: dict[str, Any] = {
        "rows": [],
        "kept": 0,
        "opened": "",
        "progress": None,
        "report": f"/compare/{kept.id}/report.html",
        "live": comparison_rows.live(request, kept),
        "verdict": kept,
        "siblings": siblings,
        **context,
    }
    return pages.render(request, "comparison.html", **found)


def _siblings(found: list[Kept], kept: Kept) -> list[Kept]:
    """The newest verdict on each other candidate of the same run."""
    newest: dict[str, Kept] = {}
    for one in found:
        if one.candidate != kept.candidate:
            newest.setdefault(one.candidate, one)
    return list(newest.values())


def _rows(request: Request, kept: Kept, table: Table) -> dict[str, object]:
    """The first rows of this view and what is open, so that the page reads before any script runs."""
    found = comparison_rows.of(request, kept, table)
    asked = comparison_rows.Asked.of(request)
    page = found.page(asked, offset=0, limit=FIRST_ROWS)
    row = asked.row if asked.row is not None else next(iter(page.rows.tolist()), None)
    if row is not None and not 0 <= row < len(table):
        row = None
    _note_looks(request, found, [*page.rows.tolist(), *([] if row is None else [row])])
    return {
        "rows": found.fragments(request, page.rows),
        "kept": page.total,
        "opened": "" if row is None else found.detail(request, row),
        "opened_row": row,
    }


def rows(request: Request) -> Response:
    """`<tr>`s from `offset` on, with how many fit in `X-Total`."""
    found = _comparison(request)
    if isinstance(found, Response):
        return found
    offset, limit = _number(request, "offset", 0), min(MOST_ROWS, _number(request, "limit", FIRST_ROWS))
    page = found.page(comparison_rows.Asked.of(request), offset=offset, limit=limit)
    _note_looks(request, found, page.rows)
    text = "\n".join(found.fragments(request, page.rows))
    return HTMLResponse(text, headers={"X-Total": str(page.total), "Cache-Control": "no-store"})


def row(request: Request) -> Response:
    """Both sides of one example."""
    found = _comparison(request)
    if isinstance(found, Response):
        return found
    index = int(request.path_params["row"])
    if index >= len(found.table):
        return pages.problem(
            request, 404, f"There is no example {index}.", f"The last one is {len(found.table) - 1}."
        )
    _note_looks(request, found, [index], wait_s=_WAIT_S)
    return HTMLResponse(found.detail(request, index), headers={"Cache-Control": "no-store"})


def place(request: Request) -> Response:
    """`{"place": 12}`: where an example stands in this view; null where it does not fit."""
    found = _comparison(request)
    if isinstance(found, Response):
        return found
    at = found.place(comparison_rows.Asked.of(request), int(request.path_params["row"]))
    return JSONResponse({"place": at}, headers={"Cache-Control": "no-store"})


def made(request: Request) -> Response:
    """`{"made": true}` once the table of examples can be shown; `error` says why it can't be made."""
    kept = _kept(request)
    if kept is None:
        return _unknown(request)
    table, progress = _table(request, kept), _progress(request, kept)
    found = {"made": table is not None, "error": progress.error if progress is not None else ""}
    return JSONResponse(found, headers={"Cache-Control": "no-store"})


def report(request: Request) -> Response:
    """The verdict as one HTML file, made in a child process: it is the same that `ratchet compare -o x.html` writes."""
    from ratchet.web import comparison_reports

    kept = _kept(request)
    if kept is None:
        return _unknown(request)
    store = pages.store(request)
    path = comparison_reports.made(store.path, kept)
    for source in kept.sources.values():
        units = sqlite_views.units(store, source.run_id, source.arm)
        while some := [(source.run_id, example) for example, _, _ in islice(units, _AT_ONCE)]:
            looks.show(request, some, f"exported the comparison {kept.id[:12]}", wait_s=_WAIT_S)
    name = comparison_reports.file_name(kept)
    return HTMLResponse(
        path.read_bytes(),
        headers={"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"},
    )


def export(request: Request) -> Response:
    """The rows of this view as CSV or JSONL."""
    found = _comparison(request)
    if isinstance(found, Response):
        return found
    kind = request.query_params.get("format", "csv")
    return comparison_rows.exported(found, comparison_rows.Asked.of(request), kind)


def _note_looks(
    request: Request, found: Comparison, numbers: Ints | Sequence[int], *, wait_s: float = 0.0
) -> None:
    """Remember who saw held-out examples among these rows."""
    examples = [record["example"] for record in found.table.records(numbers, ["example"])]
    runs = {source.run_id for source in found.kept.sources.values()}
    shown = [(run_id, example) for run_id in runs for example in examples]
    looks.show(request, shown, f"read the comparison {found.kept.id[:12]}", wait_s=wait_s)


def _kept(request: Request) -> Kept | None:
    from ratchet.verdicts import keeping

    return keeping.find(pages.store(request), request.path_params["verdict"])


def _comparison(request: Request) -> Comparison | Response:
    kept = _kept(request)
    if kept is None:
        return _unknown(request)
    table = _table(request, kept)
    if table is None:
        return pages.problem(
            request, 409, "The table of examples is being made.", "Load the page again in a moment."
        )
    return comparison_rows.of(request, kept, table)


def _table(request: Request, kept: Kept) -> Table | None:
    """The comparison's columns; where there are none, a child is started to make them."""
    path = pages.store(request).path
    table = read_columns(path, f"verdict-{kept.id}")
    if table is None:
        indexing.ensure(path, "verdict", kept.id)
    return table


def _progress(request: Request, kept: Kept) -> indexing.Progress | None:
    return indexing.progress(pages.store(request).path, "verdict", kept.id)


def _unknown(request: Request) -> Response:
    name = request.path_params["verdict"]
    return pages.problem(
        request,
        404,
        f"There is no verdict {name!r} in this store.",
        "The list of verdicts leads to those there are; `ratchet compare` makes one.",
    )


def _number(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else default


routes = [
    Route("/compare", compare, methods=["GET"]),
    Route("/compare/{verdict}", comparison, methods=["GET"]),
    Route("/compare/{verdict}/rows", rows, methods=["GET"]),
    Route("/compare/{verdict}/rows/{row:int}", row, methods=["GET"]),
    Route("/compare/{verdict}/rows/{row:int}/place", place, methods=["GET"]),
    Route("/compare/{verdict}/made", made, methods=["GET"]),
    Route("/compare/{verdict}/report.html", report, methods=["GET"]),
    Route("/compare/{verdict}/export", export, methods=["GET"]),
]
