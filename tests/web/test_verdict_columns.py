"""A comparison as columns: the examples of the evidence with both sides' numbers and answers."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from ratchet import codec, evidence
from ratchet.reports import examples
from ratchet.stores.sqlite import SQLiteStore
from ratchet.web import columns
from ratchet.web.columns import Filter, Table

from .samples import Sample


@pytest.fixture
def table(page_store: Sample) -> Table:
    with SQLiteStore(page_store.store) as store:
        found = evidence.from_runs(store, page_store.run)
    home = columns.write_comparison(page_store.store, page_store.verdict, found)
    table = columns.read(page_store.store, home.name)
    assert table is not None
    return table


def test_every_example_has_a_row_with_both_sides_as_the_report_pairs_them(
    page_store: Sample, table: Table
) -> None:
    with SQLiteStore(page_store.store) as store:
        found = evidence.from_runs(store, page_store.run)
    paired = examples.pair(page_store.verdict, found)
    assert paired is not None
    assert [r["example"] for r in table.records(range(table.rows), ["example"])] == list(found.examples)
    for row, record in enumerate(
        table.records(range(table.rows), ["before", "after", "gain", "worse", "errored"])
    ):
        for name, values in (("before", paired.before), ("after", paired.after)):
            assert record[name] == (None if math.isnan(values[row]) else values[row])
        assert record["worse"] == (paired.gain[row] < 0)
        assert record["errored"] == paired.errored[row]


def test_the_first_repeats_answers_are_named_by_their_traces(page_store: Sample, table: Table) -> None:
    with SQLiteStore(page_store.store) as store:
        for record in table.records(range(5)):
            before, after = store.trace(record["before_trace"]), store.trace(record["after_trace"])
            assert before is not None
            assert after is not None
            assert (before.example_id, before.repeat, before.arm) == (record["example"], 0, "champion")
            assert (after.example_id, after.repeat, after.arm) == (record["example"], 0, "challenger")


def test_facts_say_what_the_columns_mean(page_store: Sample, table: Table) -> None:
    assert (table.facts["baseline"], table.facts["candidate"]) == ("champion", "challenger")
    assert (table.facts["metric"], table.facts["rate"]) == ("contains", True)
    assert table.facts["sides"]["after"] == {"run_id": page_store.run.id, "arm": "challenger"}
    assert table.folder.parent.name == f"verdict-{codec.content_id(page_store.verdict)}"


def test_rows_are_filtered_by_slice_and_sorted_by_gain(table: Table) -> None:
    page = table.page([Filter(column="slice:topic", op="is", value="billing")], sort="gain", limit=200)
    assert page.total == 20
    gains = [r["gain"] for r in table.records(page.rows, ["gain"])]
    assert gains == sorted(gains)


def test_other_numbers_of_both_arms_stand_beside(table: Table) -> None:
    (record,) = table.records([0], ["before:cost_usd", "after:cost_usd"])
    assert record["before:cost_usd"] > record["after:cost_usd"] > 0


def test_evidence_of_no_known_run_has_no_traces(tmp_path: Path) -> None:
    from reports.samples import evidence as made, verdict

    home = columns.write_comparison(tmp_path / "none.db", verdict(), made(30), id="abc")
    table = columns.read(tmp_path / "none.db", "verdict-abc")
    assert table is not None
    assert home.name == "verdict-abc"
    assert table.facts["sides"] == {}
    assert "after_trace" not in table.columns
