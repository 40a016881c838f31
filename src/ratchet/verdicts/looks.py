"""A run that stops when decided, judged look by look in the order of its plan: the first look that decides is its verdict.

What a verdict rests on is a function of the evidence alone, so the run, `compare` and `verify` stop at the same look.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, cast

import numpy as np

from ratchet.evidence import Evidence, first_examples
from ratchet.records import Check, CheckResult, Json
from ratchet.verdicts.anytime import Look
from ratchet.verdicts.conditions import Conditions, examine
from ratchet.verdicts.decisions import Outcome, outcome_of, results_at
from ratchet.verdicts.pairs import Pair, pair

Ended = Literal["ship", "hold", "futility", "end", "open"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """The results of one pair of arms, at the look that decided or at all there is."""

    evidence: Evidence
    """Of the examples that were judged."""
    pair: Pair
    conditions: Conditions
    results: tuple[CheckResult, ...]
    outcome: Outcome
    look: Look | None = None
    """None: the number of examples was fixed beforehand."""
    ended: Ended = "end"
    """"open": the run has not come to its end, and no look has decided."""
    number: int = 0
    """Of the look, from 1; 0 where it is none of the planned ones."""
    looks: int = 0
    futile: str = ""
    """Why it is futile to go on."""

    @property
    def decided(self) -> bool:
        """Whether trying further examples could not change the verdict."""
        return self.look is None or self.ended != "open"

    def note(self) -> tuple[str, ...]:
        """When it was decided, in a sentence."""
        if self.look is None:
            return ()
        n, planned = f"{self.look.n:,}", f"{self.look.planned:,}"
        at = f"look {self.number} of {self.looks}, " if self.number else ""
        if self.ended == "futility":
            return (f"stopped for futility at {at}after {n} of {planned} examples: {self.futile}",)
        if self.ended in ("ship", "hold"):
            return (f"decided at {at}after {n} of {planned} examples; the intervals hold at every look",)
        if self.ended == "end":
            return (
                f"no look decided, and all {planned} examples were tried; the intervals hold at every look",
            )
        return (f"{n} of {planned} examples are complete, and no look has decided",)

    def facts(self) -> dict[str, Json]:
        """For the inputs of the verdict."""
        if self.look is None:
            return {}
        return {"look": {"n": self.look.n, "number": self.number, "of": self.looks, "ended": self.ended}}


def judge(
    evidence: Evidence, baseline: str, candidate: str, checks: Sequence[Check], *, alpha: float, seed: int
) -> Judged:
    """The results at the first planned look that decides; at all complete examples where none does.

    Evidence without looks (`facts["looks"]`) is judged once, by methods for a fixed number of examples.

    Raises:
        PairingError: The arms share no example, or one holds an (id, repeat) twice.
    """
    planned = _looks_of(evidence)
    if planned is None:
        return _judge_at(evidence, baseline, candidate, checks, alpha=alpha, seed=seed, look=None)
    total, at = planned
    done = len(evidence.examples)
    stops = [*(n for n in at if n <= done), *([done] if done not in at else [])]
    last: Judged | None = None
    for n in stops:
        whole = whole_groups(evidence, n, total)
        if not whole:
            continue
        look = Look(n=whole, planned=total)
        found = _judge_at(first_examples(evidence, whole), baseline, candidate, checks, alpha=alpha, seed=seed, look=look)  # fmt: skip
        last = replace(found, number=at.index(n) + 1 if n in at else 0, looks=len(at))
        if not last.number and last.ended == "futility":  # only planned looks end a run
            last = replace(last, ended="open")
        if n in at and last.decided:
            return last
    return last or _judge_at(
        evidence, baseline, candidate, checks, alpha=alpha, seed=seed, look=Look(n=done, planned=total)
    )


def _looks_of(evidence: Evidence) -> tuple[int, tuple[int, ...]] | None:
    """How many examples were planned, and after how many of them the run was judged; None without looks."""
    written: Json = evidence.facts.get("looks")
    if not isinstance(written, dict) or not evidence.examples:
        return None
    plan = cast("dict[str, Json]", written)
    total, at = int(plan["planned"]), tuple(sorted(int(n) for n in plan["at"]))
    return (total, at) if len(at) > 1 else None


def _judge_at(
    evidence: Evidence,
    baseline: str,
    candidate: str,
    checks: Sequence[Check],
    *,
    alpha: float,
    seed: int,
    look: Look | None,
) -> Judged:
    found = pair(evidence, baseline, candidate)
    conditions = examine(evidence, found, checks)
    results, futile = results_at(evidence, found, checks, alpha=alpha, seed=seed, look=look)
    outcome: Outcome = "invalid" if conditions.broken else outcome_of(results)
    ended: Ended = "end" if look is None or look.final else "open"
    if look is not None and outcome in ("ship", "hold"):
        ended = cast("Ended", outcome)
    elif look is not None and not look.final and futile and outcome == "inconclusive":
        ended = "futility"
    return Judged(
        evidence=evidence, pair=found, conditions=conditions, results=results, outcome=outcome, look=look,
        ended=ended, futile=futile,
    )  # fmt: skip


def whole_groups(evidence: Evidence, n: int, planned: int) -> int:
    """How many of the first `n` examples belong to groups of which none can follow; the plan keeps groups together."""
    if not evidence.grouped or n >= planned:
        return n
    # the last group may go on; whether it does must not depend on how far the run has come
    own = np.flatnonzero(evidence.groups[:n] != evidence.groups[n - 1])
    return int(own[-1]) + 1 if len(own) else 0
