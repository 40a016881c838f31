from __future__ import annotations

import numpy as np
import pytest

from ratchet.reports import examples

from .samples import evidence, verdict


def test_every_example_is_counted_once_as_better_same_or_worse() -> None:
    found = examples.pair(verdict(), evidence(300))
    assert found is not None
    counted = examples.tally(found)
    assert counted.better + counted.same + counted.worse == 300
    assert counted.worse == int((found.after < found.before).sum())


def test_a_failed_answer_is_no_pass() -> None:
    found = examples.pair(verdict(), evidence())
    assert found is not None
    assert found.after[0] == 0.0
    assert found.errored.tolist() == [True, *[False] * 59]


def test_repeats_are_averaged_within_their_example() -> None:
    data = evidence(10, repeats=4)
    arm = data.arms["champion"]
    expected = arm.columns["exact_match"].values.reshape(10, 4).mean(axis=1)
    assert examples.means(arm, "exact_match", 10) == pytest.approx(expected)
    assert examples.repeats(arm, "exact_match", 3) == arm.columns["exact_match"].values[12:16].tolist()


def test_slices_are_worst_first_and_cover_their_examples() -> None:
    data = evidence(300)
    found = examples.pair(verdict(), data)
    assert found is not None
    parts = examples.slices(found, data)
    assert sorted(part.name for part in parts) == ["account", "api", "billing"]
    assert [part.estimate for part in parts] == sorted(part.estimate for part in parts)
    mask = np.array([topic == parts[0].name for topic in data.slices["topic"]])
    assert parts[0].estimate == pytest.approx((found.after - found.before)[mask].mean())


def test_the_front_holds_arms_that_no_other_beats() -> None:
    data = evidence(arms=("champion", "challenger", "mini", "reviewer"))
    quality, cost, points = examples.points(verdict(), data)
    assert (quality, cost) == ("exact_match", "cost_usd")
    for point in points:
        beaten = any(
            p.quality >= point.quality and p.cost <= point.cost and p.name != point.name for p in points
        )
        assert point.front == (not beaten)
