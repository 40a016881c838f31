"""A run in a store, written without models: for tests of what people label."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from ratchet import datasets
from ratchet.ports import Store
from ratchet.records import Failure, Run, Score, Scorer, Task, Trace, Variant

ARMS = ("champion", "challenger")


def trace_id(arm: str, number: int, repeat: int = 0) -> str:
    return f"{ARMS.index(arm):02d}{number:06d}{repeat:02d}".ljust(32, "0")


def a_desk(
    store: Store, folder: Path, *, count: int = 20, repeats: int = 1, failed: Sequence[tuple[str, int]] = (), id: str = "run"
) -> Run:  # fmt: skip
    """Questions of two topics, answered by both arms; "exact" is the code's score, "quality" the judge's.

    The challenger is worse the higher the number; the judge takes every fifth answer wrongly for good or bad.
    """
    path = folder / f"{id}.jsonl"
    rows = (
        {"id": f"q{i}", "input": {"question": f"What is {i}?"}, "expected": str(i), "group": f"g{i // 2}", "metadata": {"topic": "ab"[i % 2]}}
        for i in range(count)
    )  # fmt: skip
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    scorers = (Scorer(name="exact", target="exact_match"), Scorer(name="quality", target="judge"))
    task = Task(dataset=datasets.load(path), scorers=scorers, repeats=repeats)
    run = Run(
        id=id, task=task, arms={arm: Variant(model=f"simulated/{arm}") for arm in ARMS}, baseline=ARMS[0]
    )
    store.save_run(run)
    for arm in ARMS:
        for i in range(count):
            for repeat in range(repeats):
                store.write(_answer(run, arm, i, repeat, failed=(arm, i) in failed))
    store.set_run_state(run.id, "finished")
    return run


def _answer(run: Run, arm: str, i: int, repeat: int, *, failed: bool) -> list[Trace | Score]:
    trace = Trace(
        id=trace_id(arm, i, repeat), run_id=run.id, arm=arm, example_id=f"q{i}", repeat=repeat, group=f"g{i // 2}",
        input=[{"role": "system", "content": "Answer."}, {"role": "user", "content": f"What is {i}?"}],
        output=None if failed else f"It is {i} by {arm}.",
        error=Failure(kind="server", message="broke") if failed else None,
    )  # fmt: skip
    if failed:
        return [trace]
    right = arm == ARMS[0] or (i + repeat) % 3 != 0
    judged = right ^ (i % 5 == 0)
    exact = Score(trace_id=trace.id, name="exact", value=right, by="exact@1")
    quality = Score(
        trace_id=trace.id, name="quality", value=judged, source="judge", by="quality@1", reason="so it seems"
    )
    grade = Score(
        trace_id=trace.id, name="grade", value=5.0 - (i / 10 if arm == ARMS[1] else 0.0), by="grade@1"
    )
    return [trace, exact, quality, grade]
