"""A verdict's view as what the templates show: its charts drawn, its numbers as they are. No statistics."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from ratchet.errors import PlanError
from ratchet.reports import charts, texts
from ratchet.reports.numbers import Unit

_MARKS = {"passed": "✓", "failed": "✕", "open": "○", "invalid": "!", "reported": "–"}
VERSION = 1
"""Of the view's shape."""
SHOWN_SLICES = 6
"""Bars of the forest plot in the first view; all of them below."""


def drawn(view: Mapping[str, Any]) -> dict[str, Any]:
    """The context of `_verdict.html` and `_more.html`, from `comparisons.view`.

    Raises:
        PlanError: Another version of Ratchet made the view.
    """
    if view.get("version") != VERSION:
        raise PlanError(
            f"this verdict was kept for version {view.get('version')} of the page, and this is version {VERSION}\n"
            "  `ratchet compare RUN` keeps it anew"
        )
    forest = view["forest"]
    bars = forest["bars"] if forest else []
    return {
        **{key: view[key] for key in _PLAIN},
        "checks": [
            {**check, "mark": _MARKS[check["outcome"]], "plot": _plot(check)} for check in view["checks"]
        ],
        "tally_bar": charts.tally(**view["tally"]) if view["tally"] else "",
        "forest": _forest(view, bars[:SHOWN_SLICES]),
        "cost": view.get("cost"),
        "whole_forest": _forest(view, bars) if len(bars) > SHOWN_SLICES else "",
        "histogram": _histogram(view),
        "scatter": _scatter(view["scatter"]) if view["scatter"] else "",
        "arms": view["scatter"]["points"] if view["scatter"] else [],
        "arms_metrics": (view["scatter"]["quality"], view["scatter"]["cost"])
        if view["scatter"]
        else ("", ""),
    }


_PLAIN = ("called", "outcome", "word", "explanation", "sure", "level", "decisions", "reasons", "warnings", "facts",
          "candidates", "metric", "tally", "counts", "slices", "total", "common")  # fmt: skip


def _plot(check: Mapping[str, Any]) -> Markup:
    plot = check["plot"]
    return charts.interval(
        plot["estimate"], plot["low"], plot["high"],
        label=texts.visible(plot["label"]), zero=plot["zero"], bound=plot["bound"], tone=check["tone"],
    )  # fmt: skip


def _forest(view: Mapping[str, Any], bars: Sequence[Mapping[str, Any]]) -> Markup:
    if not bars:
        return Markup("")
    infinite = float("inf")
    return charts.forest(
        [
            charts.Bar(
                label=texts.visible(bar["label"]),
                low=-infinite if bar["low"] is None else bar["low"],
                estimate=bar["estimate"],
                high=infinite if bar["high"] is None else bar["high"],
                text=bar["text"],
                note=texts.visible(f"{bar['label']}: n {bar['n']:,}"),
                tone=bar["tone"],
                strong=bar["strong"],
            )
            for bar in bars
        ],
        label=texts.visible(f"Change of {view['metric']} by slice, 95 % intervals"),
        tick=tick(Unit(**view["forest"]["unit"]), signed=True),
    )


def _histogram(view: Mapping[str, Any]) -> Markup:
    found = view["histogram"]
    if not found:
        return Markup("")
    return charts.histogram(
        found["counts"],
        found["edges"],
        label=texts.visible(f"Change of {view['metric']}, example by example"),
        tick=tick(Unit(**found["unit"]), signed=True),
    )


def _scatter(found: Mapping[str, Any]) -> Markup:
    quality, cost = texts.visible(found["quality"]), texts.visible(found["cost"])
    points = [
        charts.Point(
            label=texts.visible(p["name"]),
            x=p["cost"],
            y=p["quality"],
            note=texts.visible(
                f"{p['name']}: {quality} {p['quality_text']}, {cost} {p['cost_text']}"
                f"{', on the Pareto front' if p['front'] else ''}"
            ),
            kind=p["role"],
            front=p["front"],
        )
        for p in found["points"]
    ]
    return charts.scatter(
        points, label=f"{quality} against {cost}", x_name=cost, y_name=quality,
        x_tick=tick(Unit(**found["x"])), y_tick=tick(Unit(**found["y"])),
    )  # fmt: skip


def tick(unit: Unit, *, signed: bool = False) -> Callable[[float], str]:
    """Short axis labels: the unit without digits that a round number does not need."""

    def shown(value: float) -> str:
        if value == 0:
            return "0"
        text = f"{abs(value) * unit.scale:,.4f}".rstrip("0").rstrip(".")
        sign = "-" if value < 0 else "+" if signed else ""
        return f"{sign}{unit.prefix}{text}{unit.suffix.removesuffix(' pp')}"

    return shown
