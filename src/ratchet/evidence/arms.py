"""One arm of one run as columns."""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from ratchet import codec, measures
from ratchet.evidence.codes import Codes
from ratchet.evidence.records import (
    DIMENSIONS,
    FACTS,
    LOWER_IS_BETTER,
    SIMILARITY,
    ArmData,
    Column,
    Floats,
    Ints,
    Labels,
)
from ratchet.ports import Store, TraceRow
from ratchet.records import Dimension, Json, Run, Score, Source

_SHORT = 64
_HASHED = "sha256:"
_NAN = float("nan")
_FLAGS = ("refused", "unparsable", "cached")
_NONE, _BOOL, _NUMBER, _LABEL = range(4)


class ArmColumns:
    """One arm of one run, gathered row by row into arrays."""

    def __init__(self, run: Run, arm: str) -> None:
        self.run, self.arm = run, arm
        self.scores: dict[str, ScoreColumn] = {}
        self.groups: dict[int, str] = {}
        self.errors: Counter[str] = Counter()
        self.answers: tuple[Json, ...] = ()
        self.similarity: Floats | None = None
        self._trace, self._example, self._repeat = array("Q"), array("q"), array("i")
        self._failed = array("b")
        self._flags = {name: array("b") for name in _FLAGS}
        self._facts = {name: array("d") for name in FACTS}

    def add(self, row: TraceRow, ids: Codes) -> None:
        example = ids.of(row.example_id or row.id)
        self._trace.append(int(row.id[:16], 16))
        self._example.append(example)
        self._repeat.append(row.repeat)
        self._failed.append(row.error_kind is not None)
        if row.error_kind is not None:
            self.errors[row.error_kind] += 1
        if row.group is not None:
            self.groups.setdefault(example, row.group)
        for name, flags in self._flags.items():
            flags.append(getattr(row, name))
        for name, numbers in self._facts.items():
            value = measures.fact(name, row)
            numbers.append(_NAN if value is None else value)

    def freeze(self) -> None:
        self.trace = np.array(self._trace, np.uint64)
        self.example, self.repeat = np.array(self._example, np.int64), np.array(self._repeat, np.int64)
        self._by_trace = np.argsort(self.trace, kind="stable")
        self._sorted = self.trace[self._by_trace]
        self.repeats = int(self.repeat.max()) + 1 if len(self.repeat) else 1

    def find(self, traces: np.ndarray[Any, np.dtype[np.uint64]]) -> Ints:
        """The row of each trace; -1 where it is none of this arm's."""
        if not len(self._sorted):
            return np.full(len(traces), -1, np.int64)
        at = np.minimum(np.searchsorted(self._sorted, traces), len(self._sorted) - 1)
        return np.where(self._sorted[at] == traces, self._by_trace[at], -1).astype(np.int64)

    def read_answers(self, store: Store, *, similarity: bool = False) -> None:
        """Keep the answers, short; with `similarity` also how alike those to one example are, while they are whole."""
        kept: list[Json] = [None] * len(self.trace)
        whole: dict[int, Json] = {}
        words = Codes()
        for trace in store.traces(self.run.id, arm=self.arm):
            row = int(self.find(np.array([int(trace.id[:16], 16)], np.uint64))[0])
            if row >= 0 and trace.error is None and trace.answer_error is None:
                kept[row] = words.values[words.of(short_answer(trace.answer))]
                if similarity:
                    whole[row] = "" if trace.answer is None else trace.answer
        self.answers = tuple(kept)
        if similarity:
            answers = [whole.get(row) for row in range(len(kept))]
            self.similarity = similarity_of(answers, self.example)

    def arm_data(self, name: str, order: Ints) -> ArmData:
        """These rows as an arm, sorted; `order` is the place of each example's code in the evidence."""
        example = order[self.example]
        rows = np.lexsort((self.repeat, example))
        columns = {
            fact: Column(
                name=fact,
                values=np.array(values, np.float64)[rows],
                dimension=DIMENSIONS[fact],
                higher_is_better=fact not in LOWER_IS_BETTER,
            )
            for fact, values in self._facts.items()
        }
        columns = {fact: column for fact, column in columns.items() if not np.isnan(column.values).all()}
        columns |= {score: found.column(score, len(rows), rows) for score, found in self.scores.items()}
        if self.similarity is not None:
            columns[SIMILARITY] = Column(name=SIMILARITY, values=self.similarity[rows], dimension="stability")
        return ArmData(
            name=name,
            variant_id=codec.content_id(self.run.arms[self.arm]),
            example=example[rows],
            repeat=self.repeat[rows],
            failed=np.array(self._failed, np.bool_)[rows],
            refused=np.array(self._flags["refused"], np.bool_)[rows],
            unparsable=np.array(self._flags["unparsable"], np.bool_)[rows],
            cached=np.array(self._flags["cached"], np.bool_)[rows],
            columns=columns,
            answers=tuple(self.answers[row] for row in rows.tolist()) if self.answers else (),
            error_kinds=dict(self.errors.most_common()),
        )


def similarity_of(answers: Sequence[Json], examples: Ints) -> Floats:
    """For every row, how alike the answers to its example are, 0 to 1; NaN where there is only one.

    Source: `measures.similarity_by_example`, by edit distance; an answer that is None is like nothing.
    """
    by_example: dict[str, list[Json]] = {}
    for example, answer in zip(examples.tolist(), answers, strict=True):
        by_example.setdefault(str(example), []).append(answer)
    repeated = {example: given for example, given in by_example.items() if len(given) > 1}
    found = measures.similarity_by_example(repeated)
    return np.array([found.get(str(example), _NAN) for example in examples.tolist()], np.float64)


def is_short(answer: Json) -> bool:
    """Whether an answer was kept whole, not as a hash."""
    return not (isinstance(answer, str) and answer.startswith(_HASHED) and len(answer) == len(_HASHED) + 32)


def short_answer(answer: Json) -> Json:
    """The answer as it is kept to be compared with others: itself if short, else the hash of its JSON text."""
    if isinstance(answer, (bool, int, float)) or (isinstance(answer, str) and len(answer) <= _SHORT):
        return answer
    if answer is None:
        return ""  # an answer of nothing is an answer; None is none
    return f"{_HASHED}{hashlib.sha256(codec.canonical(answer)).hexdigest()[:32]}"


class ScoreColumn:
    """All scores of one name in one arm."""

    def __init__(self, dimension: Dimension) -> None:
        self.dimension: Dimension = dimension
        self.source: Source = "code"
        self.by = Codes()
        self.pairs = Codes()
        self.pairs.of(None)
        self.row, self.kind, self.value = array("q"), array("b"), array("d")
        self.pair, self.by_code, self.at_s = array("i"), array("i"), array("d")

    def add(self, row: int, score: Score) -> None:
        value = score.value
        number = measures.number(value)
        self.source = score.source
        self.row.append(row)
        self.kind.append(
            _NONE
            if value is None
            else _BOOL
            if isinstance(value, bool)
            else _LABEL
            if number is None
            else _NUMBER
        )
        self.value.append(_NAN if number is None else number)
        self.pair.append(self.pairs.of(_labels(score)))
        self.by_code.append(self.by.of(score.by))
        self.at_s.append(score.created_at)

    def column(self, name: str, count: int, rows: Ints) -> Column:
        """The newest score a row, as a column of `count` rows put in the order `rows`."""
        newest = np.argsort(np.array(self.at_s), kind="stable")
        at = np.array(self.row, np.int64)[newest]
        values = np.full(count, _NAN)
        kinds, pairs, by = np.zeros(count, np.int64), np.zeros(count, np.int64), np.full(count, -1)
        values[at] = np.array(self.value)[newest]
        if self.source == "human":  # several people may label one answer
            given = np.isfinite(np.array(self.value))[newest]
            sums = np.bincount(at[given], weights=np.array(self.value)[newest][given], minlength=count)
            people = np.bincount(at[given], minlength=count)
            values = np.divide(sums, people, out=np.full(count, _NAN), where=people > 0)
        kinds[at] = np.array(self.kind, np.int64)[newest]
        pairs[at] = np.array(self.pair, np.int64)[newest]
        by[at] = np.array(self.by_code, np.int64)[newest]
        present = set(kinds.tolist()) - {_NONE}
        kind = "labels" if _LABEL in present else "number" if _NUMBER in present else "bool"
        if kind == "labels":
            values = np.full(count, _NAN)
        labels = tuple(self.pairs.values[code] or (None, frozenset[str]()) for code in pairs[rows].tolist())
        judges = sorted(str(self.by.values[code]) for code in set(by.tolist()) if code >= 0)
        return Column(
            name=name,
            values=values[rows],
            kind=kind,
            dimension=self.dimension,
            by=", ".join(judges),
            labels=labels if len(self.pairs) > 1 else (),
        )


def _labels(score: Score) -> Labels | None:
    """(predicted, expected) of a score that carries labels; for a bare label, nothing is expected."""
    if score.metadata.get("expected") is not None:
        predicted = score.metadata.get("predicted")
        return None if predicted is None else _as_set(predicted), _as_set(score.metadata["expected"])
    if isinstance(score.value, str):
        return frozenset({score.value}), frozenset()
    return (score.value, frozenset()) if isinstance(score.value, frozenset) else None


def _as_set(value: Json) -> frozenset[str]:
    return frozenset({value}) if isinstance(value, str) else frozenset(map(str, value))
