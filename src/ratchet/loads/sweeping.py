"""How much load a server holds: a few steps of rising rate, then halving what is left between held and not.

A step fails when too few of its requests are good, or when its queue grows: a server that gets r requests a second and
serves c of them is behind by r/c - 1 seconds more each second, so the slope of latency against time tells c from one step
that is too much. That finds the knee in far fewer steps than halving alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np

from ratchet.errors import ConfigError
from ratchet.loads.records import Measured, Samples
from ratchet.loads.summaries import Arm, Result

MOST_STEPS = 8
PRECISION = 0.05
GOOD = 0.95
"""Share of requests that must be good for a rate to count as held."""
GROWTH = 4.0
"""From one held rate to the next, until one is not: an overloaded step says how far to go back."""
BELOW = 0.98
"""Of an estimated capacity: where to look for the highest held rate."""
STEP_S = 10.0
LEAST_REQUESTS = 100
MOST_STEP_S = 60.0
LEAST_RATE = 10 / MOST_STEP_S
"""Below it a step of a minute holds too few requests to say anything."""
WARM_UP_SHARE = 0.2
"""Of a step: left out, so that an empty server doesn't flatter it."""
LEAST_SLOPE = 0.01
"""Seconds of latency a second: below it a queue grows too slowly to tell from drift."""
_BLOCKS = 10

Because: TypeAlias = Literal["", "queue grows", "goodput", "errors", "generator"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one step says of one arm."""

    rate: float
    """Offered, requests per second, as they really were scheduled."""
    held: bool
    because: Because
    """Why it was not held."""
    goodput: float
    slope: float
    """Seconds that latency grew per second."""
    capacity: float | None = None
    """Requests per second the server gets through, where this step was too much for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One rate tried."""

    asked_rate: float
    seconds: float
    result: Result
    reading: Reading

    @property
    def arm(self) -> Arm:
        return next(iter(self.result.arms.values()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """What one variant holds."""

    arm: str
    steps: tuple[Step, ...]
    highest_rate: float | None
    """The highest rate that held; None: not even the lowest tried did."""
    broken_at: float | None
    """The lowest rate that did not hold; None: none was found."""
    capacity: float | None
    """The knee: requests per second beyond which the queue grows; None where no step was too much."""
    precise: bool
    """Whether held and broken lie within the precision asked for."""
    valid: bool
    """False where the generator ended the search, not the server."""
    goodput_target: float = GOOD
    notes: tuple[str, ...] = ()
    run_id: str | None = None
    """Of the step at the highest held rate, where it was kept."""

    @property
    def best(self) -> Step | None:
        """The step at the highest held rate."""
        held = [step for step in self.steps if step.reading.held]
        return max(held, key=lambda step: step.reading.rate, default=None)


@dataclass(slots=True)
class Search:
    """Asks for rates and is told what came of them; no clock and no calls."""

    start: float
    precision: float = PRECISION
    most_steps: int = MOST_STEPS
    highest: float | None = None
    """The most that may be asked for, as where the generator can't send more."""
    low: float | None = None
    high: float | None = None
    capacity: float | None = None
    stopped: Because = ""
    again: bool = False
    """The last step was the generator's fault."""
    asked: float = 0.0
    """The last rate asked for."""
    tried: list[Reading] = field(default_factory=list[Reading])

    @property
    def precise(self) -> bool:
        return self.low is not None and self.high is not None and self.high / self.low <= 1.0 + self.precision

    def ask(self) -> float | None:
        """The next rate; None: enough is known, or no step is left."""
        if len(self.tried) >= self.most_steps or self.precise or self.stopped:
            return None
        rate = self.asked if self.again else self._next()
        self.asked = rate
        if rate < LEAST_RATE:
            return None
        if self.highest is not None and rate > self.highest:
            return None if self.low is not None and self.low >= self.highest else self.highest
        return rate

    def tell(self, reading: Reading) -> None:
        self.tried.append(reading)
        if reading.because == "generator":
            # once may be another program's moment: the rate is tried again
            self.stopped = "generator" if self.again else ""
            self.again = not self.again
            return
        self.again = False
        if reading.held:
            self.low = max(reading.rate, self.low or 0.0)
            if (
                self.high is not None and self.high <= self.low
            ):  # it held what it did not hold before: trust the later
                self.high = None
            return
        self.high = min(reading.rate, self.high or math.inf)
        if self.low is not None and self.low >= self.high:
            self.low = max((r.rate for r in self.tried if r.held and r.rate < self.high), default=None)
        if reading.capacity is not None and (
            self.capacity is None or reading.rate <= min(r.rate for r in self.tried if r.capacity is not None)
        ):
            self.capacity = reading.capacity

    def _next(self) -> float:
        if self.high is None:
            if self.low is None:
                return self.start
            grown = self.low * GROWTH
            return (
                min(grown, self.capacity * BELOW)
                if self.capacity and self.capacity * BELOW > self.low
                else grown
            )
        if self.capacity is not None:
            below, above = self.capacity * BELOW, self.capacity * (BELOW + self.precision * 0.95)
            if (self.low or 0.0) < below * 0.999 and below < self.high:
                # not again where it has failed close by: then the limit is not the capacity but what is good
                near = any(not r.held and abs(r.rate / below - 1) < self.precision / 2 for r in self.tried)
                if not near:
                    return below
            elif self.low is not None and self.low < above < self.high:
                return above
            if self.high > 0.7 * self.capacity and (self.low or 0.0) < 0.85 * self.high:
                return (
                    0.9 * self.high
                )  # what is good mostly ends a little below the capacity, not half way down
        low = self.low or self.high / GROWTH**2
        return math.sqrt(low * self.high)


Measure: TypeAlias = Callable[[float, float], Measured]
"""(rate, seconds) to what was measured."""


def sweep(
    arm: str,
    measure: Measure,
    summarise: Callable[[Measured], Result],
    *,
    search: Search,
    step_s: float = STEP_S,
    good: float = GOOD,
    on_step: Callable[[Step], None] | None = None,
) -> Sweep:
    """Try rates until the highest that holds is known to `search.precision`, or its steps are used up.

    Args:
        measure: Offers a rate for so many seconds to this arm alone, and waits for the answers.
        summarise: The result of a step.
        good: The share of requests that must meet the objectives.

    Raises:
        ConfigError: A start or share that makes no sense.
    """
    if not (search.start >= LEAST_RATE and math.isfinite(search.start)):
        raise ConfigError(f"a sweep from {search.start:g} requests/s; expected {LEAST_RATE:.2g} or more")
    if not 0.0 < good <= 1.0:
        raise ConfigError(f"goodput of {good:g} asked for; expected a share above 0 and at most 1")
    steps: list[Step] = []
    latency_s = 0.0
    while (rate := search.ask()) is not None:
        seconds = seconds_for(rate, step_s, latency_s)
        measured = measure(rate, seconds)
        result = summarise(measured)
        reading = read(measured, result, good=good)
        step = Step(asked_rate=rate, seconds=seconds, result=result, reading=reading)
        steps.append(step)
        search.tell(reading)
        if reading.held:
            found = step.arm.timings.get("e2e_s")
            latency_s = (found.quantiles["p50"].value if found else None) or latency_s
        if on_step is not None:
            on_step(step)
        if result.interrupted:
            break
    return Sweep(
        arm=arm,
        steps=tuple(steps),
        highest_rate=search.low,
        broken_at=search.high,
        capacity=search.capacity,
        precise=search.precise,
        valid=not search.stopped and bool(steps),
        goodput_target=good,
        notes=tuple(_notes(search, steps)),
    )


def seconds_for(rate: float, step_s: float, latency_s: float) -> float:
    """How long a step at this rate lasts: enough requests and enough answers in a row, at most a minute."""
    return max(step_s, min(MOST_STEP_S, max(LEAST_REQUESTS / rate, 8.0 * latency_s)))


def read(measured: Measured, result: Result, *, good: float = GOOD) -> Reading:
    """What a step of one arm says."""
    arm = next(iter(result.arms.values()))
    samples = measured.samples.measured()
    slope, grows = growth(samples)
    failed = arm.failed / arm.scheduled if arm.scheduled else 1.0
    because: Because = ""
    if not result.valid:
        because = "generator"
    elif failed > 1.0 - good:
        because = "errors"
    elif grows:
        because = "queue grows"
    elif arm.goodput.value < good:
        because = "goodput"
    capacity = None
    if grows and because != "generator":
        capacity = arm.offered_rate / (1.0 + slope)
    if capacity is None and because == "errors" and arm.achieved_rate > 0 and _sheds(samples):
        capacity = arm.achieved_rate
    return Reading(
        rate=arm.offered_rate,
        held=not because,
        because=because,
        goodput=arm.goodput.value,
        slope=slope,
        capacity=capacity,
    )


def growth(samples: Samples) -> tuple[float, bool]:
    """Seconds that the latency of answers grows per second of intended start, and whether that is more than noise.

    A line through the medians of ten stretches of time, so that single slow answers don't tilt it.
    """
    ok = samples.ok
    times, latencies = samples.scheduled_s[ok], samples.e2e_s[ok]
    if len(times) < 3 * _BLOCKS:
        return 0.0, False
    order = np.argsort(times, kind="stable")
    parts = [part for part in np.array_split(order, _BLOCKS) if len(part)]
    x = np.array([float(np.mean(times[part])) for part in parts])
    y = np.array([float(np.median(latencies[part])) for part in parts])
    x = x - x.mean()
    slope = float((x * y).sum() / (x * x).sum())
    residuals = y - y.mean() - slope * x
    error = math.sqrt(float((residuals**2).sum()) / (len(x) - 2) / float((x * x).sum()))
    rise = slope * float(times[order[-1]] - times[order[0]])
    grows = slope > LEAST_SLOPE and slope > 3.0 * error and rise > 0.1 * max(float(y[0]), 1e-9)
    return slope, grows


def _sheds(samples: Samples) -> bool:
    """Whether failures are the server's way to say that it is full: 429, 503, 529, or no answer in time."""
    failed = ~samples.ok
    full = np.isin(samples.status, (429, 503, 529)) | (samples.status == 0)
    return bool(failed.any()) and float((failed & full).sum()) > 0.5 * float(failed.sum())


def _notes(search: Search, steps: list[Step]) -> list[str]:
    notes: list[str] = []
    if search.stopped == "generator":
        short = steps[-1].result.invalid_because
        notes.append(
            f"the generator was the limit at {steps[-1].reading.rate:,.1f} requests/s: {'; '.join(short)}"
        )
    elif search.high is None and steps:
        notes.append(
            f"nothing tried was too much: the server holds {search.low or 0:,.1f} requests/s or more"
        )
    elif search.low is None and steps:
        notes.append("not even the lowest rate held; look at its errors, or allow slower answers with --slo")
    elif not search.precise and steps:
        notes.append(
            f"{len(steps)} steps left the limit between {search.low or 0:,.1f} and {search.high or 0:,.1f} requests/s"
        )
    return notes


def curve(sweep: Sweep, metric: str, quantile: str) -> Mapping[float, float | None]:
    """A quantile of a time by offered rate, for a chart; None where it has no end."""
    found: dict[float, float | None] = {}
    for step in sorted(sweep.steps, key=lambda step: step.reading.rate):
        timing = step.arm.timings.get(metric)
        found[step.reading.rate] = timing.quantiles[quantile].value if timing else None
    return found
