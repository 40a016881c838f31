"""What every report shows, as plain facts: one sentence, one line a check, tallies, slices, rows.

Differences are candidate minus baseline in the metric's own unit; where a check is relative, candidate / baseline - 1.
Results of `at_most` and `at_least` are the candidate's own value against a limit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ratchet.evidence import FACTS, ArmData, Evidence
from ratchet.records import Check, CheckResult, Verdict
from ratchet.reports import numbers
from ratchet.reports.numbers import Unit

Tone = Literal["up", "down", "flat"]
DIMENSIONS = ("cost", "latency", "accuracy", "security", "stability")
WORDS = {"ship": "Ship", "hold": "Hold", "inconclusive": "Inconclusive", "invalid": "Invalid"}
OUTCOMES = {
    "passed": "passed",
    "failed": "failed",
    "open": "open",
    "invalid": "invalid",
    "reported": "report",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One check, ready to show."""

    result: CheckResult
    title: str
    rule: str
    unit: Unit
    level: Unit
    zero: float | None
    """Where "no difference" lies on the estimate's axis; None for a limit."""
    bound: float | None
    """Where the margin or the limit lies."""
    tone: Tone
    """"up" where the interval lies on the better side, "down" on the worse; "flat" where it can't say."""

    @property
    def estimate(self) -> str:
        """`+1.2 pp`."""
        limited = self.result.check.rule in ("at_most", "at_least")
        return self.unit.level(self.result.estimate) if limited else self.unit.change(self.result.estimate)

    @property
    def span(self) -> str:
        """`[-0.4, +2.8]`, in the estimate's unit."""
        return self.unit.span(self.result.low, self.result.high, signed=self.zero is not None)

    @property
    def margin(self) -> str:
        """`-2 pp`, `2 s`; "-" where the check has none."""
        if self.bound is None:
            return "-"
        unit = self.unit
        value = self.bound * unit.scale
        digits = next((d for d in range(unit.digits + 3) if abs(round(value, d) - value) < 1e-9), unit.digits)
        tight = Unit(scale=unit.scale, prefix=unit.prefix, suffix=unit.suffix, digits=digits)
        return tight.level(self.bound) if self.zero is None else tight.change(self.bound)


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What the two arms are called."""

    baseline: str
    candidate: str


def names(verdict: Verdict, evidence: Evidence | None = None) -> Names:
    """The arms' names: from the evidence by their variants' ids, else from `inputs`, else the ids cut short."""
    given = verdict.inputs.get("arms")
    if isinstance(given, dict) and {"baseline", "candidate"} <= given.keys():
        return Names(baseline=str(given["baseline"]), candidate=str(given["candidate"]))
    baseline = _name_of(verdict.baseline, evidence, taken=None)
    candidate = _name_of(verdict.candidate, evidence, taken=baseline)
    # the same variant twice, of which no evidence tells the names
    return Names(baseline=baseline, candidate=candidate if candidate != baseline else f"{candidate} again")


def _name_of(variant_id: str, evidence: Evidence | None, taken: str | None) -> str:
    for name, arm in evidence.arms.items() if evidence else ():
        if variant_id in (arm.variant_id, name) and name != taken:
            return name
    hexadecimal = len(variant_id) >= 24 and all(c in "0123456789abcdef" for c in variant_id)
    return variant_id[:12] if hexadecimal else variant_id


def lines(verdict: Verdict, evidence: Evidence | None = None) -> list[Line]:
    """One line a check: primaries first, then guards, then reports; in the order of CLASS within each."""
    roles = ("primary", "guard", "report")
    ordered = sorted(
        verdict.results, key=lambda r: (roles.index(r.check.role), DIMENSIONS.index(r.check.dimension))
    )
    return [line(result, is_rate(result.check, evidence)) for result in ordered]


def line(result: CheckResult, rate: bool) -> Line:
    """This result, ready to show."""
    check = result.check
    levels = [v for v in (result.baseline_value, result.candidate_value) if v is not None]
    unit = numbers.change_unit(result, rate=rate)
    zero = None if check.rule in ("at_most", "at_least") else 0.0
    return Line(
        result=result,
        title=title(check),
        rule=rule(check, unit),
        unit=unit,
        level=numbers.level_unit(check.metric, levels, rate=rate),
        zero=zero,
        bound=bound(check),
        tone=tone(result),
    )


def is_rate(check: Check, evidence: Evidence | None) -> bool:
    """Whether the metric is a share of rows, shown in per cent and points."""
    if check.measure == "rate" or check.metric in numbers.RATES:
        return True
    if check.measure != "mean" or evidence is None:
        return False
    columns = [arm.columns[check.metric] for arm in evidence.arms.values() if check.metric in arm.columns]
    return bool(columns) and all(column.kind == "bool" for column in columns)


def title(check: Check) -> str:
    """`exact_match`, `latency_s p95`, `intent macro_f1`, `intent f1 of spam`."""
    parts = [check.metric]
    if check.quantile is not None:
        parts.append(f"p{100 * check.quantile:g}")
    elif check.measure not in ("mean", "rate", check.metric):
        parts.append(check.measure)
    if check.label is not None:
        parts.append(f"of {check.label}")
    return " ".join(parts)


def rule(check: Check, unit: Unit) -> str:
    """`at most 2 pp worse`, `better by 30 % or more`, `at most 2 s`."""

    def plain(value: float) -> str:
        text = f"{abs(value) * unit.scale:.6f}".rstrip("0").rstrip(".")
        return f"{unit.prefix}{text}{unit.suffix}"

    if check.rule in ("at_most", "at_least"):
        return f"{check.rule.replace('_', ' ')} {plain(check.limit or 0.0)}"
    if check.rule == "better":
        return f"better by {plain(check.margin)} or more" if check.margin else "better"
    return f"at most {plain(check.margin)} worse" if check.margin else "no worse"


def bound(check: Check) -> float | None:
    """The margin or limit on the estimate's axis; None for a difference without margin."""
    if check.rule in ("at_most", "at_least"):
        return check.limit
    if not check.margin:
        return None
    good = 1.0 if check.higher_is_better else -1.0
    return check.margin * (good if check.rule == "better" else -good)


def tone(result: CheckResult) -> Tone:
    """Where the interval lies: better, worse, or neither shown."""
    check = result.check
    null = (check.limit or 0.0) if check.rule in ("at_most", "at_least") else 0.0
    if result.low is None and result.high is None:
        return "flat"
    low = -math.inf if result.low is None else result.low
    high = math.inf if result.high is None else result.high
    above, below = low > null, high < null
    if not above and not below:
        return "flat"
    higher = {"at_most": False, "at_least": True}.get(check.rule, check.higher_is_better)
    return "up" if above == higher else "down"


def level_text(found: Sequence[CheckResult]) -> str:
    """`90 % interval`, from the results that have one."""
    levels = sorted({round(100 * r.level, 1) for r in found if r.level is not None})
    always = "anytime-valid " if any("confidence sequence" in r.method for r in found) else ""
    return f"{always}{' and '.join(f'{level:g}' for level in levels)} % interval" if levels else "interval"


def describe(item: Line) -> str:
    """`exact_match -17.1 pp [-20.1, -14.0], margin -2 pp`: one result within a sentence."""
    text = " ".join(filter(None, [item.title, item.estimate, item.span]))
    if item.bound is None:
        return text
    return f"{text}, {'limit' if item.zero is None else 'margin'} {item.margin}"


def reasons(verdict: Verdict, evidence: Evidence | None = None) -> list[str]:
    """The verdict's own reasons that the sentence doesn't say: of an invalid verdict or a noise check, or further ones."""
    own = verdict.reasons
    decided = verdict.outcome in ("ship", "hold") or any(
        result.outcome == "open" for result in verdict.results
    )
    if decided and verdict.outcome != "invalid" and not (own and own[0].startswith("A/A: ")):
        own = own[1:]  # the sentence says it with figures
    said = explanation(verdict, evidence)
    return [text.rstrip(".") for text in own if text.rstrip(".") not in said]


def sentence(verdict: Verdict, evidence: Evidence | None = None) -> str:
    """The verdict in one sentence, beginning with its word."""
    return f"{WORDS[verdict.outcome]}: {explanation(verdict, evidence)}"


def explanation(verdict: Verdict, evidence: Evidence | None = None) -> str:
    """The sentence after the verdict's word."""
    called = names(verdict, evidence)
    shown = lines(verdict, evidence)
    if verdict.outcome == "invalid":
        broken = [item.result.reason or item.title for item in shown if item.result.outcome == "invalid"]
        why = (*verdict.reasons, *broken)
        return f"these inputs allow no verdict: {why[0].rstrip('.') if why else 'see the checks'}."
    if verdict.outcome == "ship":
        return _ship(called, shown)
    if verdict.outcome == "hold":
        failed = [item for item in shown if item.result.outcome == "failed"]
        found = "; ".join(describe(item) for item in failed[:2])
        more = f"; and {len(failed) - 2} more" if len(failed) > 2 else ""
        return f"{called.candidate} should not replace {called.baseline}{': ' if found else ''}{found}{more}."
    waiting = [item for item in shown if item.result.outcome == "open"]
    n = len(evidence.examples) if evidence else max((item.result.n for item in shown), default=0)
    found = "; ".join(describe(item) for item in waiting[:2])
    text = f"{n:,} examples don't show whether {called.candidate} may replace {called.baseline}"
    needed = max((item.result.needed_n or 0 for item in waiting), default=0)
    wanted = f" About {needed:,} would decide." if needed > n else ""
    return f"{text}{': ' if found else ''}{found}.{wanted}"


def surety(verdict: Verdict) -> str:
    """How sure the answer is, in one sentence."""
    alpha = verdict.inputs.get("alpha")
    share = float(alpha) if isinstance(alpha, (int, float)) else 0.05
    risk, sure = f"{100 * share:g} %", f"{100 * (1 - share):g} %"
    if verdict.outcome == "ship":
        return f"How sure: a change that breaks a check would get this answer in at most {risk} of cases."
    if verdict.outcome == "hold":
        return f"How sure: each failed check is shown with {sure} confidence."
    if verdict.outcome == "invalid":
        return "How sure: not at all; the inputs must be mended first."
    return f"How sure: at {sure} confidence the open checks are not decided either way."


def _ship(called: Names, shown: Sequence[Line]) -> str:
    guards = sum(item.result.check.role == "guard" for item in shown)
    won = [i for i in shown if i.result.check.role == "primary" and i.result.outcome == "passed"]
    parts = [f"better on {describe(item)}" for item in won[:2]]
    if guards:
        parts.append("its guard holds" if guards == 1 else f"all {guards} guards hold")
    found = "; ".join(parts)
    return f"{called.candidate} may replace {called.baseline}{': ' if found else ''}{found}."


def decisions(verdict: Verdict, evidence: Evidence | None = None) -> list[str]:
    """What would decide each open check."""
    texts: list[str] = []
    for item in lines(verdict, evidence):
        result = item.result
        if result.outcome != "open":
            continue
        if result.needed_n is not None:
            texts.append(
                f"{item.title}: about {result.needed_n:,} examples would decide it (now {result.n:,})"
            )
        elif result.reason:
            texts.append(f"{item.title}: {result.reason}")
    return texts


def headline(verdict: Verdict, evidence: Evidence) -> str | None:
    """The score by which examples are called better or worse: of the checks if it can be, else the first score."""
    roles = {"primary": 0, "guard": 1, "report": 2}
    ranked = sorted(verdict.results, key=lambda r: (r.check.dimension != "accuracy", roles[r.check.role]))
    scored = [r.check.metric for r in ranked if r.check.metric not in FACTS]
    every = [name for arm in evidence.arms.values() for name in arm.columns if name not in FACTS]
    called = names(verdict, evidence)
    pair: list[ArmData] = [
        evidence.arms[name] for name in (called.baseline, called.candidate) if name in evidence.arms
    ]
    for name in (*scored, *every, *FACTS):
        if len(pair) == 2 and all(_has_numbers(arm, name) for arm in pair):
            return name
    return None


def _has_numbers(arm: ArmData, metric: str) -> bool:
    column = arm.columns.get(metric)
    return column is not None and column.kind != "labels"


def cost_lines(verdict: Verdict) -> list[str]:
    """What the change saves or costs, in a sentence; nothing where the verdict has no cost case."""
    if not verdict.cost_case:
        return []
    from ratchet import costs
    from ratchet.costs import texts as said

    case = costs.read(verdict.cost_case)
    return [] if case is None else [said.sentence(case)]
