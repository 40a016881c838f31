"""What one answer cost and where its time went, in words; `waterfalls` draws the same."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ratchet.records import Span, Trace
from ratchet.reports import texts
from ratchet.reports.waterfalls import seconds

MOST_PARTS = 4
_QUEUE_S = 0.001


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A share of the answer's time."""

    name: str
    duration_s: float


def money(usd: float) -> str:
    """`$0.000306`, `$1.52`, `$0`."""
    return "$0" if not usd else f"${_three(usd)}"


def _three(value: float) -> str:
    """Three significant digits, without exponent."""
    if value <= 0:
        return "0"
    value = float(f"{value:.3g}")
    digits = max(0, 2 - math.floor(math.log10(value) + 1e-12))
    return f"{value:,.{min(digits, 9)}f}"


def total_s(trace: Trace) -> float | None:
    """The answer's own time: of its call, else of its first spans together; None where nothing was timed."""
    if trace.latency_s is not None:
        return trace.latency_s
    roots = [span for span in trace.spans if span.parent_id is None]
    return sum(span.duration_ns for span in roots) / 1e9 if roots and not trace.cached else None


def parts(trace: Trace) -> list[Part]:
    """Where the answer's time went, in order; empty where only the whole is known."""
    whole = total_s(trace)
    if whole is None:
        return []
    ids = {span.id for span in trace.spans}
    roots = [span for span in trace.spans if span.parent_id not in ids]
    answering = max((r for r in roots if r.error is None), key=lambda r: r.start_ns, default=None)
    inner = sorted(
        (s for s in trace.spans if answering is not None and s.parent_id == answering.id),
        key=lambda s: s.start_ns,
    )
    if inner:
        return _grouped(inner, whole)
    if trace.ttft_s is not None and trace.ttft_s <= whole:
        found = [
            Part(name="to the first token", duration_s=trace.ttft_s),
            Part(name="generating", duration_s=whole - trace.ttft_s),
        ]
        return [part for part in found if part.duration_s >= 0.001 * whole]
    return []


def _grouped(inner: Sequence[Span], whole: float) -> list[Part]:
    """Equal names together, the longest few by name, the rest as one."""
    sums: dict[str, tuple[float, int]] = {}
    for span in inner:
        seconds, count = sums.get(span.name, (0.0, 0))
        sums[span.name] = seconds + span.duration_ns / 1e9, count + 1
    longest = sorted(sums, key=lambda name: -sums[name][0])[:MOST_PARTS]
    found = [
        Part(
            name=f"in {texts.cut(name, 40)}" + (f" ({sums[name][1]} times)" if sums[name][1] > 1 else ""),
            duration_s=sums[name][0],
        )
        for name in sums
        if name in longest
    ]
    rest = whole - sum(part.duration_s for part in found)
    return [*found, Part(name="elsewhere", duration_s=rest)] if rest > 0.005 * whole else found


def cost(trace: Trace) -> str:
    """`$0.000306 for 590 tokens in and 44 out`; says so where the price is unknown."""
    price = "price unknown" if trace.cost_usd is None else money(trace.cost_usd)
    if trace.cost_usd == 0 and trace.input_tokens is None:
        price = "$0"
    given, made = trace.input_tokens, trace.output_tokens
    tokens = " and ".join(
        f"{count:,} {name}" for count, name in ((given, "tokens in"), (made, "out")) if count is not None
    )
    return f"{price} for {tokens}" if tokens else price


def time(trace: Trace) -> str:
    """`95.3 ms: 85.2 ms (89 %) to the first token, 10.1 ms (11 %) generating`, and what came before."""
    whole = total_s(trace)
    if whole is None:
        return "taken from the cache: not timed" if trace.cached else "not timed"
    found = [f"{seconds(p.duration_s)} ({_share(p.duration_s, whole)}) {p.name}" for p in parts(trace)]
    text = seconds(whole) + (f": {', '.join(found)}" if found else "")
    before: list[str] = []
    if trace.queue_s is not None and trace.queue_s >= _QUEUE_S:
        before.append(f"{seconds(trace.queue_s)} of waiting for limits and retries")
    if trace.attempts > 1:
        before.append(f"{trace.attempts - 1} failed {'attempt' if trace.attempts == 2 else 'attempts'}")
    return f"{text}; after {' and '.join(before)}" if before else text


def _share(part: float, whole: float) -> str:
    share = 100 * part / whole if whole else 0.0
    return f"{share:.1f} %" if 0 < share < 1 else f"{share:.0f} %"
