"""Evidence of two arms whose truth is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ratchet.evidence import DIMENSIONS, LOWER_IS_BETTER, ArmData, Column, Evidence

Array = np.ndarray[Any, Any]


def column(name: str, values: Array, **changes: Any) -> Column:
    kind = "bool" if np.isin(values[~np.isnan(values)], (0.0, 1.0)).all() else "number"
    made = Column(
        name=name,
        values=values.astype(float),
        kind=kind,
        dimension=DIMENSIONS.get(name, "accuracy"),
        higher_is_better=name not in LOWER_IS_BETTER,
    )
    return replace(made, **changes)


def arm(
    name: str,
    columns: Mapping[str, Array | Column],
    *,
    failed: Array | None = None,
    repeats: int = 1,
    **changes: Any,
) -> ArmData:
    n = len(next(v.values if isinstance(v, Column) else v for v in columns.values()))
    none = np.zeros(n, bool)
    failed = none if failed is None else failed
    made = {
        key: value if isinstance(value, Column) else column(key, np.where(failed, np.nan, value))
        for key, value in columns.items()
    }
    data = ArmData(
        name=name,
        variant_id=f"variant-{name}",
        example=np.arange(n) // repeats,
        repeat=np.arange(n) % repeats,
        failed=failed,
        refused=none,
        unparsable=none,
        cached=none,
        columns=made,
    )
    return replace(data, **changes)


def evidence(*arms: ArmData, groups: Sequence[int] | Array | None = None, **changes: Any) -> Evidence:
    n = int(max(each.example.max() for each in arms)) + 1
    made = Evidence(
        examples=tuple(f"e{i}" for i in range(n)),
        groups=np.arange(n) if groups is None else np.asarray(groups),
        grouped=groups is not None,
        contents=tuple(f"c{i}" for i in range(n)),
        slices={},
        arms={each.name: each for each in arms},
        facts={
            "interleaved": True,
            "source": "runs",
            "baseline": arms[0].name,
            "task_id": "task",
            "run_ids": ["run"],
        },
    )
    return replace(made, **changes)


def passes(n: int, wrong: Sequence[int] = ()) -> Array:
    """1 everywhere but at these rows."""
    values = np.ones(n)
    values[list(wrong)] = 0.0
    return values


def taken(data: Evidence, rows: Array) -> Evidence:
    """The same evidence with every arm's rows in this order."""

    def reorder(each: ArmData) -> ArmData:
        return replace(
            each,
            example=each.example[rows],
            repeat=each.repeat[rows],
            failed=each.failed[rows],
            refused=each.refused[rows],
            unparsable=each.unparsable[rows],
            cached=each.cached[rows],
            columns={name: replace(c, values=c.values[rows]) for name, c in each.columns.items()},
            answers=tuple(each.answers[row] for row in rows.tolist()) if each.answers else (),
        )

    return replace(data, arms={name: reorder(each) for name, each in data.arms.items()})
