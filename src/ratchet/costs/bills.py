"""One run's answers as bills: what each call cost, for how many tokens, and whether it was right."""

from __future__ import annotations

import math
import re
from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ratchet.errors import PlanError, UnknownNameError
from ratchet.evidence import Evidence
from ratchet.ports import Store, TraceRow, Usage
from ratchet.prices import cost_usd
from ratchet.records import Price, Run

Floats = np.ndarray[Any, np.dtype[np.float64]]
Ints = np.ndarray[Any, np.dtype[np.int64]]

_MOST_SCORES = 50
"""Different names that are looked for; a run rarely has ten."""
_THRESHOLD = re.compile(r"(?P<name>.+?)\s*(?P<sign>>=|<=)\s*(?P<limit>-?[0-9.]+(?:e-?[0-9]+)?)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """One arm's calls; all arrays have one entry a call, NaN where unknown."""

    name: str
    model: str
    price: Price | None
    example: Ints
    group: Ints
    cost_usd: Floats
    """Of the answer and of its failed attempts."""
    answer_usd: Floats
    """Of the last attempt alone, at the arm's price."""
    input_tokens: Floats
    cached_tokens: Floats
    output_tokens: Floats
    reasoning_tokens: Floats
    success: Floats
    """1 right, 0 wrong or no answer; NaN: not scored."""
    failed: Ints
    paid_usd: float
    """What these calls were billed for, answers from the cache left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bills:
    """The arms' bills, on one numbering of examples and groups."""

    run_id: str
    run_name: str
    success_metric: str | None
    arms: Mapping[str, Bill]
    judge_usd: float


@dataclass(frozen=True, slots=True)
class Success:
    """What counts as a correct answer: a passed score, or one beyond a limit."""

    name: str
    limit: float = 0.5
    sign: int = 1
    text: str = ""

    @classmethod
    def parse(cls, text: str) -> Success:
        """From `exact_match` or `similarity>=0.8`."""
        found = _THRESHOLD.fullmatch(text.strip())
        if found is None:
            return cls(text.strip(), text=text.strip())
        return cls(found["name"], float(found["limit"]), 1 if found["sign"] == ">=" else -1, text.strip())

    def __call__(self, value: float) -> float:
        return float(self.sign * value >= self.sign * self.limit)


@dataclass(slots=True)
class _Columns:
    """The arrays of one arm while its rows come in."""

    price: Price | None
    numbers: dict[str, array[float]] = field(
        default_factory=lambda: {name: array("d") for name in ("cost", "answer", "input", "cached", "output", "reasoning")}
    )  # fmt: skip
    example: array[int] = field(default_factory=lambda: array("q"))
    group: array[int] = field(default_factory=lambda: array("q"))
    failed: array[int] = field(default_factory=lambda: array("q"))
    place: dict[str, int] = field(default_factory=dict[str, int])
    paid_usd: float = 0.0

    def add(self, row: TraceRow, example: int, group: int) -> None:
        self.place[row.id] = len(self.example)
        self.example.append(example)
        self.group.append(group)
        self.failed.append(row.error_kind is not None)
        usage = Usage(
            input_tokens=row.input_tokens, output_tokens=row.output_tokens, cached_tokens=row.cached_tokens,
            reasoning_tokens=row.reasoning_tokens,
        )  # fmt: skip
        values = (
            row.cost_usd, cost_usd(self.price, usage), row.input_tokens, row.cached_tokens, row.output_tokens,
            row.reasoning_tokens,
        )  # fmt: skip
        for column, value in zip(self.numbers.values(), values, strict=True):
            column.append(math.nan if value is None else value)
        if not row.cached:
            self.paid_usd += row.cost_usd or 0.0

    def bill(self, name: str, model: str, success: Floats) -> Bill:
        arrays = {key: np.array(column, dtype=np.float64) for key, column in self.numbers.items()}
        return Bill(
            name=name, model=model, price=self.price, success=success, paid_usd=self.paid_usd,
            example=np.array(self.example, dtype=np.int64), group=np.array(self.group, dtype=np.int64),
            failed=np.array(self.failed, dtype=np.int64), cost_usd=arrays["cost"], answer_usd=arrays["answer"],
            input_tokens=arrays["input"], cached_tokens=arrays["cached"], output_tokens=arrays["output"],
            reasoning_tokens=arrays["reasoning"],
        )  # fmt: skip


def from_run(store: Store, run: Run, *, success: str | None = None) -> Bills:
    """The bills of a run's arms.

    Args:
        success: The score that says whether an answer is correct, as `exact_match` or `similarity>=0.8`; None: that of
            the task's first check on accuracy, else its first scorer of accuracy.

    Raises:
        PlanError: The run holds no answer yet.
        UnknownNameError: The run has no such score.
    """
    wanted = Success.parse(success) if success else _default_success(store, run)
    examples, groups = dict[str, int](), dict[object, int]()
    columns = {name: _Columns(run.prices.get(name) or variant.price) for name, variant in run.arms.items()}
    judge_usd = 0.0
    for row in store.rows(run.id):
        if row.arm is None or row.example_id is None:
            judge_usd += 0.0 if row.cached else row.cost_usd or 0.0
            continue
        example = examples.setdefault(row.example_id, len(examples))
        group = groups.setdefault(row.group if row.group is not None else (example,), len(groups))
        columns[row.arm].add(row, example, group)
    if not examples:
        raise PlanError(
            f"run {run.name or run.id} holds no answer yet; `ratchet run --resume` goes on with it"
        )
    passed = _successes(store, run, wanted, columns) if wanted else {}
    if success and wanted and not any(np.isfinite(found).any() for found in passed.values()):
        known = sorted({score.name for score in store.scores(run.id)})
        raise UnknownNameError("score", wanted.name, known)
    return Bills(
        run_id=run.id,
        run_name=run.name,
        success_metric=wanted.text if wanted and passed else None,
        arms={
            name: column.bill(
                name, _model(run, name), passed.get(name, np.full(len(column.example), math.nan))
            )
            for name, column in columns.items()
            if column.example
        },
        judge_usd=judge_usd,
    )


def from_evidence(evidence: Evidence, *, success: str | None = None) -> Bills:
    """The bills of the arms of a verdict; tokens are not split, as evidence holds only their sums."""
    arms: dict[str, Bill] = {}
    for name, arm in evidence.arms.items():
        cost = arm.columns.get("cost_usd")
        nothing = np.full(len(arm.example), math.nan)
        passed = arm.columns.get(success) if success else None
        values = nothing if passed is None else np.where(np.isnan(passed.values), 0.0, passed.values)
        tokens = [
            column.values if (column := arm.columns.get(key)) is not None else nothing
            for key in ("input_tokens", "output_tokens")
        ]
        arms[name] = Bill(
            name=name, model="", price=None, example=arm.example, group=evidence.groups[arm.example],
            cost_usd=nothing if cost is None else cost.values, answer_usd=nothing, input_tokens=tokens[0],
            cached_tokens=nothing, output_tokens=tokens[1], reasoning_tokens=nothing, success=values,
            failed=arm.failed.astype(np.int64),
            paid_usd=0.0 if cost is None else float(np.nansum(cost.values[~arm.cached])),
        )  # fmt: skip
    return Bills(run_id="", run_name="", success_metric=success, arms=arms, judge_usd=0.0)


def _model(run: Run, arm: str) -> str:
    variant = run.arms[arm]
    return variant.model or str(variant.target or "")


def _default_success(store: Store, run: Run) -> Success | None:
    """The first score of accuracy that passes or fails, checks before scorers; else the first number, from 0.5 on."""
    checks = [check.metric for check in run.task.checks if check.dimension == "accuracy"]
    scorers = [scorer.name for scorer in run.task.scorers if scorer.dimension == "accuracy"]
    wanted = dict.fromkeys([*(name for name in checks if name != "error"), *scorers])
    kinds: dict[str, bool] = {}
    for score in store.scores(run.id):
        if (
            score.source != "human"
            and score.dimension == "accuracy"
            and score.against is None
            and score.value is not None
        ):
            kinds.setdefault(score.name, isinstance(score.value, bool))
            if len(kinds) >= _MOST_SCORES:
                break
    # a scorer that returns several scores names them itself: `labels.f1` of `labels`
    names = [name for start in wanted for name in kinds if name == start or name.startswith(f"{start}.")]
    passing = [name for name in names if kinds[name]]
    if passing:
        return Success(passing[0], text=passing[0])
    return Success(names[0], text=f"{names[0]}>=0.5") if names else None


def _successes(store: Store, run: Run, wanted: Success, columns: Mapping[str, _Columns]) -> dict[str, Floats]:
    """By arm, whether each call was correct; a score that is no number is none. People's labels don't count here."""
    places = {id: (name, place) for name, column in columns.items() for id, place in column.place.items()}
    found = {name: np.full(len(column.example), math.nan) for name, column in columns.items()}
    scored = False
    for score in store.scores(run.id, name=wanted.name):
        at = places.get(score.trace_id)
        if at is None or score.source == "human" or score.against is not None:
            continue
        if isinstance(score.value, (bool, int, float)):
            found[at[0]][at[1]] = wanted(float(score.value))
            scored = True
    if not scored:
        return {}
    for name, column in columns.items():  # no answer is no correct answer
        found[name][np.array(column.failed, dtype=bool)] = 0.0
    return found


def spent_usd(store: Store, runs: Iterable[Run]) -> float:
    """What these runs were billed for, judges included; answers from the cache cost nothing again."""
    return sum(
        row.cost_usd or 0.0
        for run in runs
        for row in store.rows(run.id)
        if not row.cached and row.cost_usd is not None
    )
