"""Many migrations of one setting, judged by `verdicts.decide`, and what came of them."""

from __future__ import annotations

import math
import multiprocessing
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import pairwise

import numpy as np

from ratchet.evidence import Evidence
from ratchet.records import Check, CheckResult
from ratchet.testing.migrations.drawing import simulate
from ratchet.testing.migrations.records import Counts, Migration, checks_of
from ratchet.verdicts import decide
from ratchet.verdicts.estimates import Question, estimate
from ratchet.verdicts.pairs import pair
from ratchet.verdicts.values import NoValuesError

CHUNK = 500
"""Migrations a task of a worker process."""


def measure(setting: Migration, migrations: int, *, start: int = 0) -> Counts:
    """What came of the migrations with the seeds from `start` on.

    Each goes through `verdicts.decide`; the 95 % interval beside it is of the same `estimate` at alpha 0.025. Plain
    pass/fail migrations with equal tables have equal verdicts (rows have no order), so each table is decided once.
    """
    rules = checks_of(setting)
    began = time.process_time()
    total = Counts(setting=setting)
    known: dict[tuple[int, ...], Counts] = {}
    for seed in range(start, start + migrations):
        evidence = simulate(setting, seed)
        key = _table(setting, evidence)
        found = known.get(key) if key else None
        if found is None:
            found = _measure_one(setting, rules, evidence, seed)
            if key:
                known[key] = found
        total += found
    return replace(total, seconds=time.process_time() - began)


def _table(setting: Migration, evidence: Evidence) -> tuple[int, ...]:
    """Gains, losses and passes of both: all that a verdict can see of plain pass/fail answers; () for other data."""
    plain = setting.kind == "binary" and setting.repeats == 1 and not setting.groups and setting.checks == 1
    if not plain or any(setting.error_rates):
        return ()
    before, after = (arm.columns["score"].values for arm in evidence.arms.values())
    counts = np.bincount((2 * before + after).astype(np.int64), minlength=4).tolist()
    return (counts[1] + counts[3],) if setting.rule == "at_least" else (counts[1], counts[2])


def _measure_one(setting: Migration, rules: tuple[Check, ...], evidence: Evidence, seed: int) -> Counts:
    verdict = decide(evidence, checks=rules, seed=seed)
    result = verdict.results[0]
    covered_95 = False
    if not setting.resamples:
        question = Question(check=rules[0], alpha=0.025, seed=seed)
        try:
            wider = estimate(question, pair(evidence, "baseline", "candidate")).interval
            covered_95 = _covers(wider.low, wider.high, setting.truth)
        except NoValuesError:
            pass  # the verdict of it is invalid, and counted as such
    return Counts(
        setting=setting,
        migrations=1,
        ships=verdict.outcome == "ship",
        holds=verdict.outcome == "hold",
        invalid=verdict.outcome == "invalid",
        covered_90=_covers(result.low, result.high, setting.truth),
        covered_95=covered_95,
        weak=_too_weak(result),
        method=result.method,
    )


def _covers(low: float | None, high: float | None, truth: float) -> bool:
    slack = 1e-12
    return (low is None or low <= truth + slack) and (high is None or high >= truth - slack)


def _too_weak(result: CheckResult) -> bool:
    """Whether the bound was cleared and the check stayed open all the same."""
    asked = Question(check=result.check)
    low = result.low if asked.sign > 0 else None if result.high is None else -result.high
    return result.outcome == "open" and low is not None and low > asked.bound


def measure_all(
    settings: Sequence[Migration], migrations: Sequence[int], *, workers: int = 2
) -> list[Counts]:
    """The counts of each setting after so many migrations of it, drawn by several processes at once."""
    tasks = [
        (setting, first, last)
        for setting, count in zip(settings, migrations, strict=True)
        for first, last in pairwise([*range(0, count, CHUNK), count])
    ]
    tasks.sort(key=lambda task: -_weight(task[0]))
    totals = {setting.name: Counts(setting=setting) for setting in settings}
    if workers <= 1:
        parts = [_measure_chunk(task) for task in tasks]
    else:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, mp_context=context) as pool:
            parts = list(pool.map(_measure_chunk, tasks))
    for part in parts:
        totals[part.setting.name] += part
    return list(totals.values())


def _weight(setting: Migration) -> float:
    """About how long a migration takes, so that the long ones start first."""
    rows = setting.n * setting.repeats
    return 20.0 + 0.1 * rows if setting.resamples else 2.0 + math.sqrt(rows) / 20.0


def _measure_chunk(task: tuple[Migration, int, int]) -> Counts:
    setting, first, last = task
    return measure(setting, last - first, start=first)
