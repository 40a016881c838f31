from __future__ import annotations

import numpy as np
import pytest

from ratchet.errors import StatisticsError
from ratchet.stats.paired import paired_difference
from ratchet.stats.power import (
    achieved_power,
    design_effect,
    detectable_difference,
    detectable_table,
    joint_power,
    needed_n,
    pilot,
)


@pytest.mark.parametrize(
    ("margin", "tenth", "fifth", "joint"),
    [(0.02, 1546, 3092, 2883), (0.03, 687, 1374, 1282), (0.05, 248, 495, 462)],
)
def test_the_planning_table_is_reproduced(margin: float, tenth: int, fifth: int, joint: int) -> None:
    assert needed_n(0.10, margin) == tenth
    assert needed_n(0.20, margin) == fifth
    assert needed_n(0.10, margin, power=joint_power(0.8, 5)) == joint


def test_the_table_of_detectable_differences_is_reproduced() -> None:
    found = 100 * detectable_table([100, 500, 2000], [0.1, 0.2, 0.4], sides=2)
    assert found.round(1).tolist() == [[8.9, 12.5, 17.7], [4.0, 5.6, 7.9], [2.0, 2.8, 4.0]]
    assert detectable_difference(500, 0.2, sides=2) == pytest.approx(found[1, 1] / 100)


def test_n_distance_and_power_are_one_formula() -> None:
    n = needed_n(0.3, 0.04, power=0.9)
    assert detectable_difference(n, 0.3, power=0.9) == pytest.approx(0.04, rel=1e-3)
    assert achieved_power(n, 0.3, 0.04) == pytest.approx(0.9, abs=1e-3)


def test_groups_multiply_n_by_the_design_effect() -> None:
    design = design_effect(5, 0.25)
    assert design == 2.0
    assert needed_n(0.1, 0.02, design=design) == pytest.approx(2 * needed_n(0.1, 0.02), abs=1)
    assert design_effect(1, 0.9) == 1.0


def test_the_planned_power_is_reached_by_the_test_that_is_used() -> None:
    rng, passed, n = np.random.default_rng(0), 0, needed_n(0.10, 0.05)
    for _ in range(800):
        kind = rng.random(n)
        before, after = (kind > 0.05) * 1.0, (kind < 0.95) * 1.0
        passed += paired_difference(before, after, level=0.9).low > -0.05
    assert passed / 800 == pytest.approx(0.8, abs=0.05)


def test_a_pilot_gives_the_discordant_share_with_an_upper_bound() -> None:
    found = pilot([1, 1, 0, 1] * 10, [1, 0, 0, 1] * 10)
    assert found.discordant == 0.25
    assert 0.25 < found.variance_upper < 0.4
    constant = pilot([1.0, 1.0] * 20, [1.0, 1.0] * 20)
    assert constant.variance_upper > 0.03


def test_a_grouped_pilot_finds_the_design_effect() -> None:
    rng = np.random.default_rng(1)
    groups = np.repeat(np.arange(100), 5)
    after = rng.normal(0, 1, 100)[groups] + rng.normal(0, 1, 500)
    assert pilot(np.zeros(500), after, groups=groups).design == pytest.approx(design_effect(5, 0.5), rel=0.3)


def test_senseless_plans_are_refused() -> None:
    with pytest.raises(StatisticsError, match="must all be above 0"):
        needed_n(0.1, 0.0)
    with pytest.raises(StatisticsError, match="sides is 3"):
        needed_n(0.1, 0.1, sides=3)
