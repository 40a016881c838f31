from __future__ import annotations

from typing import Any

import pytest

from ratchet.records import Failure, Span, Trace
from ratchet.reports import timings


def span(name: str, start_ms: float, took_ms: float, **fields: Any) -> Span:
    return Span(
        trace_id="t", id=fields.pop("id", name), name=name, start_ns=int(1e15 + start_ms * 1e6),
        duration_ns=int(took_ms * 1e6), **fields,
    )  # fmt: skip


def test_a_streamed_answer_is_told_by_its_first_token() -> None:
    trace = Trace(
        id="t", cost_usd=0.000306, input_tokens=590, output_tokens=44, latency_s=0.0953, ttft_s=0.0852, queue_s=0.45,
        attempts=2, spans=(span("chat", 0, 95.3),),
    )  # fmt: skip
    assert timings.cost(trace) == "$0.000306 for 590 tokens in and 44 out"
    assert timings.time(trace) == (
        "95 ms: 85 ms (89 %) to the first token, 10 ms (11 %) generating; "
        "after 450 ms of waiting for limits and retries and 1 failed attempt"
    )


def test_a_function_is_told_by_its_steps_equal_names_together() -> None:
    root = span("agent", 0, 778, id="r", kind="function")
    inner = [
        span("retrieve", 10, 140, parent_id="r"),
        span("generate", 160, 400, id="g1", parent_id="r"),
        span("generate", 570, 98, id="g2", parent_id="r"),
        span("tokenise", 161, 5, id="x", parent_id="g1"),
    ]
    trace = Trace(id="t", latency_s=0.778, spans=(root, *inner))
    assert (
        timings.time(trace)
        == "778 ms: 140 ms (18 %) in retrieve, 498 ms (64 %) in generate (2 times), 140 ms (18 %) elsewhere"
    )


def test_what_is_unknown_is_said() -> None:
    assert timings.cost(Trace(id="t")) == "price unknown"
    assert timings.time(Trace(id="t")) == "not timed"
    assert timings.time(Trace(id="t", cached=True)) == "taken from the cache: not timed"
    assert timings.cost(Trace(id="t", cost_usd=0.0)) == "$0"


def test_a_failed_first_attempt_is_no_part_of_the_answer() -> None:
    failed = span("chat", 0, 30, id="one", error=Failure(kind="server", message="500"))
    trace = Trace(
        id="t", latency_s=0.1, ttft_s=0.04, attempts=2, spans=(failed, span("chat", 80, 100, id="two"))
    )
    assert timings.time(trace) == (
        "100 ms: 40 ms (40 %) to the first token, 60 ms (60 %) generating; after 1 failed attempt"
    )


@pytest.mark.parametrize(
    ("usd", "shown"), [(0.0, "$0"), (0.000306, "$0.000306"), (0.0019996, "$0.00200"), (12.345, "$12.3")]
)
def test_prices_have_three_digits(usd: float, shown: str) -> None:
    assert timings.money(usd) == shown


def test_spans_that_are_each_others_parents_end() -> None:
    loop = (span("a", 0, 1, id="a", parent_id="b"), span("b", 0, 1, id="b", parent_id="a"))
    assert timings.time(Trace(id="t", latency_s=0.002, spans=loop)) == "2 ms"
