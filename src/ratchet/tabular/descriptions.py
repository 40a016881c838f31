"""Recorded arms in numbers, each by itself: what papers and leaderboards print."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ratchet.evidence import FACTS, ArmData, Bools, Column, Evidence, Floats, Ints
from ratchet.records import Json

QUANTILES = {"p25": 0.25, "p50": 0.5, "p75": 0.75, "p90": 0.9, "p95": 0.95, "p99": 0.99}
_MAX_BY_REPEAT = 100


def describe(arms: Mapping[str, Evidence], *, baseline: str | None = None) -> dict[str, Json]:
    """Every arm's counts and metrics, ready for JSON; and, against the baseline, the share of examples that changed.

    Means are of the examples' means over their repeats; quantiles are of all rows that were measured, by linear
    interpolation as numpy has it. Of passes and fails, a row without an answer is a fail. Of other numbers, rows that
    failed are left out, and `with_failures` says what comes of it when each counts: as 0, or as infinite where lower
    is better (null in JSON).
    """
    found: dict[str, Json] = {name: describe_arm(evidence, name) for name, evidence in arms.items()}
    made: dict[str, Json] = {"arms": found}
    if baseline is not None:
        base = arms[baseline]
        made["baseline"] = baseline
        made["changed"] = {
            name: changed(base, baseline, evidence, name)
            for name, evidence in arms.items()
            if name != baseline
        }
    return made


def describe_arm(evidence: Evidence, name: str) -> dict[str, Json]:
    """One arm in numbers."""
    arm = evidence.arms[name]
    everything = np.ones(len(arm.example), np.bool_)
    made: dict[str, Json] = {
        "rows": len(arm.example),
        "examples": len(evidence.examples),
        "repeats": evidence.facts.get("repeats", 1),
        "failed": int(arm.failed.sum()),
        "error_kinds": dict(arm.error_kinds),
        "unparsable": int(arm.unparsable.sum()),
        "refused": int(arm.refused.sum()),
        "cached": int(arm.cached.sum()),
        "metrics": _metrics(arm, everything),
        "agreement": _agreement(arm, evidence),
    }
    if evidence.slices:
        made["slices"] = {key: _slices(arm, texts) for key, texts in evidence.slices.items()}
    return made


def _metrics(arm: ArmData, rows: Bools) -> dict[str, Json]:
    shown = [column for name, column in arm.columns.items() if not name.startswith("agreement.")]
    return {column.name: metric_of(column, arm, rows) for column in shown}


def _slices(arm: ArmData, texts: tuple[str, ...]) -> dict[str, Json]:
    """The metrics of each value of one slice."""
    values = np.array(texts, dtype=object)[arm.example]
    made: dict[str, Json] = {}
    for value in dict.fromkeys(texts):
        rows = np.asarray(values == value, np.bool_)
        if rows.any():
            made[value] = {
                "rows": int(rows.sum()),
                "failed": int(arm.failed[rows].sum()),
                "metrics": _metrics(arm, rows),
            }
    return made


def metric_of(column: Column, arm: ArmData, rows: Bools) -> dict[str, Json]:
    """One metric of these rows of one arm."""
    values, example = column.values[rows], arm.example[rows]
    known = ~np.isnan(values)
    x, failed = values[known], arm.failed[rows] | (arm.unparsable[rows] & ~known)
    made: dict[str, Json] = {
        "kind": column.kind,
        "dimension": column.dimension,
        "n": len(x),
        "mean": mean_of(values, example),
    }
    if column.kind == "bool":
        counted = np.where(failed, 0.0, values)  # who gives no answer has not passed
        made |= {
            "mean": mean_of(counted, example),
            "passes": int(x.sum()),
            "of": int((~np.isnan(counted)).sum()),
        }
    elif len(x):
        made |= {
            "row_mean": float(x.mean()),
            "std": float(x.std(ddof=1)) if len(x) > 1 else None,
            "min": float(x.min()),
            "max": float(x.max()),
            "sum": float(x.sum()),
            **{name: float(np.quantile(x, q)) for name, q in QUANTILES.items()},
        }
    if failed.any():
        made["failed"] = int(failed.sum())
    if failed.any() and column.kind != "bool":
        made["with_failures"] = _with_failures(column, values, example, failed)
    repeats = arm.repeat[rows]
    count = int(repeats.max()) + 1 if len(repeats) else 0
    if (
        column.name not in FACTS
        and 1 < count <= _MAX_BY_REPEAT
        and "@" not in column.name
        and "^" not in column.name
    ):
        made["by_repeat"] = _by_repeat(values, example, repeats, count)
    return made


def mean_of(values: Floats, example: Ints) -> float | None:
    """The mean over examples of each one's mean over its measured repeats; None where nothing was measured."""
    known = ~np.isnan(values)
    x, owner = values[known], example[known]
    if not len(x):
        return None
    counts = np.bincount(owner)
    if counts.max() == 1:
        return float(x.mean())
    counts, sums = counts[counts > 0], np.bincount(owner, weights=x)[counts > 0]
    if counts.min() == counts.max():
        return math.fsum(x.tolist()) / len(x)
    return math.fsum((sums / counts).tolist()) / len(counts)


def _with_failures(column: Column, values: Floats, example: Ints, failed: Bools) -> dict[str, Json]:
    """The same, each failed row a fail: 0 where more is better, infinitely much where less is."""
    if column.higher_is_better:
        return {"mean": mean_of(np.where(failed, 0.0, values), example)}
    filled = np.where(failed, np.inf, values)
    ordered = np.sort(filled[~np.isnan(filled)])
    made: dict[str, Json] = {}
    for name, q in QUANTILES.items():
        place = q * (len(ordered) - 1)
        low, high = ordered[int(np.floor(place))], ordered[int(np.ceil(place))]
        value = float(low + (place - np.floor(place)) * (high - low)) if np.isfinite(high) else np.inf
        made[name] = value if np.isfinite(value) else None
    return made


def _by_repeat(values: Floats, example: Ints, repeats: Ints, count: int) -> dict[str, Json]:
    """Sums a repeat, and what the worst and the best repeat of each example add up to."""
    filled = np.nan_to_num(values, nan=0.0)
    sums = np.bincount(repeats, weights=filled, minlength=count)
    starts = np.flatnonzero(np.diff(example, prepend=-1))
    return {
        "sums": [float(value) for value in sums],
        "rows": np.bincount(repeats, minlength=count).tolist(),
        "best": float(np.maximum.reduceat(filled, starts).sum()),
        "worst": float(np.minimum.reduceat(filled, starts).sum()),
    }


def _agreement(arm: ArmData, evidence: Evidence) -> dict[str, Json]:
    """Total agreement over all repeats: how many examples, and their share."""
    made: dict[str, Json] = {}
    for name, column in arm.columns.items():
        if name.startswith("agreement."):
            first = np.flatnonzero(np.diff(arm.example, prepend=-1))
            same = column.values[first]
            made[name.removeprefix("agreement.")] = {
                "same": int(same.sum()),
                "examples": len(same),
                "share": float(same.mean()),
                "repeats": evidence.facts.get("repeats", 1),
            }
    return made


def changed(base: Evidence, base_name: str, other: Evidence, name: str) -> dict[str, Json]:
    """For each score, and for the answers, the share of examples whose value differs between two arms.

    With repeats it is the chance that one of each differs. A failed row differs from all.
    """
    before, after = base.arms[base_name], other.arms[name]
    places = {id: place for place, id in enumerate(other.examples)}
    shared = np.array([places.get(id, -1) for id in base.examples], np.int64)
    pairs: dict[str, tuple[list[Any], list[Any]]] = {
        metric: (_listed(column, before), _listed(after.columns[metric], after))
        for metric, column in before.columns.items()
        if column.kind == "bool" and metric in after.columns and not metric.startswith("agreement.")
    }
    if before.answers and after.answers:
        pairs["answer"] = (list(before.answers), list(after.answers))
    made: dict[str, Json] = {}
    from ratchet.stats.stability import flips_by_example

    keep_before = shared[before.example] >= 0
    keep_after = np.isin(after.example, shared[shared >= 0])
    if not keep_before.any():
        return {"examples": 0}
    for metric, (old, new) in pairs.items():
        flips = flips_by_example(
            [value for value, keep in zip(old, keep_before.tolist(), strict=True) if keep],
            [value for value, keep in zip(new, keep_after.tolist(), strict=True) if keep],
            before_examples=shared[before.example[keep_before]].tolist(),
            after_examples=after.example[keep_after].tolist(),
        )
        made[metric] = {"examples": len(flips), "sum": float(flips.sum()), "share": float(flips.mean())}
    return made


def _listed(column: Column, arm: ArmData) -> list[Any]:
    values = np.where(arm.failed, np.nan, column.values)
    return [None if value != value else value for value in values.tolist()]
