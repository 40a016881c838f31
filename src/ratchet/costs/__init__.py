"""What a change costs and saves: bills of a run, and the case that they make."""

from __future__ import annotations

from dataclasses import replace

from ratchet.costs.bills import Bill, Bills, from_evidence, from_run, spent_usd
from ratchet.costs.cases import Terms, build
from ratchet.costs.records import CostCase, Hosting, Traffic
from ratchet.costs.sections import read, section

__all__ = [
    "Bill",
    "Bills",
    "CostCase",
    "Terms",
    "Traffic",
    "build",
    "from_evidence",
    "from_run",
    "read",
    "section",
    "spent_usd",
    "with_hosting",
]


def with_hosting(case: CostCase, hosting: Hosting) -> CostCase:
    """The case with one arm on machines of one's own."""
    return replace(case, hosting=hosting)
