"""The steps of one answer on a time axis: a table whose bars are SVG, so that names and times stay text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

from markupsafe import Markup, escape

from ratchet.records import Failure, Span, SpanKind, Trace
from ratchet.reports import texts

MOST_STEPS = 40
"""Rows of one waterfall; further steps are counted."""
MOST_INDENT = 6
_WIDTH = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One row: from `start_s` to `end_s` after the answer was asked for."""

    name: str
    start_s: float
    end_s: float
    kind: SpanKind | str = "other"
    """A span's kind, or "waiting" for limits and retries."""
    depth: int = 0
    is_parent: bool = False
    """Holds further steps: drawn pale, as they say where the time went."""
    first_token_s: float | None = None
    """After `start_s`."""
    gaps: tuple[tuple[float, float], ...] = ()
    """Of "waiting": the pieces that it is made of."""
    attempt: int | None = None
    error: Failure | None = None
    span_id: str | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def duration_s(self) -> float:
        return sum(b - a for a, b in self.gaps) if self.gaps else self.end_s - self.start_s


def steps(trace: Trace) -> list[Step]:
    """The trace's spans as rows, children below their parents, after the time it waited for limits and retries."""
    if not trace.spans:
        return []
    attempts = sorted((s for s in trace.spans if "ratchet.attempt" in s.attributes), key=lambda s: s.start_ns)
    between = [
        (a.start_ns + a.duration_ns, b.start_ns)
        for a, b in pairwise(attempts)
        if b.start_ns > a.start_ns + a.duration_ns
    ]
    waited_ns = int((trace.queue_s or 0.0) * 1e9)
    lead_ns = max(0, waited_ns - sum(b - a for a, b in between)) if attempts else 0
    zero = min(s.start_ns for s in trace.spans) - lead_ns
    found: list[Step] = []
    if waits := ([(zero, zero + lead_ns)] if lead_ns > 0 else []) + between:
        gaps = tuple(((a - zero) / 1e9, (b - zero) / 1e9) for a, b in waits)
        found.append(Step(name="waiting", kind="waiting", start_s=gaps[0][0], end_s=gaps[-1][1], gaps=gaps))
    lead_s = around_s(trace)
    return found + [
        replace(row, first_token_s=row.first_token_s + lead_s)
        if row.first_token_s is not None and row.error is None and row.attempt is not None
        else row
        for row in _nested(trace.spans, zero)
    ]


def around_s(trace: Trace) -> float:
    """Seconds of the attempt that answered before its request was sent: connecting, in the main; 0 where unknown."""
    answered = [s for s in trace.spans if "ratchet.attempt" in s.attributes and s.error is None]
    if not answered or trace.latency_s is None or trace.cached:
        return 0.0
    return max(0.0, answered[-1].duration_ns / 1e9 - trace.latency_s)


def _nested(spans: Sequence[Span], zero: int) -> list[Step]:
    known = {span.id for span in spans}
    children: dict[str | None, list[Span]] = {}
    for span in sorted(spans, key=lambda s: s.start_ns):
        parent = span.parent_id if span.parent_id in known and span.parent_id != span.id else None
        children.setdefault(parent, []).append(span)
    found: list[Step] = []
    seen: set[str] = set()
    # a cycle of parents is reached from nowhere: its spans come last, at the top level
    waiting = [(span, 0) for span in reversed(children.get(None, []))]
    while waiting or len(seen) < len(known):
        if not waiting:
            waiting = [(next(span for span in spans if span.id not in seen), 0)]
        span, depth = waiting.pop()
        if span.id in seen:
            continue
        seen.add(span.id)
        found.append(_step(span, zero, depth, is_parent=span.id in children))
        waiting.extend((child, depth + 1) for child in reversed(children.get(span.id, [])))
    return found


def _step(span: Span, zero: int, depth: int, *, is_parent: bool) -> Step:
    start_s = (span.start_ns - zero) / 1e9
    ttft = span.attributes.get("ratchet.ttft_s")
    attempt = span.attributes.get("ratchet.attempt")
    return Step(
        name=span.name,
        kind=span.kind,
        start_s=start_s,
        end_s=start_s + max(0, span.duration_ns) / 1e9,
        depth=depth,
        is_parent=is_parent,
        first_token_s=float(ttft) if isinstance(ttft, (int, float)) else None,
        attempt=attempt if isinstance(attempt, int) else None,
        error=span.error,
        span_id=span.id,
        attributes=span.attributes,
    )


def total_s(rows: Sequence[Step]) -> float:
    """The end of the last step: give the larger of two as `scale_s` to draw both on one axis."""
    return max((row.end_s for row in rows), default=0.0)


def waterfall(
    rows: Sequence[Step], *, label: str, scale_s: float | None = None, most: int = MOST_STEPS
) -> Markup:
    """The steps as `<table class="waterfall">`: name, bar, seconds; nothing where there are none.

    Args:
        label: The table's caption, for screen readers.
        scale_s: Seconds of the whole axis; None: up to the end of the last step.
    """
    if not rows:
        return Markup("")
    scale_s = max(scale_s or 0.0, total_s(rows), 1e-9)
    shown = "".join(_row(row, scale_s) for row in rows[:most])
    left = len(rows) - most
    more = f'<tr><td colspan="3" class="w-more">{left:,} further steps</td></tr>' if left > 0 else ""
    return Markup(
        f'<table class="waterfall"><caption class="sr">{_shown(label)}</caption>'
        '<thead class="sr"><tr><th scope="col">Step</th><th scope="col">From start to end</th>'
        f'<th scope="col">Time</th></tr></thead><tbody>{shown}{more}</tbody>'
        f'<tfoot><tr><td></td><td class="w-axis"><span>0</span><span>{seconds(scale_s)}</span></td><td></td></tr></tfoot>'
        "</table>"
    )


def _row(row: Step, scale_s: float) -> str:
    name = _shown(texts.cut(row.name, 80))
    facts = [f"attempt {row.attempt}" if row.attempt is not None and row.attempt > 1 else "",
             f"✕ {_shown(row.error.kind)}" if row.error else ""]  # fmt: skip
    extra = "".join(
        f' <small class="{"error" if fact[0] == "✕" else ""}">{fact}</small>' for fact in facts if fact
    )
    return (
        f'<tr><th scope="row" class="w-name w-depth-{min(row.depth, MOST_INDENT)}">{name}{extra}</th>'
        f'<td class="w-bar">{_bar(row, scale_s)}</td><td class="n">{seconds(row.duration_s)}</td></tr>'
    )


def _bar(row: Step, scale_s: float) -> str:
    """One bar; the part before the first token pale, with a tick where that came."""
    pieces = row.gaps or ((row.start_s, row.end_s),)
    note = f"{row.name}: from {seconds(row.start_s)} to {seconds(row.end_s)}"
    kind = "w-error" if row.error else "w-parent" if row.is_parent else f"w-{_kind(row.kind)}"
    marks = [_rect(kind, a, b, scale_s) for a, b in pieces]
    if row.first_token_s is not None and 0 < row.first_token_s <= row.end_s - row.start_s:
        first = row.start_s + row.first_token_s
        marks = [
            _rect(f"{kind} w-early", row.start_s, first, scale_s),
            _rect(kind, first, row.end_s, scale_s),
        ]
        x = _WIDTH * first / scale_s
        marks.append(f'<line class="w-first" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="14"/>')
        note += f", first token after {seconds(row.first_token_s)}"
    return (
        f'<svg class="chart" viewBox="0 0 {_WIDTH} 14" preserveAspectRatio="none" role="img" '
        f'aria-label="{_shown(note)}"><title>{_shown(note)}</title>{"".join(marks)}</svg>'
    )


def _rect(kind: str, start_s: float, end_s: float, scale_s: float) -> str:
    x = _WIDTH * start_s / scale_s
    width = max(_WIDTH * (end_s - start_s) / scale_s, 3.0)
    return f'<rect class="{kind}" x="{min(x, _WIDTH - 3.0):.1f}" y="3" width="{width:.1f}" height="8"/>'


def _kind(kind: str) -> str:
    return kind if kind in ("model", "waiting") else "step"


def seconds(value: float | None) -> str:
    """A time as people read it: "772 ms", "1.24 s", "2 min 5 s"; "–" for None.

    >>> seconds(0.7721), seconds(1.239), seconds(125.2)
    ('772 ms', '1.24 s', '2 min 5 s')
    """
    if value is None:
        return "–"
    if value >= 120:
        return f"{int(value // 60):,} min {value % 60:.0f} s"
    if value >= 1:
        return f"{value:.2f} s" if value < 10 else f"{value:.1f} s"
    return f"{value * 1e3:.0f} ms" if value >= 0.01 or not value else f"{value * 1e3:.2g} ms"


def _shown(text: str) -> Markup:
    return escape(texts.visible(text))
