"""Runs in the store become evidence, row by row into arrays: a million rows stay small."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ratchet import codec, plans
from ratchet.errors import DatasetError, PlanError, UnknownNameError
from ratchet.evidence.arms import ArmColumns, ScoreColumn
from ratchet.evidence.codes import Codes
from ratchet.evidence.examples import Examples
from ratchet.evidence.records import HUMAN, Evidence, first_examples
from ratchet.ports import Store
from ratchet.records import Json, Run, Score


def from_runs(
    store: Store, runs: Run | str | Mapping[str, tuple[str, str]], *, similarity: bool = False
) -> Evidence:
    """The evidence of one run's arms, or of arms of several runs.

    Args:
        similarity: Also measure how alike the repeats of an example are; so it is where a written check asks for it.
        runs: A run or its id, for all its arms; or the name each arm shall have, with its (run id, arm's name).

    Raises:
        PlanError: No such run.
        UnknownNameError: The run has no such arm.
        PairingError: An example's content differs between the runs, though its id is the same.
    """
    chosen = _chosen(store, runs)
    sources = {run.id: run for run, _ in chosen.values()}
    columns = {name: ArmColumns(run, arm) for name, (run, arm) in chosen.items()}
    ids = Codes()
    for column in columns.values():
        for row in store.rows(column.run.id, arm=column.arm):
            column.add(row, ids)
    for column in columns.values():
        column.freeze()
    for run_id in sources:
        _read_scores(store, run_id, [column for column in columns.values() if column.run.id == run_id])
    first = next(iter(sources.values()))
    similarity = similarity or any(check.measure == "similarity" for check in first.task.checks)
    if any(column.repeats > 1 for column in columns.values()):
        for column in columns.values():
            column.read_answers(store, similarity=similarity)
    looked_at = first.stop_when_decided and len(sources) == 1
    planned = _in_order(first, columns.values(), ids) if looked_at else None
    found = Examples(ids, list(sources.values()), rest=planned)
    groups = found.groups(columns.values())
    made = Evidence(
        examples=found.ids,
        groups=groups,
        grouped=len(np.unique(groups)) < len(groups),
        contents=found.contents,
        slices=found.slices,
        arms={name: column.arm_data(name, found.order) for name, column in columns.items()},
        checks=first.task.checks,
        facts={**_facts(chosen, list(sources.values())), **_judges(store, columns)},
        warnings=(*found.warnings, *_stopped_apart(list(sources.values())), *_loads(sources.values())),
    )
    if planned is None:
        return made
    complete = _complete(first, planned, columns.values(), ids)
    return first_examples(replace(made, facts={**made.facts, "looks": _looks(first)}), complete)


def _in_order(run: Run, arms: Iterable[ArmColumns], ids: Codes) -> list[int]:
    """The examples that were tried, in the order of the run's plan."""
    groups = {code: group for arm in arms for code, group in arm.groups.items()}
    return sorted(
        range(len(ids)),
        key=lambda code: plans.place_of(str(ids.values[code]), groups.get(code), run.seed),
    )


def _complete(run: Run, planned: Sequence[int], arms: Iterable[ArmColumns], ids: Codes) -> int:
    """How many examples are complete on all arms before the first one of the plan that is not.

    Those after it came sooner by being faster, so they are no random sample.
    """
    arms = list(arms)
    rows = sum(np.bincount(arm.example, minlength=len(ids)) for arm in arms)
    whole = np.asarray(rows) >= len(arms) * run.task.repeats
    try:
        order = [ids.find(example.id) for example in plans.selected(run)]
    except (DatasetError, OSError):  # it has changed; `Examples` warns of it
        order = list(planned)
    gaps = (place for place, code in enumerate(order) if code is None or not whole[code])
    return next(gaps, len(order))


def _looks(run: Run) -> dict[str, Json]:
    planned = plans.selected_count(run)
    return {"planned": planned, "at": list(plans.looks(planned))}


def _stopped_apart(sources: Sequence[Run]) -> Iterator[str]:
    """Of runs that are compared with others, those whose number of examples depended on their own outcome."""
    for run in sources if len(sources) > 1 else ():
        if run.stop_when_decided:
            yield (
                f"Run {run.id} stopped when it was decided. Intervals across runs take the number of examples as fixed "
                "beforehand, so they are too sure here."
            )


def _loads(runs: Iterable[Run]) -> Iterator[str]:
    """At which load a load test measured: times mean nothing without it."""
    for run in runs:
        load = run.environment.get("load")
        if load is None:
            continue
        yield f"Times of run {run.id[:13]} were measured at {load}, and count from the intended start."
        valid = run.environment.get("load_valid", "yes")
        if valid != "yes":
            yield f"That load test is invalid, so its times decide nothing: {valid.removeprefix('no: ')}."


def _chosen(store: Store, runs: Run | str | Mapping[str, tuple[str, str]]) -> dict[str, tuple[Run, str]]:
    def read(run_id: str) -> Run:
        found = store.run(run_id)
        if found is None:
            raise PlanError(f"there is no run {run_id!r}; `ratchet list` shows the runs of this store")
        return found

    if isinstance(runs, (Run, str)):
        run = read(runs) if isinstance(runs, str) else runs
        return {arm: (run, arm) for arm in run.arms}
    known: dict[str, Run] = {}
    chosen: dict[str, tuple[Run, str]] = {}
    for name, (run_id, arm) in runs.items():
        run = known.setdefault(run_id, read(run_id))
        if arm not in run.arms:
            raise UnknownNameError("arm", arm, run.arms)
        chosen[name] = (run, arm)
    if not chosen:
        raise PlanError("no arm was named; expected at least one run")
    return chosen


def _facts(chosen: Mapping[str, tuple[Run, str]], sources: list[Run]) -> dict[str, Json]:
    def by_arm(value: Any) -> dict[str, Json]:
        return {name: value(run, run.arms[arm], arm) for name, (run, arm) in chosen.items()}

    first = sources[0]
    baseline = next((name for name, (run, arm) in chosen.items() if run.baseline == arm), None)
    scorers = {
        scorer.name: f"{scorer.name}@{scorer.version}" for run in sources for scorer in run.task.scorers
    }
    return {
        "source": "runs",
        "task": first.task.name,
        "task_id": codec.content_id(first.task),
        "task_ids": [codec.content_id(run.task) for run in sources],
        "dataset_id": first.task.dataset.id,
        "run_ids": [run.id for run in sources],
        "baseline": baseline,
        "repeats": first.task.repeats,
        "models": by_arm(lambda run, variant, arm: variant.model or variant.target),
        "prompts": by_arm(lambda run, variant, arm: _hash_or_none(variant.prompt)),
        "prices": by_arm(lambda run, variant, arm: _hash_or_none(run.prices.get(arm))),
        "scorers": scorers,
        "seeds": [run.seed for run in sources],
        "environment": dict(first.environment),
        "interleaved": len(sources) == 1,
        "limit": first.limit,
        "sample": first.sample,
    }  # fmt: skip


def _judges(store: Store, columns: Mapping[str, ArmColumns]) -> dict[str, Json]:
    """Which scores a judge gave, and whether its kept calibration speaks about these arms; nothing without judges."""
    judged = {
        (name, by)
        for column in columns.values()
        for name, found in column.scores.items()
        if found.source == "judge"
        for by in found.by.values
    }
    if not judged:
        return {}
    from ratchet import calibrations

    arms = {name: column.run.arms[column.arm] for name, column in columns.items()}
    return {
        "judges": sorted({name for name, _ in judged}),
        "calibrations": {
            name: str(calibrations.status(calibrations.load(store, name), by, arms))
            for name, by in sorted(judged)
        },
    }


def _hash_or_none(value: object) -> str | None:
    return None if value is None else codec.content_id(value)


def _read_scores(store: Store, run_id: str, arms: list[ArmColumns]) -> None:
    """Put every score of the run into the arms its trace belongs to."""
    if not arms:
        return
    for batch in _batches(score for score in store.scores(run_id) if score.against is None):
        traces = np.array([int(score.trace_id[:16], 16) for score in batch], np.uint64)
        for arm in arms:
            found = arm.find(traces).tolist()
            for score, row in zip(batch, found, strict=True):
                if row >= 0:
                    name = f"{HUMAN}{score.name}" if score.source == "human" else score.name
                    arm.scores.setdefault(name, ScoreColumn(score.dimension)).add(row, score)


def _batches(scores: Iterable[Score], size: int = 4096) -> Iterator[list[Score]]:
    batch: list[Score] = []
    for score in scores:
        batch.append(score)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
