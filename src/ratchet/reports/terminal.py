"""A verdict for a terminal: its sentence, a line a check, what would decide it, warnings."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from ratchet.evidence import Evidence
from ratchet.records import Verdict
from ratchet.reports import numbers, texts, views
from ratchet.reports.views import Line

_HEADER = ("", "check", "change", "interval", "margin", "n")
_MARKS = {False: ("│", "┊", "├", "─", "┤", "●", "◂", "▸"), True: ("|", ":", "[", "-", "]", "o", "<", ">")}
_COLOURS = {"passed": "34", "failed": "33", "open": "1", "invalid": "31", "ship": "1;34", "hold": "1;33",
            "inconclusive": "1", "invalid verdict": "1;31"}  # fmt: skip
_LEAST_PLOT, _MOST_PLOT, _OUTCOME = 9, 31, 7


def render(
    verdict: Verdict,
    evidence: Evidence | None = None,
    *,
    width: int = 80,
    ascii_only: bool = False,
    colour: bool = False,
) -> str:
    """The verdict as text of at most `width` columns (at least 60).

    Args:
        ascii_only: Plots of ASCII characters, for terminals without Unicode.
        colour: ANSI colours on outcomes; the words say the same without them.
    """
    width = max(width, 60)
    word, rest = views.WORDS[verdict.outcome], views.explanation(verdict, evidence)
    opening = list(texts.wrap(texts.safe(f"{word.upper()}: {rest}"), width))
    if colour and opening:
        kind = "invalid verdict" if verdict.outcome == "invalid" else verdict.outcome
        opening[0] = opening[0].replace(word.upper(), _painted(word.upper(), kind), 1)
    lines = [*opening, ""]
    shown = views.lines(verdict, evidence)
    if shown:
        lines += [*_table(shown, width, ascii_only=ascii_only, colour=colour), ""]
    lines += _notes(verdict, evidence, shown, width, ascii_only=ascii_only)
    return "\n".join(line.rstrip() for line in lines).rstrip()


def _notes(
    verdict: Verdict, evidence: Evidence | None, shown: Sequence[Line], width: int, *, ascii_only: bool
) -> Iterable[str]:
    said = views.explanation(verdict, evidence)
    notes = [f"To decide: {texts.safe(text)}." for text in views.decisions(verdict, evidence)]
    notes += [
        f"{item.title}: {item.result.reason.rstrip('.')}."
        for item in shown
        if item.result.reason and item.result.outcome in ("failed", "invalid")
        and item.result.reason.rstrip(".") not in said
    ]  # fmt: skip
    notes += [f"{text}." for text in views.reasons(verdict, evidence)]
    notes += [f"Cost: {text}" for text in views.cost_lines(verdict)]
    notes += [f"Warning: {text.rstrip('.')}." for text in verdict.warnings]
    for note in notes:
        yield from texts.wrap(texts.safe(note), width)
    if shown:
        zero, bound = _MARKS[ascii_only][:2]
        methods = list(dict.fromkeys(item.result.method for item in shown if item.result.method))
        level = views.level_text([item.result for item in shown])
        how = f" by {'; '.join(methods)}" if methods else ""
        yield from texts.wrap(
            texts.safe(f"Two-sided {level}{how}; {zero} no difference, {bound} margin or limit."), width
        )


def _table(shown: Sequence[Line], width: int, *, ascii_only: bool, colour: bool) -> Iterable[str]:
    """Columns one space apart; the plot takes what is left."""
    cells = [_HEADER, *(_cells(item) for item in shown)]
    widths = [max(texts.cell_width(row[i]) for row in cells) for i in range(len(_HEADER))]
    room = width - _OUTCOME - len(_HEADER) - 1 - sum(widths)
    while room < _LEAST_PLOT and max(widths) > 6:
        # names give way before numbers
        widest = 1 if widths[1] > 10 else max(range(len(widths)), key=lambda i: widths[i])
        widths[widest] -= 1
        room += 1
    plot = min(room, _MOST_PLOT)
    for index, row in enumerate(cells):
        # all but dimension and name are numbers, set right
        text = " ".join(texts.fit(cell, widths[i], right=i > 1) for i, cell in enumerate(row))
        if index == 0:
            yield f"{text} {'':{plot}} outcome"
            continue
        item = shown[index - 1]
        outcome = views.OUTCOMES[item.result.outcome]
        drawn = _plot(item, plot, ascii_only=ascii_only)
        yield f"{text} {drawn} {_painted(outcome, item.result.outcome) if colour else outcome}"


def _painted(text: str, kind: str) -> str:
    code = _COLOURS.get(kind)
    return f"\x1b[{code}m{text}\x1b[0m" if code else text


def _cells(item: Line) -> tuple[str, ...]:
    return (
        item.result.check.dimension,
        texts.safe(item.title),
        item.estimate,
        item.span or "-",
        item.margin,
        numbers.count(item.result.n),
    )


def _plot(item: Line, width: int, *, ascii_only: bool) -> str:
    """The interval on its own scale: zero line, margin mark, limits and estimate."""
    result = item.result
    zero, bound, left, bar, right, dot, before, after = _MARKS[ascii_only]
    known = [v for v in (result.estimate, result.low, result.high, item.zero, item.bound)
             if v is not None and math.isfinite(v)]  # fmt: skip
    if result.estimate is None or not math.isfinite(result.estimate):
        return " " * width
    low, high = min(known), max(known)
    if low == high:
        low, high = low - 1, high + 1

    limits = result.low, result.high
    # an open end keeps a column for its arrow
    open_low, open_high = (
        any(v is not None for v in limits) and (end is None or not math.isfinite(end)) for end in limits
    )
    first, last = int(open_low), width - 1 - int(open_high)

    def at(value: float) -> int:
        return first + round((last - first) * (value - low) / (high - low))

    drawn = [" "] * width
    if item.zero is not None:
        drawn[at(item.zero)] = zero
    if item.bound is not None:
        drawn[at(item.bound)] = bound
    if any(v is not None for v in limits):
        start = 0 if open_low else at(result.low or 0.0)
        end = width - 1 if open_high else at(result.high or 0.0)
        for column in range(start, end + 1):
            drawn[column] = drawn[column] if drawn[column] != " " else bar
        for column, mark in ((start, before if open_low else left), (end, after if open_high else right)):
            if drawn[column] == bar:
                drawn[column] = mark
    drawn[at(result.estimate)] = dot
    return "".join(drawn)
