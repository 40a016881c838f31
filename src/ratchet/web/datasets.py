"""The pages of datasets: which there are, their examples, versions, duplicates, leaks, and who saw what is held out."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from ratchet.errors import RatchetError
from ratchet.ports import Look
from ratchet.records import Dataset, Example, Json
from ratchet.web import columns, dataset_facts, dataset_rows, dataset_tables, exporting, pages, rendering
from ratchet.web.columns import Table
from ratchet.web.dataset_tables import Asked

if TYPE_CHECKING:
    from starlette.requests import Request

    from ratchet.stores.sqlite import SQLiteStore

TABS = ("examples", "versions", "duplicates", "leaks", "looks", "skipped")
EXAMPLE_COLUMNS = ("id", "input", "expected", "group", "split", "metadata")
VERSION_COLUMNS = ("id", "name", "count", "made_by", "parent", "runs", "at", "by")
LIMIT = 100
FIRST = 40
"""Rows that the page itself holds."""
LOOK_S = 3600.0
"""A look at held-out examples counts as one for so long."""
WAIT_S = 0.6


def index(request: Request) -> Response:
    """`/datasets`."""
    store, settings = pages.store(request), pages.settings(request)
    shelf = dataset_rows.shelf(store)
    found = dataset_facts.families(store, shelf)
    looks = {family.name: sum(len(store.looks(v.dataset.id)) for v in family.versions) for family in found}
    return pages.render(
        request, "datasets.html", families=found, looks=looks, when=_when, root=settings.root, relative=_relative,
        named=dataset_facts.named_in(settings.project_file, settings.root, shelf),
    )  # fmt: skip


def dataset(request: Request) -> Response:
    """`/datasets/{dataset}`: one version, at the tab `show`."""
    found = dataset_rows.find(pages.store(request), request.path_params["dataset"])
    if found is None:
        return _missing(request)
    store, root = pages.store(request), pages.settings(request).root
    refusal = dataset_rows.refusal(found, root)
    view = dataset_rows.view(store, found, root=root, wait_s=WAIT_S)
    shelf = dataset_rows.shelf(store)
    show = request.query_params.get("show", "examples")
    context: dict[str, Any] = {
        "dataset": found,
        "path": _relative(found, root),
        "refusal": refusal,
        "table": view.table,
        "progress": view.progress,
        "facts": columns.read_extra(view.table) if view.table else {},
        "show": show if show in TABS else "examples",
        "versions": dataset_facts.versions(store, shelf, found),
        "seen": dataset_facts.seen(store, shelf, found, view.table),
        "runs": len(shelf.runs.get(found.id, ())),
        "when": _when,
        "held_out": dataset_rows.is_held_out,
    }
    if view.table is not None and context["show"] == "examples":
        context.update(_examples_tab(request, found, view.table))
    return pages.render(request, "dataset.html", **context)


def _examples_tab(request: Request, dataset: Dataset, table: Table) -> dict[str, Any]:
    asked = _asked(request, table)
    unlocked = _unlocked(request, dataset, asked)
    rows, total, following = dataset_tables.chosen(dataset, table, asked, unlocked, limit=FIRST)
    src = f"/datasets/{dataset.id}/rows"
    open_row = request.query_params.get("row", "")
    return {
        "asked": asked,
        "lines": dataset_tables.lines(dataset, table, rows, unlocked),
        "total": total,
        "following": following,
        "rows_src": f"{src}?{urlencode(asked.query)}" if asked.query else src,
        "look_query": _look_query(request),
        "locked": asked.split
        if dataset_rows.is_held_out(asked.split) and asked.split not in unlocked
        else "",
        "unlocked": unlocked,
        "more_href": _with(asked, start=following) if following is not None else "",
        **(
            _detail(request, dataset, table, int(open_row), unlocked)
            if _is_row(open_row, table)
            else {"example": None}
        ),
    }


def rows(request: Request) -> Response:
    """`/datasets/{dataset}/rows?offset=&limit=`: the rows of the table, as `<tr>`s."""
    opened = _open(request)
    if isinstance(opened, Response):
        return opened
    found, table = opened
    asked = _asked(request, table)
    offset, limit = (
        _number(request.query_params.get("offset")),
        _number(request.query_params.get("limit")) or LIMIT,
    )
    unlocked = _unlocked(request, found, asked)
    chosen, total, _ = dataset_tables.chosen(
        found, table, asked, unlocked, offset=offset, limit=min(limit, LIMIT)
    )
    lines = dataset_tables.lines(found, table, chosen, unlocked)
    return pages.fragment(
        request, "_dataset_rows.html", lines=lines, dataset=found, look_query=_look_query(request),
        headers={"X-Total": str(total)},
    )  # fmt: skip


def row(request: Request) -> Response:
    """`/datasets/{dataset}/rows/{row}`: one example."""
    opened = _open(request)
    if isinstance(opened, Response):
        return opened
    found, table = opened
    number = _number(request.path_params["row"])
    if number >= table.rows:
        return pages.problem(request, 404, f"The dataset has {table.rows:,} rows, and no row {number:,}.")
    unlocked = _unlocked(request, found, _asked(request, table))
    context = _detail(request, found, table, number, unlocked)
    template = "_dataset_row.html" if request.headers.get("x-fragment") == "1" else "dataset_row.html"
    return pages.render(request, template, dataset=found, **context)


def text(request: Request) -> Response:
    """`/datasets/{dataset}/rows/{row}/text?part=&as=&from=`: one text of an example."""
    opened = _open(request)
    if isinstance(opened, Response):
        return opened
    found, table = opened
    number = _number(request.path_params["row"])
    if number >= table.rows:
        return pages.problem(request, 404, f"The dataset has {table.rows:,} rows, and no row {number:,}.")
    example = dataset_rows.examples(found, table, [number])[0]
    if dataset_rows.is_held_out(example.split) and example.split not in _unlocked(
        request, found, _asked(request, table)
    ):
        return pages.problem(
            request, 403, f"This example is held out ({example.split}).", "Look at it from its row."
        )
    parts = _parts(example)
    name = request.query_params.get("part", "input")
    if name not in parts:
        return pages.problem(
            request, 404, f"This example has no text named {name!r}.", f"It has: {', '.join(parts)}."
        )
    start = _number(request.query_params.get("from"))
    shown = rendering.block(parts[name], name=name, view=request.query_params.get("as"), start=start)
    href = f"/datasets/{found.id}/rows/{number}"
    return pages.render(
        request, "trace_text.html", shown=shown, href=href + _look_query(request), src=_text_src(request, href),
        back="Back to the example", title=f"example {example.id}",
    )  # fmt: skip


def export(request: Request) -> Response:
    """`/datasets/{dataset}/export?format=csv&what=examples`: examples as filtered (none held out), versions, or looks."""
    given = request.query_params
    format, what = given.get("format", "csv"), given.get("what", "examples")
    store = pages.store(request)
    found = dataset_rows.find(store, request.path_params["dataset"])
    if found is None:
        return _missing(request)
    name = f"{found.name or found.id[:12]}-{what}"
    if what == "versions":
        return exporting.respond(format, name, VERSION_COLUMNS, _version_rows(store, found))
    opened = _open(request)
    if isinstance(opened, Response):
        return opened
    if what == "looks":
        seen = dataset_facts.seen(store, dataset_rows.shelf(store), found, opened[1])
        rows_ = ({"at": one.at, "who": one.who, "what": one.what, "split": one.split} for one in seen)
        return exporting.respond(format, name, ("at", "who", "what", "split"), rows_)
    asked = _asked(request, opened[1])
    unlocked = _unlocked(request, found, asked)
    chosen = dataset_tables.chosen(found, opened[1], asked, unlocked, limit=found.count)[0]
    return exporting.respond(format, name, EXAMPLE_COLUMNS, _example_rows(found, opened[1], chosen, unlocked))


def _example_rows(
    dataset: Dataset, table: Table, rows: Sequence[int], unlocked: frozenset[str]
) -> Iterator[Mapping[str, Any]]:
    """The examples in pieces, without those held out."""
    for start in range(0, len(rows), LIMIT):
        for example in dataset_rows.examples(dataset, table, rows[start : start + LIMIT]):
            if not dataset_rows.is_held_out(example.split) or example.split in unlocked:
                yield {name: getattr(example, name) for name in EXAMPLE_COLUMNS}


def _version_rows(store: SQLiteStore, dataset: Dataset) -> Iterator[Mapping[str, Any]]:
    for one in dataset_facts.versions(store, dataset_rows.shelf(store), dataset):
        d = one.dataset
        yield {"id": d.id, "name": d.name, "count": d.count, "made_by": d.made_by, "parent": d.parent,
               "runs": one.runs, "at": one.at, "by": one.by}  # fmt: skip


async def look(request: Request) -> Response:
    """`POST /datasets/{dataset}/looks`: show examples of a held-out split, and remember who asked for it."""
    fields = await pages.form(request)
    return await run_in_threadpool(_look, request, fields)


def _look(request: Request, fields: Mapping[str, str]) -> Response:
    store = pages.store(request)
    found = dataset_rows.find(store, request.path_params["dataset"])
    if found is None:
        return _missing(request)
    split, now = fields.get("split", ""), time.time()
    if not dataset_rows.is_held_out(split):
        return pages.problem(
            request, 422, f"The split {split!r} is not held out; its examples are shown anyway."
        )
    note = Look(
        dataset_id=found.id, split=split, at=now, by=pages.person(request).name, what="looked at examples"
    )
    store.note_look(note)
    query = {"split": split, "look": f"{now:.6f}", **({"row": fields["row"]} if fields.get("row") else {})}
    return RedirectResponse(f"/datasets/{found.id}?{urlencode(query)}", status_code=303)


def _open(request: Request) -> tuple[Dataset, Table] | Response:
    """The dataset with its columns, or what stands in the way."""
    store, root = pages.store(request), pages.settings(request).root
    found = dataset_rows.find(store, request.path_params["dataset"])
    if found is None:
        return _missing(request)
    if why := dataset_rows.refusal(found, root):
        return pages.problem(request, 404, why, "Only files inside the project's folder are shown.")
    view = dataset_rows.view(store, found, root=root, wait_s=WAIT_S)
    if view.table is None:
        why = view.progress.error if view.progress else ""
        return pages.problem(
            request, 503, why or "The dataset is being read for the first time.", "Look again in a moment."
        )
    return found, view.table


def _missing(request: Request) -> Response:
    id_ = request.path_params["dataset"]
    return pages.problem(request, 404, f"The store knows no dataset {id_!r}.", "All that it knows: /datasets")


def _asked(request: Request, table: Table) -> Asked:
    given = request.query_params
    only = given.get("only", "")

    def known(name: str) -> str:
        return given.get(name, "") if name in table.columns else ""

    return Asked(
        split=known("split"),
        group=known("group"),
        label=known("label"),
        only=only if only in ("repeated", "near", "leaks") else "",
        text=given.get("q", "").strip()[:200],
        start=_number(given.get("start")),
        look=given.get("look", "")[:40],
    )


def _with(asked: Asked, **changes: Any) -> str:
    return "?" + urlencode(
        {**asked.query, **{name: value for name, value in changes.items() if value is not None}}
    )


def _unlocked(request: Request, dataset: Dataset, asked: Asked) -> frozenset[str]:
    """The held-out splits that this person has just asked to see: the address names the look, the store knows it."""
    if not asked.look:
        return frozenset()
    try:
        at = float(asked.look)
    except ValueError:
        return frozenset()
    name, now = pages.person(request).name, time.time()
    return frozenset(
        one.split
        for one in pages.store(request).looks(dataset.id)
        if one.by == name and abs(one.at - at) < 1e-5 and now - one.at < LOOK_S
    )


def _detail(
    request: Request, dataset: Dataset, table: Table, number: int, unlocked: frozenset[str]
) -> dict[str, Any]:
    """One example, or why it is hidden."""
    facts = table.records([number], [name for name in ("id", "split", "group") if name in table.columns])[0]
    split = facts.get("split")
    href = f"/datasets/{dataset.id}/rows/{number}"
    context: dict[str, Any] = {
        "number": number, "example_id": facts["id"], "split": split, "group": facts.get("group"), "href": href,
        "is_locked": dataset_rows.is_held_out(split) and split not in unlocked, "example": None, "blocks": {},
    }  # fmt: skip
    if context["is_locked"]:
        return context
    try:
        example = dataset_rows.examples(dataset, table, [number])[0]
    except RatchetError as error:
        return {**context, "trouble": str(error)}
    blocks = {
        name: rendering.block(value, name=name, view=request.query_params.get(f"{name}.as", "raw"))
        for name, value in _parts(example).items()
    }
    return {**context, "example": example, "blocks": blocks, "text_src": _text_src(request, href)}


def _look_query(request: Request) -> str:
    look = request.query_params.get("look", "")[:40]
    return f"?{urlencode({'look': look})}" if look else ""


def _text_src(request: Request, href: str) -> str:
    return f"{href}/text{_look_query(request)}"


def _parts(example: Example) -> dict[str, Json]:
    parts: dict[str, Json] = {"input": example.input}
    if example.expected is not None:
        parts["expected"] = example.expected
    if example.metadata:
        parts["metadata"] = dict(example.metadata)
    return parts


def _is_row(text: str, table: Table) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 12 and int(text) < table.rows


def _number(given: str | None) -> int:
    return (
        int(given) if given is not None and given.isascii() and given.isdecimal() and len(given) < 12 else 0
    )


def _relative(dataset: Dataset, root: Path) -> str:
    path = Path(dataset.path)
    return str(path.relative_to(root)) if path.is_relative_to(root) else dataset.path


def _when(at: float | None) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M") if at and 0 < at < 1e11 else "–"


routes = [
    Route("/datasets", index, methods=["GET"]),
    Route("/datasets/{dataset}", dataset, methods=["GET"]),
    Route("/datasets/{dataset}/rows", rows, methods=["GET"]),
    Route("/datasets/{dataset}/rows/{row}", row, methods=["GET"]),
    Route("/datasets/{dataset}/rows/{row}/text", text, methods=["GET"]),
    Route("/datasets/{dataset}/export", export, methods=["GET"]),
    Route("/datasets/{dataset}/looks", look, methods=["POST"]),
]
