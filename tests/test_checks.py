from __future__ import annotations

from typing import Any

import pytest

from ratchet.checks import at_least, at_most, better, no_worse, resolve
from ratchet.errors import ConfigError
from ratchet.records import Check, Scorer

JUDGE = Scorer(name="polite", dimension="security")


@pytest.mark.parametrize(
    ("spec", "made"),
    [
        ({"no_worse": "exact_match", "margin_pp": 2}, no_worse("exact_match", margin_pp=2)),
        ({"better": "cost_usd", "ratio": 0.7}, better("cost_usd", ratio=0.7)),
        ({"at_most": "latency_s", "p": 95, "limit": 2.0}, at_most("latency_s", p=95, limit=2.0)),
        ({"at_least": "exact_match", "limit": 0.9}, at_least("exact_match", limit=0.9)),
    ],
)
def test_a_check_is_the_same_from_a_function_and_from_yaml(spec: dict[str, Any], made: Check) -> None:
    assert resolve(spec) == made
    assert resolve(made) is made


def test_points_are_hundredths_and_a_ratio_is_a_share_of_the_baseline() -> None:
    assert no_worse("exact_match", margin_pp=2).margin == 0.02
    saved = better("cost_usd", ratio=0.7)
    assert saved.margin == pytest.approx(0.3)
    assert saved.relative
    assert better("exact_match", ratio=1.1).margin == pytest.approx(0.1)
    assert no_worse("exact_match", margin=0.1, relative=True).relative


def test_better_is_primary_and_the_others_are_guards_unless_said() -> None:
    assert better("a").role == "primary"
    assert {no_worse("a").role, at_most("a", limit=1).role, at_least("a", limit=1).role} == {"guard"}
    assert better("a", role="report").role == "report"


def test_a_percentile_is_a_quantile() -> None:
    check = at_most("latency_s", p=95, limit=2)
    assert (check.measure, check.quantile, check.limit, check.dimension) == ("quantile", 0.95, 2.0, "latency")


@pytest.mark.parametrize(
    ("metric", "dimension", "higher"),
    [("cost_usd", "cost", False), ("ttft_s", "latency", False), ("error", "stability", False), ("tokens_per_s", "latency", True), ("exact_match", "accuracy", True)],
)  # fmt: skip
def test_a_fact_knows_its_dimension_and_which_way_is_good(metric: str, dimension: str, higher: bool) -> None:
    check = no_worse(metric)
    assert (check.dimension, check.higher_is_better) == (dimension, higher)
    assert no_worse(metric, higher_is_better=not higher).higher_is_better is not higher


def test_a_scorer_brings_its_name_and_dimension() -> None:
    check = no_worse(JUDGE)
    assert (check.metric, check.dimension) == ("polite", "security")


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({}, "a check needs exactly one of better, no_worse, at_most, at_least; found nothing"),
        ({"worse": "x"}, "found worse"),
        ({"better": "x", "no_worse": "y"}, "found better, no_worse"),
        ({"better": 3}, "better is 3, expected the name of a scorer or of a fact such as cost_usd"),
        ({"no_worse": "x", "margin_p": 2}, "no_worse has no setting 'margin_p'. Did you mean 'margin_pp'?"),
        ({"at_most": "latency_s"}, "at_most latency_s needs a limit"),
        ({"better": "x", "limit": 2}, "better x takes a margin, not a limit"),
        ({"at_most": "x", "limit": "2"}, "limit of at_most is '2', expected a number"),
        ({"at_most": "x", "limit": True}, "limit of at_most is True, expected a number"),
        ({"at_most": "x", "limit": 1, "p": 100}, "p is 100, expected a percentile between 0 and 100"),
        ({"at_most": "x", "limit": 1, "p": 0}, "p is 0, expected a percentile between 0 and 100"),
        ({"no_worse": "x", "margin": -1}, "margin is -1, expected 0 or more"),
        ({"better": "x", "ratio": 0}, "ratio is 0, expected more than 0"),
        ({"better": "x", "ratio": 0.5, "margin": 1}, "better takes one of margin, margin_pp and ratio; found margin, ratio"),
    ],
)  # fmt: skip
def test_a_check_that_can_not_be_is_refused_with_what_was_expected(spec: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(spec)
    assert said in str(caught.value)


@pytest.mark.parametrize("spec", [
    {"no_worse": "x", "margin_pp": -2},
    {"no_worse": "x", "margin_pp": float("nan")},
    {"at_most": "x", "limit": float("inf")},
    {"at_most": "x", "limit": 1, "p": float("nan")},
    {"no_worse": "x", "role": "gard"},
    {"no_worse": "x", "dimension": "speed"},
    {"no_worse": "x", "errors": "ignore"},
    {"no_worse": "x", "measure": 3},
    {"no_worse": "x", "label": 3},
    {"no_worse": "x", "higher_is_better": "no"},
    {"no_worse": "x", "max_error_share": "2 %"},
    {"no_worse": "x", "max_error_share": 2},
    {"no_worse": "x", "relative": "yes"},
], ids=str)  # fmt: skip
def test_a_setting_of_another_kind_is_refused(spec: dict[str, Any]) -> None:
    (_, *keys) = spec
    with pytest.raises(ConfigError, match=keys[-1]):
        resolve(spec)
