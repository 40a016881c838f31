"""Runs that stop when decided: their order, their looks, and that a verdict of them is made the same everywhere."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from ratchet import checks, datasets, evidence, plans, runs, verdicts
from ratchet.budgets import Budget
from ratchet.errors import PlanError
from ratchet.ports import RunRow, Store
from ratchet.records import Check, Run, Task, Variant
from ratchet.runs import Options
from ratchet.scorers.text import exact_match
from ratchet.stores import open_store

GUARD = checks.no_worse("exact_match", margin_pp=5, measure="rate")


def right(row: Mapping[str, str]) -> str:
    return row["x"]


def nearly_right(row: Mapping[str, str]) -> str:
    return row["x"] if int(row["x"]) % 100 else "no"


def wrong_on_some(row: Mapping[str, str]) -> str:
    return row["x"] if int(row["x"]) % 7 else "no"


def wrong_on_others(row: Mapping[str, str]) -> str:
    return row["x"] if int(row["x"]) % 7 != 1 else "no"


def often_wrong(row: Mapping[str, str]) -> str:
    return row["x"] if int(row["x"]) % 3 else "no"


async def slow_to_be_right(row: Mapping[str, str]) -> str:
    """What is wrong comes at once, what is right later: the answers that came first are no random sample."""
    if int(row["x"]) % 3 == 0:
        return "no"
    await asyncio.sleep(0.01)
    return row["x"]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "runs.db") as opened:
        yield opened


def task(folder: Path, n: int = 400, *, groups: int = 0, rules: tuple[Check, ...] = (GUARD,)) -> Task:
    path = folder / f"q{n}-{groups}.jsonl"
    rows = (
        {"id": f"q{i}", "input": {"x": str(i)}, "expected": str(i), **({"group": f"g{i // groups}"} if groups else {})}
        for i in range(n)
    )  # fmt: skip
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    dataset = datasets.load(path, id="id", group="group" if groups else None)
    return Task(dataset=dataset, scorers=(exact_match,), checks=rules, name="q")


def row_of(store: Store, run: Run) -> RunRow:
    return next(row for row in store.runs() if row.id == run.id)


def stopped(store: Store, task: Task, candidate: object = nearly_right, **options: object) -> Run:
    return runs.run(
        task,
        {"old": Variant(target=right), "new": Variant(target=candidate)},
        store=store,
        options=Options(**{"concurrency": 4, **options}),  # type: ignore[arg-type]
        stop_when_decided=True,
    )


def tried(store: Store, run: Run) -> set[str]:
    return {row.example_id or "" for row in store.rows(run.id)}


def test_a_clear_ship_stops_the_run_and_says_so_in_its_state_and_its_verdict(
    store: Store, tmp_path: Path
) -> None:
    run = stopped(store, task(tmp_path, 1000))
    row = row_of(store, run)
    verdict = verdicts.compare(run, store=store)
    look = verdict.inputs["look"]
    assert verdict.outcome == "ship"
    assert (row.state, row.reason) == ("finished", f"decided after {look['n']:,} of 1,000 examples: ship")
    assert len(tried(store, run)) < 1000
    assert (
        f"decided at look {look['number']} of 10, after {look['n']:,} of 1,000 examples" in verdict.reasons[1]
    )
    assert verdict.results[0].method == "betting confidence sequence"
    assert verdict.results[0].n == look["n"] == verdict.inputs["looks"]["at"][look["number"] - 1]


def test_shown_harm_stops_the_run_in_a_hold(store: Store, tmp_path: Path) -> None:
    run = stopped(store, task(tmp_path), often_wrong)
    assert row_of(store, run).reason.endswith(": hold")
    assert verdicts.compare(run, store=store).outcome == "hold"
    assert len(tried(store, run)) < 400


def test_what_the_end_could_not_decide_either_stops_for_futility(store: Store, tmp_path: Path) -> None:
    made = task(tmp_path, rules=(checks.better("exact_match", measure="rate"),))
    arms = {"old": Variant(target=wrong_on_some), "new": Variant(target=wrong_on_others)}
    run = runs.run(made, arms, store=store, options=Options(concurrency=4), stop_when_decided=True)
    verdict = verdicts.compare(run, store=store)
    assert row_of(store, run).reason.endswith(": futility")
    assert verdict.outcome == "inconclusive"
    assert "stopped for futility" in verdict.reasons[-1]
    assert "even the planned end would hardly decide exact_match" in verdict.reasons[-1]


def test_the_order_is_drawn_from_the_seed_and_keeps_groups_together(store: Store, tmp_path: Path) -> None:
    made = task(tmp_path, 60, groups=3)
    first, again, other = (
        [
            (example.id, example.group)
            for example in plans.selected(Run(id="r", task=made, arms={}, seed=seed, stop_when_decided=True))
        ]
        for seed in (1, 1, 2)
    )
    assert first == again != other
    assert sorted(first) == sorted(other) != first
    groups = [group for _, group in first]
    assert all(len(set(groups[i : i + 3])) == 1 for i in range(0, 60, 3))


def test_only_what_is_complete_from_the_beginning_of_the_plan_counts(store: Store, tmp_path: Path) -> None:
    made = task(tmp_path, 200)
    run = stopped(store, made, budget=Budget(tokens=10**9))
    order = [example.id for example in plans.selected(run)]
    fresh = run.replace(id="fresh")
    store.save_run(fresh)
    gap = 120
    kept = [
        trace.replace(id=f"{index:032x}", run_id="fresh")
        for index, trace in enumerate(store.traces(run.id))
        if (trace.example_id, trace.arm) != (order[gap], "new")
    ]
    store.write(kept)
    found = evidence.from_runs(store, fresh)
    assert found.examples == tuple(order[: min(gap, len(tried(store, run)))])
    assert found.facts["looks"] == {"planned": 200, "at": [60, 80, 100, 120, 140, 160, 180, 200]}


def test_answers_that_come_sooner_do_not_come_to_count_more(store: Store, tmp_path: Path) -> None:
    run = stopped(store, task(tmp_path, 300), slow_to_be_right, concurrency=64)
    order = [example.id for example in plans.selected(run)]
    found = evidence.from_runs(store, run)
    assert found.examples == tuple(order[: len(found.examples)])
    wrong = sum(int(name[1:]) % 3 == 0 for name in found.examples) / len(found.examples)
    assert wrong == pytest.approx(1 / 3, abs=0.15)


def test_a_broken_run_goes_on_in_its_order_and_stops_where_an_unbroken_one_does(
    store: Store, tmp_path: Path
) -> None:
    made = task(tmp_path, 300)
    arms = {"old": Variant(target=right), "new": Variant(target=nearly_right)}
    whole = verdicts.compare(stopped(store, made), store=store)
    options = Options(concurrency=2, stop_when_decided=True, budget=Budget(minutes=0.1 / 60))
    broken = runs.run(made, arms, store=store, options=options)
    assert row_of(store, broken).state == "stopped"
    resumed = runs.run(made, arms, store=store, options=Options(concurrency=2, resume=broken.id))
    verdict = verdicts.compare(resumed, store=store)
    assert row_of(store, resumed).state == "finished"
    assert verdict.inputs["look"] == whole.inputs["look"]
    assert [r.low for r in verdict.results] == [r.low for r in whole.results]


def test_resuming_a_run_that_has_decided_calls_nothing_more(store: Store, tmp_path: Path) -> None:
    made = task(tmp_path, 1000)
    run = stopped(store, made)
    before = len(list(store.rows(run.id)))
    arms = {"old": Variant(target=right), "new": Variant(target=nearly_right)}
    again = runs.run(made, arms, store=store, options=Options(resume=run.id))
    assert len(list(store.rows(again.id))) == before
    assert row_of(store, again).reason.startswith("decided after")


def test_the_evidence_file_gives_the_same_verdict_elsewhere(store: Store, tmp_path: Path) -> None:
    run = stopped(store, task(tmp_path, 600))
    verdict = verdicts.compare(run, store=store)
    evidence.write(evidence.from_runs(store, run), verdict, tmp_path / "evidence.json.gz")
    found = verdicts.verify(tmp_path / "evidence.json.gz")
    assert (found.same, found.differences) == (True, ())


def test_two_candidates_stop_when_both_are_decided(store: Store, tmp_path: Path) -> None:
    arms = {
        "old": Variant(target=right),
        "small": Variant(target=nearly_right),
        "bad": Variant(target=often_wrong),
    }
    run = runs.run(task(tmp_path, 600), arms, store=store, stop_when_decided=True)
    assert row_of(store, run).reason.endswith("small ship, bad hold")


def test_a_single_arm_and_a_full_run_can_not_be_stopped_when_decided(store: Store, tmp_path: Path) -> None:
    made = task(tmp_path, 100)
    arms = {"old": Variant(target=right), "new": Variant(target=nearly_right)}
    with pytest.raises(PlanError, match="needs two arms"):
        runs.run(made, {"old": arms["old"]}, store=store, stop_when_decided=True)
    full = runs.run(made, arms, store=store)
    with pytest.raises(PlanError, match="started without stop_when_decided"):
        runs.run(made, arms, store=store, options=Options(resume=full.id), stop_when_decided=True)
    early = stopped(store, made)
    with pytest.raises(PlanError, match="looks have counted the failed answers"):
        runs.run(made, arms, store=store, options=Options(resume=early.id, retry_failed=True))


def test_so_few_examples_that_the_end_is_the_only_look_are_judged_as_any_run(
    store: Store, tmp_path: Path
) -> None:
    run = stopped(store, task(tmp_path, 40))
    verdict = verdicts.compare(run, store=store)
    assert len(tried(store, run)) == 40
    assert verdict.results[0].method == "Tango score interval"
    assert "look" not in verdict.inputs
