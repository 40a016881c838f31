"""Plain tables for terminals: aligned, at most as wide as asked, readable without colour."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ratchet.reports.texts import cell_width as cell_width, fit, safe as safe
from ratchet.summaries import ArmSummary, Estimate, ScoreSummary, Summary, WorstRow

LABEL_WIDTH = 23
COLUMN_WIDTH = 19


def table(header: Sequence[str], rows: Iterable[Sequence[str]], *, width: int = 80) -> str:
    """Columns two spaces apart; the widest are cut until all fit."""
    cells = [[safe(cell) for cell in row] for row in (header, *rows)]
    widths = [max(cell_width(row[i]) for row in cells) for i in range(len(header))]
    while sum(widths) + 2 * (len(widths) - 1) > width and max(widths) > 8:
        widths[widths.index(max(widths))] -= 1
    return "\n".join(
        "  ".join(fit(cell, w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in cells
    )


def render_summary(summary: Summary, *, width: int = 80) -> str:
    """A run in numbers: one column an arm, one block a dimension, then the worst rows and what to know."""
    arms = list(summary.arms.values())
    per_block = max(1, (width - LABEL_WIDTH) // COLUMN_WIDTH)
    title = " ".join(filter(None, [summary.task or "run", summary.name and f"({summary.name})"]))
    examples = max((arm.examples for arm in arms), default=0)
    lines = [f"{safe(title)}: {examples} examples, run {summary.run_id}", ""]
    for start in range(0, len(arms), per_block):
        lines += [_block(arms[start : start + per_block], summary, width), ""]
    lines += _worst_lines(summary.worst, width)
    if summary.judge_calls:
        lines.append(f"Judges: {summary.judge_calls} calls, {_usd(summary.judge_cost_usd)}.")
    lines += [f"Note: {safe(note)}." for note in summary.notes]
    lines.append("Intervals: two-sided 95 %, groups as clusters, repeats averaged within an example.")
    return "\n".join(_wrapped(lines, width))


def _wrapped(lines: Iterable[str], width: int) -> Iterable[str]:
    import textwrap

    for line in lines:
        if len(line) <= width or "\n" in line:
            yield line
        else:
            yield from textwrap.wrap(line, width, subsequent_indent="  ")


def _block(arms: Sequence[ArmSummary], summary: Summary, width: int) -> str:
    """One table of these arms."""
    rows: list[tuple[str, list[str]]] = []
    baseline = summary.baseline if len(summary.arms) > 1 else None
    header = [safe(arm.arm) + (" *" if arm.arm == baseline else "") for arm in arms]
    rows.append(("answers", [f"{arm.rows:,}" for arm in arms]))
    rows.append(("failed", [_failed(arm) for arm in arms]))
    if any(arm.refused for arm in arms):
        rows.append(("refused", [f"{arm.refused:,}" for arm in arms]))
    if any(arm.unparsable for arm in arms):
        rows.append(("unparsable", [f"{arm.unparsable:,}" for arm in arms]))
    if any(arm.retried for arm in arms):
        rows.append(("retries", [f"{arm.retried:,}" for arm in arms]))
    for dimension in ("accuracy", "security", "stability"):
        scored = _score_rows(arms, dimension)
        if scored:
            rows += [(dimension.capitalize(), []), *scored]
    rows += [
        ("Cost", []),
        ("  per call", [_cost(arm) for arm in arms]),
        ("  in all", [_usd(arm.cost_usd) for arm in arms]),
    ]
    rows.append(
        ("  tokens in/out", [f"{_count(arm.input_tokens)} / {_count(arm.output_tokens)}" for arm in arms])
    )
    rows += _latency_rows(arms)
    column = (width - LABEL_WIDTH) // max(len(arms), 1)
    lines = [fit("", LABEL_WIDTH) + "".join(fit(name, column) for name in header).rstrip()]
    for label, cells in rows:
        lines.append((fit(label, LABEL_WIDTH) + "".join(fit(cell, column) for cell in cells)).rstrip())
    if baseline in [arm.arm for arm in arms]:
        lines.append("* baseline")
    return "\n".join(lines)


def _score_rows(arms: Sequence[ArmSummary], dimension: str) -> list[tuple[str, list[str]]]:
    names = list(dict.fromkeys(n for arm in arms for n, s in arm.scores.items() if s.dimension == dimension))
    rows: list[tuple[str, list[str]]] = []
    for name in names:
        found = [arm.scores.get(name) for arm in arms]
        rows.append((f"  {safe(name)}", [_score_cell(score) for score in found]))
        if any(score and score.unscored for score in found):
            rows.append(("    not scored", [f"{score.unscored:,}" if score else "" for score in found]))
        for measure in dict.fromkeys(m for score in found if score for m in score.measures):
            cells = [_number(score.measures.get(measure)) if score else "" for score in found]
            rows.append((f"    {measure}", cells))
        labels = list(dict.fromkeys(row.label for score in found if score for row in score.by_label))[:12]
        for label in labels:
            rows.append((f"    F1 {safe(label)}", [_label_f1(score, label) for score in found]))
        counted = list(dict.fromkeys(label for score in found if score for label in score.counts))[:6]
        for label in counted:
            rows.append(
                (
                    f"    {safe(label)}",
                    [f"{score.counts.get(label, 0):,}" if score else "" for score in found],
                )
            )
    return rows


def _label_f1(score: ScoreSummary | None, label: str) -> str:
    for row in score.by_label if score else ():
        if row.label == label:
            return _number(row.f1)
    return ""


def _score_cell(score: ScoreSummary | None) -> str:
    if score is None or score.estimate is None:
        return "-" if score is None or score.kind == "empty" else ""
    return estimate_cell(score.estimate, percent=score.kind == "rate")


def estimate_cell(estimate: Estimate, *, percent: bool) -> str:
    """`91.2 % [88, 94]`, or `0.912 [0.88, 0.94]`."""
    low, high = estimate.low, estimate.high
    if percent:
        value = f"{100 * estimate.value:.1f} %"
        return value if low is None or high is None else f"{value} [{100 * low:.0f}, {100 * high:.0f}]"
    value = _number(estimate.value)
    return value if low is None or high is None else f"{value} [{_number(low, 2)}, {_number(high, 2)}]"


def _number(value: float | None, places: int = 3) -> str:
    if value is None:
        return "-"
    return f"{value:.{places}f}" if abs(value) < 100 else f"{value:,.0f}"


def _failed(arm: ArmSummary) -> str:
    if not arm.failed:
        return "0"
    kinds = ", ".join(f"{kind.replace('_', ' ')} {count}" for kind, count in arm.errors.items())
    return f"{arm.failed:,} ({kinds})"


def _cost(arm: ArmSummary) -> str:
    if arm.cost_per_call_usd is None:
        return "price unknown" if arm.input_tokens else "-"
    return _usd(arm.cost_per_call_usd.value)


def _usd(value: float | None) -> str:
    """Dollars with three significant digits.

    >>> _usd(0.001234), _usd(12.345), _usd(None)
    ('$0.00123', '$12.35', '-')
    """
    if value is None:
        return "-"
    if value == 0 or value >= 1:
        return f"${value:,.2f}"
    text = f"{value:.3g}"
    return f"${float(text):.10f}".rstrip("0") if "e" in text else f"${text}"


def _count(value: int) -> str:
    for size, unit in ((1_000_000_000, "G"), (1_000_000, "M"), (10_000, "k")):
        if value >= size:
            return f"{value / (1000 if unit == 'k' else size):.1f}{unit}"
    return f"{value:,}"


def _latency_rows(arms: Sequence[ArmSummary]) -> list[tuple[str, list[str]]]:
    rows: list[tuple[str, list[str]]] = [("Latency", [])]
    if any(arm.ttft_s for arm in arms):
        rows.append(("  TTFT p50 / p95", [_spread(arm.ttft_s) for arm in arms]))
    rows.append(("  total p50 / p95", [_spread(arm.latency_s) for arm in arms]))
    if any(arm.tokens_per_s for arm in arms):
        rows.append(
            ("  tokens/s (median)", [f"{arm.tokens_per_s:,.0f}" if arm.tokens_per_s else "-" for arm in arms])
        )
    return rows


def _spread(quantiles: Mapping[str, float]) -> str:
    return f"{seconds(quantiles['p50'])} / {seconds(quantiles['p95'])}" if quantiles else "-"


def seconds(value: float) -> str:
    """`850 µs`, `12.3 ms`, `1.24 s`."""
    if value < 0.001:
        return f"{value * 1e6:.0f} µs"
    if value < 1:
        return f"{value * 1e3:.0f} ms" if value >= 0.1 else f"{value * 1e3:.1f} ms"
    return f"{value:.2f} s" if value < 100 else f"{value:,.0f} s"


def _worst_lines(worst: Sequence[WorstRow], width: int) -> list[str]:
    if not worst:
        return []
    rows = [(row.arm, row.example_id, str(row.repeat), _missed(row), row.trace_id[:12]) for row in worst]
    return ["Worst rows", table(("arm", "example", "rep", "why", "trace"), rows, width=width), ""]


def _missed(row: WorstRow) -> str:
    if row.error:
        return f"no answer: {row.error}"
    parts = [f"{name} {_value(value)}" for name, value in row.missed.items()]
    return ", ".join(parts)


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.2f}"
    if isinstance(value, frozenset):
        return "{" + ", ".join(sorted(map(str, value))) + "}"
    return "not scored" if value is None else str(value)
