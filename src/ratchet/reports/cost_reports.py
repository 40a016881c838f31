"""A cost case written down: for the terminal, as JSON, CSV, Markdown, and as one HTML file without a request."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING

from ratchet import codec
from ratchet.costs import texts
from ratchet.costs.records import CostCase
from ratchet.reports.texts import cell_width, fit, safe, visible

if TYPE_CHECKING:
    from ratchet.records import Json

VERSION = 1
"""Of the JSON's shape."""


def write(case: CostCase, path: Path) -> None:
    """Write the case in the format that the path's ending names: json, csv, md or html."""
    kind = path.suffix.lstrip(".").lower()
    if kind == "html":
        from ratchet.reports import cost_html

        text = cost_html.render(case)
    elif kind == "md":
        text = markdown(case)
    elif kind == "csv":
        text = as_csv(case)
    else:
        text = json.dumps(as_json(case), indent=2, allow_nan=False) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", errors="replace", newline="")


def as_json(case: CostCase) -> Json:
    """`{"format": "ratchet.cost_case", "version": 1, "sentence", "case"}`."""
    return {
        "format": "ratchet.cost_case",
        "version": VERSION,
        "sentence": texts.sentence(case),
        "case": codec.encode(case),
    }


def terminal(case: CostCase, *, width: int = 80) -> str:
    """The sentence, the tables and the notes, at most `width` columns wide."""
    import textwrap

    lines = [*textwrap.wrap(safe(texts.sentence(case)), width), ""]
    for table in texts.tables(case):
        lines += [safe(table.title), *_rows(table, width), ""]
    for note in texts.notes(case):
        lines += textwrap.wrap(safe(note), width, subsequent_indent="  ")
    return "\n".join(lines)


def _rows(table: texts.Table, width: int) -> list[str]:
    """The first column to the left, numbers to the right; the widest are cut until all fit."""
    rows = [tuple(safe(cell) for cell in row) for row in (table.header, *table.rows) if any(row)]
    widths = [max(cell_width(row[i]) for row in rows) for i in range(len(table.header))]
    while sum(widths) + 2 * len(widths) > width and max(widths) > 8:
        widths[widths.index(max(widths))] -= 1
    return [
        "  "
        + "  ".join(_cell(cell, w, i) for i, (cell, w) in enumerate(zip(row, widths, strict=True))).rstrip()
        for row in rows
    ]


def _cell(cell: str, width: int, column: int) -> str:
    return fit(cell, width, right=column > 0)


def markdown(case: CostCase) -> str:
    """The same as Markdown that reads well in a pull request."""
    lines = [f"**{_md(texts.sentence(case))}**", ""]
    for table in texts.tables(case):
        lines += [f"### {_md(table.title)}", ""]
        lines.append("| " + " | ".join(_md(cell) or " " for cell in table.header) + " |")
        lines.append("|---" + "|---:" * (len(table.header) - 1) + "|")
        lines += ["| " + " | ".join(_md(cell) for cell in row) + " |" for row in table.rows]
        lines.append("")
    lines += [f"- {_md(note)}" for note in texts.notes(case)]
    return "\n".join(lines) + "\n"


def _md(text: str) -> str:
    from ratchet.reports.markdown import escape

    return escape(text)


def as_csv(case: CostCase) -> str:
    """One line an arm: what programs and spreadsheets ask for."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    names = ("per_call_usd", "per_success_usd", "per_month_usd")
    writer.writerow(
        ["arm", "model", "answers", "failed", "unpriced", "success_share", "retry_usd",
         *(f"{name}{end}" for name in names for end in ("", "_low", "_high"))]
    )  # fmt: skip
    for arm in case.arms:
        cells: list[object] = [
            visible(arm.name),
            visible(arm.model),
            arm.answers,
            arm.failed,
            arm.unpriced,
            arm.success_share,
            arm.retry_usd,
        ]
        for name in names:
            found = getattr(arm, name)
            cells += ["", "", ""] if found is None else [found.value, found.low, found.high]
        writer.writerow(["" if cell is None else cell for cell in cells])
    return out.getvalue()
