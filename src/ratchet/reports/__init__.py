"""A verdict written down: for people, pull requests, CI and programs."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ratchet.errors import UnknownNameError

if TYPE_CHECKING:
    from ratchet.evidence import Evidence
    from ratchet.records import Json, Verdict
    from ratchet.reports.examples import Detail
    from ratchet.reports.traits import Observe

FORMATS = ("json", "md", "html", "junit.xml", "csv")
VERSION = 1
"""Of the JSON report's shape."""


def write(
    verdict: Verdict,
    evidence: Evidence | None,
    path: str | Path,
    *,
    details: Callable[[int], Detail | None] | None = None,
    observe: Observe | None = None,
    others: Sequence[Verdict] = (),
    inconclusive: Literal["pass", "fail"] = "fail",
) -> None:
    """Write the verdict in the format that the path's ending names: json, md, html, junit.xml or csv.

    Args:
        details: What the HTML report shows of one example, by its index in `evidence.examples`.
        observe: What the texts of one example say, by its index: the HTML report looks there for what regressions
            have in common.
        others: Verdicts on further candidates against the same baseline, which the HTML report shows beside this one.
        inconclusive: Whether an open check fails its JUnit test case.

    Raises:
        UnknownNameError: The ending is none of FORMATS.
    """
    path = Path(path)
    kind = format_of(path)
    if kind == "html":
        from ratchet.reports import html

        text = html.render(verdict, evidence, details=details, observe=observe, others=others)
    elif kind == "md":
        from ratchet.reports import markdown

        text = markdown.render(verdict, evidence)
    elif kind == "junit.xml":
        from ratchet.reports import junit

        text = junit.render(verdict, evidence, inconclusive=inconclusive)
    elif kind == "csv":
        from ratchet.reports import tables

        text = tables.render(verdict, evidence)
    else:
        text = json.dumps(as_json(verdict, evidence), indent=2) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", errors="replace", newline="")


def format_of(path: str | Path) -> str:
    """The format that this path's ending names.

    Raises:
        UnknownNameError: None of FORMATS.
    """
    name = Path(path).name.lower()
    for kind in FORMATS:
        if name.endswith(f".{kind}") or name == kind:
            return kind
    if name.endswith(".markdown"):
        return "md"
    if name.endswith((".xml", ".htm")):
        return "junit.xml" if name.endswith(".xml") else "html"
    raise UnknownNameError("report format", Path(path).suffix.lstrip(".") or name, FORMATS)


def as_json(verdict: Verdict, evidence: Evidence | None = None) -> Json:
    """`{"format": "ratchet.verdict", "version": 1, "sentence", "arms", "verdict"}`, the verdict as `codec` writes it."""
    from ratchet import codec
    from ratchet.reports import views

    called = views.names(verdict, evidence)
    return {
        "format": "ratchet.verdict",
        "version": VERSION,
        "sentence": views.sentence(verdict, evidence),
        "arms": {"baseline": called.baseline, "candidate": called.candidate},
        "verdict": codec.encode(verdict),
    }
