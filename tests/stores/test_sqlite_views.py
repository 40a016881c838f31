"""The page's narrow questions, on a real file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ratchet.records import Failure, Score, Trace
from ratchet.stores import sqlite_views
from ratchet.stores.sqlite import SQLiteStore
from ratchet.testing.stores import a_run, a_trace


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLiteStore]:
    with SQLiteStore(tmp_path / "ratchet.db") as found:
        found.save_run(a_run(name="first"))
        yield found


def test_cells_leave_out_judges_calls_and_what_was_superseded(store: SQLiteStore) -> None:
    store.write(
        [
            a_trace("t1"),
            a_trace("t2", arm=None, example_id=None),
            a_trace("t3"),
            a_trace("t4", example_id="2"),
        ]
    )
    at = sqlite_views.CELLS.index("id")
    assert [cell[at] for cell in sqlite_views.cells(store, "run")] == ["t3", "t4"]
    assert sqlite_views.size(store, "run") == 4


def test_score_cells_are_the_newest_and_none_of_pairs(store: SQLiteStore) -> None:
    store.write(
        [a_trace("t1"), Score(trace_id="t1", name="s", value=0.1), Score(trace_id="t1", name="s", value=0.2)]
    )
    store.write(
        [Score(trace_id="t1", name="p", value=True, against="t9"), Score(trace_id="t1", name="l", value="x")]
    )
    found = [(cell.name, cell.value) for cell in sqlite_views.score_cells(store, "run")]
    assert found == [("s", 0.2), ("l", "x")]


def test_the_newest_place_moves_with_every_answer_of_the_run(store: SQLiteStore) -> None:
    assert sqlite_views.newest_trace(store, "run") == 0
    store.write([a_trace("t1")])
    first = sqlite_views.newest_trace(store, "run")
    store.write([a_trace("t2", run_id="other")])
    assert sqlite_views.newest_trace(store, "run") == first
    assert sqlite_views.newest_trace(store) > first


def test_a_score_after_a_place_is_told_for_its_own_run_only(store: SQLiteStore) -> None:
    store.write([a_trace("t1"), a_trace("t2", run_id="other"), Score(trace_id="t1", name="s", value=True)])
    place = sqlite_views.newest_score(store)
    assert not sqlite_views.scored_since(store, "run", place)
    store.write([Score(trace_id="t2", name="s", value=True)])
    assert not sqlite_views.scored_since(store, "run", place)
    store.write([Score(trace_id="t1", name="s", value=False)])
    assert sqlite_views.scored_since(store, "run", place)


def test_repeats_of_an_example_come_in_order_whole_or_as_ids(store: SQLiteStore) -> None:
    store.write([a_trace(f"t{k}", repeat=2 - k, output=k) for k in range(3)])
    assert [t.id for t in sqlite_views.repeats_of(store, "run", "a", "1")] == ["t2", "t1", "t0"]
    assert [(s.id, s.repeat) for s in sqlite_views.siblings(store, "run", "a", "1")] == [
        ("t2", 0),
        ("t1", 1),
        ("t0", 2),
    ]
    assert list(sqlite_views.units(store, "run", "a")) == [("1", 2, "t0"), ("1", 1, "t1"), ("1", 0, "t2")]


def test_the_newest_answers_come_first_and_can_be_paged_and_filtered(store: SQLiteStore) -> None:
    failure = Failure(kind="timeout", message="slow")
    store.write(
        [
            a_trace(f"t{k}", example_id=str(k), arm="ab"[k % 2], error=failure if k == 2 else None)
            for k in range(5)
        ]
    )
    newest = sqlite_views.newest(store, limit=2)
    assert [one.id for one in newest] == ["t4", "t3"]
    assert [one.id for one in sqlite_views.newest(store, before=newest[-1].seq)] == ["t2", "t1", "t0"]
    assert [one.id for one in sqlite_views.newest(store, arm="b")] == ["t3", "t1"]
    assert [one.id for one in sqlite_views.newest(store, error="failed")] == ["t2"]
    assert [one.id for one in sqlite_views.newest(store, error="timeout")] == ["t2"]
    assert [one.id for one in sqlite_views.newest(store, error="ok", limit=1)] == ["t4"]
    assert [one.id for one in sqlite_views.listed(store, [newest[0].seq, 999])] == ["t4"]


def test_a_runs_line_is_read_alone(store: SQLiteStore) -> None:
    assert sqlite_views.run_row(store, "run") == store.runs()[0]
    assert sqlite_views.run_row(store, "none") is None


def test_payloads_come_after_a_place(store: SQLiteStore) -> None:
    store.write([a_trace("t1"), Trace(id="t2", run_id="other"), a_trace("t3", example_id="3")])
    places = [seq for seq, _, _ in sqlite_views.payloads(store, "run", after=0)]
    assert len(places) == 2
    assert [seq for seq, _, _ in sqlite_views.payloads(store, "run", after=places[0])] == places[1:]
