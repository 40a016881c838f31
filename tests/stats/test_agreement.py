from __future__ import annotations

import math

import numpy as np
import pytest

from ratchet.errors import PairingError, StatisticsError
from ratchet.stats.agreement import agreement, cohen_kappa, gwet_ac1, krippendorff_alpha, raw_agreement

# Krippendorff 2011, Computing Krippendorff's Alpha-Reliability, section E: four observers, twelve units.
OBSERVERS = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
    [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
]
UNITS = [list(unit) for unit in zip(*OBSERVERS, strict=True)]


def from_table(table: list[list[int]]) -> tuple[list[int], list[int]]:
    first = [row for row, counts in enumerate(table) for count in counts for _ in range(count)]
    second = [column for counts in table for column, count in enumerate(counts) for _ in range(count)]
    return first, second


def test_kappa_of_the_textbook_table() -> None:
    # 50 proposals, 20 + 15 agreements: po = .7, pe = .5.
    assert cohen_kappa(*from_table([[20, 5], [10, 15]])) == pytest.approx(0.4)


@pytest.mark.parametrize(("weights", "power"), [("linear", 1), ("quadratic", 2)])
def test_weighted_kappa_is_the_definition(weights: str, power: int) -> None:
    table = np.array([[14, 5, 1], [3, 20, 6], [2, 4, 25]], dtype=float)
    shares = table / table.sum()
    distance = np.abs(np.subtract.outer(np.arange(3), np.arange(3))) ** power
    chance = np.outer(shares.sum(axis=1), shares.sum(axis=0))
    expected = 1 - (shares * distance).sum() / (chance * distance).sum()
    labels = from_table(table.astype(int).tolist())
    found = cohen_kappa(*labels, weights="linear" if weights == "linear" else "quadratic")
    assert found == pytest.approx(expected)


def test_ac1_stays_high_where_kappa_collapses() -> None:
    # Gwet 2008: 118 + 0 agreements of 125.
    labels = from_table([[118, 5], [2, 0]])
    assert (round(gwet_ac1(*labels), 4), round(cohen_kappa(*labels), 4)) == (0.9408, -0.0234)
    assert raw_agreement(*labels) == 118 / 125


@pytest.mark.parametrize(("scale", "alpha"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_krippendorffs_own_example(scale: str, alpha: float) -> None:
    kind = {"nominal": "nominal", "ordinal": "ordinal", "interval": "interval"}[scale]
    found = krippendorff_alpha(UNITS, scale=kind, draws=199)  # pyright: ignore[reportArgumentType]
    assert round(found.estimate, 3) == alpha
    assert found.n == 11
    assert found.low <= found.estimate <= found.high


def test_intervals_cover_and_ignore_the_row_order() -> None:
    rng, inside = np.random.default_rng(0), 0
    for seed in range(200):
        first = rng.random(120) < 0.5
        second = np.where(rng.random(120) < 0.8, first, ~first)
        found = agreement(first.tolist(), second.tolist(), draws=399, seed=seed)
        assert found.kappa is not None
        inside += not found.kappa.excludes(0.6)
    assert inside / 200 > 0.9
    first, second = rng.random(120) < 0.5, rng.random(120) < 0.5
    order = rng.permutation(120)
    assert agreement(first[order].tolist(), second[order].tolist()) == agreement(
        first.tolist(), second.tolist()
    )


def test_one_label_only_leaves_kappa_open_and_the_rest_defined() -> None:
    found = agreement(["pass"] * 30, ["pass"] * 30)
    assert found.kappa is None
    assert (found.raw.estimate, found.ac1.estimate) == (1.0, 1.0)
    with pytest.raises(StatisticsError, match="same label only"):
        cohen_kappa(["pass"] * 30, ["pass"] * 30)
    with pytest.raises(StatisticsError, match="one and the same label"):
        krippendorff_alpha([["a", "a"]] * 5)


def test_groups_widen_the_interval() -> None:
    rng = np.random.default_rng(1)
    groups = np.repeat(np.arange(20), 10)
    hard = (rng.random(20) < 0.3)[groups]
    first = np.arange(200) % 2
    second = np.where(hard, 1 - first, first)
    plain = agreement(first.tolist(), second.tolist()).raw
    grouped = agreement(first.tolist(), second.tolist(), groups=groups).raw
    assert grouped.high - grouped.low > 2 * (plain.high - plain.low)


def test_large_sets_are_merged_and_stay_right() -> None:
    rng = np.random.default_rng(2)
    first = rng.integers(0, 3, 30_000)
    second = np.where(rng.random(30_000) < 0.7, first, (first + 1) % 3)
    found = agreement(first, second, draws=500).raw
    assert found.high - found.low == pytest.approx(2 * 1.96 * math.sqrt(0.21 / 30_000), rel=0.15)


def test_labels_that_do_not_fit_are_refused() -> None:
    with pytest.raises(PairingError, match="2 and 1 labels"):
        raw_agreement(["a", "b"], ["a"])
    with pytest.raises(StatisticsError, match="'c' is not among the categories"):
        cohen_kappa(["a", "c"], ["a", "b"], categories=["a", "b"])
    with pytest.raises(StatisticsError, match="needs numbers"):
        krippendorff_alpha([["a", "b"], ["a", "a"]], scale="interval")
