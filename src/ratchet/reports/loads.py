"""A load test written down: for a terminal, Markdown, CSV and programs; `load_pages` makes the HTML."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ratchet import codec
from ratchet.errors import UnknownNameError
from ratchet.loads.records import Samples
from ratchet.loads.summaries import NEEDED, SHARES, TITLES, Arm, Difference, Result, Timing, slo_text
from ratchet.loads.sweeping import Step, Sweep
from ratchet.records import Json
from ratchet.reports import markdown, texts

FORMATS = ("json", "csv", "html", "md")
VERSION = 1
"""Of the JSON report's shape."""
SHOWN = ("ttft_s", "tpot_s", "gap_s", "e2e_s", "ttft_from_send_s", "e2e_from_send_s")
SHORT: Mapping[str, str] = {
    "ttft_s": "first token",
    "tpot_s": "per output token",
    "gap_s": "inter-token gap",
    "e2e_s": "end to end",
    "ttft_from_send_s": "first token (sent)",
    "e2e_from_send_s": "end to end (sent)",
}
_NAME, _CELL = 20, 12
REASONS: Mapping[str, str] = {
    "": "held",
    "queue grows": "queue grows",
    "goodput": "too few good",
    "errors": "errors",
    "generator": "generator short",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadReport:
    """What there is to write down: one load in numbers, or the sweeps of one variant or more."""

    result: Result | None = None
    samples: Samples | None = None
    """For charts; None leaves them out."""
    sweeps: tuple[Sweep, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict[str, str])
    """Run, workload, models, when: what it rests on."""

    @property
    def valid(self) -> bool:
        if self.result is not None and not self.result.valid:
            return False
        return all(sweep.valid for sweep in self.sweeps)


def write(report: LoadReport, path: str | Path) -> None:
    """Write it in the format that the path's ending names: json, csv, html or md.

    Raises:
        UnknownNameError: The ending is none of FORMATS.
    """
    path = Path(path)
    kind = format_of(path)
    if kind == "html":
        from ratchet.reports import load_pages

        text = load_pages.render(report)
    elif kind == "md":
        text = render_markdown(report)
    elif kind == "csv":
        text = render_csv(report)
    else:
        text = codec.pretty(as_json(report)) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", errors="replace", newline="")


def format_of(path: str | Path) -> str:
    """The format that this path's ending names.

    Raises:
        UnknownNameError: None of FORMATS.
    """
    ending = Path(path).suffix.lstrip(".").lower()
    if ending in FORMATS:
        return ending
    raise UnknownNameError("load report format", ending or str(path), FORMATS)


def as_json(report: LoadReport) -> Json:
    """`{"format": "ratchet.load", "version": 1, "sentence", "valid", "result", "sweeps"}`."""
    return {
        "format": "ratchet.load",
        "version": VERSION,
        "sentence": sentence(report),
        "valid": report.valid,
        "facts": dict(report.facts),
        "result": None if report.result is None else codec.encode(report.result),
        "sweeps": [codec.encode(sweep) for sweep in report.sweeps],
    }


# --- words and numbers ----------------------------------------------------------------------------------------


def sentence(report: LoadReport) -> str:
    """The answer first."""
    if report.sweeps:
        return "; ".join(_sweep_sentence(sweep) for sweep in report.sweeps)
    result = report.result
    if result is None:
        return "Nothing was measured"
    if not result.valid:
        return f"Invalid: {'; '.join(result.invalid_because)}"
    good = "; ".join(
        f"{name}: {percent(arm.goodput.value)} of {arm.scheduled:,} requests good"
        for name, arm in result.arms.items()
    )
    return f"{good}, at {result.load} ({slo_text(result.slo)})"


def _sweep_sentence(sweep: Sweep) -> str:
    if sweep.highest_rate is None:
        return f"{sweep.arm} held no rate that was tried"
    knee = f", its queue grows from {rate(sweep.capacity)} requests/s" if sweep.capacity else ""
    more = "" if sweep.broken_at is not None else " or more"
    return f"{sweep.arm} holds {rate(sweep.highest_rate)} requests/s{more}{knee}"


def rate(value: float) -> str:
    """`98.4`, `1,204`."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:,.1f}" if value >= 10 else f"{value:.2g}"


def percent(share: float) -> str:
    """`98.2 %`; 100 % only where nothing is missing."""
    shown = f"{100 * share:.1f}"
    if shown == "100.0" and share < 1.0:
        shown = f"{100 * share:.3f}"
    return f"{shown} %"


@dataclass(frozen=True, slots=True)
class Scale:
    """The unit of one row of times."""

    factor: float
    unit: str
    digits: int

    def text(self, value: float | None, *, signed: bool = False) -> str:
        if value is None:
            return ""
        sign = "+" if signed else ""
        return f"{value * self.factor:{sign},.{self.digits}f}"


def scale_of(seconds: Iterable[float | None]) -> Scale:
    """Milliseconds below a second, with three digits of the largest.

    >>> scale_of([0.1082, 0.3]).text(0.1082)
    '108'
    """
    top = max((abs(s) for s in seconds if s is not None and math.isfinite(s)), default=0.0)
    factor, unit = (1e3, "ms") if top < 1.0 else (1.0, "s")
    size = top * factor
    digits = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3
    return Scale(factor, unit, digits)


@dataclass(frozen=True, slots=True)
class Cell:
    """One quantile, ready to show."""

    value: str
    interval: str
    note: str


def cells(timing: Timing) -> tuple[Scale, list[Cell]]:
    """The quantiles of a time and its maximum, in one unit."""
    points = [timing.quantiles[label].value for label in SHARES]
    scale = scale_of([*points[:2], timing.max if all(p is None for p in points[:2]) else None])
    found: list[Cell] = []
    for label in SHARES:
        quantile = timing.quantiles[label]
        if quantile.needs is not None:
            found.append(Cell("-", "", f"needs {quantile.needs:,}"))
        elif quantile.value is None:
            found.append(Cell("fails", "", "no end"))
        else:
            interval = _span(scale, quantile.low, quantile.high)
            found.append(Cell(f"{scale.text(quantile.value)} {scale.unit}", interval, "95 % interval"))
    found.append(Cell(f"{scale.text(timing.max)} {scale.unit}", "", "of answers that came"))
    return scale, found


def _span(scale: Scale, low: float | None, high: float | None) -> str:
    """`105–112`; `≥ 105` where so few requests give no upper bound."""
    if low is None or high is None:
        known = low if high is None else high
        return "" if known is None else f"{'≥' if high is None else '≤'} {scale.text(known)}"
    return f"{scale.text(low)}–{scale.text(high)}"


def errors_text(arm: Arm) -> str:
    """`3 failed (timeout 2, server 1)`; empty where none did."""
    if not arm.failed:
        return ""
    kinds = ", ".join(f"{kind.replace('_', ' ')} {count:,}" for kind, count in arm.errors.items())
    unsent = f", {arm.never_sent:,} of them never sent" if arm.never_sent else ""
    return f"{arm.failed:,} failed ({kinds}{unsent})"


def arm_lines(arm: Arm) -> list[str]:
    """What an arm did, in plain sentences: goodput, requests, rates, tokens, dollars."""
    share = arm.goodput
    first = (
        f"goodput {percent(share.value)} [{100 * share.low:.1f}, {100 * share.high:.1f}], "
        f"{rate(arm.good_per_s)} good requests/s"
    )
    second = f"{arm.scheduled:,} requests, {errors_text(arm) or 'none failed'}; "
    second += f"{rate(arm.offered_rate)}/s offered, {rate(arm.achieved_rate)}/s answered"
    lines = [first, second]
    parts: list[str] = []
    if arm.tokens_per_s is not None:
        each = f", {rate(arm.tokens_per_s_each)} a request" if arm.tokens_per_s_each else ""
        parts.append(f"{arm.tokens_per_s:,.0f} output tokens/s in all{each}")
    if arm.input_tokens or arm.output_tokens:
        parts.append(f"{arm.input_tokens:,} tokens in, {arm.output_tokens:,} out")
    if arm.cached_share:
        parts.append(f"{percent(arm.cached_share)} of input from cache")
    if arm.cost_usd is not None:
        parts.append(f"${arm.cost_usd:,.4g}")
    return [*lines, "; ".join(parts)] if parts else lines


def difference_cells(found: Difference) -> tuple[str, str]:
    """(estimate, interval) of a difference: `+20.2 ms`, `[19.2, 21.1]`."""
    if found.needs is not None:
        return "-", f"needs {found.needs:,} requests, has {found.n:,}"
    if found.estimate is None:
        return "fails", "falls on failed requests"
    scale = scale_of([found.estimate, found.low, found.high])
    low = "-inf" if found.low is None else scale.text(found.low, signed=True)
    high = "+inf" if found.high is None else scale.text(found.high, signed=True)
    return f"{scale.text(found.estimate, signed=True)} {scale.unit}", f"[{low}, {high}]"


def health_text(result: Result) -> str:
    """How the generator kept time."""
    health = result.health
    lag = f"{1e3 * health.lag_p99_s:.2f} ms late at p99" if result.mode == "open" else "closed loop"
    processes = f", {health.processes} processes" if health.processes > 1 else ""
    return (
        f"Generator {'kept time' if health.valid else 'was the limit'}: {lag}, event loop "
        f"{1e3 * health.loop_delay_p99_s:.2f} ms late at p99, {100 * health.cpu_share:.0f} % of a core{processes}"
    )


def notes_of(report: LoadReport) -> list[str]:
    """What a reader should know beside the numbers."""
    notes: list[str] = list(report.result.notes) if report.result else []
    for sweep in report.sweeps:
        notes += [f"{sweep.arm}: {note}" for note in sweep.notes]
    if report.result and any(t.correlated for a in report.result.arms.values() for t in a.timings.values()):
        notes.append(
            "requests near in time are alike: intervals rest on blocks of time, not on single requests"
        )
    return notes


# --- terminal -------------------------------------------------------------------------------------------------


def render_terminal(report: LoadReport, *, width: int = 80) -> str:
    """The report as text of at most `width` columns."""
    lines = [*texts.wrap(texts.safe(f"{sentence(report)}."), width), ""]
    if report.result is not None:
        lines += _result_lines(report.result, width)
    for sweep in report.sweeps:
        lines += [*_sweep_lines(sweep), ""]
    for note in notes_of(report):
        lines += texts.wrap(texts.safe(f"Note: {note}."), width)
    if report.result is not None:
        lines += texts.wrap(texts.safe(health_text(report.result) + "."), width)
        lines += texts.wrap(
            "Times count from the intended start; a failed request never ends. Intervals: two-sided 95 %.",
            width,
        )
    return "\n".join(line.rstrip() for line in lines).rstrip()


def _result_lines(result: Result, width: int) -> Iterator[str]:
    for arm in result.arms.values():
        first, *rest = arm_lines(arm)
        yield from texts.wrap(texts.safe(f"{arm.name}: {first}"), width)
        for line in rest:
            yield from (f"  {part}" for part in texts.wrap(texts.safe(line), width - 2, indent="  "))
        yield texts.fit("", _NAME) + "".join(texts.fit(name, _CELL, right=True) for name in (*SHARES, "max"))
        for name in SHOWN:
            if name in arm.timings:
                _, found = cells(arm.timings[name])
                row = "".join(texts.fit(cell.value, _CELL, right=True) for cell in found)
                yield texts.fit(f"  {SHORT[name]}", _NAME) + row
                below = "".join(texts.fit(cell.interval, _CELL, right=True) for cell in found)
                if below.strip():
                    yield texts.fit("", _NAME) + below
        needs = {q.needs for t in arm.timings.values() for q in t.quantiles.values() if q.needs}
        if needs:
            yield "  - " + "; ".join(
                f"{label} needs {NEEDED[label]:,} requests" for label in SHARES if NEEDED[label] in needs
            )
        yield ""
    if result.differences:
        yield from _difference_lines(result.differences)
        yield ""


def _difference_lines(found: Sequence[Difference]) -> Iterator[str]:
    for other in dict.fromkeys(each.after for each in found):
        mine = [each for each in found if each.after == other]
        yield texts.safe(f"{other} minus {mine[0].before}, under the same load")
        for each in mine:
            estimate, interval = difference_cells(each)
            name = texts.fit(f"  {SHORT[each.metric]} {each.quantile}", _NAME + 4)
            yield f"{name}{texts.fit(estimate, _CELL + 1, right=True)}  {interval}"


STEP_HEADER = ("offered/s", "answered/s", "goodput", "first token p50", "p99", "end to end p50", "p99", "")


def step_cells(step: Step) -> tuple[str, ...]:
    """One step of a sweep as cells under STEP_HEADER."""
    arm = step.arm

    def time(metric: str, label: str) -> str:
        timing = arm.timings.get(metric)
        value = timing.quantiles[label].value if timing else None
        if timing is None or timing.quantiles[label].needs is not None:
            return "-"
        return "fails" if value is None else f"{(scale := scale_of([value])).text(value)} {scale.unit}"

    return (
        rate(step.reading.rate), rate(arm.achieved_rate), percent(arm.goodput.value),
        time("ttft_s", "p50"), time("ttft_s", "p99"), time("e2e_s", "p50"), time("e2e_s", "p99"),
        REASONS[step.reading.because],
    )  # fmt: skip


def _sweep_lines(sweep: Sweep) -> Iterator[str]:
    yield texts.safe(
        f"{sweep.arm}: {len(sweep.steps)} steps, {percent(sweep.goodput_target)} of requests must be good"
    )
    header = ("offered/s", "answered/s", "goodput", "ttft p50", "p99", "e2e p50", "p99", "")
    widths = (9, 11, 9, 9, 8, 9, 8, 14)
    yield "".join(texts.fit(cell, w, right=True) for cell, w in zip(header, widths, strict=True))
    for step in sorted(sweep.steps, key=lambda step: step.reading.rate):
        *numbers, why = step_cells(step)
        row = "".join(texts.fit(cell, w, right=True) for cell, w in zip(numbers, widths, strict=False))
        yield f"{row}  {why}"


# --- Markdown and CSV -----------------------------------------------------------------------------------------


def render_markdown(report: LoadReport) -> str:
    """The report as Markdown: the sentence, a table an arm, differences, notes, what it rests on."""
    kind = "NOTE" if report.valid else "CAUTION"
    parts = [f"> [!{kind}]\n> {markdown.escape(sentence(report))}"]
    if report.result is not None:
        parts += [_markdown_arm(arm) for arm in report.result.arms.values()]
        if report.result.differences:
            parts.append(_markdown_differences(report.result.differences))
    for sweep in report.sweeps:
        rows = [step_cells(step) for step in sorted(sweep.steps, key=lambda step: step.reading.rate)]
        parts.append(f"**{markdown.escape(sweep.arm)}**\n\n{_markdown_table(STEP_HEADER, rows)}")
    notes = notes_of(report)
    if report.result is not None:
        notes.append(health_text(report.result))
        notes.append("Times count from the intended start; intervals are two-sided 95 %")
    parts.append("\n".join(f"- {markdown.escape(note)}." for note in notes))
    parts.append(
        "\n".join(f"- {markdown.escape(k)}: {markdown.code(v, 200)}" for k, v in report.facts.items())
    )
    return "\n\n".join(part for part in parts if part) + "\n"


def _markdown_arm(arm: Arm) -> str:
    rows: list[Sequence[str]] = []
    for name in SHOWN:
        if name in arm.timings:
            _, found = cells(arm.timings[name])
            shown = [f"{cell.value} [{cell.interval}]" if cell.interval else cell.value for cell in found]
            rows.append((TITLES[name], *shown))
    said = "  \n".join(markdown.escape(line) for line in arm_lines(arm))
    return f"**{markdown.escape(arm.name)}**: {said}\n\n{_markdown_table(('time', *SHARES, 'max'), rows)}"


def _markdown_differences(found: Sequence[Difference]) -> str:
    rows = [
        (markdown.escape(f"{each.after} minus {each.before}"), f"{TITLES[each.metric]} {each.quantile}",
         *difference_cells(each))
        for each in found
    ]  # fmt: skip
    return _markdown_table(("arms", "time", "difference", "95 % interval"), rows)


def _markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    rule = ["---", *("---:" for _ in header[1:])]
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, rule, *rows))


_CSV = ("arm", "offered_rate", "metric", "statistic", "value", "low", "high", "n", "valid", "load")


def render_csv(report: LoadReport) -> str:
    """A row a number, unrounded, in seconds, shares and requests per second; an empty value has no end or needs more n."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(_CSV)
    results = [report.result] if report.result is not None else []
    results += [step.result for sweep in report.sweeps for step in sweep.steps]
    for result in results:
        for arm in result.arms.values():
            for row in _csv_rows(arm):
                writer.writerow((_safe(arm.name), arm.offered_rate, *row, result.valid, result.load))
    return out.getvalue()


def _csv_rows(arm: Arm) -> Iterator[tuple[object, ...]]:
    share = arm.goodput
    yield ("goodput", "share", share.value, share.low, share.high, share.n)
    for name in ("good_per_s", "achieved_rate", "tokens_per_s", "tokens_per_s_each", "cost_usd"):
        yield (name, "", getattr(arm, name), "", "", arm.scheduled)
    for kind, count in arm.errors.items():
        yield ("errors", kind, count, "", "", arm.scheduled)
    for name, timing in arm.timings.items():
        for label, quantile in timing.quantiles.items():
            yield (name, label, quantile.value, quantile.low, quantile.high, timing.n)
        yield (name, "mean", timing.mean, "", "", timing.n)
        yield (name, "max", timing.max, "", "", timing.n)


def _safe(name: str) -> str:
    """The name as no spreadsheet takes it for a formula."""
    return f"'{name}" if name[:1] in "=+-@\t\r" else name
