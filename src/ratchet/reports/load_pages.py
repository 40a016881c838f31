"""A load test as one HTML file that makes no request: figures, charts, what it rests on."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from ratchet.loads.records import Samples
from ratchet.loads.summaries import TITLES, Arm, Result, slo_text
from ratchet.loads.sweeping import Step, Sweep
from ratchet.reports import charts, curves, html, loads, texts
from ratchet.reports.curves import Axis, Rule, Series
from ratchet.reports.loads import LoadReport

HERE = Path(__file__).parent
SCRIPT = """\
document.documentElement.classList.add("js");
const root = document.documentElement;
function turn() {
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
}
document.addEventListener("click", (event) => { if (event.target.closest("[data-do=theme]")) turn(); });
document.addEventListener("keydown", (event) => {
  if (event.key === "t" && !event.ctrlKey && !event.metaKey && !event.altKey) turn();
});
"""
_POINTS = 120
_BINS = 40
_STRETCHES = 60


def render(report: LoadReport) -> str:
    """The report as one HTML text."""
    css = "".join((HERE / "static" / name).read_text("utf-8") for name in ("app.css", "loads.css"))
    page = _sweep_page(report.sweeps) if report.sweeps else _result_page(report)
    names = list(report.result.arms) if report.result else [sweep.arm for sweep in report.sweeps]
    return (
        html.environment()
        .get_template("load.html")
        .render(
            word=_word(report),
            state="ship" if report.valid else "invalid",
            valid=report.valid,
            sentence=loads.sentence(report),
            load=report.result.load if report.result else f"sweep of {', '.join(names)}",
            names=[(texts.visible(name), 1 + place % curves.MOST_SERIES) for place, name in enumerate(names)],
            notes=loads.notes_of(report),
            health=loads.health_text(report.result) if report.result else "",
            facts=_facts(report),
            csp=html.policy(css, SCRIPT),
            css=Markup(css),
            script=Markup(SCRIPT),
            **page,
        )
    )


def _word(report: LoadReport) -> str:
    if not report.valid:
        return "Invalid"
    if report.sweeps:
        best = [sweep.highest_rate for sweep in report.sweeps if sweep.highest_rate is not None]
        return f"{' · '.join(map(loads.rate, best))} requests/s" if best else "Held nothing"
    shares = [arm.goodput.value for arm in report.result.arms.values()] if report.result else []
    return " · ".join(f"{loads.percent(share)} good" for share in shares)


def _facts(report: LoadReport) -> list[tuple[str, str]]:
    facts = list(report.facts.items())
    if report.result is not None:
        result = report.result
        facts += [
            ("Load", result.load),
            ("Good is", slo_text(result.slo)),
            ("Measured for", f"{result.window_s:,.1f} s, after {result.warm_up:,} requests of warm-up"),
            ("Generator", loads.health_text(result)),
        ]
        methods = dict.fromkeys(d.method.partition(" difference, ")[2] for d in result.differences)
        facts += [("Differences by", "; ".join(methods))] if methods else []
    return [(name, texts.cut(texts.as_text(value), 4_000)) for name, value in facts]


# --- one load -------------------------------------------------------------------------------------------------


def _result_page(report: LoadReport) -> dict[str, Any]:
    result = report.result
    if result is None:
        return {"arms": [], "differences": [], "charts": [], "sweeps": []}
    return {
        "arms": [_arm(arm) for arm in result.arms.values()],
        "differences": [
            (f"{d.after} − {d.before}", f"{TITLES[d.metric]} {d.quantile}", *loads.difference_cells(d))
            for d in result.differences
        ],
        "charts": [] if report.samples is None else _charts(result, report.samples),
        "sweeps": [],
    }


def _arm(arm: Arm) -> dict[str, Any]:
    rows = [(TITLES[name], loads.cells(arm.timings[name])[1]) for name in loads.SHOWN if name in arm.timings]
    return {"name": arm.name, "lines": loads.arm_lines(arm), "rows": rows}


def _charts(result: Result, samples: Samples) -> list[tuple[str, Markup]]:
    kept = samples.measured()
    each = {name: kept.select(kept.arm == place) for place, name in enumerate(kept.arms)}
    found = [
        ("Share of requests answered within a time, end to end", _answered(each, "e2e_s", result.slo.e2e_s)),
        ("Share of first tokens within a time", _answered(each, "ttft_s", result.slo.ttft_s)),
        ("End to end over the test: median and p95 of each stretch", _over_time(each)),
        ("Gaps between tokens", _gaps(each)),
    ]
    return [(title, chart) for title, chart in found if chart]


def _answered(each: Mapping[str, Samples], metric: str, limit: float | None) -> Markup:
    """The distribution function; failures keep it from reaching 100 %."""
    series: list[Series] = []
    top = 0.0
    for name, samples in each.items():
        values = getattr(samples, metric)
        ok = samples.ok & np.isfinite(values)
        if not ok.any():
            continue
        ordered = np.sort(values[ok])
        total = int((ok | ~samples.ok).sum())
        picks = np.unique(np.linspace(0, len(ordered) - 1, _POINTS).astype(np.int64))
        # the slowest in a hundred would leave the rest no room
        top = max(top, float(ordered[min(len(ordered) - 1, math.ceil(0.995 * len(ordered)) - 1)]))
        points = [(float(ordered[pick]), float(pick + 1) / total) for pick in picks]
        series.append(
            Series(name=f"{texts.visible(name)}: {100 * len(ordered) / total:.1f} % ever", points=points)
        )
    if not series:
        return Markup("")
    within = limit is not None and limit <= 2 * top
    scale = loads.scale_of([max(top, limit or 0.0) if within else top])
    cut = [
        Series(name=one.name, points=[point for point in one.points if point[0] <= top * 1.001])
        for one in series
    ]
    rules = [Rule(value=limit or 0.0, note="objective", upright=True)] if within else []
    return curves.lines(
        cut,
        label=f"Distribution of {TITLES[metric]}",
        x=Axis(name=f"{TITLES[metric]}, {scale.unit}", tick=_time_tick(scale)),
        y=Axis(name="share of requests", tick=lambda v: f"{100 * v:.0f} %", low=0.0, high=1.0),
        rules=rules,
    )


def _time_tick(scale: loads.Scale) -> Any:
    return lambda value: f"{value * scale.factor:,.4f}".rstrip("0").rstrip(".")


def _over_time(each: Mapping[str, Samples]) -> Markup:
    series: list[Series] = []
    highest = 0.0
    for place, (name, samples) in enumerate(each.items()):
        ok = samples.ok
        if int(ok.sum()) < 20:
            continue
        times, values = samples.scheduled_s[ok], samples.e2e_s[ok]
        order = np.argsort(times, kind="stable")
        stretches = np.array_split(order, min(_STRETCHES, max(4, len(order) // 10)))
        kind = 1 + place % curves.MOST_SERIES
        for label, q in (("median", 0.5), ("p95", 0.95)):
            points = [(float(times[s].mean()), float(np.quantile(values[s], q))) for s in stretches]
            highest = max(highest, *(y for _, y in points))
            series.append(
                Series(name=f"{texts.visible(name)}, {label}", points=points, dashed=q > 0.5, kind=kind)
            )
    scale = loads.scale_of([highest])
    return curves.lines(
        series,
        label="End-to-end latency over the time of the test",
        x=Axis(name="intended start, s", tick=lambda v: f"{v:g}"),
        y=Axis(name=f"end to end, {scale.unit}; dashed: p95", tick=_time_tick(scale), low=0.0),
    )


def _gaps(each: Mapping[str, Samples]) -> Markup:
    """How often which gap, as one line an arm; the outer one in a hundred is cut."""
    kept = {name: samples.gaps for name, samples in each.items() if len(samples.gaps) > 10}
    if not kept:
        return Markup("")
    top = max(float(np.quantile(gaps, 0.995)) for gaps in kept.values()) * 1.05
    if top <= 0:
        return Markup("")
    edges = np.linspace(0.0, top, _BINS + 1)
    scale = loads.scale_of([top])
    if len(kept) == 1:
        (gaps,) = kept.values()
        counts, _ = np.histogram(np.clip(gaps, 0.0, top), bins=edges)
        return charts.histogram(
            [int(n) for n in counts],
            [float(e) for e in edges],
            label="Gaps between tokens",
            tick=lambda v: f"{_time_tick(scale)(v)} {scale.unit}",
        )
    series: list[Series] = []
    for name, gaps in kept.items():
        counts, _ = np.histogram(gaps, bins=edges)
        shares = counts / len(gaps)
        middles = (edges[:-1] + edges[1:]) / 2
        series.append(
            Series(
                name=texts.visible(name),
                points=[(float(x), float(y)) for x, y in zip(middles, shares, strict=True)],
            )
        )
    return curves.lines(
        series,
        label="Gaps between tokens",
        x=Axis(name=f"gap, {scale.unit}", tick=_time_tick(scale), low=0.0),
        y=Axis(name="share of gaps", tick=lambda v: f"{100 * v:.0f} %", low=0.0),
    )


# --- sweeps ---------------------------------------------------------------------------------------------------


def _sweep_page(sweeps: Sequence[Sweep]) -> dict[str, Any]:
    return {
        "arms": [],
        "differences": [],
        "charts": [(title, chart) for title, chart in _load_curves(sweeps) if chart],
        "sweeps": [
            {
                "name": sweep.arm,
                "said": loads._sweep_sentence(sweep),
                "header": loads.STEP_HEADER,
                "rows": [
                    (loads.step_cells(step), step.reading.held)
                    for step in sorted(sweep.steps, key=lambda step: step.reading.rate)
                ],
            }
            for sweep in sweeps
        ],
    }


def _load_curves(sweeps: Sequence[Sweep]) -> list[tuple[str, Markup]]:
    target = sweeps[0].goodput_target
    knees = [
        Rule(value=sweep.capacity, note=f"{texts.visible(sweep.arm)} knee", upright=True)
        for sweep in sweeps
        if sweep.capacity
    ]
    high = [dataclasses.replace(knee, on_top=True) for knee in knees]
    x = Axis(name="offered, requests/s", tick=lambda v: f"{v:,.4g}", log=_wide(sweeps))
    goodput = curves.lines(
        [_series(sweep, lambda step: step.arm.goodput.value) for sweep in sweeps],
        label="Goodput against offered load",
        x=x,
        y=Axis(name="good requests", tick=lambda v: f"{100 * v:.0f} %", low=0.0, high=1.0),
        rules=[*knees, Rule(value=target, note=f"{100 * target:g} % asked for")],
    )
    answered = curves.lines(
        [_series(sweep, lambda step: step.arm.good_per_s) for sweep in sweeps],
        label="Good requests per second against offered load",
        x=x,
        y=Axis(name="good requests/s", tick=lambda v: f"{v:,.4g}", low=0.0),
        rules=knees,
    )
    return [
        ("Goodput against load", goodput),
        ("Good requests per second against load", answered),
        ("Time to first token against load, p50 and dashed p95", _latency_curve(sweeps, "ttft_s", x, high)),
        ("End to end against load, p50 and dashed p95", _latency_curve(sweeps, "e2e_s", x, high)),
    ]


def _wide(sweeps: Sequence[Sweep]) -> bool:
    rates = [step.reading.rate for sweep in sweeps for step in sweep.steps]
    return bool(rates) and max(rates) > 8 * max(min(rates), 1e-9)


def _series(sweep: Sweep, value: Any, *, dashed: bool = False, kind: int | None = None) -> Series:
    steps = sorted(sweep.steps, key=lambda step: step.reading.rate)
    return Series(
        name=texts.visible(sweep.arm),
        points=[(step.reading.rate, value(step)) for step in steps],
        dots=not dashed,
        notes=[_note(sweep, step) for step in steps],
        dashed=dashed,
        kind=kind,
    )


def _note(sweep: Sweep, step: Step) -> str:
    return texts.visible(
        f"{sweep.arm} at {loads.rate(step.reading.rate)} requests/s: {loads.percent(step.reading.goodput)} good, "
        f"{loads.REASONS[step.reading.because]}"
    )


def _latency_curve(sweeps: Sequence[Sweep], metric: str, x: Axis, knees: Sequence[Rule]) -> Markup:
    def at(label: str) -> Any:
        def value(step: Step) -> float | None:
            timing = step.arm.timings.get(metric)
            return timing.quantiles[label].value if timing else None

        return value

    series: list[Series] = []
    for place, sweep in enumerate(sweeps):
        kind = 1 + place % curves.MOST_SERIES
        series.append(_series(sweep, at("p50"), kind=kind))
        series.append(_series(sweep, at("p95"), dashed=True, kind=kind))
    values = [py for one in series for _, py in one.points if py]
    scale = loads.scale_of([max(values, default=0.0)])
    log = bool(values) and max(values) > 20 * min(values)
    return curves.lines(
        series,
        label=f"{TITLES[metric]} against offered load",
        x=x,
        y=Axis(
            name=f"{TITLES[metric]}, {scale.unit}", tick=_time_tick(scale), low=None if log else 0.0, log=log
        ),
        rules=knees,
    )
