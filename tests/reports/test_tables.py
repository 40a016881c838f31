from __future__ import annotations

import csv
import io

from ratchet.records import Verdict
from ratchet.reports import tables

from .samples import evidence, results, verdict


def test_a_row_a_check_with_numbers_unrounded() -> None:
    rows = list(csv.DictReader(io.StringIO(tables.render(verdict(), evidence()))))
    (row,) = [r for r in rows if r["metric"] == "exact_match"]
    assert len(rows) == 5
    assert (row["verdict"], row["estimate"], row["low"], row["outcome"]) == (
        "hold",
        "-0.171",
        "-0.201",
        "failed",
    )
    assert row["check"] == "exact_match"


def test_text_that_a_spreadsheet_would_run_is_quoted() -> None:
    hostile = verdict().replace(results=(results()[1].replace(reason='=HYPERLINK("https://evil.test")'),))
    (row,) = csv.DictReader(io.StringIO(tables.render(hostile, evidence())))
    assert row["reason"].startswith("'=")


def test_a_verdict_without_checks_is_one_row() -> None:
    bare = Verdict(
        outcome="invalid", task_id="", baseline="a", candidate="b", reasons=("no shared examples",)
    )
    (row,) = csv.DictReader(io.StringIO(tables.render(bare)))
    assert (row["verdict"], row["reason"]) == ("invalid", "no shared examples")
