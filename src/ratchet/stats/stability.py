"""How much answers move between repeats: total agreement, flips, pass@k and pass^k, variance, worst and best, outliers.

Rows are (example, repeat). Functions named `..._by_example` return one value an example in sorted order of the
example ids, ready for `paired_difference`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ratchet.errors import PairingError, StatisticsError
from ratchet.stats._arrays import FloatArray, Ids, IntArray, as_codes, as_values, sums_by
from ratchet.stats.intervals import Interval
from ratchet.stats.paired import mean_interval


def _is_missing(answers: Ids) -> NDArray[np.bool_]:
    listed = answers.tolist() if isinstance(answers, np.ndarray) else answers
    return np.fromiter((a is None or a != a for a in listed), dtype=np.bool_, count=len(answers))


def _answer_codes(answers: Ids, missing: NDArray[np.bool_]) -> IntArray:
    """A code for each answer; missing answers get codes of their own, equal to nothing."""
    listed = ["" if gone else answer for answer, gone in zip(answers, missing.tolist(), strict=True)]
    codes, keys = as_codes(listed, len(listed), "answers")
    codes[missing] = len(keys) + np.arange(int(missing.sum()))
    return codes


def same_by_example(answers: Ids, examples: Ids) -> FloatArray:
    """1 for each example whose answers are all equal, else 0; a missing answer (None) is a disagreement.

    Raises StatisticsError when examples differ in how many answers they have: total agreement falls with N.

    >>> same_by_example(["a", "a", "a", None], [1, 1, 2, 2]).tolist()
    [1.0, 0.0]
    """
    if len(answers) == 0:
        raise StatisticsError("answers is empty; expected at least one.")
    owners, keys = as_codes(examples, len(answers), "examples")
    counts = np.bincount(owners, minlength=len(keys))
    if int(counts.min()) != int(counts.max()):
        few = int(np.argmin(counts))
        raise StatisticsError(
            f"Example {keys[few]!r} has {counts[few]} answers and others up to {counts.max()}; total agreement falls with "
            "N, so expected the same number for each. Give failed repeats as None."
        )
    missing = _is_missing(answers)
    codes = _answer_codes(answers, missing)
    first = np.zeros(len(keys), dtype=np.int64)
    first[owners] = codes
    differing = (codes != first[owners]) | missing
    return (np.bincount(owners, weights=differing, minlength=len(keys)) == 0).astype(np.float64)


def total_agreement(
    answers: Ids, examples: Ids, *, groups: Ids | None = None, level: float = 0.95
) -> Interval:
    """The share of examples whose N answers are all equal: TARr@N on raw answers, TARa@N on parsed ones.

    `groups` has one entry a row. Compare at equal N only. Source: Atil et al. 2024, arXiv 2408.04667.

    >>> total_agreement(["x", "x", "y", "z"], [1, 1, 2, 2]).estimate
    0.5
    """
    same = same_by_example(answers, examples)
    return mean_interval(same, groups=_groups_by_example(examples, groups), level=level)


def _groups_by_example(examples: Ids, groups: Ids | None) -> IntArray | None:
    if groups is None:
        return None
    owners, keys = as_codes(examples, len(groups), "examples")
    codes, _ = as_codes(groups, len(groups), "groups")
    by_example = np.zeros(len(keys), dtype=np.int64)
    by_example[owners] = codes
    return by_example


def _pair_counts(owners: IntArray, codes: IntArray, n: int) -> tuple[IntArray, FloatArray]:
    """Each distinct (example, answer) cell's example, and how often it occurs."""
    width = int(codes.max()) + 1
    cells, counts = np.unique(owners * width + codes, return_counts=True)
    return cells // width, counts.astype(np.float64)


def repeat_flips_by_example(answers: Ids, examples: Ids) -> FloatArray:
    """For each example, the chance that two of its repeats differ: the A/A flip rate that a change must be held against.

    A missing answer differs from all. Raises StatisticsError when an example has fewer than two repeats. Source:
    1 - sum c(c-1) / (N(N-1)) over the answer counts c, Simpson, Nature 1949, 163:688.

    >>> repeat_flips_by_example(["a", "a", "b", "a", "a", "a"], [1, 1, 1, 2, 2, 2]).round(3).tolist()
    [0.667, 0.0]
    """
    owners, keys = as_codes(examples, len(answers), "examples")
    sizes = np.bincount(owners, minlength=len(keys)).astype(np.float64)
    if len(sizes) == 0 or sizes.min() < 2:
        raise StatisticsError(
            "An example has fewer than two repeats; expected at least 2 (5 or more are better)."
        )
    cells, counts = _pair_counts(owners, _answer_codes(answers, _is_missing(answers)), len(keys))
    equal = np.bincount(cells, weights=counts * (counts - 1.0), minlength=len(keys))
    return 1.0 - equal / (sizes * (sizes - 1.0))


def flips_by_example(before: Ids, after: Ids, *, before_examples: Ids, after_examples: Ids) -> FloatArray:
    """For each example, the chance that a repeat of one arm differs from a repeat of the other.

    A missing answer differs from all. Raises PairingError unless both arms hold the same examples. Source: the
    two-sample form of `repeat_flips_by_example`, so the two are comparable.

    >>> flips_by_example(["a", "b"], ["a", "a"], before_examples=[1, 2], after_examples=[1, 2]).tolist()
    [0.0, 1.0]
    """
    n = len(before)
    owners, keys = as_codes([*list(before_examples), *list(after_examples)], n + len(after), "examples")
    answers = [*list(before), *list(after)]
    codes = _answer_codes(answers, _is_missing(answers))
    arms = (owners[:n], owners[n:])
    sizes = [np.bincount(arm, minlength=len(keys)).astype(np.float64) for arm in arms]
    lacking = np.flatnonzero((sizes[0] == 0) | (sizes[1] == 0))
    if lacking.size:
        raise PairingError(
            f"Example {keys[lacking[0]]!r} is in one arm only; expected the same examples in both."
        )
    width = int(codes.max()) + 1
    left, left_counts = np.unique(owners[:n] * width + codes[:n], return_counts=True)
    right, right_counts = np.unique(owners[n:] * width + codes[n:], return_counts=True)
    shared, at_left, at_right = np.intersect1d(left, right, assume_unique=True, return_indices=True)
    products = (left_counts[at_left] * right_counts[at_right]).astype(np.float64)
    equal = np.bincount(shared // width, weights=products, minlength=len(keys))
    return 1.0 - equal / (sizes[0] * sizes[1])


def _share_of_draws(count: FloatArray, attempts: FloatArray, k: int) -> FloatArray:
    """C(count, k) / C(attempts, k) as a product, which stays exact to rounding; 0 where count < k."""
    steps = np.arange(k, dtype=np.float64)
    return np.prod(np.maximum(count[:, None] - steps, 0.0) / (attempts[:, None] - steps), axis=1)


def _check_attempts(successes: ArrayLike, attempts: ArrayLike, k: int) -> tuple[FloatArray, FloatArray]:
    won = as_values(successes, "successes")
    tried = np.broadcast_to(np.asarray(attempts, dtype=np.float64), won.shape).astype(np.float64)
    if (won < 0).any() or (won > tried).any():
        raise StatisticsError(
            "successes lie outside 0..attempts; expected counts of passed attempts for each example."
        )
    if k < 1 or (tried < k).any():
        raise StatisticsError(
            f"k is {k} and the fewest attempts {tried.min():g}; expected 1 <= k <= attempts."
        )
    return won, tried


def pass_at_k(successes: ArrayLike, attempts: ArrayLike, k: int) -> FloatArray:
    """For each example, the chance that any of k attempts passes: 1 - C(n-c, k) / C(n, k), unbiased.

    Average over examples, and bootstrap examples, not attempts. Source: Chen et al. 2021, arXiv 2107.03374.

    >>> pass_at_k([0, 1, 10], 10, 5).tolist()
    [0.0, 0.5, 1.0]
    """
    won, tried = _check_attempts(successes, attempts, k)
    return 1.0 - _share_of_draws(tried - won, tried, k)


def pass_hat_k(successes: ArrayLike, attempts: ArrayLike, k: int) -> FloatArray:
    """For each example, the chance that all of k attempts pass (pass^k): C(c, k) / C(n, k), unbiased.

    Source: Yao et al. 2024 (tau-bench), arXiv 2406.12045.

    >>> pass_hat_k([5, 9, 10], 10, 1).tolist(), pass_hat_k([10], 10, 5).tolist()
    ([0.5, 0.9, 1.0], [1.0])
    """
    won, tried = _check_attempts(successes, attempts, k)
    return _share_of_draws(won, tried, k)


@dataclass(frozen=True, slots=True, kw_only=True)
class VarianceComponents:
    """Where the variance of scores lies: `between` examples, `within` an example over its repeats, and the ICC.

    `more_repeats_pay` is true when within exceeds between; else more examples narrow an interval at less cost.
    """

    between: float
    within: float
    icc: float
    repeats: float
    n: int

    @property
    def more_repeats_pay(self) -> bool:
        """Whether repeats are worth more than examples."""
        return self.within > self.between

    def se(self, n: int, repeats: int) -> float:
        """The standard error of the mean for `n` examples with `repeats` each."""
        return float(np.sqrt((self.between + self.within / repeats) / n))


def variance_components(values: ArrayLike, examples: Ids) -> VarianceComponents:
    """The within-example and between-example variance of scores, and the intraclass correlation (0 to 1).

    Within is the mean of the examples' sample variances, between the variance of their means less within/K, at least
    0. K is the harmonic mean of the repeats. Source: Searle, Casella, McCulloch, Variance Components 1992, chapter 3.

    >>> found = variance_components([1.0, 1.0, 0.0, 0.0, 1.0, 0.0], ["a", "a", "b", "b", "c", "c"])
    >>> round(found.within, 3), round(found.between, 3)
    (0.167, 0.167)
    """
    x = as_values(values, "values")
    owners, keys = as_codes(examples, len(x), "examples")
    sizes = np.bincount(owners, minlength=len(keys)).astype(np.float64)
    if len(keys) < 2 or sizes.max() < 2:
        raise StatisticsError(
            f"There are {len(keys)} examples with at most {sizes.max():g} repeats; expected at least 2 of both."
        )
    means = sums_by(owners, x, len(keys)) / sizes
    squares = sums_by(owners, (x - means[owners]) ** 2, len(keys))
    repeated = sizes > 1
    within = float((squares[repeated] / (sizes[repeated] - 1.0)).mean())
    repeats = float(1.0 / (1.0 / sizes).mean())
    between = max(0.0, float(means.var(ddof=1)) - within / repeats)
    total = between + within
    return VarianceComponents(
        between=between,
        within=within,
        icc=between / total if total > 0 else 0.0,
        repeats=repeats,
        n=len(keys),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """The mean over examples of the worst, the average and the best of their rows; `n` examples."""

    worst: float
    mean: float
    best: float
    n: int


def worst_and_best(values: ArrayLike, owners: Ids) -> Spread:
    """Worst-of-N, mean and best-of-N: over the repeats of each example, or the paraphrases of each group.

    Worst and best bound what a run can show. Source: Atil et al. 2024, arXiv 2408.04667.

    >>> worst_and_best([1, 0, 1, 1], ["a", "a", "b", "b"])
    Spread(worst=0.5, mean=0.75, best=1.0, n=2)
    """
    x = as_values(values, "values")
    codes, keys = as_codes(owners, len(x), "owners")
    low, high = np.full(len(keys), np.inf), np.full(len(keys), -np.inf)
    np.minimum.at(low, codes, x)
    np.maximum.at(high, codes, x)
    means = sums_by(codes, x, len(keys)) / np.bincount(codes, minlength=len(keys))
    return Spread(worst=float(low.mean()), mean=float(means.mean()), best=float(high.mean()), n=len(keys))


def outlier_runs(values: ArrayLike, *, reach: float = 3.5) -> NDArray[np.bool_]:
    """True for each run whose value lies beyond median +- `reach` median absolute deviations; flagged, never dropped.

    With a median deviation of 0 the mean absolute deviation takes its place. Source: after Iglewicz, Hoaglin, How to
    Detect and Handle Outliers 1993.

    >>> outlier_runs([0.81, 0.80, 0.79, 0.82, 0.40]).tolist()
    [False, False, False, False, True]
    """
    x = as_values(values, "values")
    distance = np.abs(x - np.median(x))
    scale = float(np.median(distance)) or float(distance.mean())
    return distance > reach * scale + 1e-12
