"""One arm's scores become a number, or a table by label.

`measure` takes the scores of one name; how failed answers count is decided before, by leaving their scores out or
not: a score of None is a miss for "rate", "accuracy", "pass_hat_k" and the label measures, and is left out of
"mean" and "quantile". The label measures read `predicted` and `expected` from the scores' metadata, as the scorers
`classification` and `labels` write it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ratchet.errors import StatisticsError, UnknownNameError
from ratchet.ports import TraceRow
from ratchet.records import Json, Score, ScoreValue

if TYPE_CHECKING:
    from ratchet.stats.labels import Average, LabelSets

UNKNOWN = "(unknown)"
"""The class of answers without a label, and of labels that the vocabulary doesn't hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelRow:
    """One label's counts and scores; a score is None where it is 0/0."""

    label: str
    support: int
    """How often it was expected."""
    tp: int
    fp: int
    fn: int
    precision: float | None
    recall: float | None
    f1: float | None
    jaccard: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfusionMatrix:
    """Counts: a row an expected and a column a predicted label, both in the order of `labels`."""

    labels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What some measures need beside the scores."""

    examples: Sequence[str] | None = None
    """Each score's example. Repeats are then averaged first; "agreement" and "pass_hat_k" can't do without."""
    quantile: float = 0.5
    label: str | None = None
    """For "rate", the share of scores that are or hold this label; for F1 and Jaccard, that label's own."""
    k: int = 1
    """For "pass_hat_k": how many tries must all pass."""


_DEFAULTS = Options()


def measure(name: str, scores: Sequence[Score], options: Options = _DEFAULTS) -> float | None:
    """This measure of the scores; None where they hold nothing it could be taken of.

    "ratio" is the mean: the ratio lies between two arms.

    Raises:
        UnknownNameError: No such measure.
        StatisticsError: The scores, or the options, are not what it needs.
    """
    if name not in _MEASURES:
        raise UnknownNameError("measure", name, MEASURES)
    if options.examples is not None and len(options.examples) != len(scores):
        raise StatisticsError(
            f"there are {len(scores)} scores and {len(options.examples)} examples; expected as many"
        )
    return _MEASURES[name](scores, options) if scores else None


def fact(metric: str, row: TraceRow) -> float | None:
    """A fact of a trace as a number, by the name that checks use; None where it isn't known.

    Raises:
        UnknownNameError: No such fact.
    """
    if metric == "error":
        return float(row.error_kind is not None)
    if metric == "tokens_per_s":
        seconds = (row.latency_s or 0.0) - (row.ttft_s or 0.0)
        return row.output_tokens / seconds if row.output_tokens and seconds > 0 else None
    if metric not in FACTS:
        raise UnknownNameError("fact", metric, FACTS)
    value = getattr(row, metric)
    return None if value is None else float(value)


FACTS = (
    "cost_usd",
    "ttft_s",
    "latency_s",
    "queue_s",
    "input_tokens",
    "output_tokens",
    "cached_tokens",
    "reasoning_tokens",
    "attempts",
    "tokens_per_s",
    "error",
)


def number(value: ScoreValue) -> float | None:
    """The value as a number: True is 1; None where it is no number."""
    return float(value) if isinstance(value, (bool, int, float)) else None


def _by_example(values: Sequence[float], examples: Sequence[str] | None) -> float | None:
    """The mean, of the examples' means where they are known."""
    if not values:
        return None
    if examples is None:
        return sum(values) / len(values)
    sums: dict[str, tuple[float, int]] = {}
    for value, example in zip(values, examples, strict=True):
        total, count = sums.get(example, (0.0, 0))
        sums[example] = (total + value, count + 1)
    return sum(total / count for total, count in sums.values()) / len(sums)


def _numbers(scores: Sequence[Score], options: Options) -> tuple[list[float], list[str] | None]:
    """The numbers there are, and the examples they belong to."""
    found = [(index, number(score.value)) for index, score in enumerate(scores)]
    kept = [(index, value) for index, value in found if value is not None]
    examples = None if options.examples is None else [options.examples[index] for index, _ in kept]
    return [value for _, value in kept], examples


def _mean(scores: Sequence[Score], options: Options) -> float | None:
    return _by_example(*_numbers(scores, options))


def _quantile(scores: Sequence[Score], options: Options) -> float | None:
    import numpy as np

    values, _ = _numbers(scores, options)
    return float(np.quantile(values, options.quantile)) if values else None


def _rate(scores: Sequence[Score], options: Options) -> float | None:
    return _by_example([float(_passed(score.value, options.label)) for score in scores], options.examples)


def _passed(value: ScoreValue, label: str | None) -> bool:
    if value is None:
        return False
    if label is not None:
        return value == label or (isinstance(value, frozenset) and label in value)
    if not isinstance(value, bool):
        raise StatisticsError(
            f"a rate is of passes and fails, found {value!r}; name a label, or use the measure 'mean'"
        )
    return value


def _accuracy(scores: Sequence[Score], options: Options) -> float | None:
    expected, predicted = label_sets(scores)
    hits = [float(e == p) for e, p in zip(expected, predicted, strict=True)]
    return _by_example(hits, options.examples)


def _f1(average: Average) -> Callable[[Sequence[Score], Options], float | None]:
    def f1(scores: Sequence[Score], options: Options) -> float | None:
        if options.label is not None:
            return _of_label(scores, options.label, "f1")
        from ratchet.stats.labels import count_labels, f1_of_totals

        expected, predicted = label_sets(scores)
        if (
            average == "macro"
        ):  # the mean over real labels: a class of its own would pull it down by 1/classes
            predicted = [frozenset(labels) - {UNKNOWN} for labels in predicted]
        counts = count_labels(expected, predicted)
        if not counts.labels:
            return None
        value = float(f1_of_totals(counts.totals().sum(axis=0, keepdims=True), average=average)[0])
        return value if value == value else None

    return f1


def _jaccard(scores: Sequence[Score], options: Options) -> float | None:
    if options.label is not None:
        return _of_label(scores, options.label, "jaccard")
    from ratchet.stats.labels import jaccard

    return _by_example(jaccard(*label_sets(scores)).tolist(), options.examples)


def _of_label(scores: Sequence[Score], label: str, which: str) -> float | None:
    rows = {row.label: row for row in label_table(scores)}
    if label not in rows:
        raise UnknownNameError("label", label, sorted(rows))
    return getattr(rows[label], which)


def _agreement(scores: Sequence[Score], options: Options) -> float | None:
    from ratchet.stats.stability import same_by_example

    values = [tuple(sorted(s.value)) if isinstance(s.value, frozenset) else s.value for s in scores]
    return float(same_by_example(values, _needed(options)).mean())


def _pass_hat_k(scores: Sequence[Score], options: Options) -> float | None:
    from ratchet.stats.stability import pass_hat_k

    tries: dict[str, list[bool]] = {}
    for score, example in zip(scores, _needed(options), strict=True):
        tries.setdefault(example, []).append(_passed(score.value, options.label))
    passed = [sum(each) for each in tries.values()]
    return float(pass_hat_k(passed, [len(each) for each in tries.values()], options.k).mean())


def _needed(options: Options) -> Sequence[str]:
    if options.examples is None:
        raise StatisticsError("this measure is over repeats: it needs each score's example")
    return options.examples


_MEASURES: dict[str, Callable[[Sequence[Score], Options], float | None]] = {
    "mean": _mean,
    "rate": _rate,
    "quantile": _quantile,
    "ratio": _mean,
    "accuracy": _accuracy,
    "macro_f1": _f1("macro"),
    "micro_f1": _f1("micro"),
    "jaccard": _jaccard,
    "agreement": _agreement,
    "pass_hat_k": _pass_hat_k,
}
MEASURES = tuple(_MEASURES)


def label_sets(scores: Sequence[Score]) -> tuple[LabelSets, LabelSets]:
    """Expected and predicted labels of each score, as sets; an answer without a label is `{UNKNOWN}`.

    Raises:
        StatisticsError: A score's metadata has no expected label.
    """
    expected: list[frozenset[str]] = []
    predicted: list[frozenset[str]] = []
    for score in scores:
        if score.metadata.get("expected") is None:
            raise StatisticsError(
                f"score {score.name!r} of trace {score.trace_id} has no expected label in its metadata "
                f"({score.reason or 'no reason given'}); the scorers classification and labels write it"
            )
        found = score.metadata.get("predicted")
        expected.append(_as_set(score.metadata["expected"]))
        predicted.append(frozenset({UNKNOWN}) if found is None else _as_set(found))
    return expected, predicted


def _as_set(value: Json) -> frozenset[str]:
    return frozenset({value}) if isinstance(value, str) else frozenset(map(str, value))


def of_labels(scores: Sequence[Score]) -> Mapping[str, float]:
    """Accuracy (of all labels of a row at once), macro F1, micro F1 and Jaccard of scores that carry labels."""
    found = {name: measure(name, scores) for name in ("accuracy", "macro_f1", "micro_f1", "jaccard")}
    return {name: value for name, value in found.items() if value is not None}


def label_table(scores: Sequence[Score]) -> list[LabelRow]:
    """Counts, precision, recall, F1 and Jaccard of each label, sorted; answers without one are `UNKNOWN`."""
    from ratchet.stats.labels import label_table as table

    if not scores:
        return []
    return [
        LabelRow(
            label=str(row.label),
            support=row.support,
            tp=row.tp,
            fp=row.fp,
            fn=row.fn,
            precision=row.precision,
            recall=row.recall,
            f1=row.f1,
            jaccard=row.jaccard,
        )
        for row in table(*label_sets(scores))
    ]


def confusion(scores: Sequence[Score]) -> ConfusionMatrix:
    """Which label was taken for which, for scores of single labels; answers without one are `UNKNOWN`.

    Raises:
        StatisticsError: A score has a set of labels.
    """
    from ratchet.stats.labels import confusion_matrix

    if not scores:
        return ConfusionMatrix(labels=(), counts=())
    for score in scores:
        if isinstance(score.metadata.get("expected"), list):
            raise StatisticsError(
                f"score {score.name!r} has sets of labels; a confusion matrix is of single labels"
            )
    expected, predicted = label_sets(scores)
    labels, counts = confusion_matrix(
        *([next(iter(each)) for each in side] for side in (expected, predicted))
    )
    return ConfusionMatrix(labels=tuple(map(str, labels)), counts=tuple(map(tuple, counts.tolist())))
