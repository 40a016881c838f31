from __future__ import annotations

import dataclasses

import pytest

from ratchet.checks import at_least, at_most, better, no_worse
from ratchet.records import Check, CheckResult
from ratchet.reports import views

from .samples import evidence, results, verdict


def _result(check: Check, estimate: float, low: float, high: float) -> CheckResult:
    return CheckResult(check=check, outcome="open", estimate=estimate, low=low, high=high, level=0.9, n=100)


@pytest.mark.parametrize(
    ("check", "low", "high", "tone"),
    [
        (no_worse("accuracy"), 0.01, 0.05, "up"),
        (no_worse("accuracy"), -0.05, -0.01, "down"),
        (no_worse("accuracy"), -0.05, 0.01, "flat"),
        (better("cost_usd"), -0.05, -0.01, "up"),
        (at_most("latency_s", limit=2), 1.0, 1.9, "up"),
        (at_most("latency_s", limit=2), 2.1, 2.9, "down"),
        (at_least("recall", limit=0.8), 0.81, 0.9, "up"),
    ],
)
def test_the_tone_says_on_which_side_the_interval_lies(
    check: Check, low: float, high: float, tone: str
) -> None:
    assert views.tone(_result(check, (low + high) / 2, low, high)) == tone


@pytest.mark.parametrize(
    ("check", "bound"),
    [
        (no_worse("accuracy", margin_pp=2), -0.02),
        (better("accuracy", margin_pp=2), 0.02),
        (no_worse("cost_usd", ratio=1.1), 0.1),
        (better("cost_usd", ratio=0.7), -0.3),
        (at_most("latency_s", limit=2), 2.0),
        (no_worse("accuracy"), None),
    ],
)
def test_the_margin_lies_where_the_metric_may_go(check: Check, bound: float | None) -> None:
    assert views.bound(check) == (None if bound is None else pytest.approx(bound))


def test_estimates_carry_their_unit_and_the_digits_of_their_interval() -> None:
    shown = {line.title: line for line in views.lines(verdict(), evidence())}
    assert (shown["exact_match"].estimate, shown["exact_match"].span) == ("-17.1 pp", "[-20.1, -14.0]")
    assert (shown["cost_usd"].estimate, shown["cost_usd"].margin) == ("-41.0 %", "-30 %")
    assert shown["latency_s p95"].estimate == "1.62 s"
    assert shown["cost_usd"].level.level(0.00158) == "$1.58/1k"


def test_primaries_come_first_and_reports_last() -> None:
    roles = [line.result.check.role for line in views.lines(verdict())]
    assert roles == ["primary", "guard", "guard", "guard", "report"]


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        ("ship", "Ship: challenger may replace champion: better on cost_usd -41.0 %"),
        ("hold", "Hold: challenger should not replace champion: exact_match -17.1 pp"),
        (
            "inconclusive",
            "Inconclusive: 60 examples don't show whether challenger may replace champion: judge",
        ),
        ("invalid", "Invalid: these inputs allow no verdict: exact_match is shown worse."),
    ],
)
def test_one_sentence_says_the_verdict(outcome: str, words: str) -> None:
    assert views.sentence(verdict(outcome), evidence()).startswith(words)


def test_arms_of_one_variant_keep_their_names() -> None:
    twice = evidence(arms=("first", "second"))
    one = "e" * 32
    arms = {name: dataclasses.replace(arm, variant_id=one) for name, arm in twice.arms.items()}
    both = dataclasses.replace(twice, arms=arms)
    called = views.names(verdict().replace(baseline=one, candidate=one), both)
    assert (called.baseline, called.candidate) == ("first", "second")


def test_examples_are_judged_by_the_score_that_the_checks_name() -> None:
    assert views.headline(verdict(), evidence()) == "exact_match"
    only_judge = verdict().replace(results=(results()[2],))
    assert views.headline(only_judge, evidence()) == "judge"
