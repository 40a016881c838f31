"""The screen that people label on: queues, one item at a time by one key, undo, rubric, agreement, files."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast

from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from ratchet import codec
from ratchet.errors import CodecError, ConfigError, PlanError, RatchetError, UnknownNameError
from ratchet.labels import formats, giving, people, queues, rubrics
from ratchet.labels.giving import Answer
from ratchet.ports import LabelItem
from ratchet.web import label_cards, label_forms, looks, pages

if TYPE_CHECKING:
    from starlette.requests import Request

    from ratchet.labels.queues import Queue
    from ratchet.labels.rubrics import Rubric
    from ratchet.records import Json
    from ratchet.stores.sqlite import SQLiteStore

AHEAD = 4
"""Items leased at once: the one that is shown, and the next three."""
_MOST_AHEAD = 60
_MOST_POSITIONS = 1 << 31
MEDIA_TYPES = {"jsonl": "application/x-ndjson", "csv": "text/csv; charset=utf-8", "json": "application/json"}
_AGREEMENT: dict[tuple[str, str, int], people.People] = {}
_AGREEMENTS_KEPT = 64


@pages.needs("view")
def index(request: Request) -> Response:
    """Every queue, how far it is, and the form for a new one."""
    store = pages.store(request)
    shown = [_line(store, queue) for queue in queues.all_of(store)]
    form = label_forms.new_queue(store, dict(request.query_params))
    return pages.render(
        request,
        "label.html",
        queues=shown,
        form=form,
        formats=formats.FORMATS,
        orders=queues.ORDERS,
        between=queues.BETWEEN,
    )


def _line(store: SQLiteStore, queue: Queue) -> dict[str, Any]:
    progress = store.label_progress(queue.id, now=time.time())
    found = _agreement(store, queue, progress.done + progress.repeats_done)
    return {"queue": queue, "progress": progress, "people": found, "headline": _headline(found)}


def _agreement(store: SQLiteStore, queue: Queue, mark: int) -> people.People:
    """People's agreement, computed again when a label was given or taken back."""
    last = max((event.seq for event in store.label_events(queue.id)), default=0)
    key = (queue.id, f"{mark}", last)
    if key not in _AGREEMENT:
        if len(_AGREEMENT) >= _AGREEMENTS_KEPT:
            _AGREEMENT.clear()
        _AGREEMENT[key] = people.agreement(store, queue)
    return _AGREEMENT[key]


def _headline(found: people.People) -> str:
    if len(found.criteria) == 1:
        one = found.criteria[0]
        estimate = one.kappa or one.alpha
        name = "kappa" if one.kappa else "alpha"
        if estimate is None:
            return f"{one.same:.0%} the same"
        ends = (
            ""
            if estimate.low is None or estimate.high is None
            else f" [{estimate.low:.2f}, {estimate.high:.2f}]"
        )
        return f"{name} {estimate.value:.2f}{ends}"
    if found.criteria:
        return f"{sum(c.same for c in found.criteria) / len(found.criteria):.0%} the same, by label"
    return f"{found.shared} shared" if found.shared else ""


@pages.needs("admin")
async def create(request: Request) -> Response:
    """A new queue; leads to it."""
    form = await pages.form(request)

    def make() -> Response:
        store = pages.store(request)
        try:
            run, recipe, rubric = label_forms.read_new_queue(store, form)
            queue = queues.build(run, store, recipe, by=pages.person(request).name, rubric=rubric)
        except RatchetError as error:
            shown = [_line(store, found) for found in queues.all_of(store)]
            return pages.render(
                request, "label.html", status=400, queues=shown, form=label_forms.new_queue(store, form, str(error)),
                formats=formats.FORMATS, orders=queues.ORDERS, between=queues.BETWEEN,
            )  # fmt: skip
        return RedirectResponse(f"/label/{queue.id}", status_code=303)

    return await run_in_threadpool(make)


@pages.needs("view")
def screen(request: Request) -> Response:
    """The labelling screen with this person's next item."""
    store, queue, rubric = _subject(request)
    who = pages.person(request)
    may_label = who.role != "view"
    if may_label:
        _note_looks(store, queue, who.name)
    item = next(iter(giving.lease(store, queue, who.name, most=1)), None) if may_label else None
    progress = store.label_progress(queue.id, now=time.time())
    return pages.render(
        request, "label_queue.html",
        queue=queue, rubric=rubric, versions=rubrics.versions(store, rubric.name), may_label=may_label,
        card=label_cards.card(store, queue, item, rubric) if item else None,
        progress=progress, pace=people.pace(store, queue, who.name), rubric_shown=request.query_params.get("rubric") != "0",
        diff_shown=request.query_params.get("diff") != "0", may_edit=who.role == "admin", error="", formats=formats.FORMATS,
        media=MEDIA_TYPES,
    )  # fmt: skip


def _note_looks(store: SQLiteStore, queue: Queue, person: str) -> None:
    """Remember who saw held-out examples by labelling: once a person and queue."""
    looks.note_splits(
        store, queue.dataset_id, queue.splits, by=person, what=f"labelled in the queue {queue.id}"
    )


def _subject(request: Request) -> tuple[SQLiteStore, Queue, Rubric]:
    store = pages.store(request)
    queue = queues.load(store, request.path_params["queue"])
    rubric = rubrics.load(store, queue.rubric)
    if rubric is None:
        raise PlanError(f"the store lost the rubric {queue.rubric!r} of the queue {queue.id}")
    return store, queue, rubric


@pages.needs("label")
def upcoming(request: Request) -> Response:
    """This person's items as JSON; those that the page has already come without their HTML."""
    store, queue, rubric = _subject(request)
    have = set(request.query_params.get("have", "").split(","))
    most = label_forms.whole(request.query_params.get("most", ""), AHEAD, 1, _MOST_AHEAD)
    leased = giving.lease(store, queue, pages.person(request).name, most=most)
    items = [
        _with_html(request, store, queue, rubric, item, f"{item.position}.{item.slot}" in have)
        for item in leased
    ]
    return JSONResponse({"items": items, **_counts(store, queue)})


def _with_html(
    request: Request, store: SQLiteStore, queue: Queue, rubric: Rubric, item: LabelItem, known: bool
) -> dict[str, Json]:
    found: dict[str, Json] = {"position": item.position, "slot": item.slot}
    if not known:
        card = label_cards.card(store, queue, item, rubric)
        found["html"] = bytes(
            pages.fragment(request, "_label_card.html", card=card, rubric=rubric).body
        ).decode()
    return found


def _counts(store: SQLiteStore, queue: Queue) -> dict[str, Json]:
    progress = store.label_progress(queue.id, now=time.time())
    return {"done": progress.done, "total": progress.total, "leased": progress.leased}


Body = Mapping[str, Any]


async def _body(request: Request) -> Body:
    if request.headers.get("content-type", "").startswith("application/json"):
        data = codec.parse(await request.body())
        if not isinstance(data, dict):
            raise CodecError("expected a JSON object")
        return cast("Body", data)
    return label_forms.as_body(await pages.form(request))


@pages.needs("label")
async def label(request: Request) -> Response:
    """Keep one label; what judges say of the same comes back."""
    body = await _body(request)

    def keep() -> Response:
        store, queue, _ = _subject(request)
        item = _item(store, queue, body)
        person = pages.person(request).name
        answer = _answer(body)
        score = giving.give(store, queue, item, person, answer)
        if score is None:
            if item.state == "done" and item.person == person:
                return pages.problem(
                    request, 409, f"You labelled item {item.position + 1} already.", "Undo opens it again."
                )
            return pages.problem(
                request, 409, f"Item {item.position + 1} is with somebody else by now.",
                "Its lease had run out; your label of it was not kept.",
            )  # fmt: skip
        if body.get("form"):
            return RedirectResponse(f"/label/{queue.id}", status_code=303)
        rubric = rubrics.load(store, queue.rubric, answer.rubric_version or None)
        assert rubric is not None, "the label was read by it"
        revealed = label_cards.reveal(store, queue, item, score, rubric)
        html = bytes(pages.fragment(request, "_label_strip.html", reveal=revealed, item=item).body).decode()
        return JSONResponse({"saved": True, "said": revealed.said, "html": html, **_counts(store, queue)})

    return await run_in_threadpool(keep)


def _item(store: SQLiteStore, queue: Queue, body: Body) -> LabelItem:
    position, slot = body.get("position"), body.get("slot", 0)
    found = all(isinstance(number, int) and 0 <= number < _MOST_POSITIONS for number in (position, slot))
    item = store.label_item(queue.id, cast("int", position), cast("int", slot)) if found else None
    if item is None:
        raise UnknownNameError(
            "item", f"{position}.{slot}", [], hint=f"The queue has items 0 to {queue.size - 1}."
        )
    return item


def _answer(body: Body) -> Answer:
    seconds = body.get("seconds")
    return Answer(
        position=body["position"],
        slot=body.get("slot", 0),
        value=body.get("value"),
        note=str(body.get("note") or ""),
        seconds=float(seconds)
        if isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
        else None,
        rubric_version=str(body.get("rubric") or ""),
        token=str(body.get("token") or "")[:64],
    )


@pages.needs("label")
async def skip(request: Request) -> Response:
    """Leave an item to others."""
    body = await _body(request)

    def leave() -> Response:
        store, queue, _ = _subject(request)
        item = _item(store, queue, body)
        token = str(body.get("token") or "")[:64]
        left = store.skip_item(
            queue.id, item.position, item.slot, pages.person(request).name, now=time.time(), token=token
        )
        if body.get("form"):
            return RedirectResponse(f"/label/{queue.id}", status_code=303)
        return JSONResponse({"saved": left, **_counts(store, queue)})

    return await run_in_threadpool(leave)


@pages.needs("label")
async def undo(request: Request) -> Response:
    """Take back the last label or skip; the item comes back to be shown again."""
    body = await _body(request)

    def take_back() -> Response:
        store, queue, rubric = _subject(request)
        event = giving.undo(store, queue, pages.person(request).name, token=str(body.get("token") or "")[:64])
        if body.get("form"):
            return RedirectResponse(f"/label/{queue.id}", status_code=303)
        if event is None:
            return JSONResponse({"undone": None, **_counts(store, queue)})
        item = store.label_item(queue.id, event.position, event.slot)
        mine = item is not None and item.state == "leased" and item.person == pages.person(request).name
        found: dict[str, Json] = {"kind": event.kind, "position": event.position, "slot": event.slot}
        if event.kind == "label":
            found |= label_cards.earlier(event.data, rubric, item)
        if item is not None and mine:
            found |= _with_html(request, store, queue, rubric, item, known=False)
        return JSONResponse({"undone": found, **_counts(store, queue)})

    return await run_in_threadpool(take_back)


@pages.needs("label")
async def flag(request: Request) -> Response:
    """Note that a person disagrees with the judge, or that the rubric is unclear; or take the note back."""
    body = await _body(request)
    kind = body.get("kind")
    if kind not in ("disagree", "unclear"):
        raise ConfigError(f"the flag is {kind!r}, expected disagree or unclear")

    def note() -> Response:
        store, queue, _ = _subject(request)
        item = _item(store, queue, body)
        store.flag_item(
            queue.id, item.position, item.slot, pages.person(request).name, kind, now=time.time(),
            on=bool(body.get("on", True)),
        )  # fmt: skip
        return JSONResponse({"saved": True})

    return await run_in_threadpool(note)


@pages.needs("view")
def agreement(request: Request) -> Response:
    """How far people agree, as a fragment; and this person's pace."""
    store, queue, _ = _subject(request)
    progress = store.label_progress(queue.id, now=time.time())
    found = _agreement(store, queue, progress.done + progress.repeats_done)
    pace = people.pace(store, queue, pages.person(request).name)
    return pages.fragment(
        request,
        "_label_people.html",
        people=found,
        pace=pace,
        progress=progress,
        queue=queue,
        enough=people.ENOUGH,
    )


@pages.needs("admin")
async def edit_rubric(request: Request) -> Response:
    """A new version of the rubric; labels keep the version that they were given by."""
    form = await pages.form(request)

    def edit() -> Response:
        store, queue, rubric = _subject(request)
        made = rubrics.edited(rubric, text=form.get("text", ""), labels=form.get("labels"))
        rubrics.keep(store, made, by=pages.person(request).name)
        return RedirectResponse(f"/label/{queue.id}", status_code=303)

    return await run_in_threadpool(edit)


@pages.needs("view")
def export(request: Request) -> Response:
    """Labels as a file: of a queue, of a run, of a name, or all."""
    store = pages.store(request)
    asked = request.query_params
    kind = asked.get("format", "jsonl")
    if kind not in formats.FORMATS:
        raise ConfigError(f"the format is {kind!r}, expected one of {', '.join(formats.FORMATS)}")
    queue_id = request.path_params.get("queue")
    queue = queues.load(store, queue_id) if queue_id else None
    found = formats.labels_of(
        store,
        queue.run_id if queue else asked.get("run"),
        name=asked.get("name"),
        queue_id=queue.id if queue else None,
    )
    name = f"labels-{queue.id if queue else 'all'}.{kind}"

    def body() -> Iterator[bytes]:
        yield from formats.lines(found, store, kind)

    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(body(), media_type=MEDIA_TYPES[kind], headers=headers)


@pages.needs("admin")
async def bring_in(request: Request) -> Response:
    """Keep the labels of a file that the page read: `{"name", "text", "by"}`."""
    body = await _body(request)
    name, text, by = (str(body.get(key) or "") for key in ("name", "text", "by"))

    def keep() -> Response:
        file = io.BytesIO(text.encode("utf-8", "surrogatepass"))
        safe_name = name.replace("\\", "/").rpartition("/")[2][:200] or "labels"
        count = formats.bring_in(file, safe_name, pages.store(request), by=by.strip() or None)
        return JSONResponse({"saved": count})

    return await run_in_threadpool(keep)


@pages.needs("label")
async def quick(request: Request) -> Response:
    """A label in passing: `{"trace_id", "name", "value", "note"}`, for g and b on the page of a comparison."""
    body = await _body(request)

    def keep() -> Response:
        score = giving.quick(
            pages.store(request), str(body.get("trace_id") or ""), str(body.get("name") or ""), body.get("value"),
            by=pages.person(request).name, note=str(body.get("note") or ""), why=str(body.get("why") or "compare")[:100],
        )  # fmt: skip
        return JSONResponse({"saved": True, "value": codec.plain(score.value)})

    return await run_in_threadpool(keep)


def _routes() -> list[Route]:
    one = "/label/{queue}"
    return [
        Route("/label", index, methods=["GET"]),
        Route("/label", create, methods=["POST"]),
        Route("/label/quick", quick, methods=["POST"]),
        Route("/label/import", bring_in, methods=["POST"]),
        Route("/label/export", export, methods=["GET"]),
        Route(one, screen, methods=["GET"]),
        Route(f"{one}/next", upcoming, methods=["GET"]),
        Route(f"{one}/label", label, methods=["POST"]),
        Route(f"{one}/skip", skip, methods=["POST"]),
        Route(f"{one}/undo", undo, methods=["POST"]),
        Route(f"{one}/flag", flag, methods=["POST"]),
        Route(f"{one}/agreement", agreement, methods=["GET"]),
        Route(f"{one}/rubric", edit_rubric, methods=["POST"]),
        Route(f"{one}/export", export, methods=["GET"]),
    ]


routes = _routes()
