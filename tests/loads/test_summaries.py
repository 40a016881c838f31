from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from ratchet.loads import summaries
from ratchet.loads.records import INTERRUPTED, Slo
from ratchet.loads.summaries import Result
from ratchet.records import Price

from .drawn import SERVER, TIMEOUT, measured, samples

AT = np.arange(1000) / 100


def result_of(*args: object, slo: Slo | None = None, valid: bool = True, **changes: object) -> Result:
    found = measured(samples(*args, **changes), valid=valid)  # type: ignore[arg-type]
    return summaries.summarise(found, load="100 requests/s constant, open loop", slo=slo)


def test_quantiles_carry_intervals_that_hold_them() -> None:
    rng = np.random.default_rng(1)
    arm = result_of(AT, rng.lognormal(-2, 0.5, 1000)).arms["a"]
    for label, quantile in arm.timings["e2e_s"].quantiles.items():
        assert quantile.low is not None, label
        assert quantile.high is not None, label
        assert quantile.value is not None, label
        assert quantile.low <= quantile.value <= quantile.high, label
    assert set(arm.timings) == set(summaries.TIMES)


def test_a_quantile_that_n_does_not_allow_says_what_it_needs() -> None:
    arm = result_of(AT[:200], np.full(200, 0.1)).arms["a"]
    p99 = arm.timings["e2e_s"].quantiles["p99"]
    assert (p99.value, p99.low, p99.high, p99.needs) == (None, None, None, 299)
    assert arm.timings["e2e_s"].quantiles["p95"].needs is None


def test_latency_counts_from_the_intended_start_and_from_send_beside_it() -> None:
    found = samples(AT, np.full(1000, 0.2))
    late = replace(found, dispatched_s=found.dispatched_s + 0.15, sent_s=found.sent_s + 0.15)
    arm = summaries.summarise(measured(late), load="x").arms["a"]
    assert arm.timings["e2e_s"].quantiles["p50"].value == pytest.approx(0.2)
    assert arm.timings["e2e_from_send_s"].quantiles["p50"].value == pytest.approx(0.05, abs=1e-3)


def test_goodput_is_the_share_of_all_requests_that_met_every_objective() -> None:
    e2e, ttft = np.full(1000, 0.4), np.full(1000, 0.1)
    e2e[:100] = 3.0
    ttft[50:200] = 0.3
    error = np.zeros(1000, np.int64)
    error[900:] = TIMEOUT
    arm = result_of(AT, e2e, ttft_s=ttft, error=error, slo=Slo(ttft_s=0.2, e2e_s=1.0)).arms["a"]
    assert arm.goodput.value == 0.7, "of 1,000: 100 slow, 100 more with a late first token, 100 failed"
    assert arm.goodput.low < 0.7 < arm.goodput.high
    assert arm.good_per_s == pytest.approx(70, rel=0.01)


def test_a_server_that_fails_three_calls_in_ten_never_has_a_good_goodput() -> None:
    error = (np.arange(1000) % 10 < 3) * SERVER
    fast = np.where(error > 0, 0.001, 0.1)  # a refusal is quick
    result = result_of(AT, fast, error=error, slo=Slo(e2e_s=1.0))
    arm = result.arms["a"]
    assert arm.goodput.value == 0.7
    assert arm.goodput.high < 0.75
    assert arm.errors == {"server": 300}
    assert arm.timings["e2e_s"].quantiles["p90"].value is None, "it falls on failures, which never end"
    assert arm.timings["e2e_s"].quantiles["p50"].value == pytest.approx(0.1)
    assert arm.achieved_rate == pytest.approx(70, rel=0.02)
    assert any("300 failed requests count as infinitely slow" in note for note in result.notes)


def test_requests_that_were_never_sent_count_as_misses() -> None:
    error = np.zeros(1000, np.int64)
    error[::2] = TIMEOUT
    found = samples(AT, np.full(1000, 0.1), error=error)
    unsent = replace(found, sent_s=np.where(error > 0, np.nan, found.sent_s))
    arm = summaries.summarise(measured(unsent), load="x").arms["a"]
    assert (arm.scheduled, arm.never_sent, arm.goodput.value) == (1000, 500, 0.5)


def test_warm_up_and_what_was_cut_short_are_in_no_figure() -> None:
    e2e = np.full(1000, 0.1)
    e2e[:100] = 9.0
    error = np.zeros(1000, np.int64)
    error[990:] = INTERRUPTED
    found = samples(AT, e2e, error=error)
    found = replace(found, warm_up=AT < 1.0)
    result = summaries.summarise(replace(measured(found), ended="interrupted"), load="x")
    assert result.arms["a"].scheduled == 890
    assert result.arms["a"].timings["e2e_s"].max == pytest.approx(0.1)
    assert (result.warm_up, result.interrupted) == (100, True)
    assert any("10 requests in flight were left out" in note for note in result.notes)


def test_rates_are_of_what_was_scheduled_and_of_what_was_answered() -> None:
    arm = result_of(AT, np.full(1000, 2.0)).arms["a"]
    assert arm.offered_rate == pytest.approx(100, rel=0.002)
    assert arm.achieved_rate == pytest.approx(100, rel=0.002), "a slow answer is no lower rate"
    assert arm.tokens_per_s == pytest.approx(500, rel=0.002)
    assert arm.tokens_per_s_each == pytest.approx(4, rel=0.01)


def test_a_server_that_falls_behind_is_answered_less_than_offered() -> None:
    backlog = AT * 0.5 + 0.1  # serves two of three
    arm = result_of(AT, backlog).arms["a"]
    assert arm.achieved_rate == pytest.approx(100 / 1.5, rel=0.1)


def test_costs_include_the_warm_up_and_are_unknown_without_a_price() -> None:
    price = Price(input_usd_per_mtok=1.0, output_usd_per_mtok=2.0)
    found = replace(samples(AT, np.full(1000, 0.1)), warm_up=AT < 5)
    priced = summaries.summarise(measured(found), load="x", prices_by_arm={"a": price}).arms["a"]
    assert priced.cost_usd == pytest.approx(1000 * (100 * 1e-6 + 5 * 2e-6))
    assert summaries.summarise(measured(found), load="x").arms["a"].cost_usd is None


def test_stretches_that_are_slow_together_widen_the_interval_of_goodput() -> None:
    stalled = np.where((AT > 4) & (AT < 5), 2.0, 0.1)
    scattered = np.random.default_rng(1).permutation(stalled)
    slo = Slo(e2e_s=1.0)
    together, apart = result_of(AT, stalled, slo=slo).arms["a"], result_of(AT, scattered, slo=slo).arms["a"]
    assert together.goodput.value == apart.goodput.value
    assert together.goodput.high - together.goodput.low > 2 * (apart.goodput.high - apart.goodput.low)
    assert together.timings["e2e_s"].correlated


def two_arms(n: int, ratio: float) -> Result:
    rng = np.random.default_rng(5)
    arm, at = np.tile([0, 1], n), np.repeat(np.arange(n) / 100, 2)
    e2e = rng.lognormal(-2, 0.4, 2 * n) * np.where(arm == 1, ratio, 1.0)
    return result_of(at, e2e, arms=("a", "b"), arm=arm)


def test_two_arms_under_one_load_differ_by_quantiles_with_intervals() -> None:
    result = two_arms(1500, 1.3)
    found = {(d.metric, d.quantile): d for d in result.differences}
    median = found["e2e_s", "p50"]
    assert median.low is not None
    assert 0 < median.low < 0.3 * math.exp(-2) < (median.high or 0)
    assert found["e2e_s", "p99"].needs is None
    assert {metric for metric, _ in found} == set(summaries.COMPARED)


def test_a_p99_difference_of_few_requests_is_no_result() -> None:
    result = two_arms(500, 1.3)
    p99 = next(d for d in result.differences if (d.metric, d.quantile) == ("e2e_s", "p99"))
    assert (p99.estimate, p99.low, p99.high, p99.needs, p99.n) == (None, None, None, 1000, 500)


def test_a_result_of_a_generator_that_was_short_is_invalid_and_says_of_what() -> None:
    result = result_of(AT, np.full(1000, 0.1), valid=False)
    assert not result.valid
    assert result.invalid_because == ("one core was busy",)


def test_a_closed_loop_is_named_as_such_and_warned_of() -> None:
    found = measured(samples(AT, np.full(1000, 0.1)), mode="closed")
    result = summaries.summarise(found, load="8 users, closed loop")
    assert result.mode == "closed"
    assert any(note.startswith("closed loop: when the server stalls") for note in result.notes)


def test_when_nothing_was_measured_the_result_is_invalid() -> None:
    found = samples(AT, np.full(1000, 0.1))
    result = summaries.summarise(measured(replace(found, warm_up=np.ones(1000, np.bool_))), load="x")
    assert not result.valid
    assert result.invalid_because == ("a: no request was measured",)


def test_every_request_may_fail_and_it_is_still_a_result() -> None:
    arm = result_of(AT, np.full(1000, 0.1), error=np.full(1000, SERVER)).arms["a"]
    assert (arm.succeeded, arm.goodput.value) == (0, 0.0)
    assert "e2e_s" not in arm.timings
