from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ratchet import codec, datasets
from ratchet.errors import PairingError, PlanError, UnknownNameError
from ratchet.evidence import from_runs
from ratchet.ports import Store
from ratchet.records import Check, Failure, Run, Score, Task, Trace, Variant
from ratchet.stores import open_store


@pytest.fixture
def store(project: Path) -> Iterator[Store]:
    opened = open_store(project / "runs.db")
    yield opened
    opened.close()


def rows(path: Path, count: int = 6, **changes: str) -> Path:
    path.write_text(
        "".join(
            json.dumps(
                {
                    "id": f"q{i}",
                    "input": {"n": changes.get(f"q{i}", str(i))},
                    "expected": str(i),
                    "group": f"g{i // 2}",
                    "metadata": {"language": "de" if i % 2 else "en", "note": f"unique {i}"},
                }
            )
            + "\n"
            for i in range(count)
        )
    )
    return path


def tried(
    store: Store, path: Path, *, repeats: int = 1, name: str = "", arms: tuple[str, ...] = ("old", "new")
) -> Run:
    """A run whose rows were answered in reverse order; `new` fails on q1."""
    task = Task(
        dataset=datasets.load(path),
        repeats=repeats,
        checks=(Check(metric="exact", rule="no_worse", margin=0.1),),
    )
    run = Run(
        id=codec.new_run_id(), task=task, arms={arm: Variant(target="app:f", version=arm) for arm in arms},
        baseline=arms[0], name=name,
    )  # fmt: skip
    store.save_run(run)
    for arm in arms:
        for i in reversed(range(task.dataset.count)):
            for repeat in range(repeats):
                broken = arm == "new" and i == 1
                trace = Trace(
                    id=codec.new_id(), run_id=run.id, arm=arm, example_id=f"q{i}", repeat=repeat, group=f"g{i // 2}",
                    answer=None if broken else f"{i}-{repeat % 2}", latency_s=None if broken else 0.5 + i,
                    error=Failure(kind="timeout", message="late") if broken else None,
                )  # fmt: skip
                score = Score(trace_id=trace.id, name="exact", value=None if broken else i != 3, by="exact@1")
                store.write([trace, score])
    return run


def test_rows_come_in_order_of_example_and_repeat_with_their_scores_and_facts(
    store: Store, project: Path
) -> None:
    found = from_runs(store, tried(store, rows(project / "rows.jsonl"), repeats=2))
    new = found.arms["new"]
    assert found.examples == ("q0", "q1", "q2", "q3", "q4", "q5")
    assert new.example.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert new.repeat.tolist() == [0, 1] * 6
    assert new.failed.tolist() == [False, False, True, True] + [False] * 8
    assert new.error_kinds == {"timeout": 2}
    exact = new.columns["exact"]
    assert (exact.kind, exact.by) == ("bool", "exact@1")
    assert np.nan_to_num(exact.values, nan=-1).tolist() == [1, 1, -1, -1, 1, 1, 0, 0, 1, 1, 1, 1]
    assert new.columns["latency_s"].values[4] == 2.5
    assert "cost_usd" not in new.columns, "a fact that no row has is no column"
    assert new.answers[:4] == ("0-0", "0-1", None, None)


def test_groups_slices_and_contents_come_from_the_dataset(store: Store, project: Path) -> None:
    found = from_runs(store, tried(store, rows(project / "rows.jsonl", 60)).id)
    assert found.grouped
    assert found.groups.tolist() == [i // 2 for i in range(60)]
    assert set(found.slices) == {"language"}, "60 distinct notes are no slice"
    assert found.slices["language"][:2] == ("en", "de")
    assert len(set(found.contents)) == 60


def test_checks_and_hashes_are_those_of_the_run(store: Store, project: Path) -> None:
    run = tried(store, rows(project / "rows.jsonl"))
    found = from_runs(store, run)
    assert found.checks == run.task.checks
    assert found.facts["task_id"] == codec.content_id(run.task)
    assert found.facts["dataset_id"] == run.task.dataset.id
    assert (found.facts["run_ids"], found.facts["baseline"], found.facts["interleaved"]) == (
        [run.id],
        "old",
        True,
    )
    assert found.arms["old"].variant_id == codec.content_id(run.arms["old"])


def test_arms_of_two_runs_stand_side_by_side_but_did_not_run_interleaved(store: Store, project: Path) -> None:
    first, second = (tried(store, rows(project / "rows.jsonl")) for _ in range(2))
    found = from_runs(store, {"a": (first.id, "old"), "b": (second.id, "new")})
    assert list(found.arms) == ["a", "b"]
    assert found.arms["b"].failed.sum() == 1
    assert found.facts["interleaved"] is False


def test_another_content_under_one_id_is_refused_by_name(store: Store, project: Path) -> None:
    first = tried(store, rows(project / "one.jsonl"))
    second = tried(store, rows(project / "two.jsonl", q4="changed"))
    with pytest.raises(PairingError, match="example 'q4' has another content"):
        from_runs(store, {"a": (first.id, "old"), "b": (second.id, "old")})


def test_a_dataset_that_has_gone_costs_its_metadata_and_says_so(store: Store, project: Path) -> None:
    run = tried(store, rows(project / "rows.jsonl"))
    (project / "rows.jsonl").unlink()
    found = from_runs(store, run)
    assert set(found.examples) == {f"q{i}" for i in range(6)}
    assert (found.slices, set(found.contents)) == ({}, {""})
    assert found.grouped, "groups stand on the traces too"
    assert "can't be read any more" in found.warnings[0]


def test_the_newest_score_counts_after_judging_again(store: Store, project: Path) -> None:
    run = tried(store, rows(project / "rows.jsonl"))
    trace = next(row.id for row in store.rows(run.id, arm="old") if row.example_id == "q0")
    store.write([Score(trace_id=trace, name="exact", value=False, by="exact@2", created_at=5.0)])
    exact = from_runs(store, run).arms["old"].columns["exact"]
    assert exact.values[0] == 0.0
    assert exact.by == "exact@1, exact@2"


def test_an_unknown_run_or_arm_is_named(store: Store, project: Path) -> None:
    run = tried(store, rows(project / "rows.jsonl"))
    with pytest.raises(PlanError, match="there is no run 'nope'"):
        from_runs(store, "nope")
    with pytest.raises(UnknownNameError, match="Did you mean 'old'"):
        from_runs(store, {"a": (run.id, "odl")})
