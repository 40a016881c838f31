"""The numbers a verdict rests on: every arm's facts and scores per (example, repeat), as columns.

It comes from runs in the store (`from_runs`), from files (`tabular`), or from an evidence file (`read`), and is all
that `verdicts.compare` looks at, so that a verdict can be recomputed anywhere. Missing numbers are NaN in the arrays
and null in files.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ratchet import codec, datasets, measures
from ratchet.errors import DatasetError, PairingError, PlanError, UnknownNameError
from ratchet.ports import Store, TraceRow
from ratchet.records import Check, Dimension, Example, Json, Run, Score, Variant

Floats = np.ndarray[Any, np.dtype[np.float64]]
Ints = np.ndarray[Any, np.dtype[np.int64]]
Bools = np.ndarray[Any, np.dtype[np.bool_]]
Labels = tuple[frozenset[str] | None, frozenset[str]]

FACTS = ("cost_usd", "ttft_s", "latency_s", "input_tokens", "output_tokens", "tokens_per_s")
LOWER_IS_BETTER = frozenset({"cost_usd", "ttft_s", "latency_s", "input_tokens", "output_tokens"})
DIMENSIONS: Mapping[str, Dimension] = {
    "cost_usd": "cost",
    "input_tokens": "cost",
    "output_tokens": "cost",
    "ttft_s": "latency",
    "latency_s": "latency",
    "tokens_per_s": "latency",
}
MAX_SLICES = 20
"""Metadata with more distinct values than this is no slice."""
_SHORT = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One metric of one arm, a value a row; NaN: not scored."""

    name: str
    values: Floats
    kind: str = "number"
    """"bool" (1 passes), "number", or "labels"; a labels column has NaN values and its `labels`."""
    dimension: Dimension = "accuracy"
    higher_is_better: bool = True
    by: str = ""
    """scorer@version; two arms are comparable only where these agree."""
    labels: tuple[Labels, ...] = ()
    """(predicted, expected) a row, for F1 and the like; empty where there are none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmData:
    """One arm's rows. All arrays have one entry a row; rows are in order of (example, repeat)."""

    name: str
    variant_id: str
    example: Ints
    """Index into `Evidence.examples`."""
    repeat: Ints
    failed: Bools
    """No answer: an error."""
    refused: Bools
    unparsable: Bools
    cached: Bools
    columns: Mapping[str, Column]
    """By metric: facts (FACTS) and scores."""
    answers: tuple[Json, ...] = ()
    """The parsed answer a row, for agreement over repeats; empty where not kept."""
    error_kinds: Mapping[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything a verdict looks at."""

    examples: tuple[str, ...]
    """Ids, in the dataset's order."""
    groups: Ints
    """Cluster of each example; every example its own where none are given."""
    grouped: bool
    """Whether groups were given."""
    contents: tuple[str, ...]
    """Content hash of each example, or "" where unknown; the same id must have the same content in all arms."""
    slices: Mapping[str, tuple[str, ...]]
    """Metadata to slice by: a text an example."""
    arms: Mapping[str, ArmData]
    checks: tuple[Check, ...] = ()
    """Those written before the run."""
    facts: Mapping[str, Json] = field(default_factory=dict[str, Any])
    """task_id, dataset_id, run_ids, prompts, prices, scorers, seeds, environment, interleaved (bool), source."""
    warnings: tuple[str, ...] = ()


def from_runs(store: Store, runs: Run | str | Mapping[str, tuple[str, str]]) -> Evidence:
    """The evidence of one run's arms, or of arms of several runs.

    Args:
        runs: A run or its id, for all its arms; or the name each arm shall have, with its (run id, arm's name).

    Raises:
        PlanError: No such run.
        UnknownNameError: The run has no such arm.
        PairingError: An example's content differs between the runs, though its id is the same.
    """
    chosen = _chosen(store, runs)
    sources = {run.id: run for run, _ in chosen.values()}
    columns = {name: _ArmColumns(run, arm) for name, (run, arm) in chosen.items()}
    ids = _Codes()
    for column in columns.values():
        for row in store.rows(column.run.id, arm=column.arm):
            column.add(row, ids)
    for column in columns.values():
        column.freeze()
    for run_id in sources:
        _read_scores(store, run_id, [column for column in columns.values() if column.run.id == run_id])
    if any(column.repeats > 1 for column in columns.values()):
        for column in columns.values():
            column.read_answers(store)
    found = _Examples(ids, list(sources.values()))
    groups = found.groups(columns.values())
    first = next(iter(sources.values()))
    return Evidence(
        examples=found.ids,
        groups=groups,
        grouped=len(np.unique(groups)) < len(groups),
        contents=found.contents,
        slices=found.slices,
        arms={name: column.arm_data(name, found.order) for name, column in columns.items()},
        checks=first.task.checks,
        facts=_facts(chosen, list(sources.values())),
        warnings=tuple(found.warnings),
    )


def _chosen(store: Store, runs: Run | str | Mapping[str, tuple[str, str]]) -> dict[str, tuple[Run, str]]:
    def read(run_id: str) -> Run:
        found = store.run(run_id)
        if found is None:
            raise PlanError(f"there is no run {run_id!r}; `ratchet list` shows the runs of this store")
        return found

    if isinstance(runs, (Run, str)):
        run = read(runs) if isinstance(runs, str) else runs
        return {arm: (run, arm) for arm in run.arms}
    known: dict[str, Run] = {}
    chosen: dict[str, tuple[Run, str]] = {}
    for name, (run_id, arm) in runs.items():
        run = known.setdefault(run_id, read(run_id))
        if arm not in run.arms:
            raise UnknownNameError("arm", arm, run.arms)
        chosen[name] = (run, arm)
    if not chosen:
        raise PlanError("no arm was named; expected at least one run")
    return chosen


def _facts(chosen: Mapping[str, tuple[Run, str]], sources: list[Run]) -> dict[str, Json]:
    def by_arm(value: Any) -> dict[str, Json]:
        return {name: value(run, run.arms[arm], arm) for name, (run, arm) in chosen.items()}

    first = sources[0]
    baseline = next((name for name, (run, arm) in chosen.items() if run.baseline == arm), None)
    scorers = {
        scorer.name: f"{scorer.name}@{scorer.version}" for run in sources for scorer in run.task.scorers
    }
    return {
        "source": "runs",
        "task": first.task.name,
        "task_id": codec.content_id(first.task),
        "task_ids": [codec.content_id(run.task) for run in sources],
        "dataset_id": first.task.dataset.id,
        "run_ids": [run.id for run in sources],
        "baseline": baseline,
        "repeats": first.task.repeats,
        "models": by_arm(lambda run, variant, arm: variant.model or variant.target),
        "prompts": by_arm(lambda run, variant, arm: _hash_or_none(variant.prompt)),
        "prices": by_arm(lambda run, variant, arm: _hash_or_none(run.prices.get(arm))),
        "scorers": scorers,
        "seeds": [run.seed for run in sources],
        "environment": dict(first.environment),
        "interleaved": len(sources) == 1,
        "limit": first.limit,
        "sample": first.sample,
    }  # fmt: skip


def _hash_or_none(value: object) -> str | None:
    return None if value is None else codec.content_id(value)


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

    def find(self, value: Hashable) -> int | None:
        return self._numbers.get(value)

    def __len__(self) -> int:
        return len(self.values)


_NAN = float("nan")
_FLAGS = ("refused", "unparsable", "cached")
_NONE, _BOOL, _NUMBER, _LABEL = range(4)


class _ArmColumns:
    """One arm of one run, gathered row by row into arrays."""

    def __init__(self, run: Run, arm: str) -> None:
        self.run, self.arm = run, arm
        self.scores: dict[str, _ScoreColumn] = {}
        self.groups: dict[int, str] = {}
        self.errors: Counter[str] = Counter()
        self.answers: tuple[Json, ...] = ()
        self._trace, self._example, self._repeat = array("Q"), array("q"), array("i")
        self._failed = array("b")
        self._flags = {name: array("b") for name in _FLAGS}
        self._facts = {name: array("d") for name in FACTS}

    def add(self, row: TraceRow, ids: _Codes) -> None:
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

    def read_answers(self, store: Store) -> None:
        kept: list[Json] = [None] * len(self.trace)
        words = _Codes()
        for trace in store.traces(self.run.id, arm=self.arm):
            row = int(self.find(np.array([int(trace.id[:16], 16)], np.uint64))[0])
            if row >= 0 and trace.error is None and trace.answer_error is None:
                kept[row] = words.values[words.of(short_answer(trace.answer))]
        self.answers = tuple(kept)

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


def short_answer(answer: Json) -> Json:
    """The answer as it is kept to be compared with others: itself if short, else the hash of its JSON text."""
    if isinstance(answer, (bool, int, float)) or (isinstance(answer, str) and len(answer) <= _SHORT):
        return answer
    if answer is None:
        return ""  # an answer of nothing is an answer; None is none
    return f"sha256:{hashlib.sha256(codec.canonical(answer)).hexdigest()[:32]}"


class _ScoreColumn:
    """All scores of one name in one arm."""

    def __init__(self, dimension: Dimension) -> None:
        self.dimension: Dimension = dimension
        self.by = _Codes()
        self.pairs = _Codes()
        self.pairs.of(None)
        self.row, self.kind, self.value = array("q"), array("b"), array("d")
        self.pair, self.by_code, self.at_s = array("i"), array("i"), array("d")

    def add(self, row: int, score: Score) -> None:
        value = score.value
        number = measures.number(value)
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


def _read_scores(store: Store, run_id: str, arms: list[_ArmColumns]) -> None:
    """Put every score of the run into the arms its trace belongs to."""
    if not arms:
        return
    for batch in _batches(score for score in store.scores(run_id) if score.against is None):
        traces = np.array([int(score.trace_id[:16], 16) for score in batch], np.uint64)
        for arm in arms:
            found = arm.find(traces).tolist()
            for score, row in zip(batch, found, strict=True):
                if row >= 0:
                    arm.scores.setdefault(score.name, _ScoreColumn(score.dimension)).add(row, score)


def _batches(scores: Iterable[Score], size: int = 4096) -> Iterator[list[Score]]:
    batch: list[Score] = []
    for score in scores:
        batch.append(score)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


class _Examples:
    """The examples that were tried, in the dataset's order, with their contents and metadata."""

    def __init__(self, tried: _Codes, runs: list[Run]) -> None:
        self.warnings: list[str] = []
        self._tried = tried
        place: dict[int, int] = {}
        contents: dict[int, str] = {}
        self._group: dict[int, str] = {}
        metadata = _Slices()
        read: set[str] = set()
        for run in runs:
            if run.task.dataset.id in read:
                continue
            read.add(run.task.dataset.id)
            for code, example in self._stream(run):
                content = content_of(example)
                if contents.setdefault(code, content) != content:
                    raise PairingError(
                        f"example {example.id!r} has another content in run {run.id} than in {runs[0].id}; "
                        "compare runs of one dataset, or give changed examples new ids"
                    )
                if code not in place:
                    place[code] = len(place)
                    metadata.add(len(place) - 1, example)
                if example.group is not None:
                    self._group.setdefault(code, example.group)
        for code in range(len(tried)):
            place.setdefault(code, len(place))
        self.order = np.array([place[code] for code in range(len(tried))], np.int64)
        by_place = sorted(range(len(tried)), key=place.__getitem__)
        self.ids: tuple[str, ...] = tuple(str(tried.values[code]) for code in by_place)
        self.contents = tuple(contents.get(code, "") for code in by_place)
        self.slices = metadata.finish(len(by_place))

    def _stream(self, run: Run) -> Iterator[tuple[int, Example]]:
        """The run's examples that were tried; none, with a warning, where the file has changed or gone."""
        try:
            for example in datasets.examples(
                run.task.dataset, limit=run.limit, sample=run.sample, seed=run.seed
            ):
                code = self._tried.find(example.id)
                if code is not None:
                    yield code, example
        except (DatasetError, OSError) as error:
            self.warnings.append(
                f"The dataset of run {run.id} can't be read any more, so contents and metadata are unknown: {error}"
            )

    def groups(self, arms: Iterable[_ArmColumns]) -> Ints:
        """The cluster of each example; those without a group stand alone."""
        named = dict(self._group)
        for arm in arms:
            for code, group in arm.groups.items():
                named.setdefault(code, group)
        codes = _Codes()
        groups = np.zeros(len(self.order), np.int64)
        for code, place in enumerate(self.order.tolist()):
            groups[place] = codes.of(("group", named[code]) if code in named else ("example", code))
        return groups


class _Slices:
    """Metadata of few distinct values, as text an example."""

    def __init__(self) -> None:
        self._codes: dict[str, _Codes] = {}
        self._values: dict[str, dict[int, int]] = {}
        self._dropped: set[str] = set()

    def add(self, place: int, example: Example) -> None:
        for key, value in (*example.metadata.items(), ("split", example.split)):
            if key in self._dropped or value is None:
                continue
            if not isinstance(value, (str, bool, int, float)):
                self._drop(key)
                continue
            codes = self._codes.setdefault(key, _Codes())
            code = codes.of(value if isinstance(value, str) else codec.canonical(value).decode())
            if len(codes) > MAX_SLICES:
                self._drop(key)
            else:
                self._values.setdefault(key, {})[place] = code

    def _drop(self, key: str) -> None:
        self._dropped.add(key)
        self._codes.pop(key, None)
        self._values.pop(key, None)

    def finish(self, count: int) -> dict[str, tuple[str, ...]]:
        return {
            key: tuple(
                self._codes[key].values[found[place]] if place in found else "" for place in range(count)
            )
            for key, found in self._values.items()
            if len(self._codes[key]) > 1
        }


def content_of(example: Example) -> str:
    """16 hex digits of the hash of what is asked and expected; id, metadata and group are outside it."""
    body = codec.canonical([codec.plain(example.input), codec.plain(example.expected)])
    return hashlib.sha256(body).hexdigest()[:16]


def content_id_of(variant: Variant | None) -> str:
    """The variant's content id; "" for none."""
    return "" if variant is None else codec.content_id(variant)
