"""Line charts as SVG text, beside `charts`: CSS classes only, a title a mark, a label for screen readers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from ratchet.reports.charts import _group, _shown, _svg, ticks

WIDTH, HEIGHT = 460, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 22, 40
MOST_SERIES = 6
"""Told apart by colour, dash and mark; further ones repeat them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One line: points in order of x; a y of None breaks it."""

    name: str
    points: Sequence[tuple[float, float | None]]
    dots: bool = False
    """Mark each point, with its own tooltip."""
    notes: Sequence[str] = ()
    """The tooltip of each point, where there are dots."""
    dashed: bool = False
    kind: int | None = None
    """Which colour, from 1; None: by its place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """One axis: its name, how its numbers are written, and where it may end."""

    name: str
    tick: Callable[[float], str]
    low: float | None = None
    high: float | None = None
    log: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A straight line across the chart: a limit, a target, a knee."""

    value: float
    note: str
    upright: bool = False
    on_top: bool = False
    """Of an upright one: its note stands at the top."""


def lines(series: Sequence[Series], *, label: str, x: Axis, y: Axis, rules: Sequence[Rule] = ()) -> Markup:
    """Lines on two axes; empty where no point is known."""
    xs = [px for one in series for px, py in one.points if py is not None]
    ys = [py for one in series for _, py in one.points if py is not None]
    if not xs:
        return Markup("")
    xs += [rule.value for rule in rules if rule.upright]
    ys += [rule.value for rule in rules if not rule.upright]
    right, bottom = WIDTH - _RIGHT, HEIGHT - _BOTTOM
    place_x, marks_x = _axis(x, xs, _LEFT, right, 6)
    place_y, marks_y = _axis(y, ys, bottom, _TOP, 5)
    parts = [*_grid(x, marks_x, place_x, upright=True), *_grid(y, marks_y, place_y, upright=False)]
    middle = (_LEFT + right) / 2
    parts.append(f'<text class="c-axis" x="{middle:.0f}" y="{HEIGHT - 6}">{_shown(x.name)}</text>')
    parts.append(f'<text class="c-axis c-start" x="4" y="11">{_shown(y.name)}</text>')
    for rule in rules:
        parts.append(_rule(rule, place_x if rule.upright else place_y, right, bottom))
    for number, one in enumerate(series):
        parts.append(_line(one, one.kind or 1 + number % MOST_SERIES, place_x, place_y))
    return _svg("lines", WIDTH, HEIGHT, label, parts)


def _grid(axis: Axis, marks: Sequence[float], place: Callable[[float], float], *, upright: bool) -> list[str]:
    bottom, right = HEIGHT - _BOTTOM, WIDTH - _RIGHT
    parts: list[str] = []
    for value in marks:
        at, text = place(value), _shown(axis.tick(value))
        if upright:
            parts.append(f'<line class="c-grid" x1="{at:.1f}" x2="{at:.1f}" y1="{_TOP}" y2="{bottom}"/>')
            parts.append(f'<text class="c-tick" x="{at:.1f}" y="{bottom + 14}">{text}</text>')
        else:
            parts.append(f'<line class="c-grid" x1="{_LEFT}" x2="{right}" y1="{at:.1f}" y2="{at:.1f}"/>')
            parts.append(f'<text class="c-tick c-end" x="{_LEFT - 6}" y="{at + 4:.1f}">{text}</text>')
    return parts


def _rule(rule: Rule, place: Callable[[float], float], right: float, bottom: float) -> str:
    at = place(rule.value)
    if rule.upright:
        mark = f'<line class="c-bound" x1="{at:.1f}" x2="{at:.1f}" y1="{_TOP}" y2="{bottom}"/>'
        side, x = ("c-end", at - 4) if at > WIDTH * 0.5 else ("c-start", at + 4)
        text = f'<text class="c-rule {side}" x="{x:.1f}" y="{_TOP + 10 if rule.on_top else bottom - 5}">{_shown(rule.note)}</text>'
    else:
        mark = f'<line class="c-bound" x1="{_LEFT}" x2="{right}" y1="{at:.1f}" y2="{at:.1f}"/>'
        text = f'<text class="c-rule c-start" x="{_LEFT + 4}" y="{at + 12:.1f}">{_shown(rule.note)}</text>'
    return _group("", rule.note, [mark, text])


def _line(
    one: Series, kind: int, place_x: Callable[[float], float], place_y: Callable[[float], float]
) -> str:
    dash = " c-dashed" if one.dashed else ""
    marks: list[str] = []
    for piece in _pieces(one.points):
        path = " ".join(f"{place_x(px):.1f},{place_y(py):.1f}" for px, py in piece)
        marks.append(f'<polyline class="c-curve c-curve-{kind}{dash}" points="{path}"/>')
    whole = _group("", one.name, marks)
    if not one.dots:
        return whole
    dots: list[str] = []
    for number, (px, py) in enumerate(one.points):
        if py is not None:
            note = one.notes[number] if number < len(one.notes) else one.name
            dots.append(_group("", note, [_mark(kind, place_x(px), place_y(py))]))
    return whole + "".join(dots)


def _mark(kind: int, x: float, y: float) -> str:
    """A shape a series, so that colour is not all that tells them apart."""
    if kind % 3 == 1:
        return f'<circle class="c-mark-{kind}" cx="{x:.1f}" cy="{y:.1f}" r="4"/>'
    if kind % 3 == 2:
        return f'<rect class="c-mark-{kind}" x="{x - 3.5:.1f}" y="{y - 3.5:.1f}" width="7" height="7"/>'
    return f'<polygon class="c-mark-{kind}" points="{x:.1f},{y - 5:.1f} {x + 4.5:.1f},{y + 3.5:.1f} {x - 4.5:.1f},{y + 3.5:.1f}"/>'


def _pieces(points: Sequence[tuple[float, float | None]]) -> list[list[tuple[float, float]]]:
    """The stretches without a gap."""
    pieces: list[list[tuple[float, float]]] = [[]]
    for px, py in points:
        if py is None:
            pieces.append([])
        else:
            pieces[-1].append((px, py))
    return [piece for piece in pieces if piece]


def _axis(
    axis: Axis, values: Sequence[float], start: float, end: float, most: int
) -> tuple[Callable[[float], float], list[float]]:
    """Where a value lies, and the marks of the axis."""
    low = min(values) if axis.low is None else axis.low
    high = max(values) if axis.high is None else axis.high
    if axis.log and low > 0:
        return _log_axis(low, high, start, end, most)
    if high <= low:
        room = abs(low) * 0.1 or 1.0
        low, high = (low if axis.low is not None else low - room), high + room
    elif axis.high is None:
        high += (high - low) * 0.04

    def place(value: float) -> float:
        share = (value - low) / (high - low)
        return start + (end - start) * max(-0.05, min(1.05, share))

    return place, ticks(low, high, most)


def _log_axis(
    low: float, high: float, start: float, end: float, most: int
) -> tuple[Callable[[float], float], list[float]]:
    if high <= low * 1.01:
        low, high = low / 1.5, high * 1.5
    first, last = math.log10(low), math.log10(high)

    def place(value: float) -> float:
        return start + (end - start) * (math.log10(max(value, low)) - first) / (last - first)

    steps = [m * 10.0**e for e in range(math.floor(first), math.ceil(last) + 1) for m in (1, 2, 5)]
    inside = [step for step in steps if low * 0.999 <= step <= high * 1.001]
    while len(inside) > most + 2:
        tens = [step for step in inside if math.isclose(math.log10(step) % 1, 0, abs_tol=1e-9)]
        inside = tens if 2 <= len(tens) < len(inside) else inside[::2]
    return place, inside
