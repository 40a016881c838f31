from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator

import numpy as np
import pytest

from ratchet.errors import ConfigError
from ratchet.loads import processes, targets
from ratchet.loads.driving import Drive
from ratchet.loads.records import ERROR_KINDS, INTERRUPTED, Measured, Shot, Tick
from ratchet.ports import Request
from ratchet.records import Limits, Variant

from .scripted import BODY, KEY, Even, Script, Scripted, fire, stream, variant

ENVIRON = {"OPENAI_API_KEY": KEY}


def p99_s(found: Measured) -> float:
    return float(np.quantile(found.samples.measured().e2e_s, 0.99))


def closed(
    server: Scripted, *, users: int, duration_s: float | None = None, count: int = 100_000
) -> Measured:
    drive = Drive(mode="closed", users=users, duration_s=duration_s, grace_s=5.0)
    return processes.measure({"a": variant(server.url)}, Even(1, count), drive, environ=ENVIRON)


def test_requests_leave_when_the_schedule_says_and_not_when_answers_come() -> None:
    with Scripted(lambda _: stream(2, first_s=0.3)) as server:
        found = fire(server, 20, rate=100).samples
    assert found.scheduled_s.tolist() == pytest.approx([i / 100 for i in range(20)], abs=1e-6)
    assert (found.lag_s >= 0).all()
    assert found.dispatched_s[-1] < found.first_token_s[0]


def test_an_open_loop_shows_a_freeze_that_a_closed_loop_hides() -> None:
    with Scripted(lambda _: stream(1, first_s=0.01)) as server:
        server.freeze = (1.0, 1.5)
        opened = fire(server, 150, rate=50)
    with Scripted(lambda _: stream(1, first_s=0.01)) as server:
        server.freeze = (1.0, 1.5)
        hidden = closed(server, users=1, count=200)
    assert p99_s(opened) > 0.25
    assert hidden.samples.e2e_s.max() > 0.25  # it met the freeze, once
    assert p99_s(hidden) < 0.25
    assert (opened.mode, hidden.mode) == ("open", "closed")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_tail_of_a_two_second_freeze_in_a_minute_shows_in_the_open_loop_alone() -> None:
    with Scripted(lambda _: stream(1, first_s=0.1)) as server:
        server.freeze = (20.0, 22.0)
        opened = fire(server, 1200, rate=20)
    with Scripted(lambda _: stream(1, first_s=0.1)) as server:
        server.freeze = (20.0, 22.0)
        hidden = closed(server, users=5, duration_s=60.0)
    assert p99_s(opened) > 1.0
    assert hidden.samples.e2e_s.max() > 1.0
    assert p99_s(hidden) < 1.0


def test_a_closed_loop_keeps_its_users_busy_and_no_more() -> None:
    with Scripted(lambda _: stream(1, first_s=0.02)) as server:
        found = closed(server, users=3, duration_s=1.5)
        assert server.connections == 3
    assert len(found.samples) > 3
    assert (found.samples.index == np.arange(len(found.samples))).all()
    assert found.samples.scheduled_s.max() <= 1.5


def test_a_closed_loop_ends_in_time_though_every_user_waits() -> None:
    with Scripted(lambda _: ["until closed"]) as server:
        drive = Drive(mode="closed", users=2, duration_s=1.5, grace_s=0.2)
        found = processes.measure({"a": variant(server.url)}, Even(1, 100), drive, environ=ENVIRON)
    assert [ERROR_KINDS[code] for code in found.samples.error] == ["timeout", "timeout"]


def test_what_is_open_at_the_end_of_the_grace_is_a_timeout_and_stays_a_row() -> None:
    def script(number: int) -> Script:
        return stream(1) if number < 3 else ["until closed"]

    with Scripted(script) as server:
        found = fire(server, 4, drive=Drive(grace_s=0.2))
    assert [ERROR_KINDS[code] for code in found.samples.error] == ["", "", "", "timeout"]
    assert found.errors[0].message == "no complete answer 0.2 s after the last request had left"
    assert found.elapsed_s >= 0.2


def test_the_warm_up_is_sent_and_marked_and_not_measured() -> None:
    with Scripted(lambda _: stream(1)) as server:
        found = fire(server, 10, rate=50, drive=Drive(warm_up_s=0.1))
        assert len(server.requests) == 10
    assert found.samples.warm_up.tolist() == [True] * 5 + [False] * 5
    assert len(found.samples.measured()) == 5


def test_errors_in_the_warm_up_are_not_counted() -> None:
    def script(number: int) -> Script:
        return stream(1) if number >= 2 else [b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n"]

    with Scripted(script) as server:
        arms = {"a": variant(server.url)}
        found = processes.measure(arms, Even(50, 4, warm_up=2), Drive(), environ=ENVIRON)
    assert found.errors == ()
    assert found.samples.ok.tolist() == [False, False, True, True]


def test_nothing_starts_after_the_duration() -> None:
    with Scripted(lambda _: stream(1)) as server:
        found = fire(server, 1000, rate=100, drive=Drive(duration_s=0.2))
    assert len(found.samples) == 20


def test_arms_meet_the_same_load_and_are_told_apart() -> None:
    with Scripted(lambda _: stream(1)) as fast, Scripted(lambda _: stream(1, first_s=0.1)) as slow:
        arms = {"fast": variant(fast.url), "slow": variant(slow.url)}
        found = processes.measure(arms, Even(100, 20, arms=2), Drive(), environ=ENVIRON)
        assert (len(fast.requests), len(slow.requests)) == (10, 10)
    samples = found.samples
    assert samples.arms == ("fast", "slow")
    quick, late = (samples.select(samples.arm == arm).ttft_from_send_s for arm in (0, 1))
    assert late.min() >= 0.1
    assert np.median(late - quick) > 0.05


def test_ticks_tell_how_it_goes_and_each_answer_once() -> None:
    ticks: list[Tick] = []
    with Scripted(lambda _: stream(1)) as server:
        arms = {"a": variant(server.url)}
        processes.measure(arms, Even(20, 15), Drive(), environ=ENVIRON, report=ticks.append)
    assert ticks[-1].sent == ticks[-1].done == 15
    assert sum(len(tick.ttft_s) for tick in ticks) == 15
    assert [tick.done for tick in ticks] == sorted(tick.done for tick in ticks)


def test_ctrl_c_ends_the_test_with_what_there_is() -> None:
    def script(number: int) -> Script:
        return stream(1) if number < 5 else ["until closed"]

    before = signal.getsignal(signal.SIGINT)

    def interrupt(tick: Tick) -> None:
        if tick.done >= 5 and tick.in_flight >= 3:
            os.kill(os.getpid(), signal.SIGINT)

    with Scripted(script) as server:
        arms = {"a": variant(server.url)}
        found = processes.measure(arms, Even(50, 100_000), Drive(), environ=ENVIRON, report=interrupt)
    assert found.ended == "interrupted"
    assert (found.samples.error[:5] == 0).all()
    assert (found.samples.error[5:] == INTERRUPTED).all()
    assert len(found.samples.measured()) == 5
    assert signal.getsignal(signal.SIGINT) is before


def test_an_error_in_a_report_ends_the_test_and_is_raised() -> None:
    def report(tick: Tick) -> None:
        raise RuntimeError("the terminal is gone")

    with Scripted(lambda _: stream(1)) as server, pytest.raises(RuntimeError, match="the terminal is gone"):
        processes.measure(
            {"a": variant(server.url)}, Even(50, 100_000), Drive(), environ=ENVIRON, report=report
        )


def broken_shots(part: int, parts: int) -> Iterator[Shot]:
    for index in range(300):
        yield Shot(index=index, arm=0, at_s=index / 1000, body=BODY % index)
    raise ConfigError("row 300 has no question")


def test_an_error_in_the_making_of_shots_ends_the_test_and_is_raised() -> None:
    with Scripted(lambda _: stream(1)) as server, pytest.raises(ConfigError, match="row 300 has no question"):
        processes.measure({"a": variant(server.url)}, broken_shots, Drive(), environ=ENVIRON)


async def answer(text: str) -> AsyncIterator[str]:
    for word in ("a", "b", "c"):
        await asyncio.sleep(0.01)
        yield f"{word}{text}"


async def fail(text: str) -> str:
    if text == "1":
        raise ValueError("no luck")
    await asyncio.sleep(5.0)
    return text


def asked(target: Variant, count: int) -> Measured:
    aimed = targets.aim("a", target)

    def shots(part: int, parts: int) -> Iterator[Shot]:
        for index in range(part, count, parts):
            body = aimed.body(Request(model="", input=str(index), stream=target.stream))
            yield Shot(index=index, arm=0, at_s=index / 50, body=body)

    return processes.measure({"a": target}, shots, Drive(grace_s=1.0))


def test_a_function_is_driven_in_process_and_the_result_says_so() -> None:
    found = asked(Variant(target=answer, stream=True), 3)
    assert found.errors == ()
    assert found.samples.chunks.tolist() == [3, 3, 3]
    assert found.samples.gaps.min() > 0
    assert not found.vitals.bare
    assert "not by the bare client" in found.health.notes[-1]


def test_a_function_that_raises_or_hangs_is_an_error_like_any_other() -> None:
    found = asked(Variant(target=fail, limits=Limits(total_s=0.2)), 3)
    assert [ERROR_KINDS[code] for code in found.samples.error] == ["timeout", "function", "timeout"]
    late, raised = sorted(error.message for error in found.errors)[::-1]
    assert late == "the answer was not complete within 0.2 s"
    assert raised.startswith("ValueError: no luck")


def test_recorded_answers_can_not_be_load_tested() -> None:
    with pytest.raises(ConfigError, match="replays recorded answers"):
        targets.aim("old", Variant(model="recorded/", options={"answers": "x.jsonl"}))
