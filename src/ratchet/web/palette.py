"""What the command palette finds in the store: runs, verdicts and datasets by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from starlette.responses import JSONResponse
from starlette.routing import Route

from ratchet.web import pages
from ratchet.web.opening import NoStoreError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from ratchet.ports import Store
    from ratchet.stores.sqlite import SQLiteStore

Entry: TypeAlias = dict[str, str]
_MOST = 12
_LOOKED_AT = 500


def palette(request: Request) -> Response:
    """`[{"label", "note", "href"}]`, newest first; those whose name holds every word asked for."""
    words = request.query_params.get("q", "")[:200].lower().split()
    try:
        store = pages.store(request)
    except NoStoreError:
        return JSONResponse([])
    found = [*_verdicts(store), *_runs(store), *_datasets(store)]
    fitting = [
        one
        for one in found
        if all(word in f"{one['label']} {one['note']} {one['href']}".lower() for word in words)
    ]
    return JSONResponse(fitting[:_MOST])


def _runs(store: Store) -> list[Entry]:
    return [
        {"label": row.name or row.id, "note": f"run, {row.state}", "href": f"/runs/{row.id}"}
        for row in store.runs(limit=_LOOKED_AT)
    ]


def _verdicts(store: Store) -> list[Entry]:
    from ratchet.verdicts import keeping

    return [
        {
            "label": f"{one.candidate} against {one.baseline}",
            "note": f"verdict, {one.outcome}{f', {one.task}' if one.task else ''}",
            "href": f"/compare/{one.id}",
        }
        for one in keeping.kept(store, limit=_LOOKED_AT)
    ]


def _datasets(store: SQLiteStore) -> list[Entry]:
    from ratchet.web import dataset_rows

    return [
        {
            "label": one.name or one.id[:12],
            "note": f"dataset, {one.count:,} examples",
            "href": f"/datasets/{one.id}",
        }
        for one in dataset_rows.shelf(store).datasets.values()
    ]


routes = [Route("/palette", palette, methods=["GET"])]
