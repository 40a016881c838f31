"""What a verdict must not depend on, and what must follow from another verdict."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ratchet.checks import at_least, at_most, better, no_worse
from ratchet.evidence import Evidence
from ratchet.records import Check, CheckResult
from ratchet.verdicts import decide
from verdicts.made import arm, column, evidence, taken

LABELS = ("billing", "bug", "account")


def mixed(n: int = 300, *, seed: int = 1, repeats: int = 1, grouped: bool = False) -> Evidence:
    """Passes, scores, costs, times, failures, labels and answers of two arms that differ."""
    rng = np.random.default_rng(seed)
    rows = n * repeats

    def one(name: str, skill: float, cost: float) -> Any:
        right = rng.random(rows) < skill
        truth = rng.integers(0, 3, n).repeat(repeats)
        guessed = np.where(right, truth, (truth + 1) % 3)
        labels = tuple(
            (frozenset({LABELS[g]}), frozenset({LABELS[t]}))
            for g, t in zip(guessed.tolist(), truth.tolist(), strict=True)
        )
        return arm(
            name,
            {
                "exact": right.astype(float),
                "score": rng.normal(skill, 1, rows),
                "cost_usd": rng.lognormal(-5, 0.5, rows) * cost,
                "latency_s": rng.lognormal(0, 0.4, rows),
                "label": column("label", right.astype(float), labels=labels),
            },
            failed=rng.random(rows) < 0.01,
            repeats=repeats,
            answers=tuple(LABELS[g] for g in guessed.tolist()),
        )

    groups = np.arange(n) // 6 if grouped else None
    return evidence(one("old", 0.8, 1.0), one("new", 0.75, 0.6), groups=groups)


CHECKS = [
    no_worse("exact", margin_pp=2), better("cost_usd", ratio=0.7), no_worse("score", margin=0.1),
    no_worse("latency_s", p=95, ratio=1.1), at_most("latency_s", p=50, limit=1.2), at_least("exact", limit=0.7),
    no_worse("label", measure="macro_f1", margin_pp=3),
    no_worse("label", measure="micro_f1", margin_pp=3), no_worse("label", measure="jaccard", label="bug", margin_pp=3),
    no_worse("label", measure="jaccard", margin_pp=3), no_worse("label", measure="accuracy", margin_pp=3),
]  # fmt: skip
OVER_REPEATS = [
    no_worse("stability", margin_pp=2), no_worse("stability", measure="agreement", margin_pp=2),
    no_worse("stability", measure="similarity", margin_pp=2), no_worse("exact", measure="pass_hat_k", margin_pp=2),
    no_worse("exact", measure="pass_at_k", margin_pp=2), no_worse("score", measure="worst", margin=0.1),
]  # fmt: skip


def numbers(results: tuple[CheckResult, ...]) -> list[tuple[float | str | None, ...]]:
    return [(r.outcome, r.estimate, r.low, r.high, r.baseline_value, r.candidate_value) for r in results]


def close(first: tuple[CheckResult, ...], second: tuple[CheckResult, ...]) -> None:
    for one, other in zip(numbers(first), numbers(second), strict=True):
        assert one[0] == other[0]
        assert one[1:] == pytest.approx(other[1:])


@pytest.mark.parametrize(("repeats", "grouped"), [(1, False), (1, True), (3, False), (3, True)])
def test_every_measure_gives_numbers(repeats: int, grouped: bool) -> None:
    checks = [*CHECKS, *(OVER_REPEATS if repeats > 1 else [])]
    for found in decide(mixed(repeats=repeats, grouped=grouped), checks=checks).results:
        assert found.outcome in ("passed", "failed", "open"), found
        assert found.estimate is not None, found
        assert found.low is not None, found
        assert found.low <= found.estimate, found


@pytest.mark.parametrize(("repeats", "grouped"), [(1, False), (3, True)])
def test_shuffled_rows_give_the_same_verdict(repeats: int, grouped: bool) -> None:
    data = mixed(repeats=repeats, grouped=grouped)
    rows = np.random.default_rng(3).permutation(300 * repeats)
    shuffled = taken(data, rows)
    labelled = {
        name: replace(
            each,
            columns={
                **each.columns,
                "label": replace(
                    each.columns["label"],
                    labels=tuple(data.arms[name].columns["label"].labels[row] for row in rows.tolist()),
                ),
            },
        )
        for name, each in shuffled.arms.items()
    }
    checks = [*CHECKS, *(OVER_REPEATS if repeats > 1 else [])]
    first, second = decide(data, checks=checks), decide(replace(shuffled, arms=labelled), checks=checks)
    assert first.outcome == second.outcome
    close(first.results, second.results)


@pytest.mark.parametrize("check", [CHECKS[0], CHECKS[2], no_worse("label", measure="jaccard", margin_pp=3)])
@pytest.mark.parametrize("grouped", [False, True])
def test_swapped_arms_mirror_the_interval(check: Check, grouped: bool) -> None:
    data = mixed(grouped=grouped)
    there = decide(data, baseline="old", candidate="new", checks=[check]).results[0]
    back = decide(data, baseline="new", candidate="old", checks=[check]).results[0]
    assert there.low is not None
    assert there.high is not None
    assert (back.low, back.high) == pytest.approx((-there.high, -there.low), abs=1e-9)


def test_swapped_arms_invert_a_ratio() -> None:
    there = decide(mixed(), baseline="old", candidate="new", checks=[CHECKS[1]]).results[0]
    back = decide(mixed(), baseline="new", candidate="old", checks=[CHECKS[1]]).results[0]
    assert there.low is not None
    assert there.high is not None
    assert (back.low, back.high) == pytest.approx((1 / (1 + there.high) - 1, 1 / (1 + there.low) - 1))


@pytest.mark.parametrize("grouped", [False, True])
def test_copies_under_new_ids_narrow_nothing(grouped: bool) -> None:
    data = mixed(grouped=grouped)
    rows = np.concatenate([np.arange(300), np.arange(300)])
    doubled = taken(data, rows)
    arms = {
        name: replace(
            each,
            example=np.concatenate([np.arange(300), np.arange(300, 600)]),
            columns={key: c for key, c in each.columns.items() if key != "label"},
        )
        for name, each in doubled.arms.items()
    }
    copies = replace(
        doubled,
        arms=arms,
        examples=(*data.examples, *(f"copy-{name}" for name in data.examples)),
        contents=data.contents * 2,
        groups=np.concatenate([data.groups, data.groups if grouped else data.groups + 300]),
    )
    checks = CHECKS[:4]
    once, twice = decide(data, checks=checks), decide(copies, checks=checks)
    for first, second in zip(once.results, twice.results, strict=True):
        assert second.n <= 2 * first.n
        assert first.low is not None
        assert first.high is not None
        assert second.low is not None
        assert second.high is not None
        assert second.high - second.low >= 0.93 * (first.high - first.low), first.check.metric
    assert any("300 examples have the content of another" in warning for warning in twice.warnings)


def test_scaling_a_metric_scales_its_result() -> None:
    data = mixed()
    scaled = replace(
        data,
        arms={
            name: replace(
                each,
                columns={
                    **each.columns,
                    "score": replace(each.columns["score"], values=each.columns["score"].values * 8),
                },
            )
            for name, each in data.arms.items()
        },
    )
    one = decide(data, checks=[no_worse("score", margin=0.1)]).results[0]
    eight = decide(scaled, checks=[no_worse("score", margin=0.8)]).results[0]
    assert one.outcome == eight.outcome
    assert one.estimate is not None
    assert eight.estimate == pytest.approx(8 * one.estimate)
    assert one.low is not None
    assert eight.low == pytest.approx(8 * one.low)


def test_an_arm_against_its_own_numbers_moves_nothing() -> None:
    data = mixed(1200)
    same = replace(data, arms={"old": data.arms["old"], "new": replace(data.arms["old"], name="new")})
    verdict = decide(same, checks=[no_worse("exact", margin_pp=2), no_worse("cost_usd", ratio=1.02)])
    assert verdict.outcome == "ship"
    assert [found.estimate for found in verdict.results] == pytest.approx([0.0, 0.0, 0.0])


def test_a_wider_margin_never_turns_a_pass_into_anything_else() -> None:
    data = mixed(2000)
    order = {"failed": 0, "open": 1, "passed": 2}
    outcomes = [
        order[decide(data, checks=[no_worse("exact", margin_pp=margin)]).results[0].outcome]
        for margin in range(0, 20, 2)
    ]
    assert outcomes == sorted(outcomes)
    assert {0, 2} <= set(outcomes)
