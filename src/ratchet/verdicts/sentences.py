"""The verdict in words: the answer first, then one sentence a check."""

from __future__ import annotations

from collections.abc import Sequence

from ratchet.records import Check, CheckResult

_RULES = {"better": "better", "no_worse": "no worse", "at_most": "at most", "at_least": "at least"}


def reasons(
    outcome: str, results: Sequence[CheckResult], *, baseline: str, candidate: str, broken: Sequence[str] = ()
) -> tuple[str, ...]:
    """The answer in one sentence, without the outcome's word; for an invalid verdict, what is broken, one by one."""
    of = {kind: [r for r in results if r.outcome == kind] for kind in ("passed", "failed", "open", "invalid")}
    if outcome == "invalid":
        return tuple(broken) or tuple(f"{title(r.check)}: {r.reason}" for r in of["invalid"])
    if outcome == "ship":
        count = len(of["passed"])
        return (
            f"{candidate} may replace {baseline}; {'its check' if count == 1 else f'all {count} checks'} passed",
        )
    if outcome == "hold":
        return (f"keep {baseline}; {'; '.join(f'{title(r.check)} {moved(r)}' for r in of['failed'])}",)
    if not of["open"]:
        return (f"nothing but the error rate was checked between {baseline} and {candidate}",)
    needed = [r.needed_n for r in of["open"] if r.needed_n is not None]
    more = f"; about {max(needed):,} examples would decide it" if needed else ""
    return (f"{_names(of['open'])} {'is' if len(of['open']) == 1 else 'are'} open{more}",)


def _names(results: Sequence[CheckResult]) -> str:
    names = list(dict.fromkeys(title(result.check) for result in results))
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def title(check: Check) -> str:
    """What the check looks at, as in "latency_s p95" or "labels macro_f1 of billing"."""
    parts = [check.metric]
    if check.measure == "quantile" and check.quantile is not None:
        parts.append(f"p{100 * check.quantile:g}")
    elif check.measure not in ("mean", "rate", "ratio") and check.metric != "stability":
        parts.append(check.measure)
    if check.label is not None:
        parts.append(f"of {check.label}")
    return " ".join(parts)


def rule(check: Check, unit: str = "") -> str:
    """What is asked, as in "no worse by more than 2 points" or "at most 2 s"."""
    if check.rule in ("at_most", "at_least"):
        return f"{_RULES[check.rule]} {number(check.limit, unit)}"
    if not check.margin:
        return _RULES[check.rule]
    margin = change(check.margin, unit, relative=is_relative(check), signed=False)
    return f"better by {margin}" if check.rule == "better" else f"no worse by more than {margin}"


def is_relative(check: Check) -> bool:
    """Whether the estimate is a share of the baseline."""
    return check.rule in ("better", "no_worse") and (check.relative or check.measure == "ratio")


def sentence(result: CheckResult) -> str:
    """One check in a sentence: what was asked, what was found, how it ended."""
    check = result.check
    asked = f"{title(check)}, {rule(check, result.unit)}"
    if result.level is None:
        return f"{asked}: {result.outcome}. {result.reason}".rstrip()
    ended = {
        "passed": "passed",
        "failed": "failed",
        "open": "open",
        "reported": "reported",
        "invalid": "invalid",
    }
    needed = f", about {result.needed_n:,} examples would decide it" if result.needed_n else ""
    why = f" ({result.reason})" if result.reason else ""
    return f"{asked}: {ended[result.outcome]}{needed}; {moved(result)}{why}."


def moved(result: CheckResult) -> str:
    """The estimate, its interval, and both arms' values."""
    check, unit = result.check, result.unit
    if result.estimate is None:
        return "is undetermined: failed answers count as never arriving"
    always = "anytime-valid " if "confidence sequence" in result.method else ""
    level = f"{always}{100 * (result.level or 0):g} % interval"
    if check.rule in ("at_most", "at_least"):
        ends = f"{number(result.low, unit, '-∞')} to {number(result.high, unit, '∞')}"
        return f"is {number(result.estimate, unit)}, {level} {ends}"
    relative = is_relative(check)
    ends = " to ".join(
        infinite if end is None else change(end, unit, relative=relative)
        for end, infinite in ((result.low, "-∞"), (result.high, "+∞"))
    )
    values = f"{number(result.baseline_value, unit)} → {number(result.candidate_value, unit)}"
    return f"{change(result.estimate, unit, relative=relative)}, {level} {ends} ({values})"


def change(value: float | None, unit: str, *, relative: bool = False, signed: bool = True) -> str:
    """A difference as people write it: "-2.1 points", "-30 %", "+0.4 s"."""
    if value is None:
        return "undetermined"
    sign = "+" if signed and value > 0 else ""
    if relative:
        return f"{sign}{_short(100 * value)} %"
    if unit == "share":
        return f"{sign}{_short(100 * value)} point{'' if abs(value) == 0.01 else 's'}"
    return f"{sign}{number(value, unit)}" if value >= 0 else f"-{number(-value, unit)}"


def number(value: float | None, unit: str, absent: str = "infinite") -> str:
    """A value with its unit: "81.2 %", "$0.0031", "1.92 s"."""
    if value is None:
        return absent
    if unit == "share":
        return f"{_short(100 * value)} %"
    text = _short(value)
    return f"${text}" if unit == "usd" else f"{text} s" if unit == "s" else text


def _short(value: float) -> str:
    """Three significant digits, without an exponent where that stays readable."""
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) >= 100:
        return f"{value:.1f}"
    return f"{value:.3g}" if abs(value) >= 1e-5 else f"{value:.2e}"
