"""Which answers of a run people are to label: drawn so that every example has the same, known chance."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ratchet import datasets
from ratchet.errors import PlanError, UnknownNameError
from ratchet.ports import Store
from ratchet.records import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Answers drawn from a run, every example with the same chance."""

    traces: tuple[str, ...]
    """In the order drawn: the arms' answers to one example do not stand together."""
    examples: int
    frame: int
    probability: float
    """Of an example to be drawn."""


def choose(
    run: Run,
    store: Store,
    *,
    n: int,
    seed: int = 0,
    stratify: str | None = None,
    where: Mapping[str, str] | None = None,
    arms: Sequence[str] = (),
) -> Chosen:
    """`n` examples with the answers of all their arms, or of `arms` alone.

    Args:
        where: Only examples whose metadata (or "group") has these values, as text.

    Raises:
        PlanError: The run has no such examples.
    """
    rng = random.Random(seed)
    answers = answers_by_example(run, store, arms=arms)
    for key, value in (where or {}).items():
        values = strata_of(run, answers, key)
        answers = {example: own for example, own in answers.items() if values.get(example, "") == value}
    strata = strata_of(run, answers, stratify) if stratify else {}
    frame = sorted(answers)
    rng.shuffle(frame)
    if stratify:
        frame.sort(key=lambda example: strata.get(example, ""))
    if not frame:
        only = "".join(f" with {key}={value}" for key, value in (where or {}).items())
        raise PlanError(f"run {run.id} has no answer{only} to label; `ratchet show` says what failed")
    count = min(n, len(frame))
    start = rng.random()
    chosen = [frame[int((start + i) * len(frame) / count)] for i in range(count)]
    traces: list[str] = []
    for example in chosen:
        repeat = rng.choice(sorted(answers[example]))
        traces += answers[example][repeat].values()
    rng.shuffle(traces)
    return Chosen(traces=tuple(traces), examples=count, frame=len(frame), probability=count / len(frame))


def answers_by_example(
    run: Run, store: Store, *, arms: Sequence[str] = ()
) -> dict[str, dict[int, dict[str, str]]]:
    """Example to repeat to arm to the trace that answered; failed and unparsable answers are left out."""
    found: dict[str, dict[int, dict[str, str]]] = {}
    for row in store.rows(run.id):
        if (
            row.arm in (arms or run.arms)
            and row.example_id is not None
            and row.error_kind is None
            and not row.unparsable
        ):
            found.setdefault(row.example_id, {}).setdefault(row.repeat, {})[row.arm or ""] = row.id
    return found


def strata_of(run: Run, answers: Mapping[str, Any], stratify: str) -> dict[str, str]:
    """Example to the value of this metadata (or its group) as text.

    Raises:
        UnknownNameError: No example has it.
    """
    found: dict[str, str] = {}
    known: set[str] = {"group"}
    for example in datasets.examples(run.task.dataset):
        known |= set(example.metadata)
        if example.id in answers:
            value = example.group if stratify == "group" else example.metadata.get(stratify)
            found[example.id] = "" if value is None else str(value)
    if stratify not in known:
        raise UnknownNameError("metadata to stratify by", stratify, sorted(known))
    return found
