"""SVG charts as text: CSS classes only, a title a mark, a label for screen readers.

Colours, dark mode and print come from the page's style sheet (`c-up`, `c-down`, `c-flat`…), and no inline style is
used, so that a strict content security policy holds.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from markupsafe import Markup, escape

from ratchet.reports import texts

Tone = Literal["up", "down", "flat"]
MOST_POINTS = 2_000
MOST_NAMED = 12
"""Of the marks of a scatter plot: more names would lie on each other."""
Spot: TypeAlias = tuple[float, float]
_CHAR = 6.0
"""Width of a letter of a mark's name, about."""
_SIDES = tuple((start, dx, dy) for dx, dy in ((9, 4), (6, -8), (6, 17)) for start in (True, False))
"""Where a mark's name may begin, or end: beside it, above it, below it."""
_TAG = '<svg class="chart {}" viewBox="0 0 {} {}" width="{}" height="{}" role="img" aria-label="{}">'


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One interval of a forest plot."""

    label: str
    low: float
    estimate: float
    high: float
    text: str
    """The numbers, printed at the right."""
    note: str
    """The tooltip."""
    tone: Tone = "flat"
    strong: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One mark of a scatter plot."""

    label: str
    x: float
    y: float
    note: str
    kind: str = "other"
    """"baseline", "candidate" or "other": told apart by colour and by shape."""
    front: bool = False


def interval(
    estimate: float | None,
    low: float | None,
    high: float | None,
    *,
    label: str,
    zero: float | None = 0.0,
    bound: float | None = None,
    tone: Tone = "flat",
) -> Markup:
    """One interval on its own scale: a strong line at zero, a dashed one at the margin or limit."""
    width, height, middle = 112, 20, 10
    known = [v for v in (estimate, low, high, zero, bound) if v is not None and math.isfinite(v)]
    if estimate is None or not math.isfinite(estimate) or not known:
        return _svg("interval", width, height, label, [])
    scale = _scale(min(known), max(known), 6, width - 6)
    left = scale(low) if low is not None and math.isfinite(low) else 0.0
    right = scale(high) if high is not None and math.isfinite(high) else float(width)
    marks: list[str] = []
    if zero is not None:
        marks.append(f'<line class="c-zero" x1="{scale(zero):.1f}" x2="{scale(zero):.1f}" y1="1" y2="19"/>')
    if bound is not None:
        marks.append(
            f'<line class="c-bound" x1="{scale(bound):.1f}" x2="{scale(bound):.1f}" y1="1" y2="19"/>'
        )
    if low is not None or high is not None:
        marks.append(
            f'<line class="c-line c-{tone}" x1="{left:.1f}" x2="{right:.1f}" y1="{middle}" y2="{middle}"/>'
        )
    marks.append(_dot(scale(estimate), middle, 4, tone))
    return _svg("interval", width, height, label, [_group("", label, marks)])


def forest(bars: Sequence[Bar], *, label: str, tick: Callable[[float], str], width: int = 352) -> Markup:
    """Intervals below one another on one axis, with their names and numbers."""
    if not bars:
        return Markup("")
    row = 20
    names = min(int(0.3 * width), 8 + 6 * max(len(b.label) for b in bars))
    values = min(int(0.45 * width), 8 + int(5.8 * max(len(b.text) for b in bars)))
    ends = [v for b in bars for v in (b.low, b.high) if math.isfinite(v)]
    low, high = min([0.0, *ends]), max([0.0, *ends])
    left, right, bottom = names + 4, width - values, row * len(bars) + 4
    scale = _scale(low, high, left, right)
    parts: list[str] = []
    most = max(3, (right - left) // 36)
    places = ticks(low, high, most)
    for value in places if len(places) > 1 else ticks(low, high, most + 2):
        kind = "c-zero" if value == 0 else "c-grid"
        parts.append(
            f'<line class="{kind}" x1="{scale(value):.1f}" x2="{scale(value):.1f}" y1="2" y2="{bottom}"/>'
        )
        parts.append(
            f'<text class="c-tick" x="{scale(value):.1f}" y="{bottom + 13}">{_shown(tick(value))}</text>'
        )
    for index, bar in enumerate(bars):
        y = row * index + row // 2 + 2
        start = scale(bar.low) if math.isfinite(bar.low) else left
        end = scale(bar.high) if math.isfinite(bar.high) else right
        strong = " c-strong" if bar.strong else ""
        name = _shown(_cut(bar.label, int(names / 5.9)))
        marks = [
            f'<rect class="c-hit" x="0" y="{y - row / 2}" width="{width}" height="{row}"/>',
            f'<text class="c-name{strong}" x="0" y="{y + 4}">{name}</text>',
            f'<line class="c-line c-{bar.tone}" x1="{start:.1f}" x2="{end:.1f}" y1="{y}" y2="{y}"/>',
            _dot(scale(bar.estimate), y, 4.5 if bar.strong else 3.5, bar.tone),
            f'<text class="c-value{strong}" x="{width}" y="{y + 4}">{_shown(bar.text)}</text>',
        ]
        parts.append(_group("", bar.note, marks))
    return _svg("forest", width, bottom + 18, label, parts)


def tally(better: int, same: int, worse: int) -> Markup:
    """Wins, ties and losses as one bar."""
    total, width, height = better + same + worse, 320, 10
    label = f"{better:,} better, {same:,} the same, {worse:,} worse"
    parts: list[str] = []
    x = 0.0
    for name, count, kind in (("better", better, "up"), ("the same", same, "same"), ("worse", worse, "down")):
        size = (width - 2) * count / total if total else 0.0
        if size > 0:
            rect = f'<rect class="c-fill-{kind}" x="{x:.1f}" y="0" width="{max(size - 1, 0.5):.1f}" height="{height}"/>'
            parts.append(_group("", f"{count:,} {name} ({100 * count / total:.0f} %)", [rect]))
        x += size + (0.5 if size else 0.0)
    return _svg("tally", width, height, label, parts, stretch=True)


def change_bar(change: float, gain: float, top: float) -> Markup:
    """A change of one example, as a bar from the middle; `top` is the largest change shown."""
    width, middle = 60, 30
    share = 0.0 if not top or math.isnan(change) else max(-1.0, min(1.0, change / top))
    size = abs(share) * (middle - 1)
    x = middle if share > 0 else middle - size
    kind = "up" if gain > 0 else "down"
    mark = f'<rect class="c-fill-{kind}" x="{x:.1f}" y="0" width="{size:.1f}" height="8"/>' if size else ""
    return Markup(  # the number stands beside it
        f'<svg class="chart change" viewBox="0 0 {width} 8" width="{width}" height="8" aria-hidden="true">'
        f'<rect class="c-track" width="{width}" height="8" rx="2"/>{mark}'
        f'<line class="c-middle" x1="{middle}" x2="{middle}" y1="0" y2="8"/></svg>'
    )


def scatter(
    points: Sequence[Point],
    *,
    label: str,
    x_name: str,
    y_name: str,
    x_tick: Callable[[float], str] = str,
    y_tick: Callable[[float], str] = str,
) -> Markup:
    """Points on two axes, those on the Pareto front joined by a line; counted in cells above 2,000 points."""
    width, height, left, bottom = 460, 240, 56, 200
    if not points:
        return Markup("")
    xs, ys = [p.x for p in points], [p.y for p in points]
    x_scale = _scale(*_padded(xs), left, width - 16)
    y_scale = _scale(*_padded(ys), bottom - 4, 12)
    parts: list[str] = []
    for value in ticks(*_padded(xs), 6):
        x = x_scale(value)
        parts.append(f'<line class="c-grid" x1="{x:.1f}" x2="{x:.1f}" y1="8" y2="{bottom}"/>')
        parts.append(f'<text class="c-tick" x="{x:.1f}" y="{bottom + 14}">{_shown(x_tick(value))}</text>')
    for value in ticks(*_padded(ys), 5):
        y = y_scale(value)
        parts.append(f'<line class="c-grid" x1="{left}" x2="{width - 8}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(
            f'<text class="c-tick c-end" x="{left - 6}" y="{y + 4:.1f}">{_shown(y_tick(value))}</text>'
        )
    parts.append(
        f'<text class="c-axis" x="{(left + width) / 2:.0f}" y="{height - 6}">{_shown(x_name)}</text>'
    )
    parts.append(f'<text class="c-axis c-start" x="4" y="9">{_shown(y_name)}</text>')
    if len(points) > MOST_POINTS:
        parts += _cells(points, x_scale, y_scale)
        return _svg("scatter", width, height, label, parts)
    front = [(x_scale(x), y_scale(y)) for x, y in sorted((p.x, p.y) for p in points if p.front)]
    if len(front) > 1:
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in front)
        parts.append(_group("", "Pareto front: no other is better on one and as good on the other",
                            [f'<polyline class="c-front" points="{path}"/>']))  # fmt: skip
    spots = [(x_scale(p.x), y_scale(p.y)) for p in points]
    names = [""] * len(points)
    if len(points) <= MOST_NAMED:
        names = _names([_cut(p.label, 24) for p in points], spots, front, (left, 12.0, width, bottom))
    for index, (point, name) in enumerate(zip(points, names, strict=True)):
        parts.append(_marked(point, index, *spots[index], name))
    return _svg("scatter", width, height, label, parts)


def _names(
    labels: Sequence[str],
    spots: Sequence[Spot],
    front: Sequence[Spot],
    frame: tuple[float, float, float, float],
) -> list[str]:
    """A text beside each mark, at the first side where it lies on no line, mark or other text."""
    taken = [
        (x1 + k / 60 * (x2 - x1), y1 + k / 60 * (y2 - y1))
        for (x1, y1), (x2, y2) in itertools.pairwise(front)
        for k in range(61)
    ]
    found: list[str] = []
    for label, (x, y) in zip(labels, spots, strict=True):
        wide = _CHAR * len(label)
        places: list[tuple[int, str, list[Spot]]] = []
        for start, dx, dy in _SIDES:
            near = x + dx if start else x - dx - wide
            box = near, y + dy - 9, near + wide, y + dy + 3
            outside = box[0] < frame[0] or box[1] < frame[1] or box[2] > frame[2] or box[3] > frame[3]
            marks = [one for one in spots if one != (x, y)]
            hits = sum(_inside(one, box, 6.0) for one in marks) + sum(_inside(one, box, 2.0) for one in taken)
            at = near if start else near + wide
            text = f'<text class="c-point {"c-start" if start else "c-end"}" x="{at:.1f}" y="{y + dy:.1f}">{_shown(label)}</text>'
            corners = [(box[0] + k / 8 * wide, box[1] + 6) for k in range(9)]
            places.append((1000 * outside + hits, text, corners))
        _, text, corners = min(places, key=lambda place: place[0])
        found.append(text)
        taken += corners
    return found


def _inside(spot: Spot, box: tuple[float, float, float, float], room: float) -> bool:
    return box[0] - room <= spot[0] <= box[2] + room and box[1] - room <= spot[1] <= box[3] + room


def _marked(point: Point, index: int, x: float, y: float, name: str) -> str:
    kind = f"c-series-{point.kind}" if point.kind != "other" else f"c-series-{1 + index % 3}"
    shape = {
        "baseline": f'<rect class="{kind}" x="{x - 4.5:.1f}" y="{y - 4.5:.1f}" width="9" height="9"/>',
        "candidate": f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="5"/>',
    }.get(point.kind, f'<polygon class="{kind}" points="{x:.1f},{y - 6:.1f} {x + 5.5:.1f},{y + 4:.1f} {x - 5.5:.1f},{y + 4:.1f}"/>')  # fmt: skip
    return _group("", point.note, [shape, name])


def _cells(
    points: Sequence[Point], x_scale: Callable[[float], float], y_scale: Callable[[float], float]
) -> list[str]:
    """Counts in squares of 10 pixels, in five strengths."""
    counts: dict[tuple[int, int], int] = {}
    for p in points:
        cell = int(x_scale(p.x) // 10), int(y_scale(p.y) // 10)
        counts[cell] = counts.get(cell, 0) + 1
    most = math.log1p(max(counts.values()))
    return [
        _group("", f"{n:,} points", [
            f'<rect class="c-cell c-cell-{min(4, int(5 * math.log1p(n) / most))}" '
            f'x="{10 * x}" y="{10 * y}" width="10" height="10"/>'])
        for (x, y), n in sorted(counts.items())
    ]  # fmt: skip


def histogram(
    counts: Sequence[int], edges: Sequence[float], *, label: str, tick: Callable[[float], str]
) -> Markup:
    """Counts between edges; bars left of zero and right of it are told apart by a strong line at zero."""
    width, bottom, left, right = 460, 120, 24, 436
    if not counts or len(edges) != len(counts) + 1 or edges[0] == edges[-1]:
        return Markup("")
    scale = _scale(edges[0], edges[-1], left, right, padding=0)
    top = max(*counts, 1)
    parts: list[str] = []
    for n, low, high in zip(counts, edges, edges[1:], strict=False):
        x, size = scale(low), scale(high) - scale(low)
        tall = (bottom - 12) * n / top
        bar = f'<rect class="c-bin" x="{x + 0.5:.1f}" y="{bottom - tall:.1f}" width="{max(size - 1, 0.5):.1f}" height="{tall:.1f}"/>'
        parts.append(_group("", f"{tick(low)} to {tick(high)}: {n:,}", [bar]))
    for value in ticks(edges[0], edges[-1], 7):
        parts.append(
            f'<text class="c-tick" x="{scale(value):.1f}" y="{bottom + 14}">{_shown(tick(value))}</text>'
        )
        if value == 0:
            parts.append(
                f'<line class="c-zero" x1="{scale(0):.1f}" x2="{scale(0):.1f}" y1="4" y2="{bottom}"/>'
            )
    parts.append(f'<line class="c-grid" x1="{left}" x2="{right}" y1="{bottom}" y2="{bottom}"/>')
    return _svg("histogram", width, bottom + 20, label, parts)


def ticks(low: float, high: float, most: int) -> list[float]:
    """At most `most` round values between low and high: steps of 1, 2 or 5 times a power of ten.

    >>> ticks(-0.03, 0.1, 8)
    [-0.02, 0.0, 0.02, 0.04, 0.06, 0.08, 0.1]
    """
    if not (math.isfinite(low) and math.isfinite(high)) or high <= low:
        return [low] if math.isfinite(low) else []
    raw = (high - low) / max(most - 1, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(s * power for s in (1, 2, 5, 10) if s * power >= raw * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(i * step, 12) + 0.0 for i in range(first, last + 1)]


def _scale(
    low: float, high: float, start: float, end: float, padding: float = 0.04
) -> Callable[[float], float]:
    if high <= low:
        low, high = low - (abs(low) or 1.0), high + (abs(high) or 1.0)
    room = (high - low) * padding
    low, high = low - room, high + room

    def place(value: float) -> float:
        return start + (end - start) * (value - low) / (high - low)

    return place


def _padded(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = (high - low) * 0.15 or abs(low) * 0.15 or 1.0
    return low - room, high + room


def _dot(x: float, y: float, radius: float, tone: Tone) -> str:
    return f'<circle class="c-dot c-{tone}" cx="{x:.1f}" cy="{y}" r="{radius}"/>'


def _group(kind: str, note: str, marks: Sequence[str]) -> str:
    opening = f'<g class="{kind}">' if kind else "<g>"
    return f"{opening}<title>{_shown(note)}</title>{''.join(marks)}</g>"


def _svg(
    kind: str, width: int, height: int, label: str, parts: Sequence[str], *, stretch: bool = False
) -> Markup:
    opening = _TAG.format(kind, width, height, width, height, _shown(label))
    if stretch:
        opening = opening.replace(" role=", ' preserveAspectRatio="none" role=')
    return Markup(opening + "".join(parts) + "</svg>")


def _shown(text: str) -> Markup:
    return escape(texts.visible(text))


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
