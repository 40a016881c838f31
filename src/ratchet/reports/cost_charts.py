"""Charts of a cost case: what the saving hangs on, and the month's bill against traffic."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from ratchet.costs.records import Hosting, Swing, Traffic
from ratchet.costs.texts import usd
from ratchet.reports import charts, curves
from ratchet.reports.charts import _cut, _group, _shown, _svg

_WIDTH, _NAMES, _ROW = 560, 190, 26
_MOST_STEPS = 60


def tornado(swings: Sequence[Swing], *, label: str) -> Markup:
    """One bar an assumption from its lower to its higher end, widest first, on one axis of dollars a month."""
    ends = [end for swing in swings for end in (swing.low_usd, swing.high_usd)]
    low, high = min([*ends, 0.0]), max([*ends, 0.0])
    if high <= low:
        return Markup("")
    height = _ROW * len(swings) + 28

    def x(value: float) -> float:
        return _NAMES + (value - low) / (high - low) * (_WIDTH - 24 - _NAMES)

    marks: list[str] = []
    for at in charts.ticks(low, high, 5):
        line = "c-zero" if at == 0 else "c-grid"
        marks.append(f'<line class="{line}" x1="{x(at):.1f}" x2="{x(at):.1f}" y1="0" y2="{height - 24}"/>')
        marks.append(f'<text class="c-tick" x="{x(at):.1f}" y="{height - 8}">{_shown(usd(at))}</text>')
    for row, swing in enumerate(swings):
        top = row * _ROW + 5
        begin, end = sorted((swing.low_usd, swing.high_usd))
        tone = "up" if begin > 0 else "down" if end < 0 else "same"
        note = f"{swing.name}: {swing.low_text} {usd(swing.low_usd)}, {swing.high_text} {usd(swing.high_usd)} a month"
        name = f'<text class="c-name c-start" x="0" y="{top + 12}">{_shown(_cut(swing.name, 30))}</text>'
        bar = (
            f'<rect class="c-fill-{tone}" x="{x(begin):.1f}" y="{top}" width="{max(x(end) - x(begin), 1.5):.1f}" '
            'height="16" rx="2"/>'
        )
        marks.append(_group("", note, [name, bar]))
    return _svg("forest", _WIDTH, height, label, marks)


def bills_by_traffic(hosting: Hosting, traffic: Traffic | None, *, label: str) -> Markup:
    """Dollars a month against calls a month: the API's line, the machines' steps, and where they meet."""
    at = hosting.break_even_calls_per_month
    now = traffic.calls_per_month.value if traffic else 0.0
    most = min(
        max(1.5 * now, 2.0 * (at or 0.0), hosting.replica_calls_per_month),
        _MOST_STEPS * hosting.replica_calls_per_month,
    )
    steps: list[tuple[float, float | None]] = [(0.0, hosting.replica_usd_per_month)]
    for count in range(1, math.ceil(most / hosting.replica_calls_per_month) + 1):
        end = min(count * hosting.replica_calls_per_month, most)
        steps.append((end, count * hosting.replica_usd_per_month))
        if end < most:
            steps.append((end, (count + 1) * hosting.replica_usd_per_month))
    rules = [curves.Rule(value=at, note=f"break-even: {at:,.0f} calls", upright=True)] if at else []
    if now and now <= most:
        rules.append(curves.Rule(value=now, note=f"today: {now:,.0f} calls", upright=True))
    return curves.lines(
        [
            curves.Series(
                name=hosting.against, points=[(0.0, 0.0), (most, most * hosting.against_per_call_usd)]
            ),
            curves.Series(name=hosting.arm, points=steps, dashed=True),
        ],
        label=label,
        x=curves.Axis(name="calls a month", tick=_count, low=0.0, high=most),
        y=curves.Axis(name="dollars a month", tick=usd, low=0.0),
        rules=rules,
    )


def _count(value: float) -> str:
    """`2.5M`, `40k`."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"
