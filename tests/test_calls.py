from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from ratchet import calls
from ratchet.calls import Outcome, attempt, request_for, request_key
from ratchet.errors import PromptError, ProviderError
from ratchet.ports import Chunk, Request, Usage
from ratchet.records import Example, Failure, Limits, Price, Span, Variant

MODEL = Variant(model="openai/x")
REQUEST = Request(model="x", messages=[{"role": "user", "content": "hello"}])
STREAMED = Request(model="x", messages=[{"role": "user", "content": "hello"}], stream=True)
PRICE = Price(input_usd_per_mtok=1e6, output_usd_per_mtok=1e6)


class Says:
    """A provider that yields these chunks, waits where it is told a number, and raises what it is given."""

    def __init__(self, *steps: Chunk | float | BaseException) -> None:
        self.steps = steps

    async def generate(self, request: Request) -> AsyncIterator[Chunk]:
        for step in self.steps:
            if isinstance(step, BaseException):
                raise step
            if isinstance(step, float):
                await asyncio.sleep(step)
            elif isinstance(step, Chunk):
                yield step


def outcome_of(
    *steps: Chunk | float | BaseException, request: Request = REQUEST, limits: Limits | None = None
) -> Outcome:
    return asyncio.run(attempt(Says(*steps), request, limits or Limits()))


# --- the request --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "messages"),
    [
        ([{"role": "user", "content": "a"}], [{"role": "user", "content": "a"}]),
        ("a", [{"role": "user", "content": "a"}]),
        ({"question": "a"}, [{"role": "user", "content": "a"}]),
        ({"messages": [{"role": "system", "content": "a"}]}, [{"role": "system", "content": "a"}]),
        ({"row": {"a": 1}}, [{"role": "user", "content": '{"a":1}'}]),
        ({"n": 3}, [{"role": "user", "content": "3"}]),
    ],
)
def test_without_a_prompt_the_input_is_what_is_said(given: Any, messages: list[Any]) -> None:
    assert list(request_for(MODEL, None, Example(id="1", input=given), name="x").messages) == messages


def test_several_variables_need_a_prompt() -> None:
    with pytest.raises(PromptError, match="not a, b"):
        request_for(MODEL, None, Example(id="1", input={"a": 1, "b": 2}), name="x")


def test_a_function_gets_the_input_and_no_messages() -> None:
    request = request_for(Variant(target="m:f"), None, Example(id="7", input={"a": 1}), name="m:f", repeat=2)
    assert (list(request.messages), request.input, request.example_id, request.repeat) == (
        [],
        {"a": 1},
        "7",
        2,
    )


def test_what_is_expected_is_never_in_a_request() -> None:
    example = Example(id="1", input="q", expected="the secret answer", metadata={"m": "the secret answer"})
    assert "the secret answer" not in repr(request_for(MODEL, None, example, name="x"))


KEYED: list[dict[str, Any]] = [
    {"model": "y"}, {"messages": [{"role": "user", "content": "bye"}]}, {"params": {"temperature": 1}},
    {"tools": [{"type": "function"}]}, {"response_format": {"type": "json_object"}}, {"stream": True},
]  # fmt: skip


@pytest.mark.parametrize("change", KEYED, ids=lambda c: next(iter(c)))
def test_another_request_has_another_key(change: dict[str, Any]) -> None:
    import dataclasses

    changed = dataclasses.replace(REQUEST, **change)
    assert request_key("e", changed, repeat=0, twin=0) != request_key("e", REQUEST, repeat=0, twin=0)


def test_repeats_twins_versions_and_endpoints_never_share_a_key() -> None:
    def key(endpoint: str = "e", repeat: int = 0, twin: int = 0, version: str | None = None) -> str:
        return request_key(endpoint, REQUEST, repeat=repeat, twin=twin, version=version)

    assert len({key(), key("f"), key(repeat=1), key(twin=1), key(version="2")}) == 5
    assert key() == key()


def test_a_request_with_a_huge_integer_has_a_key_too() -> None:
    huge = Request(model="f", input={"n": 2**70})
    assert request_key("e", huge, repeat=0, twin=0) != request_key(
        "e", Request(model="f", input={"n": 2**71}), repeat=0, twin=0
    )


# --- one attempt --------------------------------------------------------------------------------------------


def test_text_adds_up_and_of_all_else_the_last_word_counts() -> None:
    outcome = outcome_of(
        Chunk(text="a", model="m1", metadata={"a": 1}), Chunk(text="b", usage=Usage(input_tokens=1)),
        Chunk(model="m2", finish_reason="stop", usage=Usage(input_tokens=3, output_tokens=4), metadata={"b": 2}),
    )  # fmt: skip
    assert (outcome.text, outcome.model, outcome.finish_reason) == ("ab", "m2", "stop")
    assert outcome.usage == Usage(input_tokens=3, output_tokens=4)
    assert outcome.metadata == {"a": 1, "b": 2}
    assert outcome.failure is None


def test_a_value_that_is_false_is_still_an_answer() -> None:
    outcome = outcome_of(Chunk(value=0))
    trace = calls.trace_of(outcome, REQUEST, trace_id="0" * 32, spans=(), cost=None, queue_s=0.0)
    assert trace.output == 0
    assert trace.error is None


def test_times_run_from_the_request_sent_to_the_first_and_the_last_chunk() -> None:
    start = time.perf_counter()
    outcome = outcome_of(
        Chunk(sent_s=start, received_s=start + 0.5), Chunk(text="a", received_s=start + 1.0), Chunk(text="b", received_s=start + 3.0),
        request=STREAMED,
    )  # fmt: skip
    assert outcome.ttft_s == pytest.approx(1.0)
    assert outcome.latency_s == pytest.approx(3.0)


def test_an_answer_that_is_not_streamed_has_no_first_token() -> None:
    assert outcome_of(Chunk(text="a")).ttft_s is None


def test_times_measured_elsewhere_are_kept_and_a_recorded_answer_has_no_others() -> None:
    assert outcome_of(Chunk(text="a", latency_s=9.0, ttft_s=2.0)).latency_s == 9.0
    assert outcome_of(Chunk(text="a", metadata={"recorded": True})).latency_s is None


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (ValueError("broken"), "function", "ValueError: broken"),
        (TimeoutError("the provider's own"), "function", "TimeoutError: the provider's own"),
        (SystemExit(3), "function", "SystemExit: 3"),
        (asyncio.CancelledError(), "function", "CancelledError: "),
        (RuntimeError("key sk-abcdefgh12345678 refused"), "function", "RuntimeError: key *** refused"),
        (
            ProviderError("key sk-abcdefgh12345678 refused", kind="auth", status=401),
            "auth",
            "key *** refused",
        ),
        (RuntimeError("\ud800"), "function", "RuntimeError: \ufffd"),
        (ProviderError("half \ud800", kind="server"), "server", "half \ufffd"),
    ],
)
def test_whatever_a_provider_raises_is_data_and_holds_no_key(
    error: BaseException, kind: str, message: str
) -> None:
    outcome = outcome_of(error)
    assert outcome.failure is not None
    assert (outcome.failure.kind, outcome.failure.message) == (kind, message)
    assert not outcome.retryable


def test_what_is_not_a_generator_is_data_too() -> None:
    class Wrong:
        def generate(self, request: Request) -> Any:
            return None

    outcome = asyncio.run(attempt(Wrong(), REQUEST, Limits()))
    assert outcome.failure is not None
    assert "TypeError" in outcome.failure.message


def test_a_call_that_is_dropped_from_outside_ends_as_cancelled() -> None:
    async def drop() -> None:
        task = asyncio.create_task(attempt(Says(10.0, Chunk(text="a")), REQUEST, Limits()))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(drop())


@pytest.mark.parametrize(
    ("steps", "request_", "limits", "words"),
    [
        ((10.0,), REQUEST, Limits(total_s=0.05), "no end within 0.05 s"),
        ((10.0,), STREAMED, Limits(first_token_s=0.05), "no first token within 0.05 s"),
        ((Chunk(text="a"), 10.0), STREAMED, Limits(first_token_s=5.0, total_s=0.05), "no end within 0.05 s"),
        ((Chunk(), 10.0), STREAMED, Limits(first_token_s=0.05, total_s=5.0), "no first token within 0.05 s"),
    ],
)  # fmt: skip
def test_a_slow_answer_says_which_time_ran_out(
    steps: tuple[Any, ...], request_: Request, limits: Limits, words: str
) -> None:
    outcome = outcome_of(*steps, request=request_, limits=limits)
    assert outcome.failure == Failure(kind="timeout", message=words)
    assert outcome.retryable


def test_an_end_without_a_single_chunk_is_a_failure_that_may_pass() -> None:
    outcome = outcome_of()
    assert outcome.failure is not None
    assert (outcome.failure.kind, outcome.retryable) == ("protocol", True)


def test_a_broken_answer_keeps_its_beginning_and_its_cost_is_guessed() -> None:
    outcome = outcome_of(
        Chunk(text="x" * 40), ProviderError("cut", kind="protocol", retryable=True), request=STREAMED
    )
    assert outcome.text == "x" * 40
    assert outcome.estimated
    assert outcome.usage == Usage(input_tokens=2, output_tokens=11)
    assert calls.price_of(outcome, PRICE) == pytest.approx(13.0)
    trace = calls.trace_of(outcome, STREAMED, trace_id="0" * 32, spans=(), cost=13.0, queue_s=0.0)
    assert trace.output == "x" * 40
    assert (trace.latency_s, trace.ttft_s) == (None, None)


# --- its price, span and trace ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "price", "cost"),
    [
        (lambda: Outcome(0, usage=Usage(input_tokens=1, output_tokens=2)), PRICE, 3.0),
        (lambda: Outcome(0, usage=Usage(input_tokens=1, output_tokens=2)), None, None),
        (lambda: Outcome(0), PRICE, None),
        (lambda: Outcome(0, cost_usd=0.5), None, 0.5),
        (lambda: Outcome(0, failure=Failure(kind="server", message="")), PRICE, 0.0),
        (lambda: Outcome(0, failure=Failure(kind="server", message="")), None, None),
    ],
)
def test_an_attempt_costs_what_its_tokens_do_and_a_refused_one_nothing(
    make: Callable[[], Outcome], price: Price | None, cost: float | None
) -> None:
    assert calls.price_of(make(), price) == cost


def test_an_attempt_is_a_span_with_the_names_of_the_genai_conventions() -> None:
    outcome = outcome_of(
        Chunk(text="a", model="x-2024", request_id="r", usage=Usage(input_tokens=1, output_tokens=2))
    )
    span = calls.span_of(outcome, REQUEST, "0" * 32, number=2, operation="chat")
    assert (span.name, span.kind, span.trace_id) == ("chat x", "model", "0" * 32)
    assert span.attributes == {
        "gen_ai.operation.name": "chat", "gen_ai.request.model": "x", "ratchet.attempt": 2,
        "gen_ai.response.model": "x-2024", "gen_ai.response.id": "r",
        "gen_ai.usage.input_tokens": 1, "gen_ai.usage.output_tokens": 2,
    }  # fmt: skip


def test_spans_of_a_function_hang_under_its_own() -> None:
    own = Span(trace_id="1" * 32, id="a" * 16, name="own")
    theirs = (
        Span(trace_id="", id="b" * 16, name="tool"),
        Span(trace_id="", id="c" * 16, name="inner", parent_id="b" * 16),
    )
    adopted = calls.adopt(theirs, "1" * 32, own)
    assert [(span.trace_id, span.parent_id) for span in adopted] == [
        ("1" * 32, "a" * 16),
        ("1" * 32, "b" * 16),
    ]
