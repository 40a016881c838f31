"""A verdict made again from its evidence file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from ratchet import codec
from ratchet.errors import PlanError, RatchetError
from ratchet.evidence import Evidence, read
from ratchet.records import Check, Json, Verdict
from ratchet.verdicts.costing import costed
from ratchet.verdicts.deciding import decide, decide_aa

TOLERANCE = 1e-9
"""Relative: what another processor's rounding may move."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """Whether a verdict follows from its evidence."""

    same: bool
    differences: tuple[str, ...]
    """What differs, with both values."""
    verdict: Verdict
    """The verdict made again."""


def verify(path: str | Path) -> Verification:
    """Make the verdict of an evidence file again, and compare.

    Raises:
        PlanError: It can't be read, is no evidence file, or holds no verdict.
    """
    evidence, written = read(path)
    if written is None:
        raise PlanError(
            f"{path} holds evidence without a verdict; `ratchet compare --evidence FILE` writes both"
        )
    try:
        again = _again(evidence, written)
    except RatchetError as error:
        raise PlanError(f"{path}: its evidence allows no verdict: {error}") from None
    differences = tuple(_differences(codec.encode(written.replace(created_at=0.0)), codec.encode(again), ""))
    return Verification(same=not differences, differences=differences, verdict=again)


def _again(evidence: Evidence, written: Verdict) -> Verdict:
    """The verdict made as the written one says that it was."""
    inputs = written.inputs
    baseline, candidate = str(inputs.get("baseline")), str(inputs.get("candidate"))
    alpha, seed = _number(inputs.get("alpha"), 0.05), int(_number(inputs.get("seed"), 0))
    how = inputs.get("checks")
    if how == "a/a":
        return decide_aa(evidence, baseline=baseline, candidate=candidate, alpha=alpha, seed=seed)
    # the added error guard is found again by `decide`
    checks: list[Check] = [r.check for r in written.results if not r.check.settings.get("added")]
    again = decide(
        evidence,
        baseline=baseline,
        candidate=candidate,
        checks=None if how in ("written", "default") else checks,
        alpha=alpha,
        seed=seed,
    )
    return costed(again, evidence) if written.cost_case else again


def _number(value: Json, otherwise: float) -> float:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else otherwise


def _differences(before: Json, after: Json, at: str) -> Iterator[str]:
    """Each leaf that differs: its path, the written value, the value made again."""
    if isinstance(before, dict) and isinstance(after, dict):
        first, second = cast("dict[str, Json]", before), cast("dict[str, Json]", after)
        for key in dict.fromkeys((*first, *second)):
            yield from _differences(first.get(key), second.get(key), f"{at}.{key}" if at else key)
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from _differences(one, other, f"{at}[{index}]")
    elif not _equal(before, after):
        yield f"{at}: written {before!r:.80}, made again {after!r:.80}"


def _equal(before: Json, after: Json) -> bool:
    numbers = (int, float)
    if isinstance(before, numbers) and isinstance(after, numbers) and not isinstance(before, bool):
        return abs(before - after) <= TOLERANCE * max(abs(before), abs(after), 1e-12)
    return before == after
