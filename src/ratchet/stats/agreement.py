"""How far raters agree: raw share, Cohen's kappa (weighted too), Gwet's AC1, Krippendorff's alpha, with intervals."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ratchet.errors import PairingError, StatisticsError
from ratchet.stats._arrays import FloatArray, Ids, IntArray, as_codes, check_level
from ratchet.stats.bootstrap import MAX_BLOCKS, merge_units, percentile_limits, resample_totals
from ratchet.stats.intervals import Interval
from ratchet.stats.means import FEW_GROUPS, SMALL_N

Weights = Literal["none", "linear", "quadratic"]
Scale = Literal["nominal", "ordinal", "interval"]
_MAX_CATEGORIES = 100


def _as_pairs(
    first: Ids, second: Ids, categories: Sequence[Hashable] | None
) -> tuple[IntArray, IntArray, int]:
    n = len(first)
    if n == 0 or n != len(second):
        raise PairingError(
            f"The raters gave {n} and {len(second)} labels; expected one each for the same items."
        )
    codes, keys = as_codes([*list(first), *list(second)], 2 * n, "labels")
    if categories is not None:
        place = {label: position for position, label in enumerate(categories)}
        unknown = [key for key in keys if key not in place]
        if unknown:
            raise StatisticsError(f"Label {unknown[0]!r} is not among the categories {list(categories)!r}.")
        codes = np.array([place[key] for key in keys], dtype=np.int64)[codes]
    count = len(categories) if categories is not None else len(keys)
    if count > _MAX_CATEGORIES:
        raise StatisticsError(
            f"The raters used {count} labels; expected at most {_MAX_CATEGORIES}. Bin them first."
        )
    return codes[:n], codes[n:], count


def _table(first: Ids, second: Ids, categories: Sequence[Hashable] | None) -> FloatArray:
    a, b, count = _as_pairs(first, second, categories)
    return np.bincount(a * count + b, minlength=count * count).reshape(1, count, count).astype(np.float64)


def _raw(tables: FloatArray) -> FloatArray:
    return np.trace(tables, axis1=1, axis2=2) / tables.sum(axis=(1, 2))


def _kappa(tables: FloatArray, weights: Weights) -> FloatArray:
    size = tables.shape[1]
    distance = np.abs(np.subtract.outer(np.arange(size), np.arange(size))).astype(np.float64)
    if weights == "none":
        distance = (distance > 0).astype(np.float64)
    elif weights == "quadratic":
        distance = distance**2
    total = tables.sum(axis=(1, 2))
    expected = np.einsum("di,dj,ij->d", tables.sum(axis=2), tables.sum(axis=1), distance) / total
    with np.errstate(invalid="ignore", divide="ignore"):
        return 1.0 - (tables * distance).sum(axis=(1, 2)) / expected


def _ac1(tables: FloatArray) -> FloatArray:
    size = tables.shape[1]
    if size < 2:
        return np.ones(len(tables))
    total = tables.sum(axis=(1, 2))
    shares = (tables.sum(axis=2) + tables.sum(axis=1)) / (2.0 * total[:, None])
    chance = (shares * (1.0 - shares)).sum(axis=1) / (size - 1)
    return (_raw(tables) - chance) / (1.0 - chance)


def raw_agreement(first: Ids, second: Ids) -> float:
    """The share of items that both raters gave the same label, 0 to 1.

    >>> raw_agreement(["a", "b", "b", "a"], ["a", "b", "a", "a"])
    0.75
    """
    return float(_raw(_table(first, second, None))[0])


def cohen_kappa(
    first: Ids, second: Ids, *, weights: Weights = "none", categories: Sequence[Hashable] | None = None
) -> float:
    """Cohen's kappa, at most 1 and 0 at chance; weighted by the distance in the order of `categories`.

    Categories default to the labels found, sorted. Collapses when nearly all labels are one: read it beside
    `raw_agreement` and `gwet_ac1`. Raises StatisticsError when both raters used one and the same label only. Source:
    Cohen, Educational and Psychological Measurement 1960, 20:37-46; weighted: Psychological Bulletin 1968, 70:213-220.

    >>> first = ["yes"] * 25 + ["no"] * 25
    >>> second = ["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15
    >>> round(cohen_kappa(first, second), 4)
    0.4
    """
    value = float(_kappa(_table(first, second, categories), weights)[0])
    if np.isnan(value):
        raise StatisticsError(
            "Both raters gave one and the same label only; kappa is 0/0. Read raw agreement and AC1."
        )
    return value


def gwet_ac1(first: Ids, second: Ids, *, categories: Sequence[Hashable] | None = None) -> float:
    """Gwet's AC1, at most 1, steady where kappa collapses under skewed labels.

    Source: Gwet, British Journal of Mathematical and Statistical Psychology 2008, 61:29-48.

    >>> first = [1] * 118 + [1] * 5 + [0] * 2
    >>> second = [1] * 118 + [0] * 5 + [1] * 2
    >>> round(gwet_ac1(first, second), 4), round(cohen_kappa(first, second), 4)
    (0.9408, -0.0234)
    """
    return float(_ac1(_table(first, second, categories))[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Raw agreement, kappa and AC1 of two raters together; kappa is None where it is 0/0."""

    raw: Interval
    kappa: Interval | None
    ac1: Interval


def agreement(
    first: Ids,
    second: Ids,
    *,
    groups: Ids | None = None,
    weights: Weights = "none",
    categories: Sequence[Hashable] | None = None,
    level: float = 0.95,
    draws: int = 1999,
    seed: int = 0,
) -> Agreement:
    """Raw agreement, (weighted) kappa and AC1 with percentile intervals, bootstrapped over items or their groups.

    Source: the three functions above; Efron, Tibshirani 1993, chapter 13.

    >>> found = agreement(["a", "b"] * 30, ["a", "b", "a", "a"] * 15)
    >>> found.raw.estimate, found.raw.low < 0.75 < found.raw.high
    (0.75, True)
    """
    check_level(level)
    a, b, size = _as_pairs(first, second, categories)
    n = len(a)
    # Items in the order of their cells, so that shuffled rows give the same draws.
    units, n_units = np.argsort(np.argsort(a * size + b, kind="stable"), kind="stable"), n
    if groups is not None:
        units, keys = as_codes(groups, n, "groups")
        n_units = len(keys)
    blocks = merge_units(n_units, np.random.default_rng(seed))
    rows, count = (units, n_units) if blocks is None else (blocks[units], MAX_BLOCKS)
    cells = np.bincount(rows * size * size + a * size + b, minlength=count * size * size)
    totals = cells.reshape(count, size * size).astype(np.float64)
    drawn = resample_totals(totals, draws=draws, seed=seed).reshape(draws, size, size)
    observed = totals.sum(axis=0).reshape(1, size, size)

    def interval(statistic: Callable[[FloatArray], FloatArray], method: str) -> Interval:
        low, high = percentile_limits(statistic(drawn), level)
        return Interval(
            estimate=float(statistic(observed)[0]),
            low=max(-1.0, low),
            high=min(1.0, high),
            level=level,
            n=n,
            method=f"{method}, bootstrap of items" if n_units == n else f"{method}, bootstrap of groups",
            n_groups=n_units if n_units < n else None,
            draws=draws,
            too_small=n < SMALL_N or n_units < FEW_GROUPS,
        )

    undefined = bool(np.isnan(_kappa(observed, weights)[0]))
    name = "Cohen's kappa" if weights == "none" else f"Cohen's kappa, {weights} weights"
    return Agreement(
        raw=interval(_raw, "raw agreement"),
        kappa=None if undefined else interval(lambda tables: _kappa(tables, weights), name),
        ac1=interval(_ac1, "Gwet's AC1"),
    )


def _coincidences(
    ratings: Sequence[Sequence[Hashable | None]], scale: Scale
) -> tuple[FloatArray, FloatArray]:
    """Each item's coincidence matrix, flattened, and the numeric value of each category."""
    rows: list[int] = []
    labels: list[Hashable] = []
    for row, item in enumerate(ratings):
        present = [label for label in item if label is not None and label == label]
        if len(present) >= 2:
            rows += [row] * len(present)
            labels += present
    if not labels:
        raise StatisticsError(
            "No item has two ratings; expected rows of items with a rating a column, None if missing."
        )
    codes, keys = as_codes(labels, len(labels), "ratings")
    size = len(keys)
    if size > _MAX_CATEGORIES:
        raise StatisticsError(
            f"The raters used {size} labels; expected at most {_MAX_CATEGORIES}. Bin them first."
        )
    numbers = np.arange(size, dtype=np.float64)
    if scale == "interval":
        try:
            numbers = np.array([float(str(key)) for key in keys])
        except ValueError:
            raise StatisticsError(f"The interval scale needs numbers; found {keys[0]!r}.") from None
    _, units = np.unique(np.array(rows), return_inverse=True)
    counts = np.bincount(units * size + codes, minlength=(int(units.max()) + 1) * size)
    table = counts.reshape(-1, size).astype(np.float64)
    # A fixed order, so that shuffled items give the same draws.
    table = table[np.lexsort(table.T[::-1])]
    pairs = table[:, :, None] * table[:, None, :]
    pairs[:, np.arange(size), np.arange(size)] -= table
    return (pairs / (table.sum(axis=1) - 1.0)[:, None, None]).reshape(len(table), size * size), numbers


def _alpha(tables: FloatArray, numbers: FloatArray, scale: Scale) -> FloatArray:
    margins = tables.sum(axis=2)
    if scale == "nominal":
        distance = np.broadcast_to(1.0 - np.eye(len(numbers)), tables.shape)
    elif scale == "interval":
        distance = np.broadcast_to(np.subtract.outer(numbers, numbers) ** 2, tables.shape)
    else:
        middles = np.cumsum(margins, axis=1) - margins / 2.0
        distance = (middles[:, :, None] - middles[:, None, :]) ** 2
    observed = (tables * distance).sum(axis=(1, 2))
    expected = np.einsum("di,dj,dij->d", margins, margins, distance)
    with np.errstate(invalid="ignore", divide="ignore"):
        return 1.0 - (margins.sum(axis=1) - 1.0) * observed / expected


def krippendorff_alpha(
    ratings: Sequence[Sequence[Hashable | None]],
    *,
    scale: Scale = "nominal",
    level: float = 0.95,
    draws: int = 1999,
    seed: int = 0,
) -> Interval:
    """Krippendorff's alpha of any number of raters, at most 1 and 0 at chance, with an interval bootstrapped over items.

    `ratings` has a row an item and a column a rater; None (or NaN) is a missing rating, and items with fewer than two
    are left out. Ordinal categories go in sorted order. Raises StatisticsError when only one label was used. Source:
    Krippendorff, Computing Krippendorff's Alpha-Reliability, 2011.

    >>> round(krippendorff_alpha([[1, 1], [2, 2], [1, 2], [2, 2]], draws=99).estimate, 4)
    0.5333
    """
    totals, numbers = _coincidences(ratings, scale)
    size = len(numbers)
    estimate = float(_alpha(totals.sum(axis=0).reshape(1, size, size), numbers, scale)[0])
    if np.isnan(estimate):
        raise StatisticsError("All ratings are one and the same label; alpha is 0/0. Read the raw agreement.")
    drawn = resample_totals(totals, draws=draws, seed=seed).reshape(draws, size, size)
    low, high = percentile_limits(_alpha(drawn, numbers, scale), check_level(level))
    return Interval(
        estimate=estimate,
        low=max(-1.0, low),
        high=min(1.0, high),
        level=level,
        n=len(totals),
        method=f"Krippendorff's alpha ({scale}), bootstrap of items",
        draws=draws,
        too_small=len(totals) < SMALL_N,
    )
