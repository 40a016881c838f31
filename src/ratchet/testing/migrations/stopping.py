"""Runs that stop when decided, judged at 39 looks by the function behind `ratchet run` and `ratchet compare`."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise

from ratchet.testing.migrations.claims import ALPHA, Claim
from ratchet.testing.migrations.drawing import simulate
from ratchet.testing.migrations.looks import LOOKS
from ratchet.testing.migrations.records import Migration, added, checks_of
from ratchet.verdicts import decide

PLANNED = 800
CHUNK = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Stops:
    """What came of runs that were looked at 39 times."""

    setting: Migration
    runs: int = 0
    ships: int = 0
    holds: int = 0
    futile: int = 0
    """Stopped because going on was futile."""
    covered: int = 0
    """Intervals of the verdict, at whatever look, that cover the truth."""
    examples: int = 0
    """Judged, over all runs."""
    method: str = ""

    def __add__(self, other: Stops) -> Stops:
        return added(self, other)


def stopping_settings() -> tuple[Migration, ...]:
    """Equal arms, arms on the margin, and two whose truth a run may find early."""
    n = PLANNED
    return (
        Migration(name="better, equal arms", n=n, rule="better", margin=0.0, discordant=0.11),
        Migration(name="pass/fail, on the margin", n=n, difference=-0.05, discordant=0.11),
        Migration(name="pass/fail, 3 repeats, on the margin", n=n, repeats=3, difference=-0.05, discordant=0.11),
        Migration(name="pass/fail, 160 groups, on the margin", n=n, groups=160, difference=-0.1, margin=0.1, discordant=0.2),
        Migration(name="scores, on the margin", kind="continuous", n=n, difference=-0.02, margin=0.02),
        Migration(name="cost ratio, log-SD 1, on the margin", kind="cost", n=n, spread=1.0, difference=0.1, margin=0.1),
        Migration(name="pass/fail, equal arms, 5 points allowed", n=n),
        Migration(name="pass/fail, 12 points worse, 5 allowed", n=n, difference=-0.12, discordant=0.2),
    )  # fmt: skip


def measure_stops(setting: Migration, runs: int, *, start: int = 0) -> Stops:
    """What came of so many runs, with the seeds from `start` on."""
    rules = checks_of(setting)
    total = Stops(setting=setting)
    for seed in range(start, start + runs):
        drawn = simulate(setting, seed)
        looks = {"planned": setting.n, "at": LOOKS.tolist()}
        verdict = decide(replace(drawn, facts={**drawn.facts, "looks": looks}), checks=rules, seed=seed)
        result, look = verdict.results[0], verdict.inputs["look"]
        low = -float("inf") if result.low is None else result.low
        high = float("inf") if result.high is None else result.high
        total += Stops(
            setting=setting,
            runs=1,
            ships=verdict.outcome == "ship",
            holds=verdict.outcome == "hold",
            futile=look["ended"] == "futility",
            covered=low - 1e-12 <= setting.truth <= high + 1e-12,
            examples=look["n"],
            method=result.method,
        )
    return total


def measure_all_stops(runs: int, *, workers: int = 2) -> list[Stops]:
    """Every setting of `stopping_settings`, by several processes at once."""
    settings = stopping_settings()
    tasks = [
        (setting, first, last)
        for setting in settings
        for first, last in pairwise([*range(0, runs, CHUNK), runs])
    ]
    if workers <= 1:
        parts = [_chunk(task) for task in tasks]
    else:
        with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
            parts = list(pool.map(_chunk, tasks))
    totals = {setting.name: Stops(setting=setting) for setting in settings}
    for part in parts:
        totals[part.setting.name] += part
    return list(totals.values())


def _chunk(task: tuple[Migration, int, int]) -> Stops:
    setting, first, last = task
    return measure_stops(setting, last - first, start=first)


def stop_claims(stops: Sequence[Stops]) -> Iterator[Claim]:
    """At most 5 % false ships and holds each, at any of the looks; with equal arms, of both together."""
    for each in stops:
        setting = each.setting
        name = f"39 looks, {setting.name}"
        equal = setting.rule == "better" and setting.oriented == setting.bound
        if equal:
            yield Claim(setting=name, what="false alarm", count=each.ships + each.holds, of=each.runs, at_most=ALPHA)  # fmt: skip
        if setting.ship_is_false:
            yield Claim(setting=name, what="false ship", count=each.ships, of=each.runs, at_most=ALPHA)
        if setting.hold_is_false:
            yield Claim(setting=name, what="false hold", count=each.holds, of=each.runs, at_most=ALPHA)
        yield Claim(setting=name, what="coverage at the look that decided", count=each.covered, of=each.runs, at_least=0.90)  # fmt: skip
