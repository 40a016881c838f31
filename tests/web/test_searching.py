"""Text search in a run: words that begin so, ids, and a hostile question that is only words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ratchet.records import Failure, Trace
from ratchet.stores.sqlite import SQLiteStore
from ratchet.web import columns, run_columns, searching
from ratchet.web.columns import Table

from .test_indexing import a_run, quiet, trace_id

TEXTS = (
    "The refund reaches your card",
    {"answer": {"parts": ["Open Settings,", "then Billing"]}},
    "Überweisung café 東京都",
    'it\'s "quoted" OR NEAR(a b) * -- drop',
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLiteStore]:
    with SQLiteStore(tmp_path / "ratchet.db") as found:
        found.save_run(a_run())
        for place, text in enumerate(TEXTS):
            found.write(
                [
                    Trace(
                        id=trace_id(place + 1), run_id="r1", arm="a", example_id=f"ticket-{place}", output=text,
                        input=[{"role": "user", "content": f"Question number{place}"}],
                        error=Failure(kind="server", message="upstream exploded") if place == 3 else None,
                    )
                ]
            )  # fmt: skip
        yield found


@pytest.fixture
def table(store: SQLiteStore) -> Table:
    run_columns.build(store.path, "r1", quiet)
    found = columns.read(store.path, "run-r1")
    assert found is not None
    return found


def rows(store: SQLiteStore, table: Table, text: str) -> list[int]:
    return searching.search(store, "r1", table, text).rows.tolist()


@pytest.fixture
def filled(store: SQLiteStore, table: Table) -> Table:
    searching.fill(store.path, "r1", quiet)
    return table


def test_words_are_found_by_their_beginnings_in_any_order(store: SQLiteStore, filled: Table) -> None:
    assert rows(store, filled, "card refu") == [0]
    assert rows(store, filled, "billing SETTINGS") == [1]
    assert rows(store, filled, "question") == [0, 1, 2, 3]
    assert rows(store, filled, "card billing") == []


def test_accents_and_other_scripts_are_found(store: SQLiteStore, filled: Table) -> None:
    assert rows(store, filled, "uberweisung CAFE") == [2]
    assert rows(store, filled, "東京") == [2]


def test_error_messages_are_texts_too(store: SQLiteStore, filled: Table) -> None:
    assert rows(store, filled, "exploded") == [3]


@pytest.mark.parametrize(
    "question", ['"', "'", '" OR "', "a* NEAR(b)", "text:x", "{a b}: c", "^a", "-- ;", "\0", "*", "( ", "AND"]
)
def test_a_hostile_question_is_only_words(store: SQLiteStore, filled: Table, question: str) -> None:
    assert searching.search(store, "r1", filled, question).complete


def test_the_indexs_own_operators_are_found_as_words(store: SQLiteStore, filled: Table) -> None:
    assert rows(store, filled, "quoted or near") == [3]
    assert rows(store, filled, "quoted NOT drop") == []


def test_ids_are_found_before_any_text_is_indexed(store: SQLiteStore, table: Table) -> None:
    found = searching.search(store, "r1", table, "ticket-2")
    assert (found.rows.tolist(), found.complete) == ([2], False)
    assert rows(store, table, trace_id(3)[:8]) == [2]


def test_what_was_added_is_indexed_from_where_it_stood(store: SQLiteStore, filled: Table) -> None:
    before = searching.filled_to(store.path, "r1")
    store.write([Trace(id=trace_id(50), run_id="r1", arm="a", example_id="new", output="a fresh word")])
    assert not searching.search(store, "r1", filled, "card").complete
    searching.fill(store.path, "r1", quiet)
    run_columns.build(store.path, "r1", quiet)
    table = columns.read(store.path, "run-r1")
    assert table is not None
    assert searching.filled_to(store.path, "r1") > before
    assert rows(store, table, "fresh") == [4]
    assert rows(store, table, "refund") == [0]


def test_another_runs_answers_are_not_found(store: SQLiteStore, filled: Table) -> None:
    store.save_run(a_run("r2"))
    store.write([Trace(id=trace_id(60), run_id="r2", arm="a", example_id="1", output="refund elsewhere")])
    searching.fill(store.path, "r2", quiet)
    assert rows(store, filled, "refund") == [0]
    assert len(searching.search_all(store, "refund", most=10)[0]) == 2


def test_a_search_over_all_runs_says_whether_all_are_indexed(store: SQLiteStore, filled: Table) -> None:
    assert searching.search_all(store, "refund", most=10)[1]
    store.write([Trace(id=trace_id(61), run_id="r1", arm="a", example_id="2", output="more")])
    assert not searching.search_all(store, "refund", most=10)[1]


def test_deep_and_long_texts_are_cut_and_do_not_stop_the_index(store: SQLiteStore) -> None:
    deep: object = "bottom"
    for _ in range(200):
        deep = [deep]
    store.write(
        [
            Trace(id=trace_id(70), run_id="r1", arm="a", example_id="deep", output=deep),
            Trace(id=trace_id(71), run_id="r1", arm="a", example_id="long", output="x " * 100_000 + "tail"),
        ]
    )
    searching.fill(store.path, "r1", quiet)
    run_columns.build(store.path, "r1", quiet)
    table = columns.read(store.path, "run-r1")
    assert table is not None
    assert rows(store, table, "bottom") == [4]
    assert rows(store, table, "tail") == []
