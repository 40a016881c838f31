"""Looks: what decides early, what waits for the end, and which interval is reported."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ratchet.checks import at_least, better, no_worse
from ratchet.evidence import Evidence
from ratchet.records import Check
from ratchet.testing.migrations.stopping import stop_claims, stopping_settings
from ratchet.testing.simulate import Migration, checks_of, measure_stops, simulate
from ratchet.verdicts import decide
from ratchet.verdicts.anytime import Look, has_method
from ratchet.verdicts.looks import whole_groups
from verdicts.made import arm, evidence, passes


def looked(found: Evidence, *at: int, planned: int | None = None) -> Evidence:
    total = planned or len(found.examples)
    return replace(found, facts={**found.facts, "looks": {"planned": total, "at": [*at, total]}})


def drawn(n: int = 600, *, seed: int = 0, groups: int = 0, repeats: int = 1) -> Evidence:
    return simulate(Migration(name="x", n=n, discordant=0.06, groups=groups, repeats=repeats), seed)


RATE = no_worse("score", margin_pp=6, measure="rate")


def test_the_verdict_is_that_of_the_first_look_that_decides() -> None:
    data = looked(drawn(), 100, 200, 300, 400, 500)
    found = decide(data, checks=[RATE])
    n = found.inputs["look"]["n"]
    assert found.outcome == "ship"
    assert n < 600
    assert found.results[0].n == n
    # what comes after it changes nothing
    later = {
        name: replace(a, failed=np.where(a.example >= n, True, a.failed)) for name, a in data.arms.items()
    }
    again = decide(replace(data, arms=later), checks=[RATE])
    assert [r.low for r in again.results] == [r.low for r in found.results]


def test_intervals_at_looks_are_wider_than_those_for_a_fixed_number() -> None:
    data = drawn()
    rules = [
        RATE, no_worse("score", margin=0.06, measure="mean"), at_least("score", limit=0.9, measure="rate"),
    ]  # fmt: skip
    fixed, early = decide(data, checks=rules), decide(looked(data, 550), checks=rules)
    for one, other in zip(fixed.results, early.results, strict=True):
        assert one.low is not None
        assert other.low is not None
        assert other.low < one.low
        assert "confidence sequence" in other.method


def test_a_percentile_waits_for_the_end_and_is_judged_there_by_the_fixed_method() -> None:
    rng = np.random.default_rng(0)
    times = rng.lognormal(0, 0.3, 300)
    data = evidence(
        arm("old", {"ok": passes(300), "latency_s": times}),
        arm("new", {"ok": passes(300), "latency_s": 0.5 * times}),
    )
    rules = [no_worse("ok", margin_pp=10, measure="rate"), no_worse("latency_s", p=95, ratio=1.1)]
    assert [has_method(rule) for rule in rules] == [True, False]
    at_end = decide(looked(data, 100, 200), checks=rules)
    assert (at_end.outcome, at_end.inputs["look"]["n"]) == ("ship", 300)
    assert at_end.results[1].method == decide(data, checks=rules).results[1].method
    before = decide(looked(data, 100, 200, planned=400), checks=rules)
    assert before.outcome == "inconclusive"
    assert before.results[1].low is None
    assert "judged at the end alone" in before.results[1].reason


def test_groups_are_looked_at_whole() -> None:
    data = drawn(600, groups=120)
    assert [whole_groups(data, n, 600) for n in (1, 5, 6, 9, 10, 600)] == [0, 0, 5, 5, 5, 600]
    found = decide(looked(data, 302), checks=[RATE])
    assert found.inputs["look"]["n"] in (300, 600)


def test_fewer_than_50_groups_are_judged_at_the_end_alone_as_any_run() -> None:
    data = drawn(400, groups=40)
    before = decide(looked(data, 100, 200, planned=800), checks=[RATE])
    assert before.outcome == "inconclusive"
    assert "groups are too few to look at; 50 are needed" in before.results[0].reason
    wide = no_worse("score", margin_pp=20, measure="rate")
    at_end = decide(looked(data, 100, 200, 300), checks=[wide])
    assert at_end.inputs["look"]["n"] == 400
    fixed = decide(data, checks=[wide]).results[0]
    assert (at_end.results[0].low, at_end.results[0].method) == (fixed.low, fixed.method)


def test_the_added_error_guard_asks_at_each_look_for_what_so_many_examples_can_show() -> None:
    found = decide(looked(drawn(), 100, 200, 300, 400, 500), checks=[RATE])
    guard = found.results[-1]
    assert guard.check.settings["margin_asked"] == 0.01
    assert guard.outcome == "passed"
    assert guard.low is not None
    assert guard.check.margin is not None
    assert -guard.low < guard.check.margin < 0.06


def test_a_run_that_has_not_come_to_a_decision_says_how_far_it_is() -> None:
    data = looked(drawn(120), 100, planned=1000)
    found = decide(data, checks=[better("score", margin_pp=0, measure="rate")])
    assert found.inputs["look"] == {"n": 120, "number": 0, "of": 2, "ended": "open"}
    assert "120 of 1,000 examples are complete" in found.reasons[-1]


@pytest.mark.parametrize("repeats", [1, 3])
def test_slices_at_a_look_hold_at_every_look_too(repeats: int) -> None:
    data = drawn(600, repeats=repeats)
    sliced = replace(data, slices={"half": tuple("ab"[i % 2] for i in range(600))})
    for result in decide(looked(sliced, 100, 300), checks=[RATE]).slices:
        assert "confidence sequence" in result.method


def test_a_look_knows_its_share_and_whether_it_is_the_last() -> None:
    assert (Look(n=50, planned=200).fraction, Look(n=50, planned=200).final) == (0.25, False)
    assert Look(n=200, planned=200).final


def test_39_looks_raise_few_false_alarms_through_the_function_behind_compare() -> None:
    few = [measure_stops(setting, 1) for setting in stopping_settings()]
    assert [str(claim) for claim in stop_claims(few) if not claim.holds] == []
    better_equal = measure_stops(stopping_settings()[0], 12, start=1000)
    assert better_equal.ships + better_equal.holds <= 3


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("setting", stopping_settings(), ids=lambda setting: setting.name)
def test_39_looks_break_no_claim(setting: Migration) -> None:
    stops = measure_stops(setting, 150, start=2000)
    assert [str(claim) for claim in stop_claims([stops]) if not claim.holds] == []


def test_fixed_intervals_at_the_same_looks_would_raise_many_more() -> None:
    setting: Migration = stopping_settings()[0]
    rules: tuple[Check, ...] = checks_of(setting)
    alarms = 0
    for seed in range(25):
        data = simulate(setting, seed)
        fixed = (
            decide(replace(part, facts={}), baseline="baseline", checks=rules).outcome
            for part in (_first(data, n) for n in range(40, 801, 40))
        )
        alarms += any(outcome in ("ship", "hold") for outcome in fixed)
    assert alarms >= 5


def _first(data: Evidence, n: int) -> Evidence:
    from ratchet.evidence import first_examples

    return first_examples(data, n)
