"""Several candidates against one baseline, and which of them no other beats on quality, cost and time at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ratchet.evidence import ArmData, Evidence
from ratchet.records import Check, Verdict
from ratchet.verdicts.deciding import ALPHA, decide_among
from ratchet.verdicts.looks import Judged
from ratchet.verdicts.pairs import arm_of
from ratchet.verdicts.values import NoValuesError, values_of

COSTS = ("cost_usd", "latency_s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One arm on the plane of quality, cost and time; means over its examples, None where unknown."""

    arm: str
    quality: float | None
    """Oriented: more is better. A failed answer counts as the worst."""
    cost_usd: float | None
    latency_s: float | None
    """Median."""
    front: bool
    """No other arm is as good on all and better on one."""


def compare_all(
    evidence: Evidence,
    *,
    baseline: str | None = None,
    checks: Sequence[Check] | None = None,
    alpha: float = ALPHA,
    seed: int = 0,
) -> tuple[Verdict, ...]:
    """A verdict on every other arm against the baseline, each at `alpha` by itself.

    The more candidates are tried, the likelier one ships by luck: where there are several, each verdict says whether
    its ship stands among all of them (Holm), and `inputs["candidates"]` has the p-values.
    """
    chosen = baseline or _baseline(evidence)
    arm_of(evidence, chosen)
    candidates = [name for name in evidence.arms if name != chosen]
    known: dict[str, Judged] = {}
    return tuple(
        decide_among(known, evidence, chosen, name, checks, alpha=alpha, seed=seed) for name in candidates
    )


def _baseline(evidence: Evidence) -> str:
    written = evidence.facts.get("baseline")
    return written if isinstance(written, str) and written in evidence.arms else next(iter(evidence.arms))


def front(evidence: Evidence, check: Check) -> tuple[Point, ...]:
    """Every arm by the quality that this check looks at, its cost and its time, with the Pareto front marked."""
    known = {name: _place(arm, check) for name, arm in evidence.arms.items()}
    return tuple(
        Point(
            arm=name,
            quality=place["quality"],
            cost_usd=place["cost_usd"],
            latency_s=place["latency_s"],
            front=not any(_beats(other, place) for rival, other in known.items() if rival != name),
        )
        for name, place in known.items()
    )


def _place(arm: ArmData, check: Check) -> dict[str, float | None]:
    try:
        values = values_of(check.replace(rule="no_worse"), arm)
        quality = float(np.nanmean(values)) * (1.0 if check.higher_is_better else -1.0)
    except NoValuesError:
        quality = None
    found: dict[str, float | None] = {"quality": quality}
    for name in COSTS:
        column = arm.columns.get(name)
        known = column is not None and not bool(np.isnan(column.values).all())
        middle = np.nanmedian if name == "latency_s" else np.nanmean
        found[name] = float(middle(column.values)) if column is not None and known else None
    return found


def _beats(other: Mapping[str, float | None], mine: Mapping[str, float | None]) -> bool:
    """Whether the other is no worse on everything both know, and better on something."""
    better = False
    for name, value in mine.items():
        rival = other[name]
        if value is None or rival is None:
            continue
        gain = rival - value if name == "quality" else value - rival
        if gain < 0:
            return False
        better = better or gain > 0
    return better
