"""Columns of runs: made by a child process, once, again where they are old, with its failures told."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ratchet.records import Dataset, Failure, Run, Score, Task, Trace, Variant
from ratchet.stores.sqlite import SQLiteStore
from ratchet.web import columns, indexing, run_columns
from ratchet.web.columns import Filter, Table


def trace_id(number: int) -> str:
    return f"{number:08x}" + "0" * 24  # told apart by their first half, as random ids are


def a_run(id: str = "r1", *, count: int = 3, created_at: float = 1.0) -> Run:
    arms = {"a": Variant(model="simulated/a"), "b": Variant(model="simulated/b")}
    task = Task(dataset=Dataset(id="d" * 32, count=count), name="tickets")
    return Run(id=id, task=task, arms=arms, baseline="a", name="first", created_at=created_at)


def answers(run: Run, *, first: int = 1) -> list[Trace | Score]:
    """Two arms on three examples: one failure, scores of four kinds."""
    records: list[Trace | Score] = []
    for place in range(6):
        id_, arm, example = trace_id(first + place), "ab"[place % 2], f"row-{place // 2}"
        error = Failure(kind="timeout", message="too slow") if place == 3 else None
        records.append(
            Trace(
                id=id_, run_id=run.id, arm=arm, example_id=example, group="g1", latency_s=None if error else place + 1.0,
                cost_usd=place / 100, input_tokens=10, output_tokens=place, error=error, created_at=time.time(),
                output=None if error else f"answer {place}",
            )
        )  # fmt: skip
        if error is None:
            metadata = {"predicted": "x" if place else "y", "expected": "x"}
            records += [
                Score(trace_id=id_, name="right", value=bool(place), metadata=metadata, by="right@1"),
                Score(trace_id=id_, name="judge", value=place / 10, source="judge", by="judge@1"),
                Score(trace_id=id_, name="queue", value="x" if place < 3 else "y"),
                Score(trace_id=id_, name="right", value=False, source="human", by="ann"),
            ]
    records.append(Trace(id=trace_id(first + 900), run_id=run.id, cost_usd=0.5))  # a judge's call
    return records


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ratchet.db"


@pytest.fixture
def store(path: Path) -> Iterator[SQLiteStore]:
    with SQLiteStore(path) as found:
        found.save_run(a_run())
        found.write(answers(a_run()))
        found.set_run_state("r1", "finished")
        yield found


def quiet(step: str, done: int = 0, total: int = 0) -> None:
    return


def built(store: SQLiteStore, run_id: str = "r1") -> Table:
    run_columns.build(store.path, run_id, quiet)
    found = columns.read(store.path, f"run-{run_id}")
    assert found is not None
    return found


def test_every_answer_is_a_row_with_its_facts_and_scores(store: SQLiteStore) -> None:
    table = built(store)
    assert table.rows == 6  # the judge's own call is none
    record = table.records([2])[0]
    assert (record["trace"], record["arm"], record["example"], record["group"]) == (
        trace_id(3),
        "a",
        "row-1",
        "g1",
    )
    assert (record["latency_s"], record["cost_usd"], record["output_tokens"]) == (3.0, 0.02, 2.0)
    assert (record["score:right"], record["score:judge"], record["score:queue"]) == (1.0, 0.2, "x")
    assert record["label:right"] == 0.0
    kinds = {score["column"]: score["kind"] for score in table.facts["scores"]}
    assert kinds == {
        "score:right": "bool",
        "score:judge": "number",
        "score:queue": "label",
        "label:right": "bool",
    }


def test_a_failed_answer_has_its_kind_and_no_score(store: SQLiteStore) -> None:
    table = built(store)
    rows = table.page([Filter(column="error", op="is", value="timeout")]).rows.tolist()
    assert rows == [3]
    (record,) = table.records(rows)
    assert (record["failed"], record["latency_s"], record["score:right"], record["score:queue"]) == (
        True,
        None,
        None,
        None,
    )


def test_figures_stand_beside_the_columns(store: SQLiteStore) -> None:
    figures = columns.read_extra(built(store))
    assert figures["summary"]["arms"]["b"]["errors"] == {"timeout": 1}
    assert figures["latency_s"]["arms"]["a"]["quantiles"].keys() == {"p50", "p90", "p95", "p99"}
    assert figures["latency_s"]["arms"]["a"]["quantiles"]["p50"] == 3.0
    assert sum(figures["latency_s"]["arms"]["b"]["counts"]) == 2
    (matrix,) = figures["confusion"]
    assert matrix["labels"] == ["x", "y"]
    assert matrix["arms"] == {"a": [[2, 1], [0, 0]], "b": [[2, 0], [0, 0]]}
    queue = next(s for s in figures["scores"] if s["name"] == "queue")
    assert queue["bars"][0] == {"label": "x", "counts": {"a": 2, "b": 1}}
    assert queue["unscored"] == {"a": 0, "b": 1}


def test_a_child_process_makes_them_and_the_page_waits_a_moment(store: SQLiteStore) -> None:
    found = indexing.view(store, "r1", wait_s=30)
    assert found.table is not None
    assert found.table.rows == 6


def test_fresh_columns_start_no_child_and_new_answers_do(store: SQLiteStore) -> None:
    built(store)
    assert indexing.view(store, "r1").fresh
    assert not indexing.under_way(store.path, "run", "r1")
    store.write(answers(a_run(), first=100))
    found = columns.read(store.path, "run-r1")
    assert found is not None
    assert not indexing._is_fresh(store, "r1", found)


def test_a_new_score_of_the_run_makes_columns_old_and_one_of_another_run_does_not(store: SQLiteStore) -> None:
    other = a_run("r2")
    store.save_run(other)
    store.write(answers(other, first=500))
    table = built(store)
    store.write([Score(trace_id=trace_id(501), name="late", value=True)])
    assert indexing._is_fresh(store, "r1", table)
    store.write([Score(trace_id=trace_id(2), name="late", value=True)])
    assert not indexing._is_fresh(store, "r1", table)


def test_only_one_child_is_started_however_many_workers_ask(store: SQLiteStore) -> None:
    assert indexing.ensure(store.path, "run", "r1")
    assert not indexing.ensure(store.path, "run", "r1")


def test_a_child_that_died_is_replaced(store: SQLiteStore) -> None:
    path = indexing._progress_file(store.path, "run", "r1")
    path.parent.mkdir(parents=True)
    path.touch()
    os.utime(path, (1, 1))
    assert indexing.progress(store.path, "run", "r1") is None
    assert indexing.ensure(store.path, "run", "r1")


def test_a_failure_is_told_and_not_tried_again_at_once(store: SQLiteStore) -> None:
    command = [sys.executable, "-m", "ratchet.web.indexing", str(store.path), "run", "missing"]
    assert subprocess.run(command, capture_output=True, check=False).returncode != 0
    found = indexing.progress(store.path, "run", "missing")
    assert found is not None
    assert "there is no run 'missing'" in found.error
    assert not indexing.ensure(store.path, "run", "missing")


def test_progress_is_told_while_rows_are_read(store: SQLiteStore) -> None:
    report = indexing.Reporter(store.path, "run", "r1")
    report("reading answers", 50, 200)
    found = indexing.progress(store.path, "run", "r1")
    assert found is not None
    assert (found.step, found.share) == ("reading answers", 0.25)
    report.finished()
    assert indexing.progress(store.path, "run", "r1") is None


def test_a_folder_that_can_not_be_written_is_told_and_the_page_still_opens(store: SQLiteStore) -> None:
    columns.views_of(store.path).write_text("a file where the folder should be")
    found = indexing.view(store, "r1")
    assert found.table is None
    assert found.progress is not None
    assert "can't be written" in found.progress.error


def test_the_views_may_be_deleted(store: SQLiteStore) -> None:
    built(store)
    shutil.rmtree(columns.views_of(store.path))
    assert indexing.view(store, "r1", wait_s=30).table is not None


def test_the_folder_says_that_it_is_a_cache_and_keeps_out_of_git(store: SQLiteStore) -> None:
    built(store)
    home = columns.views_of(store.path)
    assert home.name == "ratchet.db.views"
    assert (home / ".gitignore").read_text() == "*\n"
    assert "may be deleted" in (home / "README.txt").read_text()


def test_a_run_without_answers_has_an_empty_table(store: SQLiteStore) -> None:
    store.save_run(a_run("r3"))
    table = built(store, "r3")
    assert table.rows == 0
    assert json.dumps(columns.read_extra(table))


def test_an_answer_tried_again_stands_once(store: SQLiteStore) -> None:
    again = Trace(id=trace_id(77), run_id="r1", arm="b", example_id="row-1", output="now", created_at=5.0)
    store.write([again])
    table = built(store)
    assert table.rows == 6
    assert table.count([Filter(column="failed", op="is", value=True)]) == 0
    assert np.count_nonzero(table.find("trace", [trace_id(4), trace_id(77)]) >= 0) == 1
