"""The verdict at size: 100,000 paired examples with five checks, and a run of 1,000,000 rows from the store."""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from ratchet import checks, datasets
from ratchet.codec import content_id
from ratchet.evidence import ArmData, Column, Evidence
from ratchet.records import Check, Dimension, Run, Score, Task, Trace, Variant
from ratchet.stores import open_store
from ratchet.verdicts import decide

Timed = Callable[[list[str], Path], tuple[float, float, str]]

CHECKS: tuple[Check, ...] = (
    checks.no_worse("exact_match", margin_pp=1, measure="rate"),
    checks.no_worse("quality", margin=0.02),
    checks.better("cost_usd", ratio=0.9),
    checks.no_worse("latency_s", p=95, ratio=1.1),
    checks.at_most("latency_s", p=99, limit=30.0),
)


def evidence(n: int) -> Evidence:
    """Two arms on `n` examples: passes, scores, costs and times."""
    rng = np.random.default_rng(0)
    none = np.zeros(n, np.bool_)

    def arm(name: str, skill: float, cost: float) -> ArmData:
        drawn: dict[str, tuple[np.ndarray, str, Dimension, bool]] = {
            "exact_match": ((rng.random(n) < skill).astype(float), "bool", "accuracy", True),
            "quality": (rng.normal(3, 1, n), "number", "accuracy", True),
            "cost_usd": (cost * rng.lognormal(-5, 0.7, n), "number", "cost", False),
            "latency_s": (rng.lognormal(0, 0.5, n), "number", "latency", False),
        }
        return ArmData(
            name=name,
            variant_id=name,
            example=np.arange(n),
            repeat=np.zeros(n, np.int64),
            failed=none,
            refused=none,
            unparsable=none,
            cached=none,
            columns={
                metric: Column(name=metric, values=values, kind=kind, dimension=dimension, higher_is_better=more)
                for metric, (values, kind, dimension, more) in drawn.items()
            },
        )  # fmt: skip

    return Evidence(
        examples=tuple(f"e{i}" for i in range(n)),
        groups=np.arange(n),
        grouped=False,
        contents=(),
        slices={},
        arms={"old": arm("old", 0.8, 1.0), "new": arm("new", 0.802, 0.7)},
        facts={"baseline": "old", "interleaved": True},
    )


def bench_decide(rounds: int) -> None:
    """100,000 paired examples x 5 checks, in memory."""
    found = evidence(100_000)
    times: list[float] = []
    outcome = ""
    for _ in range(rounds):
        started_s = time.perf_counter()
        outcome = decide(found, checks=CHECKS).outcome
        times.append(time.perf_counter() - started_s)
    middle = statistics.median(times)
    print(
        "100,000 paired examples x 5 checks (rate, mean, ratio, p95 ratio, p99 limit; bootstraps of 1,999 draws)"
    )
    print(f"  {middle:.2f} s ({min(times):.2f}-{max(times):.2f}), {outcome} (goal: less than 3)\n")


def bench_store(folder: Path, timed: Timed, examples: int = 500_000) -> None:
    """`ratchet compare` of a run of twice so many rows in the store."""
    path, at = folder / "verdict.jsonl", folder / "verdict.db"
    with path.open("w") as file:
        for i in range(examples):
            file.write(json.dumps({"id": f"q{i}", "input": {"question": f"What is {i}?"}}) + "\n")
    dataset = datasets.load(path, id="id")
    arms = {"old": Variant(model="simulated/old"), "new": Variant(model="simulated/new")}
    run = Run(id="bench-run", task=Task(dataset=dataset, checks=CHECKS[:1]), arms=arms, baseline="old")
    with open_store(at) as store:
        store.save_run(run)
        for arm in arms:
            rows = _rows(run, arm, examples)
            # in batches: what this process holds when it starts the next one counts as that one's peak, too
            while batch := list(islice(rows, 10_000)):
                store.write(batch)
        store.set_run_state(run.id, "finished")
    command = [str(Path(sys.executable).with_name("ratchet")), "compare", run.id, "--store", str(at), "--json", "--inconclusive", "pass"]  # fmt: skip
    wall_s, memory_mb, output = timed(command, folder)
    said = json.loads(output)
    outcome = said.get("verdict", said).get("outcome", "")
    print(f"{2 * examples:,} rows from the store, one check, one score a row")
    print(f"  {wall_s:.1f} s, at most {memory_mb:.0f} MB, {outcome} (goal: less than 1,000 MB)\n")


def _rows(run: Run, arm: str, examples: int) -> Iterator[Trace | Score]:
    rng = np.random.default_rng(1 if arm == "old" else 2)
    for i, right in enumerate((rng.random(examples) < 0.8).tolist()):
        trace_id = content_id([arm, i])[:32]
        yield Trace(
            id=trace_id,
            run_id=run.id,
            arm=arm,
            example_id=f"q{i}",
            output="word",
            answer="word",
            cost_usd=0.001,
            latency_s=0.5 + i % 7 / 10,
        )
        yield Score(trace_id=trace_id, name="exact_match", value=right, by="exact_match@1")


def bench_help(folder: Path, timed: Timed) -> None:
    """`ratchet compare --help` beside `ratchet --help`."""
    ratchet = str(Path(sys.executable).with_name("ratchet"))
    pairs = [
        (timed([ratchet, "compare", "--help"], folder)[0], timed([ratchet, "--help"], folder)[0])
        for _ in range(15)
    ]
    compare_s, help_s = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(
        f"ratchet compare --help {1000 * compare_s:.0f} ms, ratchet --help {1000 * help_s:.0f} ms (goal: as fast)\n"
    )
