"""Several candidates against one baseline: whether a ship is still one among all that were tried (Holm).

A candidate's own verdict answers "may this one replace the baseline?" at its alpha, whatever else was tried. "One of
these may" is another claim: any candidate may win it, so its chance to be false grows with their number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ratchet.errors import PairingError
from ratchet.evidence import Evidence
from ratchet.records import CheckResult, Json
from ratchet.stats.multiplicity import holm, intersection_union
from ratchet.verdicts.looks import Judged


@dataclass(frozen=True, slots=True, kw_only=True)
class Rivals:
    """The candidates that were tried, with the p-value of each one's ship, before and after Holm."""

    baseline: str
    candidate: str
    outcome: str
    """Of the candidate's own verdict."""
    alpha: float
    p: dict[str, float]
    adjusted: dict[str, float]

    def notes(self) -> tuple[str, ...]:
        """That a ship holds among all candidates too, where several were tried and it does."""
        if len(self.p) < 2 or self.outcome != "ship" or self._p > self.alpha:
            return ()
        return (f"{self._tried}: {self.candidate} ships among all of them too (Holm p = {self._p:.3f})",)

    def warnings(self) -> tuple[str, ...]:
        """What the candidate's own verdict doesn't hold, where several were tried."""
        if len(self.p) < 2 or self.notes():
            return ()
        if self.outcome != "ship":
            return (f"{self._tried}; each verdict holds its error rate for its own candidate alone.",)
        return (
            f"{self._tried}: {self.candidate} ships by itself, but as the pick of all of them it may be luck "
            f"(Holm p = {self._p:.3f}). Confirm it on fresh examples.",
        )

    @property
    def _tried(self) -> str:
        return f"{len(self.p)} candidates were tried against {self.baseline}"

    @property
    def _p(self) -> float:
        return self.adjusted[self.candidate]

    def facts(self) -> dict[str, Json]:
        """For the inputs of the verdict."""
        if len(self.p) < 2:
            return {}
        return {
            "candidates": {
                name: {"p": self.p[name], "holm_p": self.adjusted[name]} for name in sorted(self.p)
            }
        }


def rivals_of(
    evidence: Evidence,
    baseline: str,
    candidate: str,
    judged: Callable[[str], Judged],
    *,
    alpha: float,
) -> Rivals:
    """All candidates of the evidence; `judged` gives the results of each by its name."""
    p = {candidate: ship_p(judged(candidate), alpha)}
    for name in evidence.arms:
        if name not in (baseline, candidate):
            try:
                p[name] = ship_p(judged(name), alpha)
            except PairingError:  # its own verdict says so
                p[name] = 1.0
    return Rivals(
        baseline=baseline,
        candidate=candidate,
        outcome=judged(candidate).outcome,
        alpha=alpha,
        p=p,
        adjusted=dict(zip(p, holm(list(p.values())).tolist(), strict=True)),
    )


def ship_p(judged: Judged, alpha: float) -> float:
    """The p-value of "this candidate may ship": the largest of its checks (of `primary: any`, the best after Holm).

    The guard on errors that is added holds for each candidate by itself: its margin is what its number of examples can
    just show, so no p-value of it could stand among several. Source: Berger, Technometrics 1982, 24:295-300
    (intersection-union).
    """
    deciding = [r for r in judged.results if r.check.role != "report" and r.outcome != "reported"]
    if any(r.outcome != "passed" for r in deciding if r.check.settings.get("added")):
        return 1.0
    deciding = [r for r in deciding if not r.check.settings.get("added")]
    if judged.conditions.broken or not deciding:
        return 1.0
    either = [_passing_p(r, alpha) for r in deciding if r.check.settings.get("primary") == "any"]
    every = [_passing_p(r, alpha) for r in deciding if r.check.settings.get("primary") != "any"]
    if either:
        every.append(float(holm(either).min()))
    return intersection_union(every)


def _passing_p(result: CheckResult, alpha: float) -> float:
    """Of the claim that the check passes; 1 where it may not, whatever the numbers say."""
    if result.outcome == "passed":
        return min(alpha, 0.0 if result.p is None else result.p)
    allowed = result.outcome == "open" and result.p is not None and result.p > alpha
    return result.p if allowed and result.p is not None else 1.0
