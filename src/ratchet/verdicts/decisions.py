"""Checks become outcomes, and outcomes a verdict: intersection-union for ship, Holm for what is shown worse."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ratchet.evidence import FACTS, Evidence
from ratchet.records import Check, CheckResult
from ratchet.stats._special import normal_quantile
from ratchet.stats.multiplicity import holm
from ratchet.stats.paired import paired_difference
from ratchet.stats.proportions import exact_bound
from ratchet.stats.sequential import asymptotic_multiplier
from ratchet.verdicts.anytime import FUTILE, Look, blank_reach, estimate_at
from ratchet.verdicts.estimates import Estimate, Question, estimate, leans, too_weak
from ratchet.verdicts.needs import needed_to_decide
from ratchet.verdicts.pairs import Pair
from ratchet.verdicts.sentences import title
from ratchet.verdicts.values import FLAGS, REPEAT_MEASURES, NoValuesError

Outcome = Literal["ship", "hold", "inconclusive", "invalid"]
_TIMED = ("latency_s", "ttft_s", "tokens_per_s")
_MOST_NEEDED = 0.999999


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """A check with its estimate, or with why there is none."""

    question: Question
    found: Estimate | None
    problem: str = ""
    reported: str = ""
    """Why it only reports, where it was written to decide."""
    look: Look | None = None

    @property
    def decides(self) -> bool:
        return self.question.check.role != "report" and not self.reported


def results_of(
    evidence: Evidence, pair: Pair, checks: Sequence[Check], *, alpha: float, seed: int
) -> tuple[CheckResult, ...]:
    """What each check found, in the order given."""
    return results_at(evidence, pair, checks, alpha=alpha, seed=seed, look=None)[0]


def results_at(
    evidence: Evidence, pair: Pair, checks: Sequence[Check], *, alpha: float, seed: int, look: Look | None
) -> tuple[tuple[CheckResult, ...], str]:
    """What each check found at this look, and why it is futile to go on; "" where it is not."""
    asked = [_ask(evidence, pair, Question(check=check, alpha=alpha, seed=seed), look) for check in checks]
    harm = _harm(asked)
    wins = _any_wins(asked)
    results = tuple(_result(pair, each, harm.get(i), wins.get(i)) for i, each in enumerate(asked))
    return results, _futility(asked, results)


def _futility(asked: Sequence[_Asked], results: Sequence[CheckResult]) -> str:
    """Why not even the planned end is likely to license a ship, nor to show harm; "" where it may.

    A ship needs every guard and primary (of `primary: any` one), a hold needs any one of them; each chance is the best
    that the data allow, so both claims are out of reach only where the margin or the number of examples is.
    """
    deciding = [
        (each, result)
        for each, result in zip(asked, results, strict=True)
        if each.decides and each.found is not None and result.outcome == "open"
    ]
    chances = [(each, each.found.chances) for each, _ in deciding if each.found and each.found.chances]
    if not chances or len(chances) < len(deciding):
        return ""
    needed = [(a, c) for a, c in chances if not _is_any(a.question.check)]
    either = [(a, c) for a, c in chances if _is_any(a.question.check)]
    lost = [each for each, chance in needed if chance[0] < FUTILE]
    won = any(result.outcome == "passed" and _is_any(result.check) for result in results)
    if either and not won and all(chance[0] < FUTILE for _, chance in either):
        lost += [each for each, _ in either]
    if not lost or any(chance[1] >= FUTILE for _, chance in chances):
        return ""
    best = max(chance[0] for each, chance in chances if each in lost)
    names = " and ".join(dict.fromkeys(title(each.question.check) for each in lost))
    return f"even the planned end would hardly decide {names} (chance at best {best:.0%})"


def outcome_of(results: Sequence[CheckResult]) -> Outcome:
    """The verdict that these results make, where its preconditions hold."""
    deciding = [
        result for result in results if result.check.role != "report" and result.outcome != "reported"
    ]
    guards = [result.outcome for result in deciding if not _is_any(result.check)]
    any_of = [result.outcome for result in deciding if _is_any(result.check)]
    if "failed" in guards or (any_of and all(each == "failed" for each in any_of)):
        return "hold"
    if "invalid" in guards or "invalid" in any_of:
        return "invalid"
    if not any(not result.check.settings.get("added") for result in deciding):
        return "inconclusive"
    passed = all(each == "passed" for each in guards) and (not any_of or "passed" in any_of)
    return "ship" if passed else "inconclusive"


def _is_any(check: Check) -> bool:
    return check.role == "primary" and check.settings.get("primary") == "any"


def _ask(evidence: Evidence, pair: Pair, question: Question, look: Look | None) -> _Asked:
    check = question.check
    if check.settings.get("added"):
        if (
            look is None
        ):  # of calls on these examples; looks need units that come independently, so whole groups
            pair = replace(pair, groups=None)
        question = _showable(question, pair, look)
    reported = ""
    if _compares_times(check) and not evidence.facts.get("interleaved", False):
        reported = "the arms did not run interleaved"
    try:
        found = estimate(question, pair) if look is None else estimate_at(question, pair, look)
        return _Asked(question=question, found=found, reported=reported, look=look)
    except NoValuesError as problem:
        return _Asked(question=question, found=None, problem=str(problem), reported=reported, look=look)


def _compares_times(check: Check) -> bool:
    return check.metric in _TIMED and check.rule in ("better", "no_worse")


def _showable(question: Question, pair: Pair, look: Look | None) -> Question:
    """The added guard with the smallest margin that so many answers, all of them without error, could show.

    A set of 100 can't show that errors rose by less than 1 point: with no error at all the limit is 3.0. Without
    this, no set below 300 examples could ever ship. It depends on the number of examples alone, so the level holds.

    It asks whether calls fail more often on these examples, so each is a unit, whatever groups there are: for groups that
    nobody has seen so few of them could show but a far wider margin (6.9 points at 42), under which an arm that fails one
    call in thirty would pass.
    """
    units = np.unique(pair.before_unit)
    zeros = np.zeros(len(units))
    groups = None if pair.groups is None else pair.groups[units]
    blank = paired_difference(zeros, zeros, groups=groups, level=question.level)
    reach = -blank.low / _MOST_NEEDED if math.isfinite(blank.low) else 0.0
    # the score interval is a little short where nothing was seen; the exact bound is not
    reach = max(reach, exact_bound(0, pair.independent, level=1.0 - question.alpha))
    if look is not None:
        if groups is not None:
            reach *= asymptotic_multiplier(look.fraction, question.level) / normal_quantile(
                1.0 - question.alpha
            )
        reach = max(reach, blank_reach(pair.independent, question.level) / _MOST_NEEDED)
    check = question.check
    if reach <= (check.margin or 0.0):
        return question
    widened = check.replace(margin=reach, settings={**check.settings, "margin_asked": check.margin})
    return Question(check=widened, alpha=question.alpha, seed=question.seed)


def _harm(asked: Sequence[_Asked]) -> dict[int, float]:
    """Holm-adjusted p of "shown worse" for every check that decides."""
    claims = {
        i: a.found.p_fails
        for i, a in enumerate(asked)
        if a.decides and a.found and a.found.p_fails is not None
    }
    return dict(zip(claims, holm(list(claims.values())).tolist(), strict=True)) if claims else {}


def _any_wins(asked: Sequence[_Asked]) -> dict[int, float]:
    """Holm-adjusted p of "wins" for primaries of which any one may win."""
    claims = {
        i: a.found.p_passes
        for i, a in enumerate(asked)
        if a.decides and a.found and a.found.p_passes is not None and _is_any(a.question.check)
    }
    return dict(zip(claims, holm(list(claims.values())).tolist(), strict=True)) if claims else {}


def _result(pair: Pair, asked: _Asked, harm: float | None, win: float | None) -> CheckResult:
    check, found = asked.question.check, asked.found
    if found is None:
        report = check.role == "report" or bool(asked.reported)
        return CheckResult(check=check, outcome="reported" if report else "invalid", reason=asked.problem)
    middle, low, high = found.oriented(asked.question.sign)
    outcome, why = _outcome(asked, (middle, low, high), harm, win)
    n = found.interval.n
    needed = None
    if outcome == "open":
        needed = needed_to_decide(
            estimate=middle, low=low, high=high, bound=asked.question.bound, n=n, alpha=asked.question.alpha,
            multiple=None if asked.look is None else asymptotic_multiplier(asked.look.fraction, asked.question.level),
        )  # fmt: skip
    interval = found.interval
    return CheckResult(
        check=check,
        outcome=outcome,
        estimate=finite(interval.estimate),
        low=finite(interval.low),
        high=finite(interval.high),
        level=interval.level,
        baseline_value=finite(found.baseline_value),
        candidate_value=finite(found.candidate_value),
        n=n,
        n_groups=interval.n_groups,
        method=interval.method,
        p=found.p_fails if outcome == "failed" else found.p_passes,
        seed=asked.question.seed if interval.draws or interval.p_method == "sign-flip permutation" else None,
        needed_n=needed,
        reason="; ".join(part for part in (why, *found.notes) if part),
        unit=unit_of(pair, check),
    )


def finite(value: float) -> float | None:
    """The value; None for an infinite or undetermined one, as records hold it."""
    return value if math.isfinite(value) else None


def _outcome(
    asked: _Asked, oriented: tuple[float, float, float], harm: float | None, win: float | None
) -> tuple[Literal["passed", "failed", "open", "reported"], str]:
    """The outcome of one check, and why where the numbers alone don't say."""
    assert asked.found is not None
    question = asked.question
    check, interval = question.check, asked.found.interval
    _, low, high = oriented
    if check.role == "report":
        return "reported", interval.note or ""
    if asked.reported:
        return ("open" if check.role == "primary" else "reported"), asked.reported
    limited = question.limited
    if high < question.bound:
        if leans(interval, question.sign):
            return "open", "looks worse, but the values are too skewed for so few examples"
        if harm is not None and harm <= question.alpha:
            return "failed", ""
        return (
            "open",
            f"looks worse, but not beyond doubt among so many checks (Holm p = {harm if harm is not None else 1:.3f})",
        )
    clears = low >= question.bound if limited else low > question.bound
    if not clears:
        return "open", interval.note or ""
    weak = asked.found.blocked or too_weak(interval, question.sign)
    if weak:
        return "open", weak
    if _is_any(check) and (win is None or win > question.alpha):
        return (
            "open",
            f"wins alone, but not among several that may win (Holm p = {win if win is not None else 1:.3f})",
        )
    return "passed", ""


def unit_of(pair: Pair, check: Check) -> str:
    """What the numbers of this check are in."""
    if check.metric.endswith("_usd"):
        return "usd"
    if check.metric.endswith("_s") and check.metric in FACTS and check.metric != "tokens_per_s":
        return "s"
    if check.metric.endswith("_tokens"):
        return "tokens"
    column = pair.candidate.columns.get(check.metric)
    shares = check.metric in (*FLAGS, "stability") or check.measure in (
        *REPEAT_MEASURES[:6],
        "rate",
        "accuracy",
    )
    if shares or check.label is not None or (column is not None and column.kind in ("bool", "labels")):
        return "share"
    return ""
