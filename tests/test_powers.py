from __future__ import annotations

import numpy as np
import pytest

from ratchet import powers
from ratchet.checks import at_most, better, no_worse
from ratchet.errors import PlanError
from ratchet.powers import Guess, power, refuse_or_warn
from ratchet.records import Check, Dataset, Task
from verdicts.made import arm, evidence


def task(*checks: Check) -> Task:
    return Task(dataset=Dataset(id="d", count=0), checks=checks)


def test_the_needed_number_of_examples_is_the_published_one() -> None:
    (found,) = power([no_worse("exact", margin_pp=2)], 100)
    assert found.needed_n == (1546, 3092)
    assert not found.can_decide
    (found,) = power([no_worse("exact", margin_pp=5)], 248)
    assert found.needed_n == (248, 495)
    assert found.can_decide


def test_the_sentence_says_what_so_few_examples_cannot_see() -> None:
    (found,) = power([no_worse("exact", margin_pp=2)], 40)
    assert found.sentence == (
        "exact: 40 examples can't see a drop under 12.4 to 17.6 points; no worse by more than 2 points needs 1,546 to 3,092"
    )


def test_enough_examples_are_said_to_be_enough() -> None:
    (found,) = power([no_worse("exact", margin_pp=5)], 500)
    assert "500 examples are enough" in found.sentence


def test_a_pilot_replaces_the_guess() -> None:
    rng = np.random.default_rng(0)
    before = (rng.random(400) < 0.9).astype(float)
    after = np.where(rng.random(400) < 0.02, 1 - before, before)
    pilot = evidence(arm("old", {"exact": before}), arm("new", {"exact": after}))
    (guessed,) = power([no_worse("exact", margin_pp=2)], 500)
    (seen,) = power([no_worse("exact", margin_pp=2)], 500, pilot=pilot)
    assert seen.from_pilot
    assert seen.needed_n is not None
    assert guessed.needed_n is not None
    assert seen.needed_n[0] < guessed.needed_n[0] / 2


def test_groups_of_the_pilot_raise_what_is_needed() -> None:
    rng = np.random.default_rng(1)
    after = np.repeat((rng.random(60) < 0.85).astype(float), 10)
    arms = arm("old", {"exact": np.ones(600)}), arm("new", {"exact": after})
    checks = [no_worse("exact", margin_pp=5)]
    (alone,) = power(checks, 600, pilot=evidence(*arms))
    (grouped,) = power(checks, 600, pilot=evidence(*arms, groups=np.arange(600) // 10))
    assert alone.needed_n is not None
    assert grouped.needed_n is not None
    assert grouped.needed_n[0] > 5 * alone.needed_n[0]


def test_a_plan_whose_written_check_cannot_be_decided_is_refused_with_the_way_out() -> None:
    with pytest.raises(PlanError, match=r"(?s)100 examples can't decide.*exact.*1,546.*--force"):
        refuse_or_warn(task(no_worse("exact", margin_pp=2)), 100, arms=2)


@pytest.mark.parametrize("how", [{"force": True}, {"only_warn": True}])
def test_forced_or_partial_it_only_warns(how: dict[str, bool]) -> None:
    (said,) = refuse_or_warn(task(no_worse("exact", margin_pp=2)), 100, arms=2, **how)
    assert "can't see a drop" in said


def test_without_written_checks_it_only_warns_and_with_one_arm_it_is_silent() -> None:
    (said,) = refuse_or_warn(task(), 40, arms=2)
    assert said.startswith("a pass rate: 40 examples can't see a drop under 12.4 to 17.6 points")
    assert refuse_or_warn(task(), 40, arms=1) == ()
    assert refuse_or_warn(task(no_worse("exact", margin_pp=2)), 40, arms=1) == ()


def test_a_plan_that_can_be_decided_starts() -> None:
    assert refuse_or_warn(task(no_worse("exact", margin_pp=5)), 600, arms=2) == ()


@pytest.mark.parametrize(
    ("check", "n", "message"),
    [
        (better("cost_usd", ratio=0.7), 19, "too few for any ship"),
        (at_most("latency_s", p=95, limit=2), 58, "about 59 are needed"),
        (at_most("latency_s", p=99, limit=2), 999, "about 1,000 are needed"),
        (at_most("leaks", measure="rate", limit=0.01), 298, "299 examples without a single one"),
    ],
)
def test_what_no_answers_at_all_could_show_is_refused(check: Check, n: int, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        refuse_or_warn(task(check), n, arms=2)
    assert refuse_or_warn(task(check), n + 1, arms=2) == ()


def test_reports_never_refuse_a_plan() -> None:
    assert refuse_or_warn(task(no_worse("exact", margin_pp=2, role="report")), 40, arms=2) == ()


def test_a_guess_that_is_no_share_is_refused() -> None:
    with pytest.raises(PlanError, match="expected shares"):
        power([no_worse("exact", margin_pp=2)], 100, guess=Guess(low=0.5, high=0.2))


@pytest.mark.parametrize(("estimate", "outcome"), [(-0.01, 2473), (-0.05, None)])
def test_what_would_decide_an_open_check_follows_from_its_interval(
    estimate: float, outcome: int | None
) -> None:
    bound = -0.03 if outcome else -0.05
    found = powers.needed_to_decide(
        estimate=estimate,
        low=estimate - 1.6448536 * 0.02,
        high=estimate + 1.6448536 * 0.02,
        bound=bound,
        n=400,
    )
    assert found == (outcome and pytest.approx(outcome, abs=1))
