"""The cost case that a verdict carries: what both arms cost, and what the change saves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ratchet import codec
from ratchet.costs.bills import Bills, Floats, from_evidence
from ratchet.costs.cases import Terms, build
from ratchet.costs.records import CostCase, Traffic
from ratchet.evidence import Evidence
from ratchet.records import Json


def section(
    evidence: Evidence, *, baseline: str, candidate: str, traffic: Traffic | None = None
) -> Mapping[str, Json]:
    """The case of these two arms as a verdict keeps it; empty where neither has a price.

    It reports and never decides: what may cost how much is a check's business.
    """
    arms = {name: evidence.arms[name] for name in (baseline, candidate)}
    if not all(
        (column := arm.columns.get("cost_usd")) is not None and _any(column.values) for arm in arms.values()
    ):
        return {}
    bills = from_evidence(evidence, success=_success(evidence, baseline, candidate))
    pair = Bills(
        run_id=bills.run_id,
        run_name=bills.run_name,
        success_metric=bills.success_metric,
        arms={name: bills.arms[name] for name in (baseline, candidate)},
        judge_usd=0.0,
    )
    terms = Terms(traffic=traffic, spent_usd=sum(bill.paid_usd for bill in pair.arms.values()))
    case = build(pair, terms, baseline=baseline, candidate=candidate)
    if case.migration is not None:
        # a verdict is made again on other days: it says after how long, and names no day
        case = replace(case, migration=replace(case.migration, break_even_on=None))
    return codec.encode(case)


def read(found: Mapping[str, Json]) -> CostCase | None:
    """The case that a verdict keeps, None where it has none.

    Raises:
        CodecError: It was written by a newer Ratchet.
    """
    return codec.decode(CostCase, found) if found else None


def _any(values: Floats) -> bool:
    return bool(np.isfinite(values).any())


def _success(evidence: Evidence, baseline: str, candidate: str) -> str | None:
    """The score that says what is correct: that of a check first, then any other of accuracy that passes or fails."""
    first, second = evidence.arms[baseline].columns, evidence.arms[candidate].columns
    shared = [
        name
        for name, column in first.items()
        if column.kind == "bool" and column.dimension == "accuracy" and name in second and name != "error"
    ]
    checked = [check.metric for check in evidence.checks if check.metric in shared]
    return next(iter([*checked, *shared]), None)
