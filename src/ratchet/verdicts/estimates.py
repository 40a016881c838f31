"""One check, one interval: which method answers it, on which scale, and with which p-values."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from ratchet.errors import StatisticsError
from ratchet.evidence import Floats, Ints
from ratchet.records import Check
from ratchet.stats import labels as label_stats, quantiles
from ratchet.stats._special import normal_cdf, normal_quantile
from ratchet.stats.bootstrap import totals_interval
from ratchet.stats.intervals import Alternative, Interval
from ratchet.stats.means import SMALL_N
from ratchet.stats.paired import mean_interval, paired_difference
from ratchet.stats.ratios import ratio_of_means
from ratchet.verdicts import judged, repeats
from ratchet.verdicts.pairs import Pair
from ratchet.verdicts.values import NoValuesError, Sides, sides

_TOO_SKEWED = "the values are too skewed for so few examples"
P99_N = 1000
"""p99 and beyond decide nothing below so many rows."""
DRAWS = 1999
ONE_SIDED_N = 250.0
"""Times the squared skewness: from so many units on, one end of a t interval errs in at most 5.7 % instead of 5 %."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A check with what decides it: the level of the interval, and the seed of what is drawn."""

    check: Check
    alpha: float = 0.05
    seed: int = 0

    @property
    def level(self) -> float:
        """Two-sided; each end holds at `alpha`."""
        return 1.0 - 2.0 * self.alpha

    @property
    def limited(self) -> bool:
        """Whether the candidate's own value is held against a limit."""
        return self.check.rule in ("at_most", "at_least")

    @property
    def sign(self) -> float:
        """1 where more is better, else -1."""
        if self.limited:
            return 1.0 if self.check.rule == "at_least" else -1.0
        return 1.0 if self.check.higher_is_better else -1.0

    @property
    def bound(self) -> float:
        """What the oriented estimate must pass: the minimum gain, minus the margin, or the limit."""
        check = self.check
        if check.rule == "better":
            return check.margin or 0.0
        if check.rule == "no_worse":
            return -(check.margin or 0.0)
        return self.sign * (check.limit or 0.0)

    @property
    def relative(self) -> bool:
        """Whether the scale is a share of the baseline."""
        return self.check.relative or self.check.measure == "ratio"


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What the data say: candidate minus baseline (or its relative change, or the candidate's own value)."""

    interval: Interval
    baseline_value: float
    candidate_value: float
    p_passes: float | None
    """Of the claim that the check passes."""
    p_fails: float | None
    """Of the claim that it is shown to fail."""
    notes: tuple[str, ...] = field(default=())
    blocked: str | None = None
    chances: tuple[float, float] | None = None
    """At a look before the end: that the end shows it passed, and failed, at best (`anytime.estimate_at`)."""

    def oriented(self, sign: float) -> tuple[float, float, float]:
        """Estimate, low and high with more being better."""
        i = self.interval
        return (i.estimate, i.low, i.high) if sign > 0 else (-i.estimate, -i.high, -i.low)


def estimate(question: Question, pair: Pair) -> Estimate:
    """The estimate that answers this check.

    Raises:
        NoValuesError: The data can't answer it; the text says why.
    """
    check = question.check
    try:
        if repeats.is_over_repeats(check, pair):
            found = repeats.sides_by_example(check, pair)
            return _limit(question, found) if question.limited else _mean(question, found)
        found = sides(check, pair)
        if question.limited:
            return _limit(question, found, pair)
        if check.measure == "quantile":
            return _quantile(question, found)
        if _over_totals(check):
            return _totals(question, found)
        return _mean(question, found, pair)
    except StatisticsError as error:
        raise NoValuesError(str(error)) from None


def _over_totals(check: Check) -> bool:
    return check.measure in ("macro_f1", "micro_f1") or (
        check.measure == "jaccard" and check.label is not None
    )


def _flat(found: Sides) -> tuple[Floats, Floats, Ints | None, Ints | None]:
    """Rows for `paired_difference`: before, after, their examples (None: every row its own) and groups.

    Copies of one example that agree in everything are one row, so that they narrow nothing.
    """
    repeated = found.repeats and len(np.unique(found.before_unit)) < max(len(found.before), len(found.after))
    if repeated and found.aligned:
        before, after, units = found.by_unit()
        if not _same_in_unit(found, before, after, units):
            return found.before, found.after, found.before_unit, found.groups_of(found.before_unit)
        return before, after, None, found.groups_of(units)
    if not found.aligned or repeated:
        before, after, units = found.by_unit()
        return before, after, None, found.groups_of(units)
    return found.before, found.after, None, found.groups_of(found.before_unit)


def _same_in_unit(found: Sides, before: Floats, after: Floats, units: Ints) -> bool:
    at = np.searchsorted(units, found.before_unit)
    return bool((before[at] == found.before).all() and (after[at] == found.after).all())


def _mean(question: Question, found: Sides, pair: Pair | None = None) -> Estimate:
    before, after, examples, groups = _flat(found)
    base, cand, _ = found.by_unit()
    values = float(base.mean()), float(cand.mean())
    if question.relative:
        return _ratio(question, (before, after, examples, groups), values, found)
    null = question.sign * question.bound

    def ask(alternative: Alternative) -> Interval:
        by_people = pair and judged.corrected(
            question.check, pair, level=question.level, null=null, alternative=alternative
        )
        return by_people or paired_difference(
            before, after, examples=examples, groups=groups, level=question.level,
            null=null, alternative=alternative, seed=question.seed,
        )  # fmt: skip

    interval, p_passes, p_fails = _tested(question, ask)
    return Estimate(
        interval=interval,
        baseline_value=values[0],
        candidate_value=values[1],
        p_passes=p_passes,
        p_fails=p_fails,
        notes=(*found.notes, *judged.note_on(interval, values[1] - values[0])),
        blocked=found.blocked,
    )


def _tested(
    question: Question, ask: Callable[[Alternative], Interval]
) -> tuple[Interval, float | None, float | None]:
    """The interval with the one-sided p of passing and of failing."""
    passing: Alternative = "greater" if question.sign > 0 else "less"
    failing: Alternative = "less" if question.sign > 0 else "greater"
    interval = ask(passing)
    if interval.p_method == "sign-flip permutation":
        return interval, interval.p, ask(failing).p
    return interval, interval.p, None if interval.p is None else 1.0 - interval.p


def _ratio(
    question: Question,
    data: tuple[Floats, Floats, Ints | None, Ints | None],
    values: tuple[float, float],
    found: Sides,
) -> Estimate:
    null = 1.0 + question.sign * question.bound
    if null <= 0.0:
        raise NoValuesError(
            f"a margin of {question.check.margin:g} leaves nothing to be worse than; expected below 1"
        )

    def ask(alternative: Alternative) -> Interval:
        return ratio_of_means(
            data[0],
            data[1],
            examples=data[2],
            groups=data[3],
            level=question.level,
            null=null,
            alternative=alternative,
        )

    interval, p_passes, p_fails = _tested(question, ask)
    return Estimate(
        interval=_as_change(interval),
        baseline_value=values[0],
        candidate_value=values[1],
        p_passes=p_passes,
        p_fails=p_fails,
        notes=found.notes,
        blocked=found.blocked,
    )


def _as_change(ratio: Interval) -> Interval:
    """A ratio as a relative change: 0.7 is -0.3."""
    return replace(
        ratio,
        estimate=ratio.estimate - 1.0,
        low=ratio.low - 1.0,
        high=ratio.high - 1.0,
        null=ratio.null - 1.0,
    )


def _quantile(question: Question, found: Sides) -> Estimate:
    q = question.check.quantile or 0.5
    plain = found.aligned and found.groups is None and not found.repeats
    first, second = found.groups_of(found.before_unit), found.groups_of(found.after_unit)
    ids = (
        found.before_unit if first is None else first,
        found.after_unit if second is None else second,
    )
    interval = quantiles.quantile_difference(
        found.before,
        found.after,
        q,
        units="paired" if plain else ids,
        scale="ratio" if question.relative else "difference",
        level=question.level,
        draws=DRAWS,
        seed=question.seed,
    )
    interval = _enough_for(q, interval, len(found.after))
    return _drawn(
        question,
        _as_change(interval) if question.relative else interval,
        (quantiles.quantile(found.before, q), quantiles.quantile(found.after, q)),
        found,
    )


def rows_for_quantile(q: float) -> int:
    """How many rows bound this quantile on its far side: 59 for p95, and 1,000 asked for p99 and beyond."""
    tail = max(q, 1.0 - q)
    return P99_N if tail >= 0.99 else math.ceil(math.log(0.05) / math.log(tail))


def _enough_for(q: float, interval: Interval, n: int) -> Interval:
    """The interval, marked too small where n can't bound this quantile."""
    needed = rows_for_quantile(q)
    if n >= needed:
        return interval
    return replace(interval, too_small=True, note=f"p{100 * q:g} needs {needed:,} rows to decide.")


def _drawn(question: Question, interval: Interval, values: tuple[float, float], found: Sides) -> Estimate:
    """An estimate whose p-values are read back from its interval."""
    return Estimate(
        interval=interval,
        baseline_value=values[0],
        candidate_value=values[1],
        p_passes=read_back(interval, question, passing=True),
        p_fails=read_back(interval, question, passing=False),
        notes=found.notes,
        blocked=found.blocked,
    )


def read_back(interval: Interval, question: Question, *, passing: bool) -> float | None:
    """The one-sided p-value that belongs to an interval, its reach to the bound taken as that of a normal estimate."""
    sign = question.sign
    middle, low, high = interval.estimate, interval.low, interval.high
    if sign < 0:
        middle, low, high = -middle, -high, -low
    distance = middle - question.bound if passing else question.bound - middle
    reach = middle - low if passing else high - middle
    if not math.isfinite(distance):
        return 0.0 if distance > 0 else 1.0
    if not math.isfinite(reach):
        return 1.0 if distance <= 0 else None
    if reach <= 0.0:
        return 0.0 if distance > 0 else 1.0
    return normal_cdf(-distance / reach * normal_quantile(1.0 - question.alpha))


def _totals(question: Question, found: Sides) -> Estimate:
    """F1, and one label's F1 or Jaccard: a function of counts, both arms resampled together."""
    table, width, statistic = _label_totals(question.check, found)
    relative = question.relative

    def contrast(sums: Floats) -> Floats:
        before, after = statistic(sums[:, :width]), statistic(sums[:, width:])
        with np.errstate(divide="ignore", invalid="ignore"):
            return after / before - 1.0 if relative else after - before

    units = np.unique(found.before_unit)
    interval = totals_interval(
        table,
        contrast,
        groups=found.groups_of(units),
        level=question.level,
        draws=DRAWS,
        seed=question.seed,
        method=f"{question.check.measure} {'ratio' if relative else 'difference'}, paired bootstrap",
    )
    sums = table.sum(axis=0)[None, :]
    values = float(statistic(sums[:, :width])[0]), float(statistic(sums[:, width:])[0])
    return _drawn(question, interval, values, found)


def _label_totals(check: Check, found: Sides) -> tuple[Floats, int, Callable[[Floats], Floats]]:
    """Counts of both arms, a row a unit (baseline's columns first); how many are the baseline's; what to make of them."""
    names = sorted(
        {
            label
            for side in (found.before_labels, found.after_labels)
            for predicted, expected in set(side)
            for label in (*(predicted or ()), *expected)
        }
        | ({"(unknown)"} if check.measure == "micro_f1" else set())
    )
    if check.label is not None and check.label not in names:
        raise NoValuesError(f"no answer has or expects the label {check.label!r}; known: {', '.join(names)}")
    chosen = [check.label] if check.label is not None else names
    units = np.unique(found.before_unit)
    parts = [
        _counts(check, side, np.searchsorted(units, codes), len(units), chosen)
        for side, codes in ((found.before_labels, found.before_unit), (found.after_labels, found.after_unit))
    ]
    statistic = _jaccard_of_totals if check.measure == "jaccard" else _f1_of(check)
    return np.hstack(parts), parts[0].shape[1], statistic


def _counts(
    check: Check,
    side: tuple[tuple[frozenset[str] | None, frozenset[str]], ...],
    units: Ints,
    n: int,
    names: list[str],
) -> Floats:
    """tp, fp and fn of each label, summed over the rows of each unit; equal rows are looked at once."""
    kinds = {pair: code for code, pair in enumerate(dict.fromkeys(side))}
    micro = check.measure == "micro_f1"
    unknown = frozenset({"(unknown)"}) if micro else frozenset[str]()
    predicted = [
        unknown if found is None else found if micro else found - {"(unknown)"} for found, _ in kinds
    ]
    wanted = frozenset(names)
    counts = label_stats.count_labels(
        [expected & wanted for _, expected in kinds], [found & wanted for found in predicted], labels=names
    ).totals()
    codes = np.fromiter((kinds[pair] for pair in side), np.int64, len(side))
    share = np.bincount(units, minlength=n).astype(np.float64)
    cells = np.bincount(units * len(kinds) + codes, minlength=n * len(kinds)).reshape(n, len(kinds))
    return (cells / share[:, None]) @ counts


def _f1_of(check: Check) -> Callable[[Floats], Floats]:
    average: label_stats.Average = "micro" if check.measure == "micro_f1" else "macro"
    return lambda sums: label_stats.f1_of_totals(sums, average=average)


def _jaccard_of_totals(sums: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        return sums[:, 0] / sums.sum(axis=1)


def _limit(question: Question, found: Sides, pair: Pair | None = None) -> Estimate:
    """The candidate's own value against a limit."""
    check = question.check
    groups = found.groups_of(found.after_unit)
    if check.measure == "quantile":
        q = check.quantile or 0.5
        clustered = groups if groups is not None else found.after_unit
        interval = _enough_for(
            q,
            quantiles.quantile_interval(found.after, q, groups=clustered, level=question.level),
            len(found.after),
        )
        values = quantiles.quantile(found.before, q) if len(found.before) else math.nan, interval.estimate
    elif _over_totals(check):
        table, width, statistic = _label_totals(check, _only(found, after=True))
        interval = totals_interval(
            table[:, :width], statistic, groups=found.groups_of(np.unique(found.after_unit)),
            level=question.level, draws=DRAWS, seed=question.seed, method=f"{check.measure}, bootstrap",
        )  # fmt: skip
        values = _total_of_baseline(check, found), interval.estimate
    else:
        repeated = found.repeats and len(np.unique(found.after_unit)) < len(found.after)
        by_people = pair and judged.corrected(check, pair, level=question.level, null=check.limit or 0.0)
        interval = by_people or mean_interval(
            found.after,
            examples=found.after_unit if repeated else None,
            groups=groups,
            level=question.level,
            exact=True,
        )
        values = _unit_mean(found.before, found.before_unit), interval.estimate
    return _drawn(question, interval, values, found)


def _only(found: Sides, *, after: bool) -> Sides:
    """One side in both places."""
    if after:
        return replace(
            found, before=found.after, before_unit=found.after_unit, before_labels=found.after_labels
        )
    return replace(found, after=found.before, after_unit=found.before_unit, after_labels=found.before_labels)


def _total_of_baseline(check: Check, found: Sides) -> float:
    if not len(found.before):
        return math.nan
    try:
        table, width, statistic = _label_totals(check, _only(found, after=False))
    except NoValuesError:
        return math.nan
    return float(statistic(table[:, :width].sum(axis=0)[None, :])[0])


def _unit_mean(values: Floats, units: Ints) -> float:
    if not len(values):
        return math.nan
    _, codes = np.unique(units, return_inverse=True)
    return float((np.bincount(codes, weights=values) / np.bincount(codes)).mean())


def too_weak(interval: Interval, sign: float) -> str | None:
    """Why this interval may not license a ship; None where it may. `sign` is 1 where more is better."""
    if interval.too_small:
        if interval.note and interval.n >= SMALL_N:
            return interval.note.rstrip(".")
        groups = interval.n_groups
        if groups is not None and interval.n >= SMALL_N:
            return f"{groups} groups are too few to decide a ship"
        return f"{interval.n} examples are too few to decide a ship"
    return _TOO_SKEWED if interval.skewed or leans(interval, -sign) else None


def leans(interval: Interval, side: float) -> bool:
    """Whether a long tail on this side (1 above, -1 below) puts the mean too near the other end of the interval.

    The one-sided error of Student's t is alpha + skewness / (6 sqrt n) (2 z^2 + 1) phi(z). Source: the Edgeworth
    expansion, Hall, The Bootstrap and Edgeworth Expansion 1992, section 2.6.
    """
    units = interval.n_groups or interval.n
    return interval.skewness * side > 0.0 and units < ONE_SIDED_N * interval.skewness**2
