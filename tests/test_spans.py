from __future__ import annotations

import asyncio
import contextvars

import pytest

from ratchet import spans
from ratchet.spans import Collected, collect_into, span


def collected(function: object) -> Collected:
    """The spans that this function opens, in a context of its own."""
    found = Collected()

    def run() -> None:
        collect_into(found)
        result = function()  # type: ignore[operator]
        if asyncio.iscoroutine(result):
            asyncio.run(result)

    contextvars.copy_context().run(run)
    return found


def test_outside_an_answer_a_span_does_nothing() -> None:
    with span("search", kind="retrieval", top_k=3) as s:
        s.set(found=1)
    assert span("a") is span("b")


def test_a_span_keeps_name_kind_times_and_attributes() -> None:
    def work() -> None:
        with span("search", kind="retrieval", top_k=3) as s:
            s.set(found=2, where={"a"})

    [made] = collected(work).spans
    assert (made.name, made.kind, made.parent_id) == ("search", "retrieval", None)
    assert made.attributes == {"top_k": 3, "found": 2, "where": ["a"]}
    assert made.start_ns > 1_600_000_000_000_000_000
    assert made.duration_ns > 0
    assert made.error is None


def test_spans_nest_and_siblings_share_their_parent() -> None:
    def work() -> None:
        with span("agent"):
            with span("search"):
                pass
            with span("answer"):
                pass
        with span("after"):
            pass

    by_name = {made.name: made for made in collected(work).spans}
    assert by_name["search"].parent_id == by_name["answer"].parent_id == by_name["agent"].id
    assert by_name["agent"].parent_id is None
    assert by_name["after"].parent_id is None


def test_an_exception_is_noted_without_its_keys_and_passes_on() -> None:
    def work() -> None:
        with pytest.raises(ValueError, match="boom"), span("search"):
            raise ValueError("boom sk-abcdefghijklmnop")

    [made] = collected(work).spans
    assert made.error is not None
    assert made.error.message == "ValueError: boom ***"


def test_concurrent_tasks_keep_their_own_parents() -> None:
    async def branch(name: str) -> None:
        with span(name):
            await asyncio.sleep(0.01)
            with span(f"{name}/inner"):
                await asyncio.sleep(0.01)

    async def work() -> None:
        with span("root"):
            async with asyncio.TaskGroup() as group:
                group.create_task(branch("a"))
                group.create_task(branch("b"))

    by_name = {made.name: made for made in collected(work).spans}
    for name in ("a", "b"):
        assert by_name[f"{name}/inner"].parent_id == by_name[name].id
        assert by_name[name].parent_id == by_name["root"].id


def test_what_json_cant_say_becomes_text() -> None:
    def work() -> None:
        with span("x", value=float("nan"), thing=object):
            pass

    [made] = collected(work).spans
    assert made.attributes == {"value": "nan", "thing": "<class 'object'>"}


def test_spans_without_end_are_bounded_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spans, "MAX_SPANS", 3)

    def work() -> None:
        for _ in range(5):
            with span("x"):
                pass

    found = collected(work)
    assert (len(found.spans), found.dropped) == (3, 2)
