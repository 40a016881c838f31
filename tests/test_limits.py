from __future__ import annotations

import asyncio
import math
import random

import pytest
from hypothesis import given, settings, strategies as st

from ratchet.limits import LONGEST_PAUSE_S, Bucket, Lane, Turnstile
from ratchet.records import Limits


def taken(bucket: Bucket, *, until_s: float, amount: float) -> list[float]:
    """The times at which a greedy caller gets through."""
    now_s, times = 0.0, list[float]()
    while now_s < until_s:
        wait_s = bucket.wait_s(now_s)
        if wait_s > 0:
            now_s += wait_s
            continue
        bucket.take(amount, now_s)
        times.append(now_s)
    return times


@settings(max_examples=25, deadline=None)
@given(per_minute=st.floats(1, 5000), amount=st.floats(0.1, 5), window_s=st.floats(1, 60))
def test_in_no_window_does_more_flow_than_the_rate_and_what_was_saved_up(
    per_minute: float, amount: float, window_s: float
) -> None:
    times = taken(Bucket(per_minute), until_s=90.0, amount=amount)
    capacity = max(per_minute / 60, 1.0)
    for start in range(0, len(times), max(1, len(times) // 40)):
        within = [at for at in times[start:] if at < times[start] + window_s]
        # the last taking may leave a debt, which the next pays
        assert len(within) * amount <= per_minute / 60 * window_s + capacity + amount + 1e-6


def test_a_steady_caller_gets_the_whole_rate() -> None:
    assert len(taken(Bucket(600), until_s=60.0, amount=1)) == pytest.approx(600, abs=12)


def test_a_taking_larger_than_the_level_is_a_debt_that_the_next_waits_for() -> None:
    bucket = Bucket(60)
    bucket.take(5, 0.0)
    assert bucket.wait_s(0.0) == pytest.approx(4.0)
    assert bucket.wait_s(3.0) == pytest.approx(1.0)
    assert bucket.wait_s(4.1) == 0.0


def test_a_quiet_hour_saves_up_no_more_than_the_burst() -> None:
    bucket = Bucket(600, burst_s=2.0)
    bucket.take(20, 0.0)
    bucket.wait_s(3600.0)
    assert bucket.level == pytest.approx(20.0)


def test_a_clock_that_steps_back_gives_nothing_away() -> None:
    bucket = Bucket(60)
    bucket.take(3, 10.0)
    debt_s = bucket.wait_s(10.0)
    assert bucket.wait_s(5.0) == pytest.approx(debt_s)
    assert bucket.wait_s(10.0) == pytest.approx(debt_s)


def lane(most: int = 16, **limits: float) -> Lane[object]:
    return Lane(Limits(**limits), most)  # type: ignore[arg-type]


def test_a_full_lane_waits_for_a_call_to_end_and_not_for_time() -> None:
    full = lane(2)
    full.start(0, 0.0)
    full.start(0, 0.0)
    assert full.wait_s(1e9) == math.inf
    full.finish(tokens_over=0, now_s=1.0)
    assert full.wait_s(1.0) == 0.0


def test_the_smaller_of_the_runs_and_the_endpoints_concurrency_holds() -> None:
    assert lane(16, concurrency=4).ceiling == 4
    assert lane(4, concurrency=16).ceiling == 4


def test_requests_a_minute_hold_a_lane_back() -> None:
    slow = lane(16, rpm=60)
    starts, now_s = list[float](), 0.0
    while now_s < 30:
        wait_s = slow.wait_s(now_s)
        if wait_s:
            now_s += wait_s
            continue
        slow.start(0, now_s)
        slow.finish(tokens_over=0, now_s=now_s)
        starts.append(now_s)
    assert 29 <= len(starts) <= 32


def test_tokens_beyond_the_estimate_are_paid_back_before_the_next_call() -> None:
    heavy = lane(16, tpm=6000)  # 100 a second, 600 saved up
    heavy.start(100, 0.0)
    heavy.finish(tokens_over=1500, now_s=0.0)
    assert heavy.wait_s(0.0) == pytest.approx(10.0)
    generous = lane(16, tpm=6000)
    generous.start(1600, 0.0)
    generous.finish(tokens_over=-1500, now_s=0.0)
    assert generous.wait_s(0.0) == 0.0


def test_a_call_that_was_never_sent_takes_nothing_from_the_rate() -> None:
    slow = lane(16, rpm=60)
    for _ in range(50):
        assert slow.wait_s(0.0) == 0.0
        slow.start(0, 0.0)
        slow.finish(tokens_over=0, now_s=0.0, sent=False)


def test_refusals_lower_the_limit_once_a_burst_and_successes_raise_it_slowly() -> None:
    busy = lane(20)
    for _ in range(20):
        busy.start(0, 0.0)
    for _ in range(5):
        busy.refused(0.5, None)
    assert busy.limit == pytest.approx(14.0)
    busy.refused(1.6, None)
    assert busy.limit == pytest.approx(9.8)
    for _ in range(10):  # a full round of successes is worth one more call
        busy.succeeded()
    assert busy.limit == pytest.approx(10.8, abs=0.1)
    for _ in range(1000):
        busy.succeeded()
    assert busy.limit == busy.ceiling == 20


@given(st.lists(st.booleans(), max_size=300), st.integers(1, 64))
def test_the_limit_always_lets_one_call_through_and_never_passes_its_ceiling(
    outcomes: list[bool], concurrency: int
) -> None:
    any_lane = lane(concurrency)
    draw = random.Random(concurrency)
    now_s = 0.0
    for good in outcomes:
        now_s += draw.random() * 2
        any_lane.start(0, now_s)
        any_lane.finish(tokens_over=0, now_s=now_s)
        if good:
            any_lane.succeeded()
        else:
            any_lane.refused(now_s, None)
        assert 1 <= any_lane.limit <= any_lane.ceiling


def test_a_pause_that_the_server_names_holds_everything_and_the_longest_counts() -> None:
    paused = lane(4)
    paused.refused(0.0, 5.0)
    paused.refused(0.1, 2.0)
    assert paused.wait_s(1.0) == pytest.approx(4.0)
    assert paused.wait_s(5.0) == 0.0


def test_no_server_pauses_a_run_for_longer_than_ten_minutes() -> None:
    paused = lane(4)
    paused.refused(0.0, 1e9)
    assert paused.wait_s(0.0) == LONGEST_PAUSE_S == 600.0


def test_the_strictest_of_several_limits_holds() -> None:
    lane: Lane[int] = Lane(Limits(rpm=600, concurrency=8), concurrency=16)
    lane.tighten(Limits(rpm=60, tpm=1000))
    lane.tighten(Limits(rpm=6000, concurrency=4))
    assert (lane.ceiling, lane.limit) == (4, 4)
    assert lane.requests is not None
    assert lane.requests.per_minute == 60
    assert lane.tokens is not None
    assert lane.tokens.per_minute == 1000


async def pass_through(
    turnstile: Turnstile, name: int, inside: list[int], seen: list[tuple[int, int]]
) -> None:
    await turnstile.enter()
    inside.append(name)
    seen.append((name, len(inside)))
    await asyncio.sleep(0)
    inside.remove(name)
    turnstile.leave()


def test_a_turnstile_lets_a_few_in_at_once_in_the_order_they_came() -> None:
    async def use() -> list[tuple[int, int]]:
        turnstile, inside, seen = Turnstile(3), list[int](), list[tuple[int, int]]()
        async with asyncio.TaskGroup() as group:
            for name in range(20):
                group.create_task(pass_through(turnstile, name, inside, seen))
        return seen

    seen = asyncio.run(use())
    assert [name for name, _ in seen] == list(range(20))
    assert max(count for _, count in seen) == 3


@pytest.mark.parametrize("let_in_first", [False, True])
def test_who_gives_up_before_a_turnstile_takes_no_place(let_in_first: bool) -> None:
    async def use() -> None:
        turnstile = Turnstile(1)
        await turnstile.enter()
        waiting = asyncio.create_task(turnstile.enter())
        await asyncio.sleep(0)
        if let_in_first:
            turnstile.leave()
        waiting.cancel()
        await asyncio.wait([waiting])
        if not let_in_first:
            turnstile.leave()
        async with asyncio.timeout(1):
            await turnstile.enter()

    asyncio.run(use())
