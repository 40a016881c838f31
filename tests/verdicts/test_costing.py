from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ratchet import costs, evidence as evidences
from ratchet.costs.records import CostCase, Migration
from ratchet.evidence import Evidence
from ratchet.records import Verdict
from ratchet.verdicts import decide, decide_aa, verify
from ratchet.verdicts.costing import costed

from .made import Array, arm, evidence, passes

N = 200
OLD = np.where(np.arange(N) % 2, 0.01, 0.03)
"""Dollars a call: 2 cents on average."""
NEW = OLD / 10 + np.where(np.arange(N) % 4 < 2, 0.0005, -0.0005)
"""0.2 cents on average."""


def priced(old: Array = OLD, new: Array = NEW, traffic: str | None = None, **changes: Any) -> Evidence:
    found = evidence(
        arm("old", {"exact_match": passes(N, range(50)), "cost_usd": old}),
        arm("new", {"exact_match": passes(N, range(100)), "cost_usd": new}),
        **changes,
    )
    environment = {"python": "3.11", **({"traffic": traffic} if traffic else {})}
    return replace(found, facts={**found.facts, "environment": environment})


def judged(found: Evidence) -> Verdict:
    return costed(decide(found, baseline="old", candidate="new"), found)


def case_of(found: Evidence) -> CostCase:
    case = costs.read(judged(found).cost_case)
    assert case is not None
    return case


def migration_of(found: Evidence) -> Migration:
    migration = case_of(found).migration
    assert migration is not None
    return migration


def test_two_priced_arms_carry_the_saving_a_call_with_its_interval() -> None:
    found = migration_of(priced())
    assert (found.baseline, found.candidate) == ("old", "new")
    saving = found.saving_per_call_usd
    assert saving.value == pytest.approx(0.018)
    assert saving.low is not None
    assert saving.high is not None
    assert saving.low < 0.018 < saving.high
    assert saving.low > 0.0165
    assert found.saving_share is not None
    assert found.saving_share.value == pytest.approx(0.9)
    assert found.saving_per_month_usd is None
    assert found.break_even_months is None


def test_the_saving_is_negative_where_the_candidate_costs_more() -> None:
    found = migration_of(priced(old=NEW, new=OLD))
    assert found.saving_per_call_usd.value == pytest.approx(-0.018)
    assert found.saving_per_call_usd.high is not None
    assert found.saving_per_call_usd.high < 0


def test_what_both_arms_were_billed_for_is_what_validation_spent() -> None:
    assert migration_of(priced()).spent_usd == pytest.approx(N * (0.02 + 0.002))


def test_answers_from_the_cache_and_other_arms_are_not_spent_on_this_validation() -> None:
    found = priced()
    old = replace(found.arms["old"], cached=np.arange(N) >= N // 2)
    third = arm("third", {"exact_match": passes(N), "cost_usd": np.full(N, 9.0)})
    with_third = replace(found, arms={"old": old, "new": found.arms["new"], "third": third})
    verdict = costed(decide(with_third, baseline="old", candidate="new"), with_third)
    case = costs.read(verdict.cost_case)
    assert case is not None
    assert case.migration is not None
    assert [each.name for each in case.arms] == ["old", "new"]
    assert case.migration.spent_usd == pytest.approx(N / 2 * 0.02 + N * 0.002)


def test_the_traffic_of_the_task_gives_the_figures_of_a_month() -> None:
    found = case_of(priced(traffic="2M/month"))
    assert found.traffic is not None
    assert found.traffic.calls_per_month.value == 2e6
    assert found.migration is not None
    monthly, saving = found.migration.saving_per_month_usd, found.migration.saving_per_call_usd
    assert monthly is not None
    assert monthly.value == pytest.approx(36_000)
    assert monthly.low == pytest.approx(saving.low * 2e6) if saving.low else False
    assert monthly.high == pytest.approx(saving.high * 2e6) if saving.high else False
    assert found.arms[0].per_month_usd is not None
    assert found.arms[0].per_month_usd.value == pytest.approx(40_000)
    assert found.migration.break_even_months is not None
    assert found.migration.break_even_months.value == pytest.approx(N * 0.022 / 36_000)


def test_what_a_correct_answer_costs_counts_wrong_answers_as_paid() -> None:
    found = case_of(priced())
    assert found.success_metric == "exact_match"
    per_success = [each.per_success_usd.value if each.per_success_usd else None for each in found.arms]
    assert per_success == [pytest.approx(0.02 / 0.75), pytest.approx(0.002 / 0.5)]


@pytest.mark.parametrize("side", ["old", "new"])
def test_without_a_price_on_one_side_there_is_no_case_and_no_error(side: str) -> None:
    nothing = np.full(N, np.nan)
    found = priced(old=nothing if side == "old" else OLD, new=nothing if side == "new" else NEW)
    assert judged(found).cost_case == {}
    assert costs.read(judged(found).cost_case) is None


def test_answers_without_a_cost_column_have_no_case() -> None:
    found = evidence(
        arm("old", {"exact_match": passes(N)}), arm("new", {"exact_match": passes(N, range(40))})
    )
    assert judged(found).cost_case == {}


def test_a_noise_check_has_no_case() -> None:
    found = priced(new=OLD)
    verdict = decide_aa(found, baseline="old", candidate="new")
    assert costed(verdict, found).cost_case == {}


def test_the_case_decides_nothing() -> None:
    found = priced(traffic="2M/month")
    bare = decide(found, baseline="old", candidate="new")
    assert judged(found).replace(cost_case={}) == bare


def test_verify_makes_the_same_case_again_on_any_day(tmp_path: Path) -> None:
    found = priced(traffic="2M/month")
    verdict = judged(found)
    assert verdict.cost_case["migration"]["break_even_months"]
    # a day would be another one tomorrow
    assert verdict.cost_case["migration"].get("break_even_on") is None
    path = tmp_path / "evidence.json"
    evidences.write(found, verdict, path)
    again = verify(path)
    assert again.same, again.differences
    assert again.verdict.cost_case == verdict.cost_case


def test_verify_tells_a_saving_that_was_changed_by_hand(tmp_path: Path) -> None:
    found = priced()
    verdict = judged(found)
    migration = {**verdict.cost_case["migration"], "spent_usd": 1.0}
    path = tmp_path / "evidence.json"
    changed = verdict.replace(cost_case={**verdict.cost_case, "migration": migration})
    evidences.write(found, changed, path)
    again = verify(path)
    assert not again.same
    assert any("spent_usd" in text for text in again.differences)
