"""A verdict as one HTML file that makes no request: templates, style sheet, scripts and rows inlined."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from ratchet.evidence import Evidence
from ratchet.records import Verdict
from ratchet.reports import comparisons, drawing, examples, texts, views
from ratchet.reports.examples import Detail
from ratchet.reports.rows import Rows
from ratchet.reports.traits import Observe

if TYPE_CHECKING:
    from jinja2 import Environment

HERE = Path(__file__).parent
FIRST_ROWS = 60
SCRIPTS = ("state.js", "source.js", "parts.js", "rows.js", "page.js")
"""In the order of their imports: joined into one inline module."""


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
    observe: Observe | None = None,
    view: Mapping[str, Any] | None = None,
) -> str:
    """The report as one HTML text.

    Args:
        details: Input, outputs and expected answer of one example, by its index in `evidence.examples`.
        others: Verdicts of further candidates against the same baseline, shown beside this one.
        most_rows: With more examples than this, only the worst and the best are in the file.
        observe: What the texts of one example say, by its index; see `comparisons.view`.
        view: As `comparisons.view` made it, where it is there already.
    """
    css, script = (HERE / "static" / "app.css").read_text("utf-8"), inline_script()
    found = None if evidence is None else examples.pair(verdict, evidence)
    if view is None:
        view = comparisons.view(verdict, evidence, others=others, observe=observe, found=found)
    table = _table(verdict, evidence, found, view, details, most_rows)
    return (
        environment()
        .get_template("compare.html")
        .render(
            **{**drawing.drawn(view), **table},
            csp=policy(css, script),
            css=Markup(css),
            script=Markup(script),
        )
    )


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


def _table(
    verdict: Verdict,
    evidence: Evidence | None,
    found: examples.Paired | None,
    view: Mapping[str, Any],
    details: Callable[[int], Detail | None] | None,
    most: int,
) -> dict[str, Any]:
    """The rows that the file carries; none without evidence or a shared numeric metric."""
    empty: dict[str, Any] = {"rows": [], "kept": 0, "data": "", "live": None}
    if evidence is None or found is None:
        return empty
    kept = examples.chosen(found, most=most)
    rows = Rows(evidence, found, views.names(verdict, evidence), view["cells"], environment(), details)
    fragments = [rows.fragment(int(i)) for i in kept]
    return {
        **empty,
        "rows": [Markup(fragment["html"]) for fragment in fragments[:FIRST_ROWS]],
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
