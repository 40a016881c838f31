"""Labels, one or many a row: exact match, Jaccard, precision, recall, F1 and confusion, ready to be resampled."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ratchet.errors import PairingError, StatisticsError
from ratchet.stats._arrays import FloatArray, Ids, IntArray, as_codes
from ratchet.stats.bootstrap import totals_interval
from ratchet.stats.intervals import Interval

LabelSets = Sequence[Collection[Hashable]]
Average = Literal["macro", "micro"]


def single(labels: Sequence[Hashable]) -> list[frozenset[Hashable]]:
    """Single labels as sets of one; None (no label could be read) becomes the empty set.

    >>> single(["a", None])
    [frozenset({'a'}), frozenset()]
    """
    return [frozenset() if label is None else frozenset([label]) for label in labels]


def _check(expected: LabelSets, predicted: LabelSets) -> None:
    if len(expected) != len(predicted) or not expected:
        raise PairingError(
            f"There are {len(expected)} expected and {len(predicted)} predicted label sets; expected as many, at least one."
        )
    for name, rows in (("expected", expected), ("predicted", predicted)):
        for row, labels in enumerate(rows):
            if isinstance(labels, str):
                raise StatisticsError(
                    f"{name}[{row}] is the string {labels!r}; expected a set of labels. See single()."
                )


def exact_match(expected: LabelSets, predicted: LabelSets) -> FloatArray:
    """1 for each row whose predicted set is exactly the expected one, else 0.

    >>> exact_match([{"a", "b"}, {"a"}], [{"b", "a"}, {"a", "b"}]).tolist()
    [1.0, 0.0]
    """
    _check(expected, predicted)
    return np.array([float(set(e) == set(p)) for e, p in zip(expected, predicted, strict=True)])


def jaccard(expected: LabelSets, predicted: LabelSets, *, empty: float = 1.0) -> FloatArray:
    """The shared part of the union for each row, 0 to 1; `empty` where both sets are empty (count these, too).

    Source: Jaccard 1901; sample-averaged as in scikit-learn's jaccard_score(average="samples").

    >>> jaccard([{"a", "b"}, set()], [{"b", "c"}, set()]).round(3).tolist()
    [0.333, 1.0]
    """
    _check(expected, predicted)
    pairs = [(set(e), set(p)) for e, p in zip(expected, predicted, strict=True)]
    return np.array([len(e & p) / len(e | p) if e or p else empty for e, p in pairs])


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelCounts:
    """True positives, false positives and false negatives, a row an example and a column a label."""

    labels: tuple[Hashable, ...]
    tp: FloatArray
    fp: FloatArray
    fn: FloatArray

    def totals(self) -> FloatArray:
        """The three side by side, shape (rows, 3 * labels): additive facts for `totals_interval`."""
        return np.hstack([self.tp, self.fp, self.fn])


def count_labels(
    expected: LabelSets, predicted: LabelSets, *, labels: Sequence[Hashable] | None = None
) -> LabelCounts:
    """The hits and misses of each label in each row; `labels` default to all found, sorted.

    >>> count_labels([{"a"}, {"b"}], [{"a"}, {"a"}]).fp.sum(axis=0).tolist()
    [1.0, 0.0]
    """
    _check(expected, predicted)
    flat: list[Hashable] = [label for rows in (expected, predicted) for labels_ in rows for label in labels_]
    names = list(labels) if labels is not None else as_codes(flat, len(flat), "labels")[1]
    place = {label: column for column, label in enumerate(names)}

    def indicator(rows: LabelSets) -> FloatArray:
        matrix = np.zeros((len(rows), len(names)))
        for row, found in enumerate(rows):
            for label in found:
                if label not in place:
                    raise StatisticsError(f"Label {label!r} is not among the labels {names!r}.")
                matrix[row, place[label]] = 1.0
        return matrix

    truth, guess = indicator(expected), indicator(predicted)
    return LabelCounts(labels=tuple(names), tp=truth * guess, fp=(1 - truth) * guess, fn=truth * (1 - guess))


def f1_of_totals(totals: FloatArray, *, average: Average = "macro") -> FloatArray:
    """F1 (0 to 1) for each row of summed `LabelCounts.totals`; labels neither expected nor predicted are left out.

    Macro is the mean of the labels' F1, micro the F1 of the pooled counts. NaN where no label occurs at all. Source:
    scikit-learn's f1_score, whose labels are those found in either side.

    >>> f1_of_totals(np.array([[2.0, 1.0, 1.0, 0.0, 0.0, 1.0]])).round(4).tolist()
    [0.7333]
    """
    tp, fp, fn = np.split(totals, 3, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        if average == "micro":
            hits = 2.0 * tp.sum(axis=1)
            return hits / (hits + fp.sum(axis=1) + fn.sum(axis=1))
        present = (tp + fp + fn) > 0
        scores = np.where(present, 2.0 * tp / np.where(present, 2.0 * tp + fp + fn, 1.0), 0.0)
        return scores.sum(axis=1) / present.sum(axis=1)


def f1_interval(
    expected: LabelSets,
    predicted: LabelSets,
    *,
    average: Average = "macro",
    groups: Ids | None = None,
    level: float = 0.95,
    draws: int = 1999,
    seed: int = 0,
) -> Interval:
    """Macro or micro F1 with a percentile interval, resampling rows or their groups.

    Source: `f1_of_totals`, `totals_interval`.

    >>> f1_interval(single(["a", "b"] * 20), single(["a", "a", "b", "b"] * 10)).estimate
    0.5
    """
    counts = count_labels(expected, predicted)
    return totals_interval(
        counts.totals(),
        _f1(average),
        groups=groups,
        level=level,
        draws=draws,
        seed=seed,
        method=f"{average} F1, bootstrap",
    )


def f1_difference(
    expected: LabelSets,
    before: LabelSets,
    after: LabelSets,
    *,
    average: Average = "macro",
    groups: Ids | None = None,
    level: float = 0.95,
    draws: int = 1999,
    seed: int = 0,
) -> Interval:
    """F1(after) - F1(before) on the same rows with a paired percentile interval, resampling rows or their groups.

    Source: `f1_interval`, both arms resampled together.

    >>> truth = single(["a", "b"] * 20)
    >>> f1_difference(truth, single(["a", "a", "b", "b"] * 10), truth).estimate
    0.5
    """
    arms = [count_labels(expected, arm).totals() for arm in (before, after)]
    width = arms[0].shape[1]
    f1 = _f1(average)

    def difference(sums: FloatArray) -> FloatArray:
        return f1(sums[:, width:]) - f1(sums[:, :width])

    both = np.hstack(arms)
    name = f"{average} F1 difference, paired bootstrap"
    return totals_interval(both, difference, groups=groups, level=level, draws=draws, seed=seed, method=name)


def _f1(average: Average) -> Callable[[FloatArray], FloatArray]:
    def f1(sums: FloatArray) -> FloatArray:
        return f1_of_totals(sums, average=average)

    return f1


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelScore:
    """One label's counts and scores; a score is None where it is 0/0."""

    label: Hashable
    support: int
    tp: int
    fp: int
    fn: int
    precision: float | None
    recall: float | None
    f1: float | None
    jaccard: float | None


def label_table(expected: LabelSets, predicted: LabelSets) -> list[LabelScore]:
    """Counts, precision, recall, F1 and Jaccard of each label, in sorted order.

    >>> [(row.label, row.precision, row.recall) for row in label_table(single(["a", "b"]), single(["a", "a"]))]
    [('a', 0.5, 1.0), ('b', None, 0.0)]
    """
    counts = count_labels(expected, predicted)
    sums = [part.sum(axis=0).astype(int).tolist() for part in (counts.tp, counts.fp, counts.fn)]

    def share(part: int, whole: int) -> float | None:
        return part / whole if whole else None

    return [
        LabelScore(
            label=label,
            support=tp + fn,
            tp=tp,
            fp=fp,
            fn=fn,
            precision=share(tp, tp + fp),
            recall=share(tp, tp + fn),
            f1=share(2 * tp, 2 * tp + fp + fn),
            jaccard=share(tp, tp + fp + fn),
        )
        for label, tp, fp, fn in zip(counts.labels, *sums, strict=True)
    ]


def confusion_matrix(expected: Ids, predicted: Ids) -> tuple[list[Hashable], IntArray]:
    """The sorted labels and the counts, a row an expected and a column a predicted label; None is a label of its own.

    >>> confusion_matrix(["a", "b", "b"], ["a", "a", "b"])[1].tolist()
    [[1, 0], [1, 1]]
    """
    n = len(expected)
    if n == 0 or n != len(predicted):
        raise PairingError(
            f"There are {n} expected and {len(predicted)} predicted labels; expected as many, at least one."
        )
    codes, labels = as_codes([*list(expected), *list(predicted)], 2 * n, "labels")
    size = len(labels)
    cells = np.bincount(codes[:n] * size + codes[n:], minlength=size * size)
    return labels, cells.reshape(size, size).astype(np.int64)
