"""The steps of an answer on a time axis."""

from __future__ import annotations

import pytest

from ratchet.records import Failure, Span, Trace
from ratchet.reports import waterfalls

ID = "a" * 32
S = 10**9


def span(id: str, start_s: float, duration_s: float, **more: object) -> Span:
    at = int(1_700_000_000 * S + start_s * S)
    return Span(trace_id=ID, id=id, name=id, start_ns=at, duration_ns=int(duration_s * S), **more)  # type: ignore[arg-type]


def attempt(id: str, number: int, start_s: float, duration_s: float, **more: object) -> Span:
    attributes = {"ratchet.attempt": number, "ratchet.ttft_s": 0.2}
    return span(id, start_s, duration_s, kind="model", attributes=attributes, **more)


def test_the_wait_before_and_between_attempts_is_a_row_of_its_own() -> None:
    failure = Failure(kind="rate_limit", message="slow down")
    trace = Trace(
        id=ID,
        queue_s=2.5,
        latency_s=1.0,
        spans=(attempt("one", 1, 0, 1, error=failure), attempt("two", 2, 2, 1)),
    )
    rows = waterfalls.steps(trace)
    assert [row.name for row in rows] == ["waiting", "one", "two"]
    assert rows[0].gaps == ((0.0, 1.5), (2.5, 3.5))
    assert rows[0].duration_s == 2.5
    assert (rows[1].start_s, rows[2].start_s) == (1.5, 3.5)


def test_children_stand_below_their_parents_in_order_of_time() -> None:
    spans = (
        span("b", 2, 1, parent_id="root"),
        span("root", 0, 4),
        span("a", 1, 1, parent_id="root"),
        span("a1", 1, 1, parent_id="a"),
    )
    rows = waterfalls.steps(Trace(id=ID, spans=spans))
    assert [(row.name, row.depth) for row in rows] == [("root", 0), ("a", 1), ("a1", 2), ("b", 1)]


def test_spans_that_are_one_anothers_parents_are_all_shown() -> None:
    spans = (span("x", 0, 1, parent_id="y"), span("y", 0, 1, parent_id="x"), span("z", 0, 1, parent_id="z"))
    assert sorted(row.name for row in waterfalls.steps(Trace(id=ID, spans=spans))) == ["x", "y", "z"]


def test_the_first_token_is_marked_after_the_time_of_connecting() -> None:
    trace = Trace(id=ID, latency_s=1.0, ttft_s=0.2, spans=(attempt("one", 1, 0, 1.5),))
    assert waterfalls.around_s(trace) == pytest.approx(0.5)
    assert waterfalls.steps(trace)[0].first_token_s == pytest.approx(0.7)
    assert "first token after 700 ms" in waterfalls.waterfall(waterfalls.steps(trace), label="steps")


def test_two_waterfalls_share_an_axis() -> None:
    short = waterfalls.steps(Trace(id=ID, spans=(span("a", 0, 1),)))
    long = waterfalls.steps(Trace(id=ID, spans=(span("a", 0, 4),)))
    scale_s = max(waterfalls.total_s(short), waterfalls.total_s(long))
    assert 'width="250.0"' in waterfalls.waterfall(short, label="a", scale_s=scale_s)
    assert 'width="1000.0"' in waterfalls.waterfall(long, label="b", scale_s=scale_s)


def test_names_are_escaped_and_styles_are_classes() -> None:
    hostile = '<img src=x onerror=alert(1)>"\u202e'
    html = waterfalls.waterfall(waterfalls.steps(Trace(id=ID, spans=(span(hostile, 0, 1),))), label=hostile)
    assert "<img" not in html
    assert "\u202e" not in html
    assert "style=" not in html


def test_more_steps_than_fit_are_counted() -> None:
    rows = waterfalls.steps(Trace(id=ID, spans=tuple(span(f"s{i}", i, 1) for i in range(100))))
    assert "60 further steps" in waterfalls.waterfall(rows, label="steps")


def test_nothing_was_timed_nothing_is_drawn() -> None:
    assert waterfalls.waterfall(waterfalls.steps(Trace(id=ID)), label="x") == ""
