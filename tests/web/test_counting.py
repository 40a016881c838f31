"""How far runs are, from counts alone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ratchet.ports import ArmCounts, RunRow
from ratchet.records import Trace
from ratchet.stores import sqlite_views
from ratchet.stores.sqlite import SQLiteStore
from ratchet.web import counting, run_columns

from .test_indexing import a_run, answers, trace_id


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLiteStore]:
    with SQLiteStore(tmp_path / "ratchet.db") as found:
        found.save_run(a_run(created_at=time.time()))
        found.write(answers(a_run()))
        yield found


def row_of(store: SQLiteStore) -> RunRow:
    found = sqlite_views.run_row(store, "r1")
    assert found is not None
    return found


def test_arms_are_counted_against_what_is_planned(store: SQLiteStore) -> None:
    tally = counting.tally(store, a_run())
    assert (tally.rows, tally.planned, tally.failed, tally.share) == (6, 6, 1, 1.0)
    assert (tally.arms["b"].rows, tally.arms["b"].failed) == (3, 1)
    assert tally.judge_calls == 1
    assert tally.cost_usd == pytest.approx(0.15 + 0.5)


@pytest.mark.parametrize(("limit", "sample", "expected"), [(None, None, 4), (1, None, 2), (2, 1, 2)])
def test_the_plan_counts_limits_samples_and_repeats(
    limit: int | None, sample: int | None, expected: int
) -> None:
    run = a_run(count=2).replace(limit=limit, sample=sample)
    assert counting.planned(run.replace(task=run.task.replace(repeats=2))) == expected


def test_new_answers_are_counted_at_once(store: SQLiteStore) -> None:
    assert counting.tally(store, a_run()).rows == 6
    store.write([Trace(id=trace_id(50), run_id="r1", arm="a", example_id="new", cost_usd=1.0)])
    tally = counting.tally(store, a_run())
    assert (tally.rows, tally.arms["a"].rows) == (7, 4)
    assert tally.cost_usd == pytest.approx(1.65)


def test_what_was_counted_with_the_columns_holds_until_another_answer_comes(
    store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = counting.tally(store, a_run())
    run_columns.build(store.path, "r1", lambda step, done=0, total=0: None)
    counted: list[str] = []
    real = sqlite_views.counts

    def watched(store: SQLiteStore, run_id: str, *, after: int = 0) -> list[ArmCounts]:
        counted.append(run_id)
        return real(store, run_id, after=after)

    monkeypatch.setattr(sqlite_views, "counts", watched)
    monkeypatch.setattr(counting, "_COUNTS", counting._Counts())
    assert counting.tally(store, a_run()) == whole
    assert counted == []
    store.write([Trace(id=trace_id(50), run_id="r1", arm="a", example_id="new", cost_usd=1.0)])
    monkeypatch.setattr(counting, "_COUNTS", counting._Counts())
    assert counting.tally(store, a_run()).rows == whole.rows + 1


def test_an_arm_without_an_answer_stands_at_nothing(store: SQLiteStore) -> None:
    run = a_run("r9")
    store.save_run(run)
    tally = counting.tally(store, run)
    assert (tally.rows, tally.cost_usd, tally.arms["a"].planned) == (0, None, 3)


def test_a_run_under_way_has_a_pace_and_a_time_left(store: SQLiteStore) -> None:
    run = a_run(count=30)
    found = counting.pace(store, row_of(store), counting.tally(store, run))
    assert found is not None
    assert found.rows_per_s is not None
    assert found.left_s is not None
    assert found.left_s == pytest.approx(54 / found.rows_per_s)


def test_a_run_that_ended_has_no_pace(store: SQLiteStore) -> None:
    store.set_run_state("r1", "finished")
    assert counting.pace(store, row_of(store), counting.tally(store, a_run())) is None


def test_a_run_without_answers_for_minutes_is_said_to_be_silent(tmp_path: Path) -> None:
    with SQLiteStore(tmp_path / "old.db") as store:
        store.save_run(a_run(created_at=time.time() - 1000))
        store.write(
            [Trace(id=trace_id(1), run_id="r1", arm="a", example_id="1", created_at=time.time() - 500)]
        )
        found = counting.pace(store, row_of(store), counting.tally(store, a_run()))
    assert found is not None
    assert found.rows_per_s is None
    assert found.silent_s == pytest.approx(500, abs=20)


def test_counts_of_before_and_since_add_up(store: SQLiteStore) -> None:
    place = sqlite_views.newest_trace(store, "r1")
    before = store.counts("r1")
    store.write([Trace(id=trace_id(51), run_id="r1", arm="b", example_id="new", cost_usd=None, cached=True)])
    merged = counting.merged(before, sqlite_views.counts(store, "r1", after=place))
    key = lambda counts: counts.arm or ""  # noqa: E731
    assert sorted(merged, key=key) == sorted(store.counts("r1"), key=key)
