"""A load test as a run in the store: a trace a request, a score whether it was good, and under which load.

So `latency_s`, `ttft_s` and `goodput` are what checks of a task read, and `ratchet compare` says which load they rest on.
`latency_s` and `ttft_s` count from the intended start: what a caller waits, not what is left of it once the generator
got through. A result that is not valid is kept without times, so that no check can rest on it.
"""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import metadata
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from ratchet import codec
from ratchet.loads import schedules, shots, summaries
from ratchet.loads.records import ERROR_KINDS, Measured, Samples
from ratchet.loads.schedules import Schedule
from ratchet.loads.shots import Origin
from ratchet.loads.summaries import Result
from ratchet.loads.workloads import Workload
from ratchet.ports import Store
from ratchet.records import Check, Failure, FailureKind, Json, Price, Run, Score, Span, Task, Trace, Variant

GOODPUT = "goodput"
METRICS = frozenset(
    {"latency_s", "ttft_s", "tokens_per_s", "cost_usd", "input_tokens", "output_tokens", "error", GOODPUT}
)
"""What a load test measures, and so which checks of a task it can answer."""
LOAD_KEY = "load"
"""Of `Run.environment`: what was offered; a run without it is no load test."""
_BATCH = 500
_PREFIX = "load_"
_MESSAGES: Mapping[str, str] = {
    "rate_limit": "refused: too many requests",
    "timeout": "no answer within the limits of the variant",
    "connection": "the connection could not be made, or broke",
    "server": "the server failed",
    "auth": "the key was refused",
    "bad_request": "the request was refused",
    "protocol": "the answer ended early, or was none",
}


def load_checks(checks: Sequence[Check], arms: int) -> tuple[Check, ...]:
    """The checks that a load test can answer, of those given; where none of them is, guards on goodput and the tail.

    Goodput may fall by 1 point and the p95 of the latency rise by 10 %; one arm alone has nothing to be compared with.
    """
    kept = tuple(check for check in checks if check.metric in METRICS)
    if kept or arms < 2:
        return kept
    return (
        Check(metric=GOODPUT, rule="no_worse", measure="rate", margin=0.01, dimension="latency"),
        Check(
            metric="latency_s", rule="no_worse", measure="quantile", quantile=0.95, margin=0.1, relative=True,
            dimension="latency", higher_is_better=False,
        ),
    )  # fmt: skip


def run_of(
    schedule: Schedule,
    workload: Workload,
    arms: Mapping[str, Variant],
    result: Result,
    *,
    checks: Sequence[Check] = (),
    prices: Mapping[str, Price | None] | None = None,
    baseline: str | None = None,
) -> Run:
    """The run that a load test is.

    Args:
        arms: As they were asked: resolved, and without the prompt that the workload stands in for.
        checks: The task's; those that a load test can't answer are left out.
    """
    facts = {
        LOAD_KEY: result.load,
        f"{_PREFIX}workload": workload.description,
        f"{_PREFIX}goodput": summaries.slo_text(result.slo),
        f"{_PREFIX}warm_up": f"{result.warm_up:,} requests left out",
        f"{_PREFIX}valid": "no: " + "; ".join(result.invalid_because) if not result.valid else "yes",
        "ratchet": metadata.version("ratchet-llm"),
        "python": platform.python_version(),
        "platform": platform.platform(),
    }
    return Run(
        id=codec.new_run_id(),
        task=Task(
            dataset=workload.dataset,
            checks=load_checks(checks, len(arms)),
            name=workload.dataset.name,
        ),
        arms=dict(arms),
        baseline=baseline or next(iter(arms)),
        seed=schedule.seed,
        created_at=time.time(),
        prices=dict(prices or {}),
        environment=facts,
    )


def save(
    store: Store, run: Run, measured: Measured, result: Result, *, schedule: Schedule, workload: Workload
) -> Run:
    """Keep the run with all its traces and scores; holds a batch of them at a time.

    Warm-up and what Ctrl-C cut short are not kept: they are no measurement.
    """
    store.put_content("task", codec.content_id(run.task), codec.encode(run.task))
    for variant in run.arms.values():
        store.put_content("variant", codec.content_id(variant), codec.encode(variant))
    store.save_run(run)
    state, reason = "failed", "broken off"
    try:
        records = _records(run, measured, result, schedule, workload)
        while batch := list(islice(records, _BATCH)):
            store.write(batch)
        state, reason = "finished", ""
        if result.interrupted:
            state, reason = "stopped", "interrupted"
    finally:
        store.set_run_state(run.id, state, reason)  # type: ignore[arg-type]
    return run


def _records(
    run: Run, measured: Measured, result: Result, schedule: Schedule, workload: Workload
) -> Iterator[Trace | Score]:
    samples = measured.samples.measured()
    why = None if result.valid else "not measured: " + "; ".join(result.invalid_because)
    writer = _Writer(run, measured.started_at, timed=why is None)
    costs, good = _costs(samples, list(run.arms), run.prices), samples.meets(result.slo)
    by = f"goodput@1 ({summaries.slo_text(result.slo)})"
    slots = samples.index // len(run.arms)
    origins = _at(shots.origins(schedule, workload), slots.tolist())
    for start in range(0, len(samples), _BATCH):
        part = slice(start, start + _BATCH)
        rows = zip(*(getattr(samples, name)[part].tolist() for name in _COLUMNS), strict=True)
        for values, usd, met in zip(rows, costs[part].tolist(), good[part].tolist(), strict=True):
            trace = writer.trace(_Row(*values), next(origins), _known(usd))
            yield trace
            yield Score(
                trace_id=trace.id,
                name=GOODPUT,
                value=None if why is not None else met,
                reason=why,
                by=by,
                dimension="latency",
                created_at=trace.created_at,
            )


def _at(origins: Iterator[Origin], slots: Iterable[int]) -> Iterator[Origin]:
    """The origin of each of these slots, which ascend."""
    place, current = -1, Origin("", None, 0)
    for slot in slots:
        while place < slot:
            current = next(origins)
            place += 1
        yield current


def _costs(
    samples: Samples, names: Sequence[str], prices: Mapping[str, Price | None]
) -> np.ndarray[Any, np.dtype[np.float64]]:
    found = np.full(len(samples), np.nan)
    for place, name in enumerate(names):
        rows = samples.arm == place
        found[rows] = summaries.costs_of(samples.select(rows), prices.get(name))
    return found


class _Row(NamedTuple):
    """One row of the samples as plain numbers."""

    arm: int
    scheduled_s: float
    sent_s: float
    first_token_s: float
    last_byte_s: float
    connect_s: float
    max_gap_s: float
    chunks: int
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    status: int
    error: int


_COLUMNS = _Row._fields
_TIMES = ("scheduled_s", "sent_s", "first_token_s", "last_byte_s", "connect_s", "max_gap_s")


class _Writer:
    """Rows as traces of one run."""

    def __init__(self, run: Run, started_at: float, *, timed: bool) -> None:
        self._run_id, self._started_at, self._timed = run.id, started_at, timed
        self._arms = [(name, arm.model or str(arm.target), bool(arm.model)) for name, arm in run.arms.items()]

    def trace(self, row: _Row, origin: Origin, cost_usd: float | None) -> Trace:
        arm, model, _ = self._arms[row.arm]
        trace_id = codec.new_id(128)
        error = _failure(ERROR_KINDS[row.error], row.status) if row.error else None
        timed = self._timed and error is None
        return Trace(
            id=trace_id,
            run_id=self._run_id,
            arm=arm,
            example_id=origin.example_id,
            repeat=origin.repeat,
            group=origin.group,
            model=model,
            input_tokens=_count(row.input_tokens),
            output_tokens=_count(row.output_tokens),
            cached_tokens=_count(row.cached_tokens),
            cost_usd=cost_usd,
            ttft_s=_known(row.first_token_s - row.scheduled_s) if timed else None,
            latency_s=_known(row.last_byte_s - row.scheduled_s) if timed else None,
            queue_s=_known(row.sent_s - row.scheduled_s),
            error=error,
            created_at=self._started_at + row.scheduled_s,
            spans=(self._span(trace_id, row, error),),
        )

    def _span(self, trace_id: str, row: _Row, error: Failure | None) -> Span:
        """The call as it was: times on the test's clock, in seconds from its start."""
        _, model, called = self._arms[row.arm]
        attributes: dict[str, Json] = {"gen_ai.operation.name": "chat", "gen_ai.request.model": model}
        for name in _TIMES:
            value: float = getattr(row, name)
            if value == value:
                attributes[f"ratchet.load.{name}"] = round(value, 7)
        attributes["ratchet.load.chunks"] = row.chunks
        start = row.sent_s if row.sent_s == row.sent_s else row.scheduled_s
        length_s = row.last_byte_s - start
        return Span(
            trace_id=trace_id,
            id=codec.new_id(64),
            name=f"chat {model}",
            kind="model" if called else "function",
            start_ns=int((self._started_at + start) * 1e9),
            duration_ns=int(length_s * 1e9) if length_s > 0 else 0,
            attributes=attributes,
            error=error,
        )


def _failure(kind: str, status: int) -> Failure:
    known: FailureKind = kind  # type: ignore[assignment]
    message = _MESSAGES.get(kind, kind.replace("_", " "))
    return Failure(
        kind=known, message=f"{message} (HTTP {status})" if status else message, status=status or None
    )


def _count(value: int) -> int | None:
    return value if value >= 0 else None


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def load_of(run: Run) -> str | None:
    """What was offered when this run was a load test; None where it was none."""
    return run.environment.get(LOAD_KEY)


def expected_calls(schedule: Schedule, arms: int) -> int | None:
    """How many calls a test makes; None where only time ends it."""
    count = schedules.expected_count(schedule)
    return None if count is None else count * arms
