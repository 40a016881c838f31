"""Simulated migrations on the way that people take: a store that `compare` reads, or an evidence file that is verified."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from ratchet import codec, datasets
from ratchet.evidence import ArmData, Evidence, read, write
from ratchet.ports import Store
from ratchet.records import Dataset, Failure, Run, Score, Task, Trace, Variant, Verdict
from ratchet.stores import open_store
from ratchet.testing.migrations.drawing import simulate
from ratchet.testing.migrations.records import Migration, checks_of
from ratchet.verdicts import compare, decide

STORE_ROWS = 60_000
"""Above so many rows a setting, its migrations go through evidence files instead of the store."""


def differing(setting: Migration, migrations: int, folder: Path) -> tuple[str, list[str]]:
    """Which way was taken ("store" or "file"), and each migration whose verdict came out otherwise."""
    rows = 2 * setting.n * setting.repeats * migrations
    folder.mkdir(parents=True, exist_ok=True)
    if rows > STORE_ROWS:
        return "file", list(_by_file(setting, migrations, folder))
    return "store", list(_by_store(setting, migrations, folder))


def _by_file(setting: Migration, migrations: int, folder: Path) -> Iterator[str]:
    rules = checks_of(setting)
    path = folder / "evidence.json"
    for seed in range(migrations):
        evidence = simulate(setting, seed)
        direct = decide(evidence, checks=rules, seed=seed)
        write(evidence, direct, path)
        again = decide(read(path)[0], checks=rules, seed=seed)
        yield from _differences(setting, seed, direct, again)


def _by_store(setting: Migration, migrations: int, folder: Path) -> Iterator[str]:
    rules = checks_of(setting)
    task = Task(dataset=_dataset(setting, folder), checks=rules, repeats=setting.repeats)
    with open_store(folder / "store") as store:
        for seed in range(migrations):
            evidence = simulate(setting, seed)
            run = Run(id=f"run-{seed}", task=task, arms=dict.fromkeys(evidence.arms, Variant(model="simulated/m")), baseline="baseline")  # fmt: skip
            _save(store, run, evidence)
            direct = decide(evidence, checks=rules, seed=seed)
            yield from _differences(setting, seed, direct, compare(run.id, store=store, seed=seed))


def _dataset(setting: Migration, folder: Path) -> Dataset:
    evidence = simulate(setting, 0)
    path = folder / "examples.jsonl"
    groups = evidence.groups.tolist() if evidence.grouped else [None] * len(evidence.examples)
    lines = [
        {"id": name, "question": name, **({} if group is None else {"group": f"g{group}"})}
        for name, group in zip(evidence.examples, groups, strict=True)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return datasets.load(path, id="id", group="group" if evidence.grouped else None)


def _save(store: Store, run: Run, evidence: Evidence) -> None:
    store.save_run(run)
    for arm in evidence.arms.values():
        store.write(_records(run, evidence, arm))


def _records(run: Run, evidence: Evidence, arm: ArmData) -> Iterable[Trace | Score]:
    for row, (example, repeat) in enumerate(zip(arm.example.tolist(), arm.repeat.tolist(), strict=True)):
        trace_id = codec.content_id([run.id, arm.name, row])[:32]
        failed = bool(arm.failed[row])
        yield Trace(
            id=trace_id,
            run_id=run.id,
            arm=arm.name,
            example_id=evidence.examples[example],
            repeat=repeat,
            answer=f"{row}",
            output=f"{row}",
            group=f"g{evidence.groups[example]}" if evidence.grouped else None,
            cost_usd=None if failed else _fact(arm, "cost_usd", row),
            latency_s=None if failed else _fact(arm, "latency_s", row),
            error=Failure(kind="server", message="simulated", status=500) if failed else None,
        )
        for name, column in arm.columns.items():
            if name not in ("cost_usd", "latency_s") and not failed:
                value = float(column.values[row])
                yield Score(trace_id=trace_id, name=name, value=bool(value) if column.kind == "bool" else value, by=f"{name}@1")  # fmt: skip


def _fact(arm: ArmData, name: str, row: int) -> float | None:
    return float(arm.columns[name].values[row]) if name in arm.columns else None


def _differences(setting: Migration, seed: int, direct: Verdict, public: Verdict) -> Iterator[str]:
    if _numbers(direct) != _numbers(public):
        yield f"{setting.name}, seed {seed}: {direct.outcome} directly, {public.outcome} by the public way"


def _numbers(verdict: Verdict) -> object:
    """Outcome and limits; limits to 9 digits, for a row order of another store may round otherwise."""
    return verdict.outcome, [
        (result.outcome, result.n, *(None if limit is None else float(f"{limit:.9g}") for limit in (result.estimate, result.low, result.high)))
        for result in verdict.results
    ]  # fmt: skip
