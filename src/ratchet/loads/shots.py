"""The shots of a test: a schedule's times, a workload's requests, and every arm of them under the same load."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from ratchet.loads import schedules, workloads
from ratchet.loads.records import Shot
from ratchet.loads.schedules import Schedule
from ratchet.loads.targets import aim_all
from ratchet.loads.workloads import Ask, Workload
from ratchet.records import Variant


@dataclass(frozen=True, slots=True, kw_only=True)
class Volley:
    """Implements `records.Shots`: at each time of the schedule, the same ask to every arm, in an order drawn anew.

    A shot's `index` is the slot's number times the number of arms, plus its place among them, so `index // arms` is the
    slot: rows of one slot are pairs, the same question at the same moment.
    """

    schedule: Schedule
    workload: Workload
    arms: Mapping[str, Variant]
    """Resolved, and as `workloads.stand_in` leaves them."""
    root: Path | None = None

    def __call__(self, part: int, parts: int) -> Iterator[Shot]:
        targets = aim_all(self.arms, environ=os.environ, root=self.root)
        writers = [workloads.Writer(self.workload, target.variant, model=target.model) for target in targets]
        for index, arm, at_s, ask in _places(self.schedule, self.workload, len(targets)):
            if index % parts == part:
                yield Shot(
                    index=index,
                    arm=arm,
                    at_s=at_s,
                    body=targets[arm].body(writers[arm].write(ask)),
                )


def _places(schedule: Schedule, workload: Workload, arms: int) -> Iterator[tuple[int, int, float, Ask]]:
    """(index, arm, intended start, ask) of every shot; a closed loop without a count has no end."""
    rng = random.Random(f"{schedule.seed}/arms")
    order = list(range(arms))
    times = schedules.offsets(schedule) if schedule.open_loop else _slots(schedule)
    for slot, (at_s, ask) in enumerate(zip(times, workloads.asks(workload), strict=False)):
        rng.shuffle(order)
        for place, arm in enumerate(order):
            yield slot * arms + place, arm, at_s, ask


def _slots(schedule: Schedule) -> Iterator[float]:
    numbers = count() if schedule.count is None else range(schedule.count)
    return (0.0 for _ in numbers)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a shot comes from: which example, asked for the how-manieth time."""

    example_id: str
    group: str | None
    repeat: int


def origins(schedule: Schedule, workload: Workload) -> Iterator[Origin]:
    """The origin of each slot in order: made again from the seed, because a body keeps no names."""
    times = schedules.offsets(schedule) if schedule.open_loop else _slots(schedule)
    for _, ask in zip(times, workloads.asks(workload), strict=False):
        yield Origin(ask.example.id, ask.example.group, ask.repeat)
