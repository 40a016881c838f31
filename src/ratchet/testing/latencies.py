"""Simulated load tests whose truth is known: do the intervals of latency differences hold their level?

    make latencies        (python -m ratchet.testing.latencies)

draws many tests of each setting, counts how often the 95 % interval of a p50, p95 or p99 difference holds the true one,
and exits with 1 where a setting that is claimed is off by more than 2 points.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from ratchet.loads.quantiles import difference

Floats = NDArray[np.float64]
Draw = Callable[[int, np.random.Generator], tuple[Floats, Floats]]
LEVEL = 0.95
TOLERANCE = 0.02
DRAWS = 10_000
_TRUTH_ROWS = 1_000_000
_TRUTH_ROUNDS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Two variants' latencies, a quantile and a number of requests."""

    latencies: str
    """A name of LATENCIES."""
    q: float
    n: int
    claimed: bool = True
    """False: measured to be told, not promised."""

    def __str__(self) -> str:
        return f"{self.latencies}, p{100 * self.q:g}, n = {self.n:,}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How often the interval held the truth."""

    setting: Setting
    draws: int
    held: int
    too_low: int
    """The interval lay below the truth."""
    too_high: int

    @property
    def share(self) -> float:
        return self.held / self.draws

    @property
    def holds(self) -> bool:
        """Within two points of 95 %, and two standard errors of the counting."""
        error = 2.0 * (LEVEL * (1.0 - LEVEL) / self.draws) ** 0.5
        return abs(self.share - LEVEL) <= TOLERANCE + error

    def __str__(self) -> str:
        claim = "" if self.setting.claimed else " (not claimed)"
        return f"{self.setting}: {100 * self.share:.1f} % of {self.draws:,}{claim}"


def _lognormal(n: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    return 0.5 * np.exp(0.5 * rng.standard_normal(n)), 0.6 * np.exp(0.6 * rng.standard_normal(n))


def _heavy(n: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    return np.exp(rng.standard_normal(n)), np.exp(rng.standard_normal(n))


def _two_kinds(n: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """A few requests in a hundred are eight times as slow."""
    slow = [np.where(rng.random(n) < share, 8.0, 1.0) for share in (0.03, 0.02)]
    first = 0.2 * np.exp(0.3 * rng.standard_normal(n)) * slow[0]
    return first, 0.25 * np.exp(0.3 * rng.standard_normal(n)) * slow[1]


def _steady(n: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """A tenth of a second and a little."""
    return 0.1 + 0.002 * np.exp(rng.standard_normal(n)), 0.1 + 0.003 * np.exp(rng.standard_normal(n))


def _unlike(n: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """A change that brings a long tail."""
    return np.exp(0.3 * rng.standard_normal(n)), np.exp(rng.standard_normal(n))


def _same_prompts(n: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """A long prompt is slow on both."""
    shared = 0.5 * rng.standard_normal(n)
    first = 0.5 * np.exp(shared + 0.25 * rng.standard_normal(n))
    return first, 0.6 * np.exp(shared + 0.25 * rng.standard_normal(n))


def _nearly_equal(n: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """The prompt's length tells nearly all: of ten slow requests nine are slow on both."""
    shared = 0.5 * rng.standard_normal(n)
    first = 0.5 * np.exp(shared + 0.03 * rng.standard_normal(n))
    return first, 0.6 * np.exp(shared + 0.03 * rng.standard_normal(n))


def _drifting(n: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Stretches of fifty requests are slow together, on both."""
    drift = 0.2 * np.convolve(rng.standard_normal(n + 49), np.full(50, 50**-0.5), "valid")
    first = 0.5 * np.exp(drift + 0.3 * rng.standard_normal(n))
    return first, 0.6 * np.exp(drift + 0.3 * rng.standard_normal(n))


def _queues(n: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Two single servers, 60 and 50 % busy, with the same arrivals: what waits, waits together."""
    gaps = rng.exponential(1.0, n + 500)

    def served(busy: float) -> Floats:
        work = rng.exponential(busy, n + 500)
        waiting = np.concatenate([[0.0], np.cumsum(work[:-1] - gaps[1:])])
        return (waiting - np.minimum.accumulate(waiting) + work)[500:]

    return served(0.6), served(0.5)


LATENCIES: Mapping[str, Draw] = {
    "lognormal": _lognormal,
    "heavy tail": _heavy,
    "two kinds": _two_kinds,
    "steady": _steady,
    "unlike tails": _unlike,
    "same prompts": _same_prompts,
    "nearly equal": _nearly_equal,
    "drifting": _drifting,
    "queues": _queues,
}
PAIRED = frozenset({"same prompts", "nearly equal", "drifting", "queues"})


def all_settings() -> list[Setting]:
    """What is measured; all is claimed but short tests of queues."""
    sizes = ((0.5, (200, 1000)), (0.95, (300, 1000)), (0.99, (1000, 4000)))
    longer = [Setting(latencies="queues", q=q, n=4000) for q in (0.5, 0.95)]
    return [
        Setting(latencies=name, q=q, n=n, claimed=name != "queues" or (q, n) == (0.5, 1000))
        for name in LATENCIES
        for q, numbers in sizes
        for n in numbers
    ] + longer


def truth(setting: Setting, *, seed: int = 0) -> float:
    """The true difference of the quantiles, from a few million requests."""
    return _truth(setting.latencies, setting.q, seed)


@cache
def _truth(latencies: str, q: float, seed: int) -> float:
    draw = LATENCIES[latencies]
    found: list[float] = []
    for turn in range(_TRUTH_ROUNDS):
        before, after = draw(_TRUTH_ROWS, np.random.default_rng([seed, 1, turn]))
        found.append(float(np.quantile(after, q) - np.quantile(before, q)))
    return float(np.mean(found))


def measure(setting: Setting, draws: int = DRAWS, *, seed: int = 0) -> Coverage:
    """How often the interval of this setting's difference holds the true one."""
    draw, true = LATENCIES[setting.latencies], truth(setting, seed=seed)
    rng = np.random.default_rng([seed, 2])
    held = too_low = too_high = 0
    for _ in range(draws):
        before, after = draw(setting.n, rng)
        found = difference(before, after, setting.q, paired=setting.latencies in PAIRED, level=LEVEL)
        too_low += found.high < true
        too_high += found.low > true
        held += found.low <= true <= found.high
    return Coverage(setting=setting, draws=draws, held=held, too_low=too_low, too_high=too_high)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 0 where every claimed setting holds, else 1."""
    parser = argparse.ArgumentParser(prog="python -m ratchet.testing.latencies", description=__doc__)
    parser.add_argument("--draws", type=int, default=DRAWS, help=f"load tests a setting [{DRAWS}]")
    parser.add_argument("--only", default="", help="settings with this in their name")
    options = parser.parse_args(arguments)
    broken = 0
    for setting in all_settings():
        if options.only in str(setting):
            found = measure(setting, options.draws)
            sys.stdout.write(f"{found}\n")
            sys.stdout.flush()
            broken += setting.claimed and not found.holds
    sys.stdout.write(f"{broken} broken\n")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
