"""Three or more variants from pairwise results: Bradley-Terry strengths with intervals over items."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ratchet.errors import PairingError, StatisticsError
from ratchet.stats._arrays import FloatArray, Ids, IntArray, as_codes, as_values, check_level, sums_by
from ratchet.stats.bootstrap import MAX_BLOCKS, merge_units, percentile_limits, resample_totals
from ratchet.stats.intervals import Interval
from ratchet.stats.means import FEW_GROUPS, SMALL_N

_ROUNDS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """Variants from strongest to weakest; each strength is a log-odds with mean 0, with its interval."""

    names: tuple[Hashable, ...]
    strengths: tuple[Interval, ...]

    def win_probability(self, first: Hashable, second: Hashable) -> float:
        """The modelled chance that `first` beats `second`, ties split."""
        strength = {name: found.estimate for name, found in zip(self.names, self.strengths, strict=True)}
        return float(1.0 / (1.0 + np.exp(strength[second] - strength[first])))


def _fit(wins: FloatArray, rounds: int) -> FloatArray:
    """Log-strengths with mean 0 of each win matrix, shape (matrices, k, k), by Hunter's MM iteration.

    A variant that never won or never lost in a resample goes to about -+log(1e12), so its limit stays finite.
    """
    games = wins + np.swapaxes(wins, 1, 2)
    won = wins.sum(axis=2)
    strength = np.ones(won.shape)
    for _ in range(rounds):
        pairs = strength[:, :, None] + strength[:, None, :]
        played = (games / pairs).sum(axis=2)
        updated = np.maximum(won / np.maximum(played, 1e-300), 1e-12)
        updated /= np.exp(np.log(updated).mean(axis=1, keepdims=True))
        change = float(np.abs(np.log(updated) - np.log(strength)).max())
        strength = updated
        if change < 1e-10:
            break
    return np.log(strength)


def _reachable(edges: FloatArray) -> IntArray:
    reach = (edges > 0) | np.eye(len(edges), dtype=bool)
    for _ in range(len(edges).bit_length()):
        reach = (reach.astype(np.int64) @ reach.astype(np.int64)) > 0
    return reach.astype(np.int64)


def bradley_terry(
    left: Ids,
    right: Ids,
    outcomes: ArrayLike,
    *,
    items: Ids | None = None,
    level: float = 0.95,
    draws: int = 999,
    seed: int = 0,
) -> Ranking:
    """Strengths of all variants by maximum likelihood, from outcomes 1 (left won), 0 (right won) and 0.5 (tie).

    `items` names the item of each comparison; items are resampled whole. Independent of the order of comparisons,
    unlike online Elo. Raises StatisticsError when some variants never beat (or tied with) the rest, since strengths
    then have no finite maximum. Source: Bradley, Terry, Biometrika 1952, 39:324-345; Hunter, Annals of Statistics
    2004, 32:384-406 (MM, and Ford's connectivity condition).

    >>> found = bradley_terry(["a", "b", "c", "a"] * 9, ["b", "c", "a", "c"] * 9, [1, 1, 1, 1] * 9, draws=99)
    >>> found.names[0], round(found.win_probability("a", "b"), 2)
    ('a', 0.6)
    """
    result = as_values(outcomes, "outcomes")
    n = len(result)
    if not np.isin(result, (0.0, 0.5, 1.0)).all():
        raise StatisticsError(
            "outcomes holds other values than 0, 0.5 and 1; expected the result of the left variant."
        )
    if len(left) != n or len(right) != n:
        raise PairingError(
            f"There are {len(left)} left, {len(right)} right variants and {n} outcomes; expected as many."
        )
    codes, names = as_codes([*list(left), *list(right)], 2 * n, "variants")
    first, second, size = codes[:n], codes[n:], len(names)
    if (first == second).any():
        raise StatisticsError(
            f"Variant {names[first[np.argmax(first == second)]]!r} is compared with itself."
        )
    units, n_items = np.arange(n), n
    if items is None:
        units = np.argsort(np.lexsort((result, second, first)), kind="stable")
    else:
        units, keys = as_codes(items, n, "items")
        n_items = len(keys)
    blocks = merge_units(n_items, np.random.default_rng(seed))
    rows, count = (units, n_items) if blocks is None else (blocks[units], MAX_BLOCKS)
    cells, width = size * size, count * size * size
    totals = sums_by(rows * cells + first * size + second, result, width)
    totals += sums_by(rows * cells + second * size + first, 1.0 - result, width)
    totals = totals.reshape(count, cells)
    wins = totals.sum(axis=0).reshape(size, size)
    _check_connected(wins, names)
    strength = _fit(wins[None], 20 * _ROUNDS)[0]
    drawn = _fit(resample_totals(totals, draws=draws, seed=seed).reshape(draws, size, size), _ROUNDS)
    order = np.argsort(-strength, kind="stable")
    intervals: list[Interval] = []
    for place in order.tolist():
        low, high = percentile_limits(drawn[:, place], check_level(level))
        intervals.append(
            Interval(
                estimate=float(strength[place]),
                low=low,
                high=high,
                level=level,
                n=n_items,
                n_rows=n,
                method="Bradley-Terry, bootstrap of items",
                draws=draws,
                too_small=n_items < SMALL_N or n_items < FEW_GROUPS,
            )
        )
    return Ranking(names=tuple(names[place] for place in order.tolist()), strengths=tuple(intervals))


def _check_connected(wins: FloatArray, names: Sequence[Hashable]) -> None:
    reach = _reachable(wins)
    together = (reach * reach.T) > 0
    if not together.all():
        inside = [repr(name) for name, joined in zip(names, together[0], strict=True) if joined]
        outside = [repr(name) for name, joined in zip(names, together[0], strict=True) if not joined]
        raise StatisticsError(
            f"{', '.join(inside)} and {', '.join(outside)} are not connected by wins in both directions (a tie counts as "
            "half a win each); expected every variant to be reachable. Add comparisons between them, or leave some out."
        )
