"""One arm's scores become a number, or a table by label.

`measure` takes the scores of one name; how failed answers count is decided before, by leaving their scores out or
not: a score of None is a miss for "rate", "accuracy", "pass_at_k", "pass_hat_k" and the label measures, a disagreement for
"agreement", "stability", "flip_rate" and "similarity", and is left out of "mean", "quantile", "worst" and "best". The label measures read `predicted` and `expected` from the scores' metadata, as the scorers
`classification` and `labels` write it.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ratchet import codec
from ratchet.errors import StatisticsError, UnknownNameError
from ratchet.ports import Embed, TraceRow
from ratchet.records import Json, Score, ScoreValue, generation_speed

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
    """Each score's example. Repeats are then averaged first; The measures over repeats can't do without."""
    quantile: float = 0.5
    label: str | None = None
    """For "rate", the share of scores that are or hold this label; for F1 and Jaccard, that label's own."""
    k: int = 1
    """For "pass_at_k" and "pass_hat_k": how many tries, of which any or all must pass."""
    groups: Sequence[str] | None = None
    """Each score's group, such as a set of paraphrases. "worst", "best" and "group_mean" are taken of each, else of
    each example's repeats."""


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
        return generation_speed(row.output_tokens, row.latency_s, row.ttft_s)
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


def _pairs_agree(scores: Sequence[Score], options: Options) -> float | None:
    return _mean_of(stability_by_example(_values(scores, options)))


def _flip_rate(scores: Sequence[Score], options: Options) -> float | None:
    agreeing = _pairs_agree(scores, options)
    return None if agreeing is None else 1.0 - agreeing


def _similarity(scores: Sequence[Score], options: Options) -> float | None:
    return _mean_of(similarity_by_example(_values(scores, options)))


def _values(scores: Sequence[Score], options: Options) -> dict[str, list[ScoreValue]]:
    """The values of each example's repeats."""
    values: dict[str, list[ScoreValue]] = {}
    for score, example in zip(scores, _needed(options), strict=True):
        values.setdefault(example, []).append(score.value)
    return values


def _mean_of(by_example: Mapping[str, float]) -> float | None:
    return sum(by_example.values()) / len(by_example) if by_example else None


def _pass_k(which: Literal["pass_at_k", "pass_hat_k"]) -> Callable[[Sequence[Score], Options], float | None]:
    def pass_k(scores: Sequence[Score], options: Options) -> float | None:
        from ratchet.stats import stability

        tries = {
            example: [_passed(value, options.label) for value in values]
            for example, values in _values(scores, options).items()
        }
        passed, counts = [sum(each) for each in tries.values()], [len(each) for each in tries.values()]
        share = stability.pass_at_k if which == "pass_at_k" else stability.pass_hat_k
        return float(share(passed, counts, options.k).mean())

    return pass_k


def _spread(which: Literal["worst", "mean", "best"]) -> Callable[[Sequence[Score], Options], float | None]:
    def spread(scores: Sequence[Score], options: Options) -> float | None:
        from ratchet.stats.stability import worst_and_best

        owners = options.groups if options.groups is not None else _needed(options)
        if len(owners) != len(scores):
            raise StatisticsError(
                f"there are {len(scores)} scores and {len(owners)} groups; expected as many"
            )
        kept = [
            (value, owner)
            for score, owner in zip(scores, owners, strict=True)
            if (value := number(score.value)) is not None
        ]
        if not kept:
            return None
        found = worst_and_best([value for value, _ in kept], [owner for _, owner in kept])
        return float(getattr(found, which))

    return spread


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
    "stability": _pairs_agree,
    "flip_rate": _flip_rate,
    "similarity": _similarity,
    "pass_at_k": _pass_k("pass_at_k"),
    "pass_hat_k": _pass_k("pass_hat_k"),
    "worst": _spread("worst"),
    "group_mean": _spread("mean"),
    "best": _spread("best"),
}
MEASURES = tuple(_MEASURES)


def stability_by_example(values_by_example: Mapping[str, Sequence[Json]]) -> dict[str, float]:
    """For each example, the share of pairs of its repeats that agree: 1 always the same, 0 never twice the same.

    Give outputs for raw agreement, extracted answers (or scores) for parsed agreement. Values agree where they are
    equal as JSON; None, an answer that failed or could not be extracted, agrees with nothing.

    Raises:
        StatisticsError: An example has fewer than two repeats.

    >>> stability_by_example({"a": ["yes", "yes", "no", "yes"], "b": ["x", None, "x", "x"]})
    {'a': 0.5, 'b': 0.5}
    """
    from ratchet.stats.stability import repeat_flips_by_example

    _check_repeats(values_by_example)
    if not values_by_example:
        return {}
    # numbered, so that the order of the result is known
    owners = [index for index, values in enumerate(values_by_example.values()) for _ in values]
    answers = [_comparable(value) for values in values_by_example.values() for value in values]
    flips = repeat_flips_by_example(answers, owners)
    return {example: 1.0 - float(flip) for example, flip in zip(values_by_example, flips, strict=True)}


COMPARED_CHARACTERS = 20_000
"""Of two texts, the edit distance is taken of so many first characters: time grows with their product."""


def similarity_by_example(
    values_by_example: Mapping[str, Sequence[Json]], vectors: Mapping[str, Sequence[float]] | None = None
) -> dict[str, float]:
    """For each example, how alike its repeats are on average over pairs, 0 to 1; free text is rarely twice the same.

    Without `vectors`, 1 minus the Levenshtein distance over the longer length. None is like nothing.

    Args:
        vectors: An embedding of each distinct text (`embed_texts`): then the cosine, 0 where it is negative.

    Raises:
        StatisticsError: An example has fewer than two repeats.
    """
    _check_repeats(values_by_example)
    alike = _edit_likeness if vectors is None else _cosine_likeness(vectors)
    found: dict[str, float] = {}
    for example, values in values_by_example.items():
        texts = Counter(None if value is None else _as_text(value) for value in values)
        pairs = len(values) * (len(values) - 1) / 2
        total = sum(count * (count - 1) / 2 for text, count in texts.items() if text is not None)
        for (left, m), (right, n) in itertools.combinations(texts.items(), 2):
            if left is not None and right is not None:
                total += m * n * alike(left, right)
        found[example] = total / pairs
    return found


async def embed_texts(
    values_by_example: Mapping[str, Sequence[Json]], embed: Embed
) -> dict[str, Sequence[float]]:
    """An embedding of each distinct text among the values, for `similarity_by_example`."""
    texts = list(
        dict.fromkeys(
            _as_text(value) for values in values_by_example.values() for value in values if value is not None
        )
    )
    return dict(zip(texts, await embed(texts), strict=True)) if texts else {}


def _check_repeats(values_by_example: Mapping[str, Sequence[Json]]) -> None:
    for example, values in values_by_example.items():
        if len(values) < 2:
            raise StatisticsError(
                f"example {example!r} has {len(values)} answers; stability is over repeats: expected at least 2 "
                "(repeats: 5). Give failed repeats as None"
            )


def _comparable(value: Json) -> tuple[bool, str] | None:
    """What equal values share: whether it is text, and the text or the canonical JSON."""
    return None if value is None else (isinstance(value, str), _as_text(value))


def _as_text(value: Json) -> str:
    return value if isinstance(value, str) else codec.canonical(value).decode("utf-8", "surrogatepass")


def _edit_likeness(left: str, right: str) -> float:
    from rapidfuzz.distance import Levenshtein

    return Levenshtein.normalized_similarity(left[:COMPARED_CHARACTERS], right[:COMPARED_CHARACTERS])


def _cosine_likeness(vectors: Mapping[str, Sequence[float]]) -> Callable[[str, str], float]:
    import numpy as np

    from ratchet.embeddings import cosine

    def alike(left: str, right: str) -> float:
        pair = (np.asarray(vectors[text], dtype=np.float64) for text in (left, right))
        return max(0.0, cosine(*pair))

    return alike


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
