"""The list of all answers in the store, newest first, over all runs; one run's own table filters and sorts more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.routing import Route

from ratchet.stores import sqlite_views
from ratchet.web import exporting, looks, pages, run_rows, searching
from ratchet.web.runs import stamp, when

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from ratchet.stores.sqlite import SQLiteStore
    from ratchet.stores.sqlite_views import ListedTrace

PAGE = 100
MOST_FOUND = 500
"""Of a search over all runs: the newest so many."""
ERRORS = ("ok", "failed", "rate_limit", "timeout", "connection", "server", "auth", "bad_request", "protocol", "function",
          "prompt", "budget")  # fmt: skip


def traces(request: Request) -> Response:
    """The newest answers, or those that fit."""
    return pages.render(request, "traces.html", **_list(request))


def _list(request: Request) -> dict[str, Any]:
    store = pages.store(request)
    given = {name: request.query_params.get(name, "")[:200] for name in ("text", "arm", "error", "before")}
    found, complete = _found(store, given)
    runs = {row.id: row.name or row.id[:13] for row in store.runs()}
    shown = [(one.run_id, one.example_id) for one in found if one.run_id]
    looks.show(request, shown, "read the list of traces")
    last = found[-1].seq if len(found) == PAGE and not given["text"] else None
    return {
        "rows": _shown(store, found, runs),
        "given": given,
        "filtered": any(given[name] for name in ("text", "arm", "error")),
        "complete": complete,
        "next_before": last,
        "errors": ERRORS,
        "arms": _arms(store),
        "any": sqlite_views.newest_trace(store) > 0,
    }


def _found(store: SQLiteStore, given: dict[str, str]) -> tuple[list[ListedTrace], bool]:
    """The traces that fit, and whether all texts were searched."""
    text = given["text"].strip()
    if not text:
        before = int(given["before"]) if given["before"].isdigit() and len(given["before"]) < 18 else None
        return sqlite_views.newest(
            store, before=before, arm=given["arm"], error=given["error"], limit=PAGE
        ), True
    if len(text) == 32 and store.trace(text) is not None:
        row = store._one("SELECT seq FROM traces WHERE id = ?", (text,))
        return sqlite_views.listed(store, [row[0]] if row else []), True
    places, complete = searching.search_all(store, text, most=MOST_FOUND)
    fitting = [
        one
        for one in sqlite_views.listed(store, places)
        if (not given["arm"] or one.arm == given["arm"]) and _ends_so(one, given["error"])
    ]
    return fitting[:PAGE], complete


def _ends_so(one: ListedTrace, error: str) -> bool:
    if error in ("", "ok", "failed"):
        return not error or (one.error_kind is None) == (error == "ok")
    return one.error_kind == error


def _arms(store: SQLiteStore) -> list[str]:
    """Names of arms of the newest runs: what the filter offers."""
    found: dict[str, None] = {}
    for row in store.runs(limit=20):
        run = store.run(row.id)
        found |= dict.fromkeys(run.arms if run else ())
    return list(found)[:40]


def _shown(store: SQLiteStore, found: list[ListedTrace], runs: dict[str, str]) -> list[dict[str, Any]]:
    previews = run_rows.previews(store, [one.id for one in found])
    rows: list[dict[str, Any]] = []
    for one in found:
        preview = previews.get(one.id, run_rows.LONG)
        rows.append(
            {
                "id": one.id,
                "example": one.example_id or one.id[:12],
                "run_id": one.run_id,
                "run": runs.get(one.run_id or "", ""),
                "arm": one.arm or ("judge" if one.run_id else ""),
                "input": preview.asked,
                "answer": preview.said,
                "latency": run_rows.seconds(one.latency_s),
                "cost": run_rows.usd(one.cost_usd),
                "error": (one.error_kind or "").replace("_", " "),
                "when": when(one.created_at),
                "date": stamp(one.created_at),
            }
        )
    return rows


EXPORTED = ("id", "run_id", "arm", "example_id", "error_kind", "cost_usd", "latency_s", "created_at")


def export(request: Request) -> Response:
    """Every answer that fits the arm and the error, as a file; with a text, those that the search found."""
    store = pages.store(request)
    given = {name: request.query_params.get(name, "")[:200] for name in ("text", "arm", "error", "before")}

    def lines() -> Any:
        before = ""
        while True:
            found, _ = _found(store, {**given, "before": before})
            for one in found:
                yield {name: getattr(one, name) for name in EXPORTED}
            if given["text"] or len(found) < PAGE:
                return
            before = str(found[-1].seq)

    return exporting.respond(request.query_params.get("format", "csv"), "traces", EXPORTED, lines())


routes = [
    Route("/traces", traces, methods=["GET"]),
    Route("/traces/export", export, methods=["GET"]),
]
