"""docs/validity.md: what was measured, beside what is claimed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ratchet.testing.migrations.claims import BOUND_LEVEL, Claim, claims_of
from ratchet.testing.migrations.public import PublicCheck
from ratchet.testing.migrations.records import Counts, Migration
from ratchet.testing.migrations.stopping import Stops, stop_claims

_KINDS = {
    "binary": "Pass and fail",
    "continuous": "Scores",
    "cost": "Cost",
    "latency": "Latency",
}

_INTRO = """# Validity: the claims, measured

A verdict claims an error rate. This page measures it on simulated migrations whose truth is known: examples, groups,
repeats, ties, failed calls, skewed cost and heavy-tailed latency are drawn, judged by the functions behind
`ratchet compare`, and counted.

    {command}

- **ship**, **hold**: share of verdicts. **Bold** where the truth makes it an error: on the margin both ship ("no worse")
  and hold ("shown worse") are false; with equal arms a hold is. Claimed: at most 5 % each. What is not bold is power.
- **90 %**, **95 %**: share of intervals that cover the truth. Claimed of the 95 % interval: at least 93 %; from 300
  examples on at least 94 %, and for plain pass/fail and scores at most 96 %. Intervals of quantiles, of skewed
  differences and of what is refused claim no coverage.
- **refused**: share of verdicts that stayed open though the interval cleared its bound, because the data are too few or
  too skewed to decide on.
- A claim breaks when the exact one-sided {level:.1%} bound of what was counted excludes it. `make validity` then fails.
"""

_STOPS = """## Stopping when decided

Runs with `--stop-when-decided`, looked at 39 times between 40 and 800 examples by the function behind `ratchet run` and
`ratchet compare`. Claimed at any of the looks: at most 5 % false ships and 5 % false holds, with equal arms at most 5 %
of both together, and that the 90 % interval of the verdict, at whatever look it ended, covers the truth.
"""

_OUTRO = """## What the settings draw

Pass/fail: the shares that only one arm passes add up to the discordant share; groups and examples with repeats have
Dirichlet shares around them (intraclass correlation {icc:g} between examples of a group, {own:g} between repeats of an
example). Scores: normal differences; ties are examples with a difference of 0. Cost: lognormal per example with noise
of each arm on top; skewed data (`log-SD` is the standard deviation of the log) are where Student's t fails. Latency:
lognormal, 3 % of the answers stall for a Pareto time of infinite variance. Seeds are the numbers of the migrations, so
the figures are the same on every machine, but for rounding.

What "refused" rests on: below 20 examples or 10 groups, p95 below 59 rows, cost carried by fewer than 10 examples' worth,
and, for means, a tail that is too long on the side that matters: one end of a t interval errs by
skewness / (6 sqrt n) (2 z^2 + 1) phi(z) more than it says, so below 250 times the squared skewness a long tail of harm
licenses no ship, and a long tail of gain no hold.

A guard on errors is part of every verdict (at most 1 point more). Sets below 270 examples can't show that; there its
margin is the smallest that their number can show without any error, as the verdict says (`margin_asked`).
"""


def page(
    counts: Sequence[Counts],
    looks: Sequence[Claim],
    stops: Sequence[Stops],
    public: Sequence[PublicCheck],
    command: str,
) -> str:
    """The page in Markdown; `stops` are runs that stop when decided, `public` is the same by the public way."""
    parts = [_INTRO.format(command=command, level=BOUND_LEVEL)]
    parts.append(_summary(counts, all_claims(counts, looks, stops)))
    refused = [each for each in counts if each.setting.claims == "refuses"]
    for kind, title in _KINDS.items():
        some = [each for each in counts if each.setting.kind == kind and each not in refused]
        if some:
            parts.append(f"## {title}\n\n{table(some)}\n")
    if refused:
        parts.append(f"## Refused\n\nNever a ship, whatever the numbers say.\n\n{table(refused)}\n")
    parts.append(_looks(looks))
    parts.append("\n".join([_STOPS, *stop_lines(stops)]) + "\n")
    parts.append(_public(public))
    parts.append(_OUTRO.format(icc=Migration(name="").icc, own=Migration(name="").own))
    return "\n".join(parts)


def all_claims(counts: Sequence[Counts], looks: Sequence[Claim], stops: Sequence[Stops]) -> list[Claim]:
    """Every claim of these measurements."""
    return [*(claim for each in counts for claim in claims_of(each)), *looks, *stop_claims(stops)]


def stop_lines(stops: Sequence[Stops]) -> Iterator[str]:
    """A table, one line a setting."""
    yield "| setting | runs | ship | hold | futility | covered | examples judged | method |"
    yield "|---|---|---|---|---|---|---|---|"
    for each in stops:
        setting, n = each.setting, each.runs
        ship, hold = f"{each.ships / n:.1%}", f"{each.holds / n:.1%}"
        broken = " (breaks)" if any(not claim.holds for claim in stop_claims([each])) else ""
        cells = (
            setting.name,
            f"{n:,}",
            f"**{ship}**" if setting.ship_is_false else ship,
            f"**{hold}**" if setting.hold_is_false else hold,
            f"{each.futile / n:.1%}",
            f"{each.covered / n:.1%}",
            f"{each.examples / n:.0f} of {setting.n}",
            each.method + broken,
        )
        yield f"| {' | '.join(cells)} |"


def table(counts: Sequence[Counts]) -> str:
    """One line a setting."""
    head = "| setting | truth | bound | migrations | ship | hold | 90 % | 95 % | refused | method |\n"
    return head + "|---|---|---|---|---|---|---|---|---|---|\n" + "\n".join(_lines(counts))


def _lines(counts: Sequence[Counts]) -> Iterator[str]:
    for each in counts:
        setting, n = each.setting, each.migrations
        ship, hold = f"{each.ships / n:.2%}", f"{each.holds / n:.2%}"
        marks = [" (breaks)" if not claim.holds else "" for claim in claims_of(each)]
        cells = (
            setting.name,
            _points(
                setting.truth if setting.rule == "at_least" or not setting.absolute else setting.difference
            ),
            _points(setting.bound * (setting.sign if setting.rule != "at_least" else 1.0)),
            f"{n:,}",
            f"**{ship}**" if setting.ship_is_false or setting.claims == "refuses" else ship,
            f"**{hold}**" if setting.hold_is_false else hold,
            f"{each.covered_90 / n:.1%}",
            "" if setting.resamples else f"{each.covered_95 / n:.1%}",
            f"{each.weak / n:.1%}",
            each.method + "".join(sorted(set(marks))),
        )
        yield f"| {' | '.join(cells)} |"


def _points(share: float) -> str:
    return f"{100 * share:+.4g} %" if share else "0"


def _summary(counts: Sequence[Counts], claims: Sequence[Claim]) -> str:
    broken = [claim for claim in claims if not claim.holds]
    total = sum(each.migrations for each in counts)
    lines = [f"{total:,} migrations in {len(counts)} settings, {len(claims)} claims: {len(broken)} broken."]
    lines += [f"- Broken: {claim}" for claim in broken]
    for what in ("false ship", "false hold"):
        worst = max((claim for claim in claims if claim.what == what), key=lambda claim: claim.share)
        lines.append(
            f"- Highest {what}: {worst.share:.2%} [{worst.low:.2%}, {worst.high:.2%}] ({worst.setting})."
        )
    return "\n".join(lines) + "\n"


def _looks(looks: Sequence[Claim]) -> str:
    lines = ["## Looking early", "", "Equal arms, 39 looks between 40 and 800 examples, 11 % discordant: false alarms.", ""]  # fmt: skip
    lines += ["| method | migrations | false alarms | 99.9 % bounds |", "|---|---|---|---|"]
    for claim in looks:
        breaks = "" if claim.holds else " (breaks)"
        lines.append(f"| {claim.setting}{breaks} | {claim.of:,} | {claim.share:.2%} | {claim.low:.2%} to {claim.high:.2%} |")  # fmt: skip
    return "\n".join(lines) + "\n"


def _public(public: Sequence[PublicCheck]) -> str:
    if not public:
        return ""
    stored, filed = sum(each.stored for each in public), sum(each.filed for each in public)
    lines = [
        "## The same by the public way",
        "",
        f"{public[0].stored + public[0].filed:,} migrations of each setting were also written down and judged from what "
        f"was read back: {stored:,} runs in a store through `compare`, {filed:,} evidence files. Verdicts or limits that "
        f"differ: {sum(len(each.differing) for each in public)}.",
        *(f"- {line}" for each in public for line in each.differing[:3]),
    ]
    return "\n".join(lines) + "\n"
