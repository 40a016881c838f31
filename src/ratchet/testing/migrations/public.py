"""Simulated migrations on the way that people take: a store that `compare` reads, or an evidence file that is verified."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ratchet import codec, datasets
from ratchet.evidence import ArmData, Evidence, read, write
from ratchet.ports import Store
from ratchet.records import Dataset, Failure, Run, Score, Task, Trace, Variant, Verdict
from ratchet.stores import open_store
from ratchet.testing.migrations.drawing import simulate
from ratchet.testing.migrations.records import Migration, checks_of
from ratchet.verdicts import compare, decide

STORE_ROWS = 20_000
"""So many rows of each setting go through a store, at least one migration; the others through evidence files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicCheck:
    """How many migrations of a setting went which way, and whose verdict came out otherwise."""

    setting: str
    stored: int
    filed: int
    differing: tuple[str, ...]


def check_all(
    settings: Sequence[Migration], migrations: int, folder: Path, *, workers: int = 2
) -> list[PublicCheck]:
    """`check_public` of each setting, by several processes at once."""
    tasks = [(setting, migrations, folder / str(i)) for i, setting in enumerate(settings)]
    if workers <= 1:
        return [_check(task) for task in tasks]
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        return list(pool.map(_check, tasks))


def _check(task: tuple[Migration, int, Path]) -> PublicCheck:
    return check_public(*task)


def check_public(setting: Migration, migrations: int, folder: Path) -> PublicCheck:
    """Judge migrations directly and from what was written down, and compare the verdicts."""
    folder.mkdir(parents=True, exist_ok=True)
    stored = min(migrations, max(1, STORE_ROWS // (2 * setting.n * setting.repeats)))
    found = (
        *_by_store(setting, range(stored), folder),
        *_by_file(setting, range(stored, migrations), folder),
    )
    return PublicCheck(setting=setting.name, stored=stored, filed=migrations - stored, differing=found)


def _by_file(setting: Migration, seeds: range, folder: Path) -> Iterator[str]:
    rules = checks_of(setting)
    path = folder / "evidence.json"
    for seed in seeds:
        evidence = simulate(setting, seed)
        direct = decide(evidence, checks=rules, seed=seed)
        write(evidence, direct, path)
        again = decide(read(path)[0], checks=rules, seed=seed)
        yield from _differences(setting, seed, direct, again)


def _by_store(setting: Migration, seeds: range, folder: Path) -> Iterator[str]:
    rules = checks_of(setting)
    task = Task(dataset=_dataset(setting, folder), checks=rules, repeats=setting.repeats)
    with open_store(folder / "store") as store:
        for seed in seeds:
            evidence = simulate(setting, seed)
            run = Run(id=f"run-{seed}", task=task, arms=dict.fromkeys(evidence.arms, Variant(model="simulated/m")), baseline="baseline")  # fmt: skip
            _save(store, run, evidence)
            direct = decide(evidence, checks=rules, seed=seed)
            public = compare(run.id, store=store, seed=seed).replace(cost_case={})
            yield from _differences(setting, seed, direct, public)


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
