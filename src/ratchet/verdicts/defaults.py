"""The checks of a task that has none, by dimension."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ratchet.evidence import HUMAN, ArmData, Column, Evidence
from ratchet.records import Check

ACCURACY_MARGIN = 0.02
SECURITY_MARGIN = 0.01
ERROR_MARGIN = 0.01


def default_checks(evidence: Evidence) -> tuple[Check, ...]:
    """Checks for evidence whose task has none: guards on what was scored, reports of cost and time.

    Passes and labels may fall by 2 points (security: 1), other scores by 2 % of the baseline; agreement over repeats
    may fall by 2 points. Cost and latency are reported, because only their owner knows what they are worth.
    """
    columns = _shared(evidence)
    checks: list[Check] = []
    for name, column in columns.items():
        if column.dimension in ("cost", "latency"):
            continue
        made = _of_score(name, column)
        if made is not None:
            checks.append(made)
    if _repeated(evidence):
        checks.append(
            Check(
                metric="stability",
                rule="no_worse",
                measure="agreement",
                margin=ACCURACY_MARGIN,
                dimension="stability",
            )
        )
    for name in ("cost_usd", "latency_s", "ttft_s"):
        if name in columns:
            checks.append(_report(name, columns[name]))
    return tuple(checks)


def error_guard() -> Check:
    """The guard that every verdict has: answers may not fail more often, by 1 point."""
    return Check(
        metric="error",
        rule="no_worse",
        measure="rate",
        margin=ERROR_MARGIN,
        dimension="stability",
        higher_is_better=False,
        settings={"added": True},
    )


def _shared(evidence: Evidence) -> Mapping[str, Column]:
    """The columns that every arm has, by the first arm's."""
    arms = list(evidence.arms.values())
    return {
        name: column
        for name, column in arms[0].columns.items()
        if not name.startswith(HUMAN) and all(name in arm.columns for arm in arms)
    }


def _of_score(name: str, column: Column) -> Check | None:
    margin = SECURITY_MARGIN if column.dimension == "security" else ACCURACY_MARGIN
    if column.kind == "bool":
        measure, relative = "rate", False
    elif column.kind == "labels":
        if not any(expected for _, expected in column.labels):
            return None
        measure, relative = "macro_f1", False
    else:
        known = column.values[~np.isnan(column.values)]
        unit = bool(len(known)) and float(known.min()) >= 0.0 and float(known.max()) <= 1.0
        measure, relative = "mean", not unit
    return Check(
        metric=name,
        rule="no_worse",
        measure=measure,
        margin=margin,
        relative=relative,
        dimension=column.dimension,
        higher_is_better=column.higher_is_better,
    )


def _report(name: str, column: Column) -> Check:
    timed = column.dimension == "latency"
    return Check(
        metric=name,
        rule="no_worse",
        measure="quantile" if timed else "mean",
        quantile=0.95 if timed else None,
        margin=0.0,
        relative=True,
        role="report",
        dimension=column.dimension,
        higher_is_better=False,
    )


def _repeated(evidence: Evidence) -> bool:
    def repeats(arm: ArmData) -> int:
        return int(arm.repeat.max()) + 1 if len(arm.repeat) else 0

    counts = {repeats(arm) for arm in evidence.arms.values()}
    return len(counts) == 1 and counts.pop() > 1 and all(arm.answers for arm in evidence.arms.values())
