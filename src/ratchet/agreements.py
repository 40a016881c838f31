"""How far two raters agree on score values, whatever these are: passes, numbers, labels."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ratchet.errors import StatisticsError
from ratchet.records import ScoreValue
from ratchet.stats import agreement as statistics
from ratchet.stats.intervals import Interval
from ratchet.stats.means import t_interval
from ratchet.summaries import LEVEL, Estimate

_MANY_VALUES = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelAgreement:
    """Judge and people on one label against all others."""

    label: str
    human: int
    """Answers that people gave it."""
    judge: int
    both: int
    raw: Estimate
    kappa: Estimate | None
    ac1: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmAgreement:
    """Judge and people on the answers of one arm."""

    n: int
    raw: Estimate
    kappa: Estimate | None
    """Quadratic weights for numbers; None where it is 0/0."""
    ac1: Estimate
    bias: Estimate | None
    """Judge minus people, in the score's unit; None for labels."""
    by_label: tuple[LabelAgreement, ...] = ()
    confusion: Mapping[str, Mapping[str, int]] = field(default_factory=dict[str, Mapping[str, int]])
    """People's label, then the judge's, to a count."""


def text_of(value: ScoreValue) -> str:
    """A score's value as a label: true, 3.5, good."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return f"{value:g}"
    return ", ".join(sorted(value)) if isinstance(value, frozenset) else str(value)


def number_of(value: ScoreValue) -> float | None:
    """A score's value as a number: a pass is 1; None for labels and for nothing."""
    return float(value) if isinstance(value, (bool, int, float)) else None


def to_estimate(interval: Interval) -> Estimate:
    """The interval as it is kept: without limits where these are infinite."""
    finite = np.isfinite(interval.low) and np.isfinite(interval.high)
    return Estimate(
        value=interval.estimate,
        low=float(interval.low) if finite else None,
        high=float(interval.high) if finite else None,
        n=interval.n,
    )


def mean_of(values: Sequence[float], groups: Sequence[Hashable]) -> Estimate:
    """Their mean with its t interval, groups as clusters."""
    if len(values) < 2:
        return Estimate(value=float(np.mean(values)), n=len(values))
    return to_estimate(t_interval(np.array(values), groups=list(groups), level=LEVEL))


def compare(
    pairs: Sequence[tuple[ScoreValue, ScoreValue]], units: Sequence[Hashable], *, with_bias: bool = True
) -> ArmAgreement:
    """Agreement of the second of each pair (the judge) with the first (people); `units` are bootstrapped as wholes.

    Without the bias, nothing of scipy is loaded.
    """
    numbers = [(number_of(a), number_of(b)) for a, b in pairs]
    numeric = [(a, b) for a, b in numbers if a is not None and b is not None]
    is_scale = len(numeric) == len(pairs) and any(not isinstance(v, bool) for pair in pairs for v in pair)
    first, second, categories = _categories(pairs, numeric if is_scale else None)
    found = statistics.agreement(
        first, second, groups=units, weights="quadratic" if is_scale else "none", categories=categories
    )
    by_label: list[LabelAgreement] = []
    for label in [] if is_scale else categories:
        a, b = [x == label for x in first], [x == label for x in second]
        one = statistics.agreement(a, b, groups=units, categories=[False, True])
        by_label.append(
            LabelAgreement(
                label=str(label),
                human=sum(a),
                judge=sum(b),
                both=sum(x and y for x, y in zip(a, b, strict=True)),
                raw=to_estimate(one.raw),
                kappa=to_estimate(one.kappa) if one.kappa else None,
                ac1=to_estimate(one.ac1),
            )
        )
    confusion: dict[str, dict[str, int]] = {str(a): {str(b): 0 for b in categories} for a in categories}
    for a, b in zip(first, second, strict=True):
        confusion[str(a)][str(b)] += 1
    return ArmAgreement(
        n=len(pairs),
        raw=to_estimate(found.raw),
        kappa=to_estimate(found.kappa) if found.kappa else None,
        ac1=to_estimate(found.ac1),
        bias=mean_of([b - a for a, b in numeric], units)
        if with_bias and len(numeric) == len(pairs)
        else None,
        by_label=tuple(by_label),
        confusion=confusion,
    )


def _categories(
    pairs: Sequence[tuple[ScoreValue, ScoreValue]], numeric: Sequence[tuple[float, float]] | None
) -> tuple[list[Any], list[Any], list[Any]]:
    """Both sides as categories, and the categories in order; finely graded numbers in 20 equal bins."""
    if numeric is None:
        first, second = [text_of(a) for a, _ in pairs], [text_of(b) for _, b in pairs]
        return first, second, sorted({*first, *second})
    low, high = min(map(min, numeric)), max(map(max, numeric))
    values = {v for pair in numeric for v in pair}
    if all(v == int(v) for v in values) and high - low <= _MANY_VALUES:
        kept = [tuple(f"{v:g}" for v in pair) for pair in numeric]
        return [a for a, _ in kept], [b for _, b in kept], [f"{v}" for v in range(int(low), int(high) + 1)]
    width = (high - low) / 20 or 1.0
    bins = [tuple(min(int((v - low) / width), 19) for v in pair) for pair in numeric]
    names = [f"{low + i * width:.3g} to {low + (i + 1) * width:.3g}" for i in range(20)]
    return [names[a] for a, _ in bins], [names[b] for _, b in bins], list(dict.fromkeys(names))


def between(ratings: Sequence[Mapping[str, ScoreValue]]) -> tuple[Estimate | None, float | None]:
    """Krippendorff's alpha of several people, and the share of pairs of labels that are the same.

    `ratings` is what each person said, one mapping an item; items with one person are left out. Both are None without
    any others; alpha alone where only one label was used.
    """
    shared = [{p: text_of(v) for p, v in said.items() if v is not None} for said in ratings]
    shared = [said for said in shared if len(said) > 1]
    if not shared:
        return None, None
    people = sorted({person for said in shared for person in said})
    same = total = 0
    for said in shared:
        given = list(said.values())
        same += sum(a == b for i, a in enumerate(given) for b in given[:i])
        total += len(given) * (len(given) - 1) // 2
    try:
        rows = [[said.get(person) for person in people] for said in shared]
        alpha = to_estimate(statistics.krippendorff_alpha(rows, level=LEVEL))
    except StatisticsError:  # one label only: alpha is 0/0, the raw share says it
        alpha = None
    return alpha, same / total
