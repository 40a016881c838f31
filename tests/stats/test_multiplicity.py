from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from ratchet.errors import StatisticsError
from ratchet.stats.multiplicity import benjamini_hochberg, holm, intersection_union


def test_benjamini_hochberg_is_scipys() -> None:
    p = np.random.default_rng(0).random(25) ** 2
    assert benjamini_hochberg(p) == pytest.approx(stats.false_discovery_control(p))


def test_holm_reproduces_the_step_down_by_hand() -> None:
    # 4 * .005, 3 * .01, 2 * .03 and then the running maximum.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == pytest.approx([1.0, 1.0])


def test_intersection_union_is_the_worst_of_all() -> None:
    assert intersection_union([0.01, 0.2, 0.03]) == 0.2


def test_holm_keeps_the_family_error_where_single_tests_do_not() -> None:
    p = np.random.default_rng(1).random((4000, 5))
    assert np.mean([(holm(row) <= 0.05).any() for row in p]) < 0.06
    assert (p <= 0.05).any(axis=1).mean() > 0.2


def test_numbers_that_are_no_p_values_are_refused() -> None:
    with pytest.raises(StatisticsError, match=r"1\.5"):
        holm([0.1, 1.5])
