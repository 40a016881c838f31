"""The playground: up to four models, parameters and prompts on one input or a few examples, streamed side by side."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, cast

from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from ratchet import codec, datasets
from ratchet.errors import CodecError, ConfigError, RatchetError
from ratchet.records import Json, Variant
from ratchet.web import dataset_rows, pages, playing, variant_saving
from ratchet.web.playing import Asked, Column
from ratchet.web.rendering import MOST_RENDERED, rendered

if TYPE_CHECKING:
    from starlette.requests import Request

    from ratchet.stores.sqlite import SQLiteStore
    from ratchet.web.settings import Settings

MOST_EXAMPLES = 20
MOST_STATE_CHARS = 6_000
"""A longer state is kept in the store under its hash, and the address names that."""
_KIND = "playground"


def screen(request: Request) -> Response:
    """The columns that the address describes: `state` (JSON), `saved` (a kept state), `trace` or `variant`."""
    settings, store = pages.settings(request), pages.store(request)
    problem = ""
    variants: dict[str, Column] = {}
    state: dict[str, Json] = {}
    try:
        variants = _variants(settings)
    except RatchetError as error:
        problem = str(error)
    try:
        state = _state(request, store, variants)
    except RatchetError as error:
        problem = problem or str(error)
    shelf = dataset_rows.shelf(store)
    models = sorted({column.model for column in variants.values() if column.model})
    return pages.render(
        request,
        "playground.html",
        state=state or {"columns": [_first_column(variants)], "input": ""},
        variants={name: dataclasses.asdict(column) for name, column in variants.items()},
        models=models,
        datasets=[(id, dataset.name or id[:12], dataset.count) for id, dataset in shelf.datasets.items()],
        most_columns=playing.MOST_COLUMNS,
        most_examples=MOST_EXAMPLES,
        roles=playing.ROLES,
        problem=problem,
        may_run=pages.person(request).role == "admin",
    )


def _first_column(variants: Mapping[str, Column]) -> dict[str, Json]:
    """Where to begin: the project's first model, else an empty column."""
    found = next((column for column in variants.values() if column.model), None)
    return dataclasses.asdict(found or Column(messages=({"role": "user", "content": "{input}"},)))


def _variants(settings: Settings) -> dict[str, Column]:
    """The project's variants that call a model, as columns; a function is named and called as it is."""
    from ratchet import projects

    project = playing.project_of(settings)
    if project is None:
        return {}
    found: dict[str, Column] = {}
    for name, variant in project.variants.items():
        if variant.target is not None:
            found[name] = Column(variant=name)
        else:
            found[name] = playing.column_of(projects.ready(project, {name: variant})[name], name)
    return found


def _state(request: Request, store: SQLiteStore, variants: Mapping[str, Column]) -> dict[str, Json]:
    query = request.query_params
    if text := query.get("state"):
        return _checked(codec.parse(text.encode()))
    if kept := query.get("saved"):
        found = store.content(kept)
        if found is None or "columns" not in found:
            raise ConfigError(f"this store keeps no playground {kept!r}; was the link made on another one?")
        return _checked(found)
    if trace_id := query.get("trace"):
        trace = store.trace(trace_id)
        if trace is None:
            raise ConfigError(f"there is no answer {trace_id!r} in this store")
        run = store.run(trace.run_id) if trace.run_id else None
        variant = run.arms.get(trace.arm or "") if run else None
        return {"columns": [dataclasses.asdict(playing.column_of_trace(trace, variant))], "input": ""}
    if name := query.get("variant"):
        if name not in variants:
            raise ConfigError(
                f"variant {name!r} is not in the project; known: {', '.join(variants) or 'none'}"
            )
        return {"columns": [dataclasses.asdict(variants[name])], "input": ""}
    return {}


def _checked(data: Json) -> dict[str, Json]:
    """A state that a link or a browser brought, with nothing in it but what a state has."""
    if not isinstance(data, dict):
        raise ConfigError("the state is no JSON object; expected columns and an input")
    given = cast("dict[str, Json]", data)
    columns = given.get("columns")
    if not isinstance(columns, list) or not 1 <= len(columns) <= playing.MOST_COLUMNS:
        raise ConfigError(f"the state needs 1 to {playing.MOST_COLUMNS} columns")
    text, dataset = given.get("input", ""), given.get("dataset", "")
    numbers = [given.get(name, 0) for name in ("k", "seed")]
    if not isinstance(text, str) or not isinstance(dataset, str) or not all(type(n) is int for n in numbers):
        raise ConfigError("in the state, input and dataset are texts, k and seed whole numbers")
    return {
        "columns": [dataclasses.asdict(playing.column(each)) for each in columns],
        "input": text,
        "dataset": dataset,
        "k": min(max(numbers[0], 0), MOST_EXAMPLES),
        "seed": numbers[1],
    }


async def _json(request: Request) -> dict[str, Json]:
    data = codec.parse(await request.body())
    if not isinstance(data, dict):
        raise CodecError("expected a JSON object")
    return cast("dict[str, Json]", data)


@pages.needs("admin")
async def answer(request: Request) -> Response:
    """One column's answer to one input, as lines of JSON while it comes. It costs money: for admins."""
    settings = pages.settings(request)

    def ready(data: Mapping[str, Json]) -> Asked:
        project = playing.project_of(settings)
        return Asked(
            variant=playing.variant_of(playing.column(data.get("column")), project, settings.root),
            input=data.get("input"),
            environ=playing.environment(settings),
            root=settings.root,
            by=pages.person(request).name,
            example_id=str(data.get("example_id") or ""),
        )

    try:
        asked = await run_in_threadpool(ready, await _json(request))
    except RatchetError as error:
        return pages.problem(request, 400, str(error))
    store = await run_in_threadpool(pages.store, request)
    return StreamingResponse(_lines(asked, store), media_type="application/x-ndjson")


async def _lines(asked: Asked, store: SQLiteStore) -> AsyncIterator[bytes]:
    async for event in playing.answer(asked, store):
        end = event.get("end")
        if (
            isinstance(end, dict)
            and isinstance(end.get("output"), str)
            and len(end["output"]) <= MOST_RENDERED
        ):
            end["html"] = str(await run_in_threadpool(rendered, end.pop("output")))
        yield codec.dumps(event) + b"\n"


def examples(request: Request) -> Response:
    """A few examples of a dataset, drawn by a seed; those held out for the test are never among them."""
    query, store = request.query_params, pages.store(request)
    dataset = dataset_rows.find(store, query.get("dataset", ""))
    if dataset is None:
        return pages.problem(
            request, 404, "There is no such dataset in this store.", "Choose one of the list."
        )
    if why := dataset_rows.refusal(dataset, pages.settings(request).root):
        return pages.problem(request, 403, why)
    try:
        k = min(max(int(query.get("k", "3")), 1), MOST_EXAMPLES)
        chosen = random.Random(int(query.get("seed", "0")))
        found: list[tuple[float, dict[str, Json]]] = []
        for example in datasets.examples(dataset):
            rank = chosen.random()
            if dataset_rows.is_held_out(example.split) or (len(found) == k and rank >= found[-1][0]):
                continue
            row = {"id": example.id, "input": example.input, "expected": example.expected}
            found = sorted([*found, (rank, codec.plain(row))], key=lambda each: each[0])[:k]
    except (RatchetError, ValueError) as error:
        return pages.problem(request, 400, str(error))
    return JSONResponse([row for _, row in found])


async def keep(request: Request) -> Response:
    """Keep a state under its hash, so that a short link names it."""
    try:
        state = _checked(await _json(request))
    except RatchetError as error:
        return pages.problem(request, 400, str(error))
    content_id = codec.content_id({"kind": _KIND, **state})
    store = await run_in_threadpool(pages.store, request)
    await run_in_threadpool(store.put_content, _KIND, content_id, state)
    return JSONResponse({"saved": content_id})


@pages.needs("admin")
async def save(request: Request) -> Response:
    """A column becomes a variant of ratchet.yaml; where there is none, the text to put into one comes back."""
    settings = pages.settings(request)

    def write(data: Mapping[str, Json]) -> dict[str, Json]:
        asked, name = playing.column(data.get("column")), str(data.get("name") or "").strip()
        project = playing.project_of(settings)
        if project is None:
            return {"snippet": f"variants:\n{variant_saving.snippet(asked, name or 'candidate', None)}"}
        _must_run(asked, settings)
        return dataclasses.asdict(variant_saving.save(asked, name, project))

    try:
        return JSONResponse(await run_in_threadpool(write, await _json(request)))
    except RatchetError as error:
        return pages.problem(request, 400, str(error))


def _must_run(asked: Column, settings: Settings) -> Variant:
    """A column that can't be called is no variant either."""
    return playing.variant_of(asked, playing.project_of(settings), settings.root)


routes = [
    Route("/playground", screen, methods=["GET"]),
    Route("/playground/examples", examples, methods=["GET"]),
    Route("/playground/answer", answer, methods=["POST"]),
    Route("/playground/keep", keep, methods=["POST"]),
    Route("/playground/save", save, methods=["POST"]),
]
