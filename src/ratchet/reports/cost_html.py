"""A cost case as one HTML file that makes no request."""

from __future__ import annotations

from markupsafe import Markup

from ratchet.costs import texts as said
from ratchet.costs.records import CostCase
from ratchet.reports import cost_charts, html, texts
from ratchet.reports.load_pages import HERE, SCRIPT


def render(case: CostCase) -> str:
    """The case as one HTML text."""
    css = "".join(
        (HERE / "static" / name).read_text("utf-8") for name in ("app.css", "loads.css", "cost.css")
    )
    return (
        html.environment()
        .get_template("cost.html")
        .render(
            title=texts.visible(case.run_name or case.run_id),
            sentence=said.sentence(case),
            tables=said.tables(case),
            charts=charts(case),
            notes=said.notes(case),
            names=[texts.visible(arm.name) for arm in case.arms],
            csp=html.policy(css, SCRIPT),
            css=Markup(css),
            script=Markup(SCRIPT),
        )
    )


def charts(case: CostCase) -> list[tuple[str, Markup]]:
    """The charts with their titles; empty without traffic or machines of one's own."""
    found: list[tuple[str, Markup]] = []
    if case.swings:
        title = f"What the monthly {'saving' if case.migration else 'bill'} hangs on"
        found.append((title, cost_charts.tornado(case.swings, label=title)))
    if case.hosting is not None:
        title = f"The month's bill against traffic: {case.hosting.against} (line), {case.hosting.arm} on machines of one's own (dashed)"
        title = texts.visible(title)
        found.append((title, cost_charts.bills_by_traffic(case.hosting, case.traffic, label=title)))
    return [(title, chart) for title, chart in found if chart]
