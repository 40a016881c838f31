"""Evidence of a simulated migration, drawn as columns."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ratchet.evidence import ArmData, Bools, Column, Evidence, Floats, Ints
from ratchet.records import Dimension
from ratchet.testing.migrations.records import MEAN_COST, Migration, score_names

STALLS = 0.03
"""Share of answers that stall."""
STALL_TAIL = 1.5
"""Pareto index of how much longer a stalled answer takes: its variance is infinite."""
SCORE_SD = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What every migration of one setting shares: examples, groups and rows."""

    examples: tuple[str, ...]
    groups: Ints
    example: Ints
    """Of each row."""
    repeat: Ints
    blank: Bools


@lru_cache(maxsize=64)
def frame_of(n: int, repeats: int, groups: int, unequal: bool) -> Frame:
    """The examples, groups and rows of a setting."""
    place = np.arange(n) / n
    codes = np.floor((place**2 if unequal else place) * groups).astype(np.int64) if groups else np.arange(n)
    return Frame(
        examples=tuple(f"example-{i}" for i in range(n)),
        groups=codes,
        example=np.repeat(np.arange(n), repeats),
        repeat=np.tile(np.arange(repeats), n),
        blank=np.zeros(n * repeats, np.bool_),
    )


def simulate(setting: Migration, seed: int) -> Evidence:
    """The evidence of one migration; the same seed gives the same."""
    rng = np.random.default_rng([zlib.crc32(setting.name.encode()), seed])
    frame = frame_of(setting.n, setting.repeats, setting.groups, setting.unequal)
    failed = [rng.random(len(frame.example)) < rate if rate else frame.blank for rate in setting.error_rates]
    columns: list[dict[str, Column]] = [{}, {}]
    for name in _metrics(setting):
        for arm, values in zip(columns, _draw(setting, frame, rng), strict=True):
            arm[name] = _column(setting, name, values)
    arms = {
        name: _arm(name, frame, failed[i], columns[i]) for i, name in enumerate(("baseline", "candidate"))
    }
    return Evidence(
        examples=frame.examples,
        groups=frame.groups,
        grouped=bool(setting.groups),
        contents=(),
        slices={},
        arms=arms,
        facts={"baseline": "baseline", "interleaved": True, "source": "simulated"},
    )


def _metrics(setting: Migration) -> tuple[str, ...]:
    if setting.kind == "cost":
        return ("cost_usd",)
    return ("latency_s",) if setting.kind == "latency" else score_names(setting)


def _column(setting: Migration, name: str, values: Floats) -> Column:
    dimensions: dict[str, Dimension] = {"cost": "cost", "latency": "latency"}
    return Column(
        name=name,
        values=values,
        kind="bool" if setting.kind == "binary" else "number",
        dimension=dimensions.get(setting.kind, "accuracy"),
        higher_is_better=setting.sign > 0,
    )


def _arm(name: str, frame: Frame, failed: Bools, columns: dict[str, Column]) -> ArmData:
    for column in columns.values():
        column.values[failed] = np.nan
    return ArmData(
        name=name,
        variant_id=name,
        example=frame.example,
        repeat=frame.repeat,
        failed=failed,
        refused=frame.blank,
        unparsable=frame.blank,
        cached=frame.blank,
        columns=columns,
        error_kinds={"server": int(failed.sum())} if failed.any() else {},
    )


def _draw(setting: Migration, frame: Frame, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """The values of both arms, a row each."""
    if setting.kind == "binary":
        return _binary(setting, frame, rng)
    if setting.kind == "continuous":
        return _continuous(setting, frame, rng)
    return _cost(setting, frame, rng) if setting.kind == "cost" else _latency(setting, frame, rng)


def cell_shares(setting: Migration) -> Floats:
    """The shares of examples that the candidate alone, the baseline alone, both and neither pass, if none fails.

    Failures come on top, independently, and `difference` is of what is left after them.
    """
    failing, failing_after = setting.error_rates
    after = (setting.difference + (1.0 - failing) * setting.rate) / (1.0 - failing_after)
    gains = (setting.discordant + after - setting.rate) / 2.0
    losses = setting.discordant - gains
    shares = np.array([gains, losses, setting.rate - losses, 1.0 - setting.rate - gains])
    if float(shares.min()) < -1e-12:
        raise ValueError(f"{setting.name}: no such table: {shares.round(3).tolist()}")
    return np.maximum(shares, 0.0)


def _binary(setting: Migration, frame: Frame, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """0/1 answers; groups and examples have shares of their own, Dirichlet around the common ones.

    A Dirichlet-multinomial has the intraclass correlation 1 / (1 + concentration).
    """
    rows = len(frame.example)
    limits = np.cumsum(cell_shares(setting))[:3]
    drawn = rng.random(rows)
    if not setting.groups and setting.repeats == 1:
        cell = np.searchsorted(limits, drawn, side="right")
    else:
        shares = np.broadcast_to(cell_shares(setting), (setting.n, 4))
        if setting.groups:
            shares = _around(cell_shares(setting)[None, :], setting.icc, setting.groups, rng)[frame.groups]
        if setting.repeats > 1:
            shares = _around(shares, setting.own, setting.n, rng)
        cell = (drawn[:, None] >= shares.cumsum(axis=1)[frame.example, :3]).sum(axis=1)
    return ((cell == 1) | (cell == 2)).astype(np.float64), ((cell == 0) | (cell == 2)).astype(np.float64)


def _around(shares: Floats, icc: float, count: int, rng: np.random.Generator) -> Floats:
    weights = rng.standard_gamma(np.broadcast_to(shares * (1.0 / icc - 1.0), (count, 4)))
    return weights / weights.sum(axis=1, keepdims=True)


def _continuous(setting: Migration, frame: Frame, rng: np.random.Generator) -> tuple[Floats, Floats]:
    rows, n = len(frame.example), setting.n
    noise = rng.standard_normal(n)
    if setting.groups:
        shared = rng.standard_normal(setting.groups)[frame.groups]
        noise = math.sqrt(setting.icc) * shared + math.sqrt(1.0 - setting.icc) * noise
    noise = noise[frame.example]
    if setting.repeats > 1:
        noise = math.sqrt(setting.own) * noise + math.sqrt(1.0 - setting.own) * rng.standard_normal(rows)
    change = setting.difference / (1.0 - setting.ties) + SCORE_SD * setting.spread * noise
    if setting.ties:
        change = np.where((rng.random(n) < setting.ties)[frame.example], 0.0, change)
    before = (3.0 + rng.standard_normal(n))[frame.example]
    return before, before + change


def _lognormal(rng: np.random.Generator, spread: float, size: int) -> Floats:
    """Of mean 1."""
    return np.exp(spread * rng.standard_normal(size) - spread**2 / 2.0)


def _cost(setting: Migration, frame: Frame, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Lognormal cost of an example, times each arm's own noise; means differ by exactly `difference`."""
    size = _lognormal(rng, setting.spread, setting.n)
    if setting.groups:
        size = size * _lognormal(rng, setting.spread, setting.groups)[frame.groups]
    rows = len(frame.example)
    before = MEAN_COST * size[frame.example] * _lognormal(rng, 0.2, rows)
    after = MEAN_COST * (1.0 + setting.difference) * size[frame.example] * _lognormal(rng, 0.2, rows)
    return before, after


def _latency(setting: Migration, frame: Frame, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Times with a heavy tail; both arms have one distribution up to the factor, so every quantile has its ratio."""
    rows = len(frame.example)
    size = np.exp(setting.spread * rng.standard_normal(setting.n))
    if setting.groups:
        size = size * np.exp(setting.spread * rng.standard_normal(setting.groups))[frame.groups]
    sides: list[Floats] = []
    for factor in (1.0, 1.0 + setting.difference):
        own = np.exp(0.3 * rng.standard_normal(rows))
        stalled = np.where(rng.random(rows) < STALLS, 1.0 + rng.pareto(STALL_TAIL, rows), 1.0)
        sides.append(0.8 * factor * size[frame.example] * own * stalled)
    return sides[0], sides[1]
