"""A verdict as GitHub-flavoured Markdown: reads well as a pull-request comment.

Names and ids stand in code spans, where nothing is a link, a mention or HTML; prose is escaped.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np

from ratchet.evidence import Evidence
from ratchet.records import Verdict
from ratchet.reports import examples, numbers, texts, views
from ratchet.reports.views import Line

MOST_FLIPS = 20
MOST_CHARS = 60_000
"""GitHub refuses comments above 65,536 characters."""
_ALERTS = {"ship": "TIP", "hold": "CAUTION", "inconclusive": "WARNING", "invalid": "CAUTION"}
_MARKS = {
    "passed": "✓ passed",
    "failed": "✕ **failed**",
    "open": "○ open",
    "invalid": "! **invalid**",
    "reported": "– report",
}
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~$&])")
_LINKS = re.compile(r"@|#(?=\d)|(?<=:)(?=//)|(?<=www)(?=\.)|(?<=GH)(?=-\d)", re.IGNORECASE)


def render(verdict: Verdict, evidence: Evidence | None = None) -> str:
    """The verdict as Markdown: an alert with the sentence, the table of checks, details that fold."""
    shown = views.lines(verdict, evidence)
    word = views.WORDS[verdict.outcome]
    parts = [
        f"> [!{_ALERTS[verdict.outcome]}]\n> **{word}**: {escape(views.explanation(verdict, evidence))}",
        _checks(shown),
        "\n".join(f"- To decide: {escape(text)}." for text in views.decisions(verdict, evidence)),
        "\n".join(f"- {escape(text)}." for text in views.reasons(verdict, evidence)),
        "\n".join(f"- Cost: {escape(text)}" for text in views.cost_lines(verdict)),
        "\n".join(f"- Warning: {escape(text.rstrip('.'))}." for text in verdict.warnings),
    ]
    found = None if evidence is None else examples.pair(verdict, evidence)
    if evidence is not None and found is not None:
        parts += [_slices(found, evidence), _flips(verdict, evidence, found)]
    parts.append(_facts(verdict, shown))
    kept: list[str] = []
    for part in filter(None, parts):
        if sum(map(len, kept)) + len(part) < MOST_CHARS:
            kept.append(part)
    return "\n\n".join(kept) + "\n"


def escape(text: str) -> str:
    """Prose in which nothing of this text is formatting, HTML, a link, a mention or a reference."""
    line = texts.cut(" ".join(texts.visible(text).split()), 1_000).replace("\ue000", "")
    # the breaks go in first, as private characters that escaping leaves alone
    broken = _LINKS.sub(lambda found: f"{found.group()}\ue000", line)
    return _SPECIAL.sub(r"\\\1", broken).replace("\ue000", "&#8203;")


def code(text: str, most: int = 60) -> str:
    """A code span that this text can't leave, also within a table."""
    line = texts.cut(" ".join(texts.visible(text).split()), most).replace("|", "¦")
    if not line:
        return "–"
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", line)), default=0))
    space = " " if line[0] == "`" or line[-1] == "`" else ""
    return f"{fence}{space}{line}{space}{fence}"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]], align: str) -> str:
    """`align`: a letter a column, l or r."""
    rule = ["---:" if side == "r" else "---" for side in align]
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, rule, *rows))


def _checks(shown: Sequence[Line]) -> str:
    if not shown:
        return ""
    level = views.level_text([item.result for item in shown])
    rows = [
        (
            item.result.check.dimension.capitalize(),
            code(item.title),
            escape(item.rule),
            item.level.level(item.result.baseline_value),
            item.level.level(item.result.candidate_value),
            f"**{item.estimate}** {item.span.replace('[', '&#91;').replace(']', '&#93;')}".strip(),
            f"{item.result.n:,}",
            _MARKS[item.result.outcome],
        )
        for item in shown
    ]
    header = ("", "Check", "Rule", "Baseline", "Candidate", f"Estimate, {level}", "n", "")
    return _table(header, rows, "lllrrrrl")


def _slices(found: examples.Paired, evidence: Evidence) -> str:
    cells = examples.slices(found, evidence)
    if not cells:
        return ""
    unit = examples.change_unit(found)
    marks = {"up": "better", "down": "**worse**", "flat": ""}
    rows = [
        (code(cell.name), f"{cell.n:,}", unit.change(cell.estimate),
         unit.span(cell.low, cell.high).replace("[", "&#91;").replace("]", "&#93;"), marks[cell.tone])
        for cell in cells
    ]  # fmt: skip
    table = _table(("Slice", "n", "Change", "95 % interval", ""), rows, "lrrrl")
    return _details(f"{html_text(found.metric)} by slice", table)


def _flips(verdict: Verdict, evidence: Evidence, found: examples.Paired) -> str:
    counted = examples.tally(found)
    called = views.names(verdict, evidence)
    order = [int(i) for i in examples.chosen(found) if found.gain[i] < 0][:MOST_FLIPS]
    unit = numbers.level_unit(found.metric, [1.0], rate=False)
    rows = [
        (code(evidence.examples[i]), _value(unit, found.before[i]), _value(unit, found.after[i]))
        for i in order
    ]
    title = (
        f"Examples by {html_text(found.metric)}: {counted.worse:,} worse, {counted.better:,} better, "
        f"{counted.same:,} the same"
    )
    if not rows:
        return _details(title, "No example got worse.")
    header = ("Worst examples", code(called.baseline, 30), code(called.candidate, 30))
    more = f"\n\nand {counted.worse - len(rows):,} more" if counted.worse > len(rows) else ""
    return _details(title, _table(header, rows, "lrr") + more)


def _value(unit: numbers.Unit, value: float) -> str:
    return "no answer" if np.isnan(value) else unit.level(float(value))


def html_text(text: str) -> str:
    """A code element, for places where Markdown is not read."""
    line = texts.cut(" ".join(texts.visible(text).split()), 60)
    # `_` and friends would still be read as emphasis between HTML tags
    return f"<code>{_SPECIAL.sub(lambda m: f'&#{ord(m.group())};', line)}</code>"


def _details(title: str, body: str) -> str:
    return f"<details>\n<summary>{title}</summary>\n\n{body}\n\n</details>"


def _facts(verdict: Verdict, shown: Sequence[Line]) -> str:
    rows = [
        ("task", code(verdict.task_id)),
        ("baseline", code(verdict.baseline)),
        ("candidate", code(verdict.candidate)),
    ]
    rows += [("run", code(run_id)) for run_id in verdict.run_ids]
    rows += [(escape(key), code(texts.as_text(value), 100)) for key, value in verdict.inputs.items()]
    methods = dict.fromkeys(f"{item.title}: {item.result.method}" for item in shown if item.result.method)
    rows += [("method", code(text, 100)) for text in methods]
    return _details("What it rests on", _table(("", ""), rows, "ll"))
