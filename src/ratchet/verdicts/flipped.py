"""The examples that flipped between two arms, worst first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ratchet.errors import PlanError
from ratchet.evidence import Evidence
from ratchet.records import Check
from ratchet.verdicts.estimates import Question
from ratchet.verdicts.pairs import pair
from ratchet.verdicts.values import NoValuesError, sides


@dataclass(frozen=True, slots=True, kw_only=True)
class Flip:
    """One example whose value changed; means over its repeats."""

    example_id: str
    baseline_value: float
    candidate_value: float
    gain: float
    """The change with more being better: the worst are the most negative."""


def flips(
    evidence: Evidence, check: Check, *, baseline: str, candidate: str, most: int = 20
) -> tuple[Flip, ...]:
    """The examples whose value of this check's metric changed, worst first; at most `most`.

    Raises:
        PlanError: The metric isn't there, or its measure has no value an example.
    """
    found = pair(evidence, baseline, candidate)
    try:
        values = sides(check.replace(rule="no_worse"), found)
    except NoValuesError as problem:
        raise PlanError(f"no flips of {check.metric}: {problem}") from None
    before, after, units = values.by_unit()
    sign = Question(check=check.replace(rule="no_worse")).sign
    with np.errstate(invalid="ignore"):
        gain = np.where(before == after, 0.0, sign * (after - before))
    order = [index for index in np.argsort(gain, kind="stable").tolist() if gain[index] != 0.0]
    return tuple(
        Flip(
            example_id=evidence.examples[int(units[index])],
            baseline_value=float(before[index]),
            candidate_value=float(after[index]),
            gain=float(gain[index]),
        )
        for index in order[:most]
    )
