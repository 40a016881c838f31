"""A cost case in words and plain tables: what the terminal, Markdown and HTML all say."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ratchet.costs.records import ArmCost, CostCase, Hosting, Migration, Range
from ratchet.records import Price


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of text under a header; every column but the first holds numbers."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def usd(value: float | None) -> str:
    """Dollars with three significant digits, whole cents from 1 on.

    >>> usd(0.0012345), usd(-12.3), usd(45_678.9), usd(None)
    ('$0.00123', '-$12.30', '$45,679', '-')
    """
    if value is None:
        return "-"
    if not math.isfinite(value):
        return "unbounded"
    sign, size = "-" if value < 0 else "", abs(value)
    if size == 0:
        return "$0"
    if size >= 1:
        return f"{sign}${size:,.0f}" if size >= 10_000 else f"{sign}${size:,.2f}"
    digits = min(12, 2 - math.floor(math.log10(size)))
    return f"{sign}${size:.{digits}f}"


def span(found: Range, scale: float = 1.0) -> str:
    """`$1.20 [1.10, 1.31]`; the value alone where nothing is uncertain."""
    return f"{usd(found.value * scale)} {_ends(found, scale)}".rstrip()


def sentence(case: CostCase) -> str:
    """What the case comes to, in one sentence."""
    migration = case.migration
    if migration is None:
        arm = case.arms[0]
        if arm.per_call_usd is None:
            return f"What {arm.name} costs is not known: no price is listed for {arm.model or 'it'}."
        per_success = f", {usd(arm.per_success_usd.value)} per correct answer" if arm.per_success_usd else ""
        return f"{arm.name} costs {usd(arm.per_call_usd.value * 1000)} per 1,000 calls{per_success}."
    return _migration_sentence(migration)


def _migration_sentence(found: Migration) -> str:
    saving = found.saving_per_call_usd
    sure = (saving.low is not None and saving.low > 0) or (saving.high is not None and saving.high < 0)
    verb = "saves" if saving.value >= 0 else "costs"
    more = "" if saving.value >= 0 else " more"
    share = f" ({abs(100 * found.saving_share.value):.0f} %)" if found.saving_share else ""
    monthly = found.saving_per_month_usd
    if monthly is not None:
        amount = f"{usd(abs(monthly.value))}{more} a month{share}"
    else:
        amount = f"{usd(abs(saving.value) * 1000)}{more} per 1,000 calls{share}"
    words = f"{found.candidate} {verb} {amount} against {found.baseline}"
    if not sure:
        return f"{words}, but the data can't tell that from nothing."
    months = found.break_even_months
    if months is None or found.spent_usd + found.one_off_usd <= 0:
        return f"{words}."
    when = f"by {found.break_even_on}" if found.break_even_on else f"after {_months(months.value)}"
    return f"{words}; what was spent on the change is earned back {when}."


def tables(case: CostCase) -> list[Table]:
    """Every table of the case, in reading order."""
    found = [_arms_table(case), _parts_table(case.arms)]
    if case.migration is not None:
        found.append(_migration_table(case.migration))
    if case.hosting is not None:
        found.append(_hosting_table(case.hosting))
    if case.what_if:
        month = any(what.per_month_usd is not None for what in case.what_if)
        found.append(
            Table(
                title="What if",
                header=("arm, change", "per 1,000 calls", *(("per month",) if month else ())),
                rows=tuple(
                    (
                        f"{what.arm}: {what.change}",
                        usd(what.per_call_usd * 1000),
                        *((usd(what.per_month_usd),) if month else ()),
                    )
                    for what in case.what_if
                ),
            )
        )
    if case.swings:
        title = "What the monthly saving hangs on" if case.migration else "What the monthly bill hangs on"
        found.append(
            Table(
                title=title,
                header=("assumption", "if lower", "", "if higher", ""),
                rows=tuple(
                    (s.name, s.low_text, usd(s.low_usd), s.high_text, usd(s.high_usd)) for s in case.swings
                ),
            )
        )
    return [table for table in found if table.rows]


def _arms_table(case: CostCase) -> Table:
    arms = case.arms
    rows: list[tuple[str, ...]] = [("answers", *(f"{arm.answers:,}" for arm in arms))]
    if any(arm.failed for arm in arms):
        rows.append(("failed", *(f"{arm.failed:,}" for arm in arms)))
    rows.append(("per call", *(usd(arm.per_call_usd.value) if arm.per_call_usd else "-" for arm in arms)))
    rows += _with_ends("per 1,000 calls", [arm.per_call_usd for arm in arms], 1000)
    if case.success_metric:
        rows.append(
            (
                f"correct ({case.success_metric})",
                *("-" if arm.success_share is None else f"{100 * arm.success_share:.1f} %" for arm in arms),
            )
        )
        rows += _with_ends("per correct answer", [arm.per_success_usd for arm in arms])
    if case.traffic is not None:
        rows += _with_ends("per month", [arm.per_month_usd for arm in arms])
    return Table(title="Cost", header=("", *(arm.name for arm in arms)), rows=tuple(rows))


def _with_ends(title: str, found: Sequence[Range | None], scale: float = 1.0) -> list[tuple[str, ...]]:
    """A row of values, and below it their intervals where there are any."""
    rows = [(title, *("-" if one is None else usd(one.value * scale) for one in found))]
    ends = [_ends(one, scale) for one in found]
    return [*rows, ("  95 %", *ends)] if any(ends) else rows


def _ends(found: Range | None, scale: float = 1.0) -> str:
    if found is None or (found.low is None and found.high is None) or found.low == found.high:
        return ""
    low, high = (
        "unbounded" if end is None else usd(end * scale).replace("$", "") for end in (found.low, found.high)
    )
    return f"[{low}, {high}]"


def _parts_table(arms: Sequence[ArmCost]) -> Table:
    """Where a mean call's dollars go, per 1,000 calls."""
    names = (
        ("input", "input_usd"), ("cached input", "cached_usd"), ("cache writes", "cache_write_usd"),
        ("output", "output_usd"), ("reasoning", "reasoning_usd"), ("request fee", "request_usd"),
    )  # fmt: skip
    rows: list[tuple[str, ...]] = []
    for title, field in names:
        values = [None if arm.parts is None else getattr(arm.parts, field) for arm in arms]
        if any(values):
            tokens = [arm.tokens.get(title.split()[0]) for arm in arms]
            rows.append((title, *(_part(value, count) for value, count in zip(values, tokens, strict=True))))
    if any(arm.retry_usd for arm in arms):
        rows.append(("retries, failures", *(usd(arm.retry_usd * 1000) for arm in arms)))
    return Table(
        title="Of which, per 1,000 calls", header=("", *(arm.name for arm in arms)), rows=tuple(rows)
    )


def _part(value: float | None, tokens: float | None) -> str:
    if value is None:
        return "-"
    return usd(value * 1000) + ("" if tokens is None else f" ({tokens:,.0f} tokens)")


def _migration_table(found: Migration) -> Table:
    share = found.saving_share
    rows = [("saving per 1,000 calls", span(found.saving_per_call_usd, 1000))]
    if share is not None:
        ends = [("inf" if end is None else f"{100 * end:.1f}") for end in (share.low, share.high)]
        rows.append(("share of the bill", f"{100 * share.value:.1f} % [{', '.join(ends)}]"))
    if found.saving_per_month_usd is not None:
        rows.append(("saving per month", span(found.saving_per_month_usd)))
    rows.append(("spent on validation", usd(found.spent_usd)))
    if found.one_off_usd:
        rows.append(("one-off cost", usd(found.one_off_usd)))
    if found.saving_per_month_usd is not None:
        rows.append(("break-even", _break_even(found)))
    return Table(
        title=f"{found.baseline} to {found.candidate}", header=("", "95 % interval"), rows=tuple(rows)
    )


def _break_even(found: Migration) -> str:
    months = found.break_even_months
    if months is None:
        return "never: nothing is saved"
    if months.value == 0:
        return "at once"
    latest = "or never" if months.high is None else f"at the latest {_months(months.high)}"
    when = f"{found.break_even_on}, " if found.break_even_on else ""
    return f"{when}after {_months(months.value)} ({latest})"


def _months(value: float) -> str:
    if value < 1 / 30.4375:
        return "a day"
    return f"{math.ceil(value * 30.4375)} days" if value < 2 else f"{value:,.1f} months"


def _hosting_table(found: Hosting) -> Table:
    machines = f"{found.gpus} GPU{'s' if found.gpus > 1 else ''} at {usd(found.gpu_usd_per_hour)}/h"
    rows = [
        ("a replica", machines),
        ("holds", f"{found.requests_per_s:,.3g} requests/s ({found.throughput_from})"),
        ("used to", f"{100 * found.utilisation:.0f} %"),
        (f"{found.arm} per 1,000 calls", usd(found.per_call_usd * 1000)),
        (f"{found.against} per 1,000 calls", usd(found.against_per_call_usd * 1000)),
        (
            "break-even traffic",
            "never: even a busy replica costs more a call"
            if found.break_even_calls_per_month is None
            else f"{found.break_even_calls_per_month:,.0f} calls a month",
        ),
    ]
    if found.replicas is not None:
        rows.append(
            (
                f"{found.arm} per month",
                f"{usd(found.per_month_usd)} ({found.replicas} replica{'s' if found.replicas > 1 else ''})",
            )
        )
        rows.append((f"{found.against} per month", usd(found.against_per_month_usd)))
        assert found.per_month_usd is not None
        assert found.against_per_month_usd is not None
        rows.append(("saving per month", usd(found.against_per_month_usd - found.per_month_usd)))
    return Table(
        title=f"{found.arm} on machines of one's own, against {found.against}",
        header=("", ""),
        rows=tuple(rows),
    )


def notes(case: CostCase) -> list[str]:
    """What a reader must know to trust the figures."""
    found = [f"Traffic: {case.traffic.calls_per_month.value:,.0f} calls a month, {case.traffic.source}."] if case.traffic else [
        "No traffic is given, so nothing is said by the month; --traffic 1M/month, or 5/s, states it."
    ]  # fmt: skip
    for arm in case.arms:
        if arm.price is not None:
            found.append(f"Price of {arm.name}: {price_text(arm.price)}.")
    if case.judge_usd:
        found.append(f"Judges cost {usd(case.judge_usd)} in this run; scoring is no part of serving.")
    found.append(f"This run was billed {usd(case.spent_usd)}; answers from the cache cost nothing again.")
    names = tuple(arm.name for arm in case.arms)
    return [*found, *(f"{_begun(note, names)}." for note in case.notes)]


def _begun(note: str, names: tuple[str, ...]) -> str:
    """The note as a sentence; an arm's name stays as it is."""
    return note if note.startswith(names) else f"{note[0].upper()}{note[1:]}"


def price_text(price: Price) -> str:
    """`$2.50 in, $10.00 out per million tokens (genai-prices 0.2.1, 2026-11-01)`."""
    rates = [f"{usd(price.input_usd_per_mtok)} in", f"{usd(price.output_usd_per_mtok)} out"]
    if price.cached_usd_per_mtok is not None:
        rates.insert(1, f"{usd(price.cached_usd_per_mtok)} cached")
    if price.reasoning_usd_per_mtok is not None:
        rates.append(f"{usd(price.reasoning_usd_per_mtok)} reasoning")
    source = ", ".join(filter(None, (price.source, price.as_of)))
    request = f", {usd(price.request_usd)} a request" if price.request_usd else ""
    steps = f", other rates above {price.above_tokens:,} tokens" if price.above_tokens is not None else ""
    return f"{', '.join(rates)} per million tokens{request}{steps} ({source or 'as given'})"
