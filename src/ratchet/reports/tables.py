"""A verdict as CSV: a row a check, numbers unrounded."""

from __future__ import annotations

import csv
import io
from typing import Any

from ratchet import codec
from ratchet.evidence import Evidence
from ratchet.records import Verdict
from ratchet.reports import texts, views

HEADER: tuple[str, ...] = (
    "verdict", "baseline", "candidate", "dimension", "check", "rule", "role", "metric", "measure", "outcome",
    "estimate", "low", "high", "level", "margin", "limit", "relative", "baseline_value", "candidate_value", "n",
    "n_groups", "needed_n", "p", "method", "reason",
)  # fmt: skip


def render(verdict: Verdict, evidence: Evidence | None = None) -> str:
    """CSV text with a header; without checks a single row with the verdict."""
    called = views.names(verdict, evidence)
    common = {"verdict": verdict.outcome, "baseline": called.baseline, "candidate": called.candidate}
    file = io.StringIO()
    writer = csv.DictWriter(file, HEADER, restval="", lineterminator="\n")
    writer.writeheader()
    for item in views.lines(verdict, evidence):
        result, check = item.result, item.result.check
        row: dict[str, Any] = {name: getattr(check, name) for name in HEADER if hasattr(check, name)}
        row |= {name: getattr(result, name) for name in HEADER if hasattr(result, name)}
        row |= {**common, "check": item.title}
        writer.writerow({name: _cell(value) for name, value in row.items()})
    if not verdict.results:
        writer.writerow(
            {**{k: _cell(v) for k, v in common.items()}, "reason": _cell("; ".join(verdict.reasons))}
        )
    return file.getvalue()


def _cell(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    text = texts.visible(codec.clean_text(value))
    # a spreadsheet would run these as formulas
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t") else text
