"""A verdict as one HTML file that makes no request: templates, style sheet, scripts and rows inlined."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from ratchet.evidence import Evidence
from ratchet.records import Verdict
from ratchet.reports import charts, examples, numbers, texts, views
from ratchet.reports.examples import Detail, Paired
from ratchet.reports.rows import Rows

if TYPE_CHECKING:
    from jinja2 import Environment

HERE = Path(__file__).parent
FIRST_ROWS = 60
SCRIPTS = ("state.js", "source.js", "rows.js", "page.js")
"""In the order of their imports: joined into one inline module."""
_MARKS = {"passed": "✓", "failed": "✕", "open": "○", "invalid": "!", "reported": "–"}


@cache
def environment() -> Environment:
    """The templates of reports and page: autoescaped, unknown names refused."""
    import jinja2

    found = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["inert"] = texts.inert
    found.filters["visible"] = texts.visible
    return found


def render(
    verdict: Verdict,
    evidence: Evidence | None = None,
    *,
    details: Callable[[int], Detail | None] | None = None,
    others: Sequence[Verdict] = (),
    most_rows: int = examples.MOST_ROWS,
) -> str:
    """The report as one HTML text.

    Args:
        details: Input, outputs and expected answer of one example, by its index in `evidence.examples`.
        others: Verdicts of further candidates against the same baseline, shown beside this one.
        most_rows: With more examples than this, only the worst and the best are in the file.
    """
    css, script = (HERE / "static" / "app.css").read_text("utf-8"), inline_script()
    page = _page(verdict, evidence, [verdict, *others])
    table = _table(verdict, evidence, details, most_rows)
    text = (
        environment()
        .get_template("compare.html")
        .render(
            **page,
            **table,
            csp=policy(css, script),
            css=Markup(css),
            script=Markup(script),
        )
    )
    return text


def policy(css: str, script: str) -> str:
    """A content security policy that allows this style sheet and this script, and nothing else."""
    return (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(css)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


@cache
def inline_script() -> str:
    """The modules as one: in dependency order, without their imports and exports."""
    joined = "\n".join((HERE / "static" / name).read_text("utf-8") for name in SCRIPTS)
    joined = re.sub(r"^import .*?;\n", "", joined, flags=re.MULTILINE)
    return re.sub(r"^export ", "", joined, flags=re.MULTILINE)


def _page(verdict: Verdict, evidence: Evidence | None, verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """All but the rows."""
    shown = views.lines(verdict, evidence)
    return {
        "called": views.names(verdict, evidence),
        "outcome": verdict.outcome,
        "word": views.WORDS[verdict.outcome],
        "explanation": views.explanation(verdict, evidence),
        "checks": [{"line": item, "plot": _check_plot(item), "mark": _MARKS[item.result.outcome],
                    "word": views.OUTCOMES[item.result.outcome]} for item in shown],
        "level": views.level_text([item.result for item in shown]),
        "decisions": views.decisions(verdict, evidence),
        "reasons": views.reasons(verdict, evidence),
        "warnings": verdict.warnings,
        "facts": _facts(verdict, evidence, shown),
        "candidates": [_candidate(v, evidence) for v in verdicts] if len(verdicts) > 1 else [],
        **_arms(verdict, evidence),
    }  # fmt: skip


def _check_plot(item: views.Line) -> Markup:
    result = item.result
    bound = "" if item.bound is None else f", {'limit' if item.zero is None else 'margin'} {item.margin}"
    label = f"{item.title}: {item.estimate} {item.span}{bound}, n {result.n:,}, {item.result.outcome}"
    return charts.interval(
        result.estimate, result.low, result.high,
        label=texts.visible(label), zero=item.zero, bound=item.bound, tone=item.tone,
    )  # fmt: skip


def _candidate(verdict: Verdict, evidence: Evidence | None) -> dict[str, str]:
    return {
        "name": views.names(verdict, evidence).candidate,
        "outcome": verdict.outcome,
        "word": views.WORDS[verdict.outcome],
        "explanation": views.explanation(verdict, evidence),
    }


def _arms(verdict: Verdict, evidence: Evidence | None) -> dict[str, Any]:
    """Quality against cost as chart and table, where there are several candidates."""
    quality, cost, found = ("", "", []) if evidence is None else examples.points(verdict, evidence)
    if evidence is None or len(found) < 3:
        return {"scatter": "", "arms": [], "arms_metrics": ("", "")}
    rate = any(
        arm.columns[quality].kind == "bool" for arm in evidence.arms.values() if quality in arm.columns
    )
    x = numbers.level_unit(cost, [p.cost for p in found], rate=False)
    y = numbers.level_unit(quality, [p.quality for p in found], rate=rate)
    return {
        "scatter": _scatter(quality, cost, found, x, y),
        "arms": [{"name": p.name, "quality": y.level(p.quality), "cost": x.level(p.cost), "front": p.front,
                  "role": p.role} for p in sorted(found, key=lambda p: p.cost)],
        "arms_metrics": (quality, cost),
    }  # fmt: skip


def _scatter(
    quality: str, cost: str, found: Sequence[examples.ArmPoint], x: numbers.Unit, y: numbers.Unit
) -> Markup:
    points = [
        charts.Point(
            label=texts.visible(p.name),
            x=p.cost,
            y=p.quality,
            note=texts.visible(
                f"{p.name}: {quality} {y.level(p.quality)}, {cost} {x.level(p.cost)}"
                f"{', on the Pareto front' if p.front else ''}"
            ),
            kind=p.role,
            front=p.front,
        )
        for p in found
    ]
    return charts.scatter(
        points, label=texts.visible(f"{quality} against {cost}"), x_name=texts.visible(cost),
        y_name=texts.visible(quality), x_tick=_tick(x), y_tick=_tick(y),
    )  # fmt: skip


def _tick(unit: numbers.Unit, *, signed: bool = False) -> Callable[[float], str]:
    """Short axis labels: the unit without digits that a round number does not need."""

    def tick(value: float) -> str:
        if value == 0:
            return "0"
        text = f"{abs(value) * unit.scale:,.4f}".rstrip("0").rstrip(".")
        sign = "-" if value < 0 else "+" if signed else ""
        return f"{sign}{unit.prefix}{text}{unit.suffix.removesuffix(' pp')}"

    return tick


def _table(
    verdict: Verdict, evidence: Evidence | None, details: Callable[[int], Detail | None] | None, most: int
) -> dict[str, Any]:
    """Tally, slices and rows; empty without evidence or a shared numeric metric."""
    found = None if evidence is None else examples.pair(verdict, evidence)
    if evidence is None or found is None:
        return {"metric": "", "tally": None, "tally_bar": "", "forest": "", "histogram": "", "rows": [],
                "total": 0, "kept": 0, "counts": {}, "data": "", "first_rows": FIRST_ROWS}  # fmt: skip
    counted = examples.tally(found)
    kept = examples.chosen(found, most=most)
    rows = Rows(verdict, evidence, found, details, environment())
    fragments = [rows.fragment(int(i)) for i in kept]
    return {
        "metric": found.metric,
        "tally": counted,
        "tally_bar": charts.tally(counted.better, counted.same, counted.worse),
        "forest": _forest(found, evidence),
        "histogram": _histogram(found),
        "rows": [Markup(fragment["html"]) for fragment in fragments[:FIRST_ROWS]],
        "first_rows": FIRST_ROWS,
        "total": len(evidence.examples),
        "kept": len(kept),
        "counts": {
            "all": len(kept),
            "worse": int((found.gain[kept] < 0).sum()),
            "better": int((found.gain[kept] > 0).sum()),
            "flipped": int(found.flipped[kept].sum()),
            "errored": int(found.errored[kept].sum()),
        },
        "data": Markup(_packed(fragments)),
    }


def _packed(fragments: Sequence[dict[str, Any]]) -> str:
    """Rows as gzip in base64: no character of it can end a script element."""
    raw = json.dumps({"rows": fragments}, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return base64.b64encode(gzip.compress(raw.encode("utf-8", "replace"), 6, mtime=0)).decode()


def _forest(found: Paired, evidence: Evidence) -> Markup:
    whole = examples.overall(found, evidence)
    if whole is None:
        return Markup("")
    unit = examples.change_unit(found)
    ticks = _tick(unit, signed=True)
    bars = [
        charts.Bar(
            label=texts.visible(part.name),
            low=part.low,
            estimate=part.estimate,
            high=part.high,
            text=f"{unit.change(part.estimate)} {unit.span(part.low, part.high)}",
            note=texts.visible(f"{part.name}: n {part.n:,}"),
            tone=part.tone,
            strong=part is whole,
        )
        for part in [whole, *examples.slices(found, evidence)]
    ]
    return charts.forest(
        bars, label=texts.visible(f"Change of {found.metric} by slice, 95 % intervals"), tick=ticks
    )


def _histogram(found: Paired) -> Markup:
    """Changes example by example, for metrics with more than a few values."""
    change = (found.after - found.before)[np.isfinite(found.gain)]
    if len(np.unique(change)) < 8:
        return Markup("")
    # a few extreme changes would leave one bar: the outer bins hold all beyond the 1st and 99th percentile
    low, high = (float(v) for v in np.percentile(change, [1, 99]))
    if low >= high:
        return Markup("")
    counts, edges = np.histogram(np.clip(change, low, high), bins=min(30, max(8, int(len(change) ** 0.5))))
    return charts.histogram(
        [int(n) for n in counts],
        [float(e) for e in edges],
        label=texts.visible(f"Change of {found.metric}, example by example"),
        tick=_tick(examples.change_unit(found), signed=True),
    )


def _facts(verdict: Verdict, evidence: Evidence | None, shown: Sequence[views.Line]) -> list[tuple[str, str]]:
    """Hashes, seeds, prices and methods: what makes the verdict repeatable."""
    facts: list[tuple[str, Any]] = [
        ("Task", verdict.task_id),
        ("Baseline", verdict.baseline),
        ("Candidate", verdict.candidate),
        ("Runs", "\n".join(verdict.run_ids)),
    ]
    if verdict.created_at:
        facts.append(("Decided", time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(verdict.created_at))))
    facts += [(f"Method of {item.title}", _how(item)) for item in shown if item.result.method]
    facts += [(key.replace("_", " "), value) for key, value in verdict.inputs.items()]
    if evidence is not None:
        known = {"task_id", "run_ids", *verdict.inputs}
        facts += [(key.replace("_", " "), value) for key, value in evidence.facts.items() if key not in known]
    return [
        (name, texts.cut(texts.as_text(value), 20_000)) for name, value in facts if value not in ("", None)
    ]


def _how(item: views.Line) -> str:
    result = item.result
    parts = [result.method, item.rule, f"n {result.n:,}"]
    if result.n_groups is not None:
        parts.append(f"{result.n_groups:,} groups")
    if result.p is not None:
        parts.append(f"p {result.p:.3g}")
    if result.seed is not None:
        parts.append(f"seed {result.seed}")
    return ", ".join(parts)
