"""What a run found, arm by arm: quality with intervals, cost, latency, tokens, errors, the worst rows.

Read from narrow rows and scores alone, into columns of numbers: a million rows stay small.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ratchet import measures
from ratchet.ports import Store, TraceRow
from ratchet.records import ONE_PIECE_S, Dimension, Run, Score, ScoreValue

Floats = np.ndarray[Any, np.dtype[np.float64]]
Ints = np.ndarray[Any, np.dtype[np.signedinteger[Any]]]

LEVEL = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A number with its two-sided 95 % interval, groups taken as clusters; None where there is too little."""

    value: float
    low: float | None = None
    high: float | None = None
    n: int = 0
    """Examples it rests on, repeats averaged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreSummary:
    """One score of one arm."""

    name: str
    dimension: Dimension
    kind: str
    """"rate" (share of passes; failed, refused and unparsable answers count as fails), "mean" (of the answers that have a score),
    "labels" (a table by label) or "empty"."""
    estimate: Estimate | None
    scored: int
    unscored: int
    reasons: Mapping[str, int] = field(default_factory=dict[str, int])
    """Why rows have no score, with counts; the most frequent."""
    counts: Mapping[str, int] = field(default_factory=dict[str, int])
    """Of labels, for scores that are labels."""
    by_label: tuple[measures.LabelRow, ...] = ()
    measures: Mapping[str, float] = field(default_factory=dict[str, float])
    """macro_f1, micro_f1, jaccard…, for scores that carry predicted and expected labels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmSummary:
    """One arm of a run."""

    arm: str
    rows: int
    examples: int
    failed: int
    errors: Mapping[str, int]
    """Failed answers by kind."""
    refused: int
    unparsable: int
    cached: int
    retried: int
    """Attempts beyond the first."""
    scores: Mapping[str, ScoreSummary]
    cost_usd: float | None
    """Of all answers, cached ones at their first price; None: no price known."""
    unpriced: int
    cost_per_call_usd: Estimate | None
    input_tokens: int
    output_tokens: int
    ttft_s: Mapping[str, float]
    """p50, p95, p99 (from 1,000 answers), max, mean; empty where nothing was streamed."""
    latency_s: Mapping[str, float]
    tokens_per_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorstRow:
    """An answer that failed most scores."""

    arm: str
    example_id: str
    repeat: int
    trace_id: str
    error: str | None
    missed: Mapping[str, ScoreValue]


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A run in numbers."""

    run_id: str
    name: str
    task: str
    baseline: str | None
    arms: Mapping[str, ArmSummary]
    judge_cost_usd: float | None
    judge_calls: int
    worst: tuple[WorstRow, ...]
    notes: tuple[str, ...] = ()


def summarise(run: Run, store: Store, *, worst: int = 5) -> Summary:
    """The summary of everything the run holds so far."""
    arms = list(run.arms)
    rows = _Rows(arms)
    judge_cost: float | None = 0.0
    judge_calls = 0
    for row in store.rows(run.id):
        if row.arm is None:
            judge_calls += 1
            judge_cost = None if row.cost_usd is None or judge_cost is None else judge_cost + row.cost_usd
        else:
            rows.add(row)
    scored: dict[str, _Scores] = {}
    for score in store.scores(run.id):
        if score.source == "human":  # labels measure the judge; they are no column beside it
            continue
        scored.setdefault(score.name, _Scores(score.dimension)).add(score)
    rows.freeze()
    for column in scored.values():
        column.freeze(rows)
    found = {
        arm: _arm(
            arm,
            rows,
            code,
            {name: summary for name, c in scored.items() if (summary := _score(name, c, rows, code))},
        )
        for code, arm in enumerate(arms)
    }
    return Summary(
        run_id=run.id,
        name=run.name,
        task=run.task.name,
        baseline=run.baseline,
        arms=found,
        judge_cost_usd=judge_cost if judge_calls else 0.0,
        judge_calls=judge_calls,
        worst=tuple(_worst(rows, scored, store, worst)),
        notes=tuple(_notes(found)),
    )


class _Codes:
    """Small numbers for values that repeat."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._numbers: dict[Hashable, int] = {}

    def of(self, value: Hashable) -> int:
        number = self._numbers.get(value)
        if number is None:
            number = self._numbers[value] = len(self.values)
            self.values.append(value)
        return number


_NUMBERS = ("cost_usd", "ttft_s", "latency_s", "input_tokens", "output_tokens", "attempts")
_FLAGS = ("refused", "unparsable", "cached")
_NAN = float("nan")


class _Rows:
    """The narrow facts of a run as columns; a missing number is NaN here and nowhere else."""

    def __init__(self, arms: list[str]) -> None:
        self._arm_codes = {arm: code for code, arm in enumerate(arms)}
        self.arm_names = arms
        self.errors = _Codes()
        self.errors.of(None)
        self._trace, self._trace_low = array("Q"), array("Q")
        self._example, self._group = array("q"), array("q")
        self._arm, self._error = array("i"), array("i")
        self._numbers = {name: array("d") for name in _NUMBERS}
        self._flags = {name: array("b") for name in _FLAGS}

    def add(self, row: TraceRow) -> None:
        code = self._arm_codes.get(row.arm or "")
        if code is None:
            return
        self._trace.append(int(row.id[:16], 16))
        self._trace_low.append(int(row.id[16:], 16))
        example = hash(row.example_id or row.id)
        self._example.append(example)
        self._group.append(example if row.group is None else hash(("group", row.group)))
        self._arm.append(code)
        self._error.append(self.errors.of(row.error_kind))
        for name, column in self._numbers.items():
            value = getattr(row, name)
            column.append(_NAN if value is None else value)
        for name, column in self._flags.items():
            column.append(getattr(row, name))

    def freeze(self) -> None:
        self.trace = _view(self._trace)
        self.order = np.argsort(self.trace, kind="stable").astype(np.int32)
        self.sorted_trace = self.trace[self.order]
        self.example = _view(self._example)
        self.group = _view(self._group)
        self.arm = _view(self._arm)
        self.error = _view(self._error)
        self.numbers: dict[str, Floats] = {name: _view(column) for name, column in self._numbers.items()}
        self.flags = {name: _view(column).view(np.bool_) for name, column in self._flags.items()}
        self.unanswered = (self.error > 0) | self.flags["refused"] | self.flags["unparsable"]

    def find(self, traces: np.ndarray[Any, np.dtype[np.uint64]]) -> Ints:
        """The row of each trace; -1 where there is none."""
        if not len(self.sorted_trace):
            return np.full(len(traces), -1, np.int64)
        at = np.minimum(np.searchsorted(self.sorted_trace, traces), len(self.sorted_trace) - 1)
        return np.where(self.sorted_trace[at] == traces, self.order[at], -1)

    def trace_id(self, index: int) -> str:
        return f"{self._trace[index]:016x}{self._trace_low[index]:016x}"


def _view(column: array[Any]) -> np.ndarray[Any, Any]:
    """The column's own memory as an array."""
    return np.frombuffer(column, dtype=np.dtype(column.typecode)) if column else np.zeros(0, column.typecode)


_NONE, _BOOL, _NUMBER, _LABEL = range(4)


class _Scores:
    """All scores of one name as columns."""

    def __init__(self, dimension: Dimension) -> None:
        self.dimension: Dimension = dimension
        self.words = _Codes()
        """Reasons and labels."""
        self.pairs = _Codes()
        """(predicted, expected) of label scores, each with a score that carries it."""
        self.pairs.of(None)
        self._examples: list[Score | None] = [None]
        self._trace = array("Q")
        self._value = array("d")
        self._kind, self._word, self._pair = array("b"), array("i"), array("i")

    def add(self, score: Score) -> None:
        value = score.value
        self._trace.append(int(score.trace_id[:16], 16))
        number, word = _NAN, ""
        if value is None:
            kind, word = _NONE, score.reason or "no reason given"
        elif isinstance(value, bool):
            kind, number = _BOOL, float(value)
        elif isinstance(value, (int, float)):
            kind, number = _NUMBER, float(value)
        else:
            kind, word = _LABEL, value if isinstance(value, str) else ", ".join(sorted(value))
        self._kind.append(kind)
        self._value.append(number)
        self._word.append(self.words.of(word) if len(self.words.values) < 10_000 else self.words.of("other"))
        self._pair.append(self._pair_code(score))

    def _pair_code(self, score: Score) -> int:
        if "expected" not in score.metadata:
            return 0
        code = self.pairs.of(
            (repr(score.metadata.get("predicted")), repr(score.metadata["expected"]), score.value)
        )
        if code == len(self._examples):
            self._examples.append(score)
        return code

    def freeze(self, rows: _Rows) -> None:
        self.row = rows.find(_view(self._trace)).astype(np.int32)
        self.value: Floats = _view(self._value)
        self.kind = _view(self._kind)
        self.word = _view(self._word)
        self.pair = _view(self._pair)

    def labelled(self, chosen: np.ndarray[Any, np.dtype[np.bool_]]) -> list[Score]:
        """The label scores chosen, equal ones as one object many times."""
        codes = self.pair[chosen]
        return [score for code in codes[codes > 0] if (score := self._examples[code]) is not None]


def _speeds(tokens: Floats, latency_s: Floats, ttft_s: Floats) -> Floats:
    """`records.generation_speed` of many answers, those left out that have none."""
    streamed = ~np.isnan(ttft_s)
    counted = np.where(streamed, tokens - 1, tokens)
    seconds = np.where(streamed, latency_s - ttft_s, latency_s)
    seen = (counted > 0) & (seconds > np.where(streamed, ONE_PIECE_S, 0.0))
    return counted[seen] / seconds[seen]


def _arm(arm: str, rows: _Rows, code: int, scores: Mapping[str, ScoreSummary]) -> ArmSummary:
    mine = rows.arm == code
    ok = mine & (rows.error == 0)
    cost = rows.numbers["cost_usd"]
    priced = mine & ~np.isnan(cost)
    latency, ttft = rows.numbers["latency_s"], rows.numbers["ttft_s"]
    speed = _speeds(rows.numbers["output_tokens"][ok], latency[ok], ttft[ok])
    errors = Counter({rows.errors.values[c]: int(n) for c, n in _counted(rows.error[mine]) if c > 0})
    return ArmSummary(
        arm=arm,
        rows=int(mine.sum()),
        examples=len(np.unique(rows.example[mine])),
        failed=int((mine & (rows.error > 0)).sum()),
        errors=dict(errors.most_common()),
        refused=int(rows.flags["refused"][mine].sum()),
        unparsable=int(rows.flags["unparsable"][mine].sum()),
        cached=int(rows.flags["cached"][mine].sum()),
        retried=int(np.maximum(rows.numbers["attempts"][mine] - 1, 0).sum()),
        scores=scores,
        cost_usd=float(cost[priced].sum()) if priced.any() else None,
        unpriced=int((ok & np.isnan(cost)).sum()),
        cost_per_call_usd=_mean(rows, priced, cost) if priced.any() else None,
        input_tokens=int(np.nansum(rows.numbers["input_tokens"][mine])),
        output_tokens=int(np.nansum(rows.numbers["output_tokens"][mine])),
        ttft_s=_quantiles(ttft[ok & ~np.isnan(ttft)]),
        latency_s=_quantiles(latency[ok & ~np.isnan(latency)]),
        tokens_per_s=float(np.median(speed)) if len(speed) else None,
    )


def _counted(codes: Ints) -> Iterator[tuple[int, int]]:
    values, counts = np.unique(codes, return_counts=True)
    return zip(values.tolist(), counts.tolist(), strict=True)


def _score(name: str, scores: _Scores, rows: _Rows, arm: int) -> ScoreSummary | None:
    """A score over an arm. A failed answer is a fail for a rate; it is left out of a mean, but counted."""
    chosen = (
        (scores.row >= 0) & (rows.arm[scores.row] == arm)
        if len(rows.arm)
        else np.zeros(len(scores.row), bool)
    )
    if not chosen.any():
        return None
    kinds, values, at = scores.kind[chosen], scores.value[chosen], scores.row[chosen]
    scored = kinds != _NONE
    # a None is a fail where there was no answer to judge, and nothing where the scorer gave up
    judged = scored | rows.unanswered[at]
    everywhere = set(scores.kind.tolist()) - {_NONE}
    present = set(kinds[scored].tolist())
    kind, estimate = "empty", None
    if everywhere == {_BOOL} and judged.any():
        kind, estimate = "rate", _rate(rows, at[judged], np.nan_to_num(values[judged]))
    elif present and present <= {_BOOL, _NUMBER}:
        kind, estimate = "mean", _estimate(rows, at[scored], values[scored])
    elif present:
        kind = "labels"
    words = scores.word[chosen]
    labelled = scores.labelled(chosen)
    return ScoreSummary(
        name=name,
        dimension=scores.dimension,
        kind=kind,
        estimate=estimate,
        scored=int(scored.sum()),
        unscored=int((~scored).sum()),
        reasons=_most_common(scores.words, words[~scored], 3),
        counts=_most_common(scores.words, words[scored], 20) if kind == "labels" and not labelled else {},
        by_label=tuple(measures.label_table(labelled)) if labelled else (),
        measures=measures.of_labels(labelled) if labelled else {},
    )


def _most_common(codes: _Codes, chosen: Ints, count: int) -> dict[str, int]:
    return dict(Counter({str(codes.values[code]): n for code, n in _counted(chosen)}).most_common(count))


def _by_example(rows: _Rows, at: Ints, values: Floats) -> tuple[Floats, Ints]:
    """The mean of each example's repeats, and its group: repeats are no new evidence."""
    _, first, codes = np.unique(rows.example[at], return_index=True, return_inverse=True)
    sums = np.bincount(codes, weights=values)
    return sums / np.bincount(codes), rows.group[at][first]


def _rate(rows: _Rows, at: Ints, passed: Floats) -> Estimate:
    values, groups = _by_example(rows, at, passed)
    if ((values == 0) | (values == 1)).all():
        from ratchet.stats.proportions import rate_interval

        clustered = len(np.unique(groups)) < len(groups)
        found = rate_interval(values, groups=groups if clustered else None, level=LEVEL)
        return Estimate(value=found.estimate, low=found.low, high=found.high, n=len(values))
    estimate = _t_mean(values, groups)
    low, high = (
        None if limit is None else min(max(limit, 0.0), 1.0) for limit in (estimate.low, estimate.high)
    )
    return Estimate(value=estimate.value, low=low, high=high, n=estimate.n)


def _mean(rows: _Rows, chosen: np.ndarray[Any, np.dtype[np.bool_]], values: Floats) -> Estimate:
    return _estimate(rows, np.flatnonzero(chosen), values[chosen])


def _estimate(rows: _Rows, at: Ints, values: Floats) -> Estimate:
    return _t_mean(*_by_example(rows, at, values))


def _t_mean(values: Floats, groups: Ints) -> Estimate:
    from ratchet.stats.means import t_interval

    distinct = len(np.unique(groups))
    if distinct < 2:
        return Estimate(value=float(values.mean()), n=len(values))
    found = t_interval(values, groups=groups if distinct < len(groups) else None, level=LEVEL)
    return Estimate(value=found.estimate, low=found.low, high=found.high, n=len(values))


def _quantiles(values: Floats) -> dict[str, float]:
    if not len(values):
        return {}
    wanted = {"p50": 0.5, "p95": 0.95, **({"p99": 0.99} if len(values) >= 1000 else {})}
    found = {name: float(np.quantile(values, share)) for name, share in wanted.items()}
    return {"mean": float(values.mean()), "min": float(values.min()), **found, "max": float(values.max())}


def _worst(rows: _Rows, scored: Mapping[str, _Scores], store: Store, count: int) -> Iterable[WorstRow]:
    """Answers by how far they missed: failed ones first, then those with the lowest scores."""
    loss = np.where(rows.error > 0, 1e6, 0.0)
    for scores in scored.values():
        known = (scores.row >= 0) & (scores.kind != _LABEL)
        numbers = scores.value[known & ~np.isnan(scores.value)]
        top = float(numbers.max()) if len(numbers) and numbers.max() > 0 else 1.0
        missed = np.where(np.isnan(scores.value[known]), 1.0, 1 - scores.value[known] / top)
        np.add.at(loss, scores.row[known], np.maximum(missed, 0.0))
    seen: set[int] = set()
    for index in np.argsort(-loss, kind="stable").tolist():
        if loss[index] <= 0 or len(seen) >= count:
            return
        example = int(rows.example[index])
        if example in seen:  # one row an example: repeats and arms tend to miss together
            continue
        seen.add(example)
        trace = store.trace(rows.trace_id(index))
        if trace is None:
            continue
        missed = {score.name: score.value for score in store.scores(trace_id=trace.id)}
        yield WorstRow(
            arm=trace.arm or "",
            example_id=trace.example_id or "",
            repeat=trace.repeat,
            trace_id=trace.id,
            error=trace.error.kind if trace.error else None,
            missed=missed,
        )


def _notes(arms: Mapping[str, ArmSummary]) -> Iterable[str]:
    for arm in arms.values():
        if arm.cached:
            yield f"{arm.arm}: {arm.cached} of {arm.rows} answers came from the cache; they have no latency"
        if arm.unpriced:
            yield f"{arm.arm}: the price of {arm.unpriced} answers is unknown"
        if arm.rows and arm.failed == arm.rows:
            yield f"{arm.arm}: every call failed ({', '.join(arm.errors)})"
