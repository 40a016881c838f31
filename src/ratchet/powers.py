"""Planning, before money is spent: what difference the examples can show, and how many a check needs.

What will vary is guessed, or taken from a pilot: a run of the same arms on some examples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ratchet.errors import PlanError
from ratchet.evidence import FACTS, Evidence
from ratchet.records import Check, Task
from ratchet.stats import power as power_stats
from ratchet.stats._special import normal_quantile
from ratchet.stats.means import SMALL_N
from ratchet.stats.proportions import exact_bound
from ratchet.verdicts.deciding import arms_of
from ratchet.verdicts.estimates import Question, estimate, rows_for_quantile
from ratchet.verdicts.needs import POWER, needed_to_decide
from ratchet.verdicts.pairs import pair
from ratchet.verdicts.sentences import change, rule, title
from ratchet.verdicts.values import FLAGS, NoValuesError

__all__ = ["Guess", "Power", "needed_to_decide", "plan_power", "power", "refuse_or_warn"]

ALPHA = 0.05
FORCE = "--force runs it all the same"


@dataclass(frozen=True, slots=True, kw_only=True)
class Guess:
    """What is assumed where there is no pilot: shares of examples on which the arms' passes and fails disagree."""

    low: float = 0.10
    high: float = 0.20
    sd: float | None = None
    """Of the difference per example, for scores that are numbers; None: as for passes and fails on a 0 to 1 scale."""

    def variances(self, check: Check) -> tuple[float, float]:
        """The variance of the paired difference, at best and at worst."""
        if self.sd is not None and check.measure not in ("rate", "accuracy"):
            return self.sd**2, self.sd**2
        return self.low, self.high


@dataclass(frozen=True, slots=True, kw_only=True)
class Power:
    """What so many examples can show of one check."""

    check: Check
    n: int
    detectable: tuple[float, float] | None
    """The smallest difference from the bound that is shown with 80 % power, at best and at worst; None: unknown."""
    needed_n: tuple[int, int] | None
    """How many examples the check needs, if the arms are in truth equal; None: it depends on the gain."""
    can_decide: bool
    """Whether so many examples can license a ship by this check at all, at best."""
    from_pilot: bool
    sentence: str


def power(
    checks: Sequence[Check],
    n: int,
    *,
    guess: Guess | None = None,
    pilot: Evidence | None = None,
    baseline: str | None = None,
    candidate: str | None = None,
    alpha: float = ALPHA,
) -> tuple[Power, ...]:
    """What `n` examples can show of each check, from a pilot where there is one and it has the metric, else by guess.

    Raises:
        PlanError: `n` is below 2, or the guess is no share.
        UnknownNameError: The pilot has no such arm.
    """
    guess = guess or Guess()
    if n < 2:
        raise PlanError(f"there are {n} examples; expected at least 2")
    if not 0.0 < guess.low <= guess.high <= 1.0 or (guess.sd is not None and guess.sd <= 0.0):
        raise PlanError(
            f"the guess is {guess.low:g} to {guess.high:g}; expected shares above 0 and at most 1"
        )
    found: list[Power] = []
    for check in checks:
        seen = None if pilot is None else _pilot_variance(pilot, check, baseline, candidate, alpha)
        variances = (seen, seen) if seen is not None else _guessed(check, guess)
        found.append(_power(check, n, variances, seen is not None, alpha))
    return tuple(found)


def _guessed(check: Check, guess: Guess) -> tuple[float, float] | None:
    """The variance at best and at worst; None where nothing can be said before the first answer."""
    if check.rule in ("at_most", "at_least") or check.measure in ("quantile", "macro_f1", "micro_f1"):
        return None
    share = check.measure in (
        "rate",
        "accuracy",
        "agreement",
        "stability",
        "similarity",
        "pass_hat_k",
        "pass_at_k",
    )
    unit_scale = share or check.metric in (*FLAGS, "stability") or (check.margin or 0.0) <= 0.2
    if check.metric in FACTS and not check.relative:
        return None
    return guess.variances(check) if unit_scale or check.relative or guess.sd is not None else None


def _pilot_variance(
    pilot: Evidence, check: Check, baseline: str | None, candidate: str | None, alpha: float
) -> float | None:
    """The variance an example that the pilot's interval speaks of, groups and all; None where it can't say."""
    first, second = arms_of(pilot, baseline, candidate)
    found = pair(pilot, first, second)
    try:
        made = estimate(Question(check=check, alpha=alpha), found)
    except NoValuesError:
        return None
    interval = made.interval
    reach = (interval.high - interval.low) / 2.0
    if not math.isfinite(reach) or interval.n < 2:
        return None
    # an interval without width would promise everything: one example that differs is the least assumed
    return max(interval.n * (reach / normal_quantile(1.0 - alpha)) ** 2, 1.0 / interval.n**2)


def _power(
    check: Check, n: int, variances: tuple[float, float] | None, from_pilot: bool, alpha: float
) -> Power:
    impossible = _impossible(check, n, alpha)
    if variances is None:
        sentence = impossible or f"{title(check)}: what {n:,} examples can show depends on the answers"
        return Power(
            check=check, n=n, detectable=None, needed_n=None, can_decide=not impossible, from_pilot=False, sentence=sentence
        )  # fmt: skip
    best, worst = (
        power_stats.detectable_difference(n, variance, alpha=alpha, power=POWER) for variance in variances
    )
    needed = None
    decidable = impossible is None
    if check.rule == "no_worse" and check.margin:
        low, high = (power_stats.needed_n(v, check.margin, alpha=alpha, power=POWER) for v in variances)
        needed = low, high
        decidable = decidable and n >= low
    return Power(
        check=check,
        n=n,
        detectable=(best, worst),
        needed_n=needed,
        can_decide=decidable,
        from_pilot=from_pilot,
        sentence=impossible or _sentence(check, n, (best, worst), needed),
    )


def _impossible(check: Check, n: int, alpha: float) -> str | None:
    """Why no answers at all could let this check pass, with so few examples."""
    if check.role == "report":
        return None
    if n < SMALL_N:
        return f"{title(check)}: {n:,} examples are too few for any ship; at least {SMALL_N} are needed"
    if check.measure == "quantile":
        needed = rows_for_quantile(check.quantile or 0.5)
        if n < needed:
            return f"{title(check)}: {n:,} examples can't bound this percentile; about {needed:,} are needed"
    shares = check.measure == "rate" or check.metric in FLAGS
    if check.rule == "at_most" and shares and check.limit is not None and 0.0 < check.limit < 1.0:
        bound = exact_bound(0, n, level=1.0 - alpha)
        if bound > check.limit:
            needed = math.ceil(math.log(alpha) / math.log(1.0 - check.limit))
            return (
                f"{title(check)}: 0 of {n:,} still allows {100 * bound:.2g} %, above the limit of {100 * check.limit:g} %; "
                f"{needed:,} examples without a single one are needed"
            )
    return None


def _sentence(check: Check, n: int, detectable: tuple[float, float], needed: tuple[int, int] | None) -> str:
    unit = "" if check.metric in FACTS or check.relative else "share"
    ends = list(dict.fromkeys(change(v, unit, relative=check.relative, signed=False) for v in detectable))
    span = ends[0] if len(ends) == 1 else f"{ends[0].split(' ')[0]} to {ends[1]}"
    what = "gain" if check.rule == "better" else "rise" if not check.higher_is_better else "drop"
    text = f"{title(check)}: {n:,} examples can't see a {what} under {span}"
    if needed is None:
        return text
    least, most = needed
    many = f"about {least:,}" if least == most else f"{least:,} to {most:,}"
    if n >= most:
        return f"{title(check)}: {n:,} examples are enough for {rule(check, unit)} ({many} needed)"
    return f"{text}; {rule(check, unit)} needs {many}"


def plan_power(task: Task, n: int, *, guess: Guess | None = None, alpha: float = ALPHA) -> tuple[Power, ...]:
    """What `n` examples can show of the task's own checks; of a pass rate where it has none."""
    checks = task.checks or (Check(metric="a pass rate", rule="no_worse", measure="rate"),)
    return power(checks, n, guess=guess, alpha=alpha)


def refuse_or_warn(
    task: Task, n: int, *, arms: int, force: bool = False, only_warn: bool = False
) -> tuple[str, ...]:
    """What a run of this task on `n` examples can't show, as warnings; called before the first call is paid for.

    Nothing with one arm. Only a warning without written checks, or where the run is a part on purpose (`only_warn`).

    Raises:
        PlanError: A written check can't be decided by so many examples, even on a hopeful guess, and not `force`.
    """
    if arms < 2 or n < 2:
        return ()
    found = plan_power(task, n)
    if not task.checks:
        return tuple(each.sentence for each in found)
    blind = [each for each in found if each.check.role != "report" and not each.can_decide]
    sentences = tuple(each.sentence for each in found if each in blind or _is_weak(each))
    if blind and not force and not only_warn:
        listed = "\n  ".join(each.sentence for each in blind)
        raise PlanError(
            f"{n:,} examples can't decide what the task asks:\n  {listed}\n"
            f"  (guessing that the arms disagree on 10 to 20 % of the examples.) Add examples, widen the margin, or {FORCE}."
        )
    return sentences


def _is_weak(found: Power) -> bool:
    return found.check.role != "report" and found.needed_n is not None and found.n < found.needed_n[1]
