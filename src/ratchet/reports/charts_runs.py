"""SVG charts of one run: levels with intervals, times with their quantiles, how often each score was given.

Arms are told apart as everywhere: the first is grey, the second has the accent (`c-arm-0`, `c-arm-1`…).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from ratchet.reports import charts

ARM_COLOURS = 5
"""Further arms use them again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """One arm's estimate with its interval, on the scale of all arms."""

    arm: str
    estimate: float
    low: float | None
    high: float | None
    text: str
    """As it stands in the tooltip."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """How long one arm's answers took."""

    arm: str
    counts: Sequence[int]
    quantiles: Mapping[str, float]
    """p50, p90…, in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bars:
    """How often one value, or one range of values, was given."""

    label: str
    counts: Sequence[int]
    """By arm, in their order."""


def levels(shown: Sequence[Level | None], *, label: str) -> Markup:
    """The arms' estimates below one another on one scale; a gap for an arm without one."""
    width, row = 120, 12
    known = [level for level in shown if level is not None]
    ends = [v for level in known for v in (level.low, level.estimate, level.high) if v is not None]
    if not ends:
        return Markup("")
    scale = charts._scale(min(ends), max(ends), 6, width - 6)
    parts: list[str] = []
    for index, level in enumerate(shown):
        if level is None:
            continue
        y = row * index + row / 2 + 1
        marks: list[str] = []
        if level.low is not None and level.high is not None:
            marks.append(
                f'<line class="c-line {_arm(index)}" x1="{scale(level.low):.1f}" x2="{scale(level.high):.1f}" '
                f'y1="{y:.1f}" y2="{y:.1f}"/>'
            )
        marks.append(_mark(scale(level.estimate), y, index))
        parts.append(charts._group("", f"{level.arm}: {level.text}", marks))
    return charts._svg("levels", width, row * len(shown) + 2, label, parts)


def _mark(x: float, y: float, index: int) -> str:
    """Squares and circles in turn: arms are told apart by shape too."""
    if index % 2 == 0:
        return (
            f'<rect class="c-fill {_arm(index)}" x="{x - 3.5:.1f}" y="{y - 3.5:.1f}" width="7" height="7"/>'
        )
    return f'<circle class="c-fill {_arm(index)}" cx="{x:.1f}" cy="{y:.1f}" r="4"/>'


def times(
    arms: Sequence[Times], edges: Sequence[float], *, beyond: bool, label: str, tick: Callable[[float], str]
) -> Markup:
    """A histogram an arm below one another on one axis of seconds, with a line at each quantile.

    Args:
        beyond: The last bin holds everything above it, too.
    """
    width, left, right, tall, row = 352, 8, 344, 30, 46
    if not arms or len(edges) < 2 or edges[0] >= edges[-1]:
        return Markup("")
    scale = charts._scale(edges[0], edges[-1], left, right, padding=0)
    bottom = row * len(arms)
    parts: list[str] = []
    for value in charts.ticks(edges[0], edges[-1], 6):
        x = scale(value)
        parts.append(f'<line class="c-grid" x1="{x:.1f}" x2="{x:.1f}" y1="2" y2="{bottom}"/>')
        # the last label would be cut off at the edge
        anchor = "c-end" if x > right - 14 else "c-start" if x < left + 8 else ""
        parts.append(
            f'<text class="c-tick {anchor}" x="{x:.1f}" y="{bottom + 13}">{charts._shown(tick(value))}</text>'
        )
    for index, arm in enumerate(arms):
        base, top = row * (index + 1), max([*arm.counts, 1])
        last = len(arm.counts) - 1
        for at, (n, low, high) in enumerate(zip(arm.counts, edges, edges[1:], strict=False)):
            x, size = scale(low), scale(high) - scale(low)
            height = max(tall * n / top, 0.8) if n else 0.0
            span = f"{tick(low)} and more" if beyond and at == last else f"{tick(low)} to {tick(high)}"
            bar = (
                f'<rect class="c-fill {_arm(index)}" x="{x + 0.4:.1f}" y="{base - height:.1f}" '
                f'width="{max(size - 0.8, 0.5):.1f}" height="{height:.1f}"/>'
            )
            if n:
                parts.append(charts._group("", f"{arm.arm}, {span}: {n:,}", [bar]))
        parts += _quantiles(arm, scale, base - tall - 4, base, right)
        parts.append(f'<line class="c-grid" x1="{left}" x2="{right}" y1="{base}" y2="{base}"/>')
    return charts._svg("times", width, bottom + 18, label, parts)


def _quantiles(
    arm: Times, scale: Callable[[float], float], top: float, base: float, right: float
) -> list[str]:
    parts: list[str] = []
    free = -math.inf
    for name, value in arm.quantiles.items():
        x = min(scale(value), right)
        marks = [
            f'<line class="c-quantile" x1="{x:.1f}" x2="{x:.1f}" y1="{top:.1f}" y2="{base:.1f}"/>',
            f'<rect class="c-hit" x="{x - 4:.1f}" y="{top:.1f}" width="8" height="{base - top:.1f}"/>',
        ]
        if x - 12 > free:  # names that would run into each other are in the tooltip and the table alone
            side, at = (" c-end", right) if x > right - 12 else ("", x)
            marks.append(
                f'<text class="c-tick{side}" x="{at:.1f}" y="{top - 1:.1f}">{charts._shown(name)}</text>'
            )
            free = x + 12
        parts.append(charts._group("", f"{arm.arm}: {name} {value:.3g} s", marks))
    return parts


def distribution(
    bars: Sequence[Bars],
    arms: Sequence[str],
    *,
    label: str,
    edges: tuple[float, float] | None = None,
    tick: Callable[[float], str] = str,
) -> Markup:
    """How often each value was given: a group of bars a value, one an arm, as shares of that arm's answers.

    Args:
        edges: Lowest and highest value, where the bars are ranges of numbers.
    """
    width, left, right, tall = 352, 4, 348, 72
    totals = [max(1, sum(bar.counts[k] for bar in bars)) for k in range(len(arms))]
    top = max((bar.counts[k] / totals[k] for bar in bars for k in range(len(arms))), default=0.0)
    if not bars or not top:
        return Markup("")
    room = (right - left) / len(bars)
    # ranges stand side by side, single values apart
    gap = 1.0 if edges else min(10.0, room * 0.25)
    each = max(0.5, (room - gap) / len(arms))
    parts: list[str] = []
    for at, bar in enumerate(bars):
        for k, (arm, n) in enumerate(zip(arms, bar.counts, strict=True)):
            x = left + room * at + gap / 2 + each * k
            height = max(tall * (n / totals[k]) / top, 0.8) if n else 0.0
            if not n:
                continue
            rect = (
                f'<rect class="c-fill {_arm(k)}" x="{x:.1f}" y="{tall + 4 - height:.1f}" '
                f'width="{max(each - 0.6, 0.5):.1f}" height="{height:.1f}"/>'
            )
            parts.append(
                charts._group("", f"{bar.label}, {arm}: {n:,} ({100 * n / totals[k]:.1f} %)", [rect])
            )
        if edges is None:
            most = max(2, int(room / 6.2))
            name = charts._cut(bar.label, most)
            parts.append(
                f'<text class="c-tick" x="{left + room * (at + 0.5):.1f}" y="{tall + 17}">{charts._shown(name)}</text>'
            )
    parts.append(f'<line class="c-grid" x1="{left}" x2="{right}" y1="{tall + 4}" y2="{tall + 4}"/>')
    if edges is not None:
        scale = charts._scale(*edges, left, right, padding=0)
        for value in charts.ticks(*edges, 6):
            anchor = "c-end" if scale(value) > right - 8 else "c-start" if scale(value) < left + 8 else ""
            parts.append(
                f'<text class="c-tick {anchor}" x="{scale(value):.1f}" y="{tall + 17}">{charts._shown(tick(value))}</text>'
            )
    return charts._svg("distribution", width, tall + 22, label, parts)


def share_bar(share: float, *, label: str) -> Markup:
    """How far something is, 0 to 1, as a bar as wide as its place."""
    done = 1000 * min(1.0, max(0.0, share))
    return Markup(
        f'<svg class="chart share" viewBox="0 0 1000 6" preserveAspectRatio="none" role="img" aria-label="{charts._shown(label)}">'
        f'<rect class="c-track" width="1000" height="6"/><rect class="c-done" width="{done:.1f}" height="6"/></svg>'
    )


def _arm(index: int) -> str:
    return f"c-arm-{index if index < 2 else 2 + (index - 2) % (ARM_COLOURS - 2)}"
