from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from ratchet import costs
from ratchet.costs import Bill, Bills, Terms, traffic
from ratchet.costs.cases import build
from ratchet.costs.records import ArmCost
from ratchet.errors import ConfigError, UnknownNameError
from ratchet.ports import Usage
from ratchet.prices import cost_usd, split
from ratchet.records import Price
from ratchet.stores.sqlite import SQLiteStore

from .stores import DEAR, filled, run_of

TODAY = date(2026, 1, 1)


@pytest.fixture
def bills(tmp_path: Path) -> Iterator[Bills]:
    store: SQLiteStore
    with filled(tmp_path) as store:
        yield costs.from_run(store, run_of())


def arm(case: costs.CostCase, name: str) -> ArmCost:
    return next(each for each in case.arms if each.name == name)


def a_bill(
    name: str, cost: np.ndarray, success: np.ndarray | None = None, groups: np.ndarray | None = None
) -> Bill:
    n = len(cost)
    nothing = np.full(n, math.nan)
    return Bill(
        name=name, model="", price=None, example=np.arange(n), group=np.arange(n) if groups is None else groups,
        cost_usd=cost, answer_usd=nothing, input_tokens=nothing, cached_tokens=nothing, output_tokens=nothing,
        reasoning_tokens=nothing, success=nothing if success is None else success, failed=np.zeros(n, dtype=np.int64),
        paid_usd=0.0,
    )  # fmt: skip


def of(*arms: Bill) -> Bills:
    return Bills(
        run_id="r", run_name="", success_metric="ok", arms={each.name: each for each in arms}, judge_usd=0.0
    )


def test_cost_per_call_and_per_correct_answer_are_the_totals_over_their_counts(bills: Bills) -> None:
    case = build(bills, Terms())
    old, new = arm(case, "old"), arm(case, "new")
    assert old.per_call_usd is not None
    assert new.per_call_usd is not None
    assert (old.per_call_usd.value, new.per_call_usd.value) == pytest.approx((0.02, 0.002))
    assert old.per_success_usd is not None
    assert new.per_success_usd is not None
    assert (old.per_success_usd.value, new.per_success_usd.value) == pytest.approx((0.8 / 30, 0.08 / 19))
    assert old.per_success_usd.low is not None
    assert old.per_success_usd.low < 0.8 / 30 < (old.per_success_usd.high or 0)


def test_retries_and_failures_stand_apart_from_what_answers_cost(bills: Bills) -> None:
    new = arm(build(bills, Terms()), "new")
    assert new.retry_usd == pytest.approx(0.002 / 40)
    assert new.parts is not None
    assert new.parts.total_usd == pytest.approx(0.002)
    assert (new.parts.input_usd, new.parts.output_usd) == pytest.approx((0.001, 0.001))
    assert new.failed == 1


def test_the_saving_is_paired_and_earns_back_what_was_spent(bills: Bills) -> None:
    terms = Terms(traffic=traffic.stated("100k/month"), one_off_usd=3500.0, spent_usd=100.0, today=TODAY)
    found = build(bills, terms).migration
    assert found is not None
    assert (found.baseline, found.candidate) == ("old", "new")
    assert found.saving_per_call_usd.value == pytest.approx(0.018)
    assert found.saving_share is not None
    assert found.saving_share.value == pytest.approx(0.9)
    assert found.saving_per_month_usd is not None
    assert found.saving_per_month_usd.value == pytest.approx(1800.0)
    assert found.break_even_months is not None
    assert found.break_even_months.value == pytest.approx(2.0)
    assert found.break_even_on == "2026-03-03"


def test_going_over_to_the_dearer_arm_never_breaks_even(bills: Bills) -> None:
    terms = Terms(traffic=traffic.stated("100k/month"), one_off_usd=100.0, today=TODAY)
    found = build(bills, terms, baseline="new", candidate="old").migration
    assert found is not None
    assert found.saving_per_call_usd.value == pytest.approx(-0.018)
    assert found.break_even_months is None
    assert found.break_even_on is None


def test_a_price_of_ones_own_takes_the_place_of_the_runs(bills: Bills) -> None:
    price = Price(input_usd_per_mtok=2.0, output_usd_per_mtok=20.0)
    case = build(bills, Terms(prices={"new": price}))
    new = arm(case, "new")
    assert new.per_call_usd is not None
    # twice the price: 38 calls of 0.004, one of 0.008 with its retry, one that failed for nothing
    assert new.per_call_usd.value == pytest.approx((38 * 0.004 + 0.008) / 40)
    with pytest.raises(UnknownNameError, match="arm"):
        build(bills, Terms(prices={"newer": price}))


def test_caching_is_told_only_where_its_rate_is_known(bills: Bills) -> None:
    case = build(bills, Terms(cached_share=0.5, batch_discount=0.5))
    told = {(what.arm, what.change): what.per_call_usd for what in case.what_if}
    # 500 of 1,000 tokens at a tenth of the rate
    assert told["old", "50 % of input from cache"] == pytest.approx(0.02 - 500 * 9.0 / 1e6)
    assert ("new", "50 % of input from cache") not in told
    assert any("cached input" in note and "new" in note for note in case.notes)
    assert told["new", "50 % off for batches"] == pytest.approx(0.001)


def test_answers_without_a_price_are_counted_and_in_no_figure() -> None:
    cost = np.array([0.01] * 30 + [math.nan] * 10)
    case = build(of(a_bill("only", cost)), Terms())
    found = arm(case, "only")
    assert found.unpriced == 10
    assert found.per_call_usd is not None
    assert found.per_call_usd.value == pytest.approx(0.01)
    assert "10 of 40 answers of only have no known price" in case.notes[0]


def test_an_arm_without_any_price_has_no_cost_and_no_saving() -> None:
    case = build(of(a_bill("dark", np.full(20, math.nan)), a_bill("known", np.full(20, 0.1))), Terms())
    assert arm(case, "dark").per_call_usd is None
    assert case.migration is None
    assert any("share fewer than two priced examples" in note for note in case.notes)


def test_one_arm_is_not_its_own_candidate(bills: Bills) -> None:
    with pytest.raises(ConfigError, match="both 'old'"):
        build(bills, Terms(), baseline="old", candidate="old")


def test_the_widest_swing_comes_first_and_each_moves_the_saving_as_far_as_it_should(bills: Bills) -> None:
    swings = build(bills, Terms(traffic=traffic.stated("100k/month"))).swings
    assert swings[0].name == "traffic"
    assert (swings[0].low_usd, swings[0].high_usd) == pytest.approx((900.0, 3600.0))
    output = next(swing for swing in swings if swing.name == "old: output tokens")
    assert (output.low_usd, output.high_usd) == pytest.approx((1800 - 200, 1800 + 200))
    assert [swing.width_usd for swing in swings] == sorted((s.width_usd for s in swings), reverse=True)


@pytest.mark.parametrize("skew", [0.5, 1.2])
def test_intervals_of_cost_per_success_and_of_the_saving_hold_their_level(skew: float) -> None:
    """Coverage of the nominal 95 % over 300 simulated runs; the bound is 99.9 % of a binomial at 92 %."""
    rng = np.random.default_rng(7)
    n, hits_success, hits_saving = 200, 0, 0
    true_cost = math.exp(skew**2 / 2) / 100
    for _ in range(300):
        base = rng.lognormal(0, skew, n) / 100
        after = base * 0.5 * rng.lognormal(0, 0.2, n) / math.exp(0.02)
        right = (rng.random(n) < 0.8).astype(float)
        case = build(of(a_bill("a", base, right), a_bill("b", after, right)), Terms())
        per, saving = arm(case, "a").per_success_usd, case.migration
        assert per is not None
        assert saving is not None
        hits_success += (per.low or 0) <= true_cost / 0.8 <= (per.high or math.inf)
        found = saving.saving_per_call_usd
        hits_saving += (found.low or -math.inf) <= true_cost / 2 <= (found.high or math.inf)
    assert hits_success >= 258
    assert hits_saving >= 258


def test_groups_widen_the_interval_of_the_cost() -> None:
    rng = np.random.default_rng(3)
    groups = np.repeat(np.arange(20), 10)
    cost = np.repeat(rng.lognormal(0, 1, 20), 10) / 100
    whole = arm(build(of(a_bill("a", cost)), Terms()), "a").per_call_usd
    clustered = arm(build(of(a_bill("a", cost, groups=groups)), Terms()), "a").per_call_usd
    assert whole is not None
    assert clustered is not None
    assert (clustered.high or 0) - (clustered.low or 0) > 2 * ((whole.high or 0) - (whole.low or 0))


def test_the_parts_of_a_price_add_up_to_it_whatever_the_tokens() -> None:
    rng = np.random.default_rng(1)
    stepped = DEAR.replace(reasoning_usd_per_mtok=50.0, cache_write_usd_per_mtok=12.5, request_usd=0.001,
                           above_tokens=5000, above=Price(input_usd_per_mtok=20.0, output_usd_per_mtok=200.0))  # fmt: skip
    for price in (DEAR, stepped):
        for _ in range(200):
            total_in, total_out = int(rng.integers(0, 10_000)), int(rng.integers(0, 3000))
            usage = Usage(
                input_tokens=total_in, output_tokens=total_out, cached_tokens=int(rng.integers(0, total_in // 2 + 1)),
                cache_write_tokens=int(rng.integers(0, total_in // 2 + 1)),
                reasoning_tokens=int(rng.integers(0, total_out + 1)),
            )  # fmt: skip
            parts = split(price, usage)
            assert parts is not None
            assert parts.total_usd == pytest.approx(cost_usd(price, usage))
