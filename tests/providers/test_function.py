from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Any

import pytest

from ratchet.errors import ConfigError, ProviderError
from ratchet.ports import Chunk, Endpoint, Request, Usage
from ratchet.providers.function import Function
from ratchet.records import Limits
from ratchet.spans import span

from .conftest import Answered, gather


def call(function: Callable[..., Any] | None, value: Any = "in", **options: Any) -> Answered:
    async def use() -> Answered:
        provider = Function(endpoint=Endpoint(provider="function", options=options), function=function)
        try:
            return await gather(provider, Request(model="f", input=value))
        finally:
            await provider.aclose()

    return asyncio.run(use())


def sync_text(ticket: Any) -> str:
    return f"sync {ticket}"


async def async_text(ticket: Any) -> str:
    await asyncio.sleep(0)
    return f"async {ticket}"


async def async_pieces(ticket: Any) -> AsyncIterator[Any]:
    yield "a"
    await asyncio.sleep(0.002)
    yield Chunk(text="b", usage=Usage(input_tokens=1))


def sync_pieces(ticket: Any) -> Iterator[str]:
    yield "a"
    yield "b"


class Callable_:
    async def __call__(self, ticket: Any) -> str:
        return f"object {ticket}"


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (sync_text, "sync in"),
        (async_text, "async in"),
        (async_pieces, "ab"),
        (sync_pieces, "ab"),
        (Callable_(), "object in"),
        (partial(async_text), "async in"),
        (lambda x: async_text(x), "async in"),
        (str.upper, "IN"),
        (Callable_().__call__, "object in"),
    ],
)
def test_every_kind_of_callable_answers(function: Callable[..., Any], text: str) -> None:
    assert call(function).text == text


def test_a_sync_function_never_blocks_the_loop_and_many_run_at_once() -> None:
    barrier = threading.Barrier(20, timeout=5)

    def wait_for_all(_: Any) -> str:
        barrier.wait()  # passes only if all twenty run at the same time
        return "met"

    async def use() -> list[str]:
        endpoint = Endpoint(provider="function", limits=Limits(concurrency=20))
        provider = Function(endpoint=endpoint, function=wait_for_all)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(gather(provider, Request(model="f"))) for _ in range(20)]
        await provider.aclose()
        return [task.result().text for task in tasks]

    assert asyncio.run(use()) == ["met"] * 20


def test_a_hanging_function_can_be_timed_out() -> None:
    release = threading.Event()

    async def use() -> None:
        provider = Function(endpoint=Endpoint(provider="function"), function=lambda _: release.wait(5))
        async with asyncio.timeout(0.05):
            await gather(provider, Request(model="f"))

    with pytest.raises(TimeoutError):
        asyncio.run(use())
    release.set()


@pytest.mark.parametrize("value", [{"label": "spam"}, [1, 2], 3.5, True, {"nested": {"a": [None]}}])
def test_a_json_value_is_the_answer_as_it_is(value: Any) -> None:
    answered = call(lambda _: value)
    assert (answered.value, answered.text) == (value, "")


def test_what_is_no_answer_is_told_with_its_type() -> None:
    with pytest.raises(ProviderError, match="gave a object, expected text, a JSON value or a Chunk"):
        call(lambda _: object())
    with pytest.raises(ProviderError, match="nan"):
        call(lambda _: {"score": float("nan")})


def test_one_parameter_gets_the_whole_input_and_several_get_its_keys() -> None:
    row = {"question": "q", "context": "c", "extra": 1}

    def whole(question: Any) -> Any:
        return question

    def by_name(question: str, context: str, style: str = "short") -> str:
        return f"{question} {context} {style}"

    def keyword_only(*, question: str) -> str:
        return question

    def with_settings(row: Any, top_k: int = 3) -> Any:
        return [row["question"], top_k]

    def everything(**row: Any) -> Any:
        return row

    assert call(whole, row).value == row
    assert call(by_name, row).text == "q c short"
    assert call(keyword_only, row).text == "q"
    assert call(with_settings, row).value == ["q", 3]
    assert call(everything, row).value == row


def test_a_missing_key_names_the_function_and_what_there_is() -> None:
    def grade(question: str, answer: str) -> str:
        return question + answer

    with pytest.raises(
        ProviderError, match=r"grade needs 'answer'; the input has 'question', 'id'"
    ) as caught:
        call(grade, {"question": "q", "id": 1})
    assert (caught.value.kind, caught.value.retryable) == ("function", False)
    with pytest.raises(ProviderError, match="the input is str"):
        call(grade, "q")


def fails_in_a_line_of_its_own(_: Any) -> str:
    raise ZeroDivisionError("by sk-abcdefghijklmnop")


@pytest.mark.parametrize("stop", [fails_in_a_line_of_its_own, SystemExit, StopIteration])
def test_an_exception_becomes_an_error_with_type_message_and_place(stop: Any) -> None:
    def raising(_: Any) -> str:
        raise stop("early")

    with pytest.raises(ProviderError) as caught:
        call(raising if isinstance(stop, type) else stop)
    assert (caught.value.kind, caught.value.retryable) == ("function", False)
    if not isinstance(stop, type):
        assert str(caught.value).startswith("ZeroDivisionError: by *** (test_function.py:")


def test_an_exception_after_some_pieces_is_still_an_error() -> None:
    async def breaks(_: Any) -> AsyncIterator[str]:
        yield "half"
        raise OSError("gone")

    with pytest.raises(ProviderError, match="OSError: gone"):
        call(breaks)


def test_a_provider_error_of_the_functions_own_passes_unchanged() -> None:
    def limited(_: Any) -> str:
        raise ProviderError("slow down", kind="rate_limit", retryable=True, retry_after_s=2)

    with pytest.raises(ProviderError) as caught:
        call(limited)
    assert (caught.value.kind, caught.value.retryable, caught.value.retry_after_s) == ("rate_limit", True, 2)


@pytest.mark.parametrize("kind", ["sync", "async", "pieces"])
def test_spans_come_with_the_answer(kind: str) -> None:
    def work() -> None:
        with span("agent"), span("search", kind="retrieval", found=2):
            pass

    def sync(_: Any) -> str:
        work()
        return "x"

    async def asynchronous(_: Any) -> str:
        work()
        return await asyncio.to_thread(lambda: "x")

    async def pieces(_: Any) -> AsyncIterator[str]:
        with span("agent"):
            yield "x"
            with span("search", kind="retrieval", found=2):
                yield ""

    answered = call({"sync": sync, "async": asynchronous, "pieces": pieces}[kind])
    search, agent = answered.spans
    assert (search.name, agent.name) == ("search", "agent")
    assert search.parent_id == agent.id
    assert answered.chunks[-1].spans


def test_spans_of_a_failing_function_are_kept() -> None:
    def failing(_: Any) -> str:
        with span("search"):
            raise ValueError("boom")

    async def use() -> list[Chunk]:
        provider = Function(endpoint=Endpoint(provider="function"), function=failing)
        chunks: list[Chunk] = []

        async def read() -> None:
            async for chunk in provider.generate(Request(model="f")):
                chunks.append(chunk)

        with pytest.raises(ProviderError, match="ValueError: boom"):
            await read()
        return chunks

    [chunk] = asyncio.run(use())
    assert chunk.spans[0].error is not None


VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="outer")


def test_what_a_function_sets_in_its_context_stays_there() -> None:
    async def sets(_: Any) -> str:
        VARIABLE.set("inner")
        return VARIABLE.get()

    async def use() -> tuple[str, str]:
        provider = Function(endpoint=Endpoint(provider="function"), function=sets)
        return (await gather(provider, Request(model="f"))).text, VARIABLE.get()

    assert asyncio.run(use()) == ("inner", "outer")


def test_times_are_those_of_the_function_itself() -> None:
    def slow(_: Any) -> str:
        time.sleep(0.02)
        return "x"

    [chunk] = call(slow).chunks
    assert chunk.sent_s is not None
    assert chunk.received_s is not None
    assert chunk.received_s - chunk.sent_s >= 0.02


def test_a_function_is_found_by_its_path() -> None:
    assert call(None, "in", target="textwrap:dedent").text == "in"
    with pytest.raises(ConfigError, match="no module"):
        call(None, "in", target="no_such_module_at_all:f")
    with pytest.raises(ConfigError, match="needs a function"):
        call(None)
