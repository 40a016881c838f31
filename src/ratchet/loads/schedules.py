"""When each request should start: arrival schedules as pure iterators of intended offsets, in seconds from the start.

An open loop sends at these times whatever the server does, so a server that stalls can't slow its own test down. A
closed loop (`users`) has no times: each user sends when its last answer has come, and a stall hides behind that.
"""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, takewhile
from typing import Literal, TypeAlias

from ratchet.errors import ConfigError

Kind: TypeAlias = Literal["constant", "poisson", "bursts", "ramp", "steps", "replay", "users"]
Arrivals: TypeAlias = Literal["constant", "poisson"]

STEP_S = 30.0
MOST_REPLAYED = 10_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A stretch of time in which the rate goes evenly from one value to another."""

    rate: float
    """Requests per second at its start."""
    to_rate: float
    seconds: float | None = None
    """None: without end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A load over time. Make one with `constant`, `poisson`, `bursts`, `ramp`, `steps`, `replay` or `users`."""

    kind: Kind
    phases: tuple[Phase, ...] = ()
    arrivals: Arrivals = "constant"
    """Even gaps, or exponential ones as of many callers who know nothing of each other."""
    repeating: bool = False
    """The phases start again when they are through."""
    times: tuple[float, ...] = ()
    """Of a replay: offsets in seconds, ascending from 0."""
    source: str = ""
    """Of a replay: where the times come from."""
    users: int = 0
    """Of a closed loop: how many send at once."""
    duration_s: float | None = None
    count: int | None = None
    seed: int = 0

    @property
    def open_loop(self) -> bool:
        return self.kind != "users"

    def __str__(self) -> str:
        return describe(self)


def constant(
    rate: float, *, duration_s: float | None = None, count: int | None = None, seed: int = 0
) -> Schedule:
    """Even gaps at this rate."""
    return _checked(
        Schedule(
            kind="constant",
            phases=(Phase(rate=rate, to_rate=rate),),
            duration_s=duration_s,
            count=count,
            seed=seed,
        )
    )


def poisson(
    rate: float, *, duration_s: float | None = None, count: int | None = None, seed: int = 0
) -> Schedule:
    """Independent callers: exponential gaps with this mean rate."""
    return _checked(
        Schedule(
            kind="poisson", phases=(Phase(rate=rate, to_rate=rate),), arrivals="poisson",
            duration_s=duration_s, count=count, seed=seed,
        )
    )  # fmt: skip


def bursts(
    rate: float,
    *,
    on_s: float = 1.0,
    off_s: float = 4.0,
    arrivals: Arrivals = "poisson",
    duration_s: float | None = None,
    count: int | None = None,
    seed: int = 0,
) -> Schedule:
    """All requests fall into the first `on_s` of every `on_s + off_s` seconds; `rate` is the mean over both."""
    if not (on_s > 0 and off_s >= 0 and math.isfinite(on_s + off_s)):
        raise ConfigError(
            f"bursts of {on_s:g} s every {on_s + off_s:g} s; expected on above 0 and off 0 or more"
        )
    peak = rate * (on_s + off_s) / on_s
    phases = (Phase(rate=peak, to_rate=peak, seconds=on_s), Phase(rate=0.0, to_rate=0.0, seconds=off_s))
    return _checked(
        Schedule(
            kind="bursts", phases=phases if off_s else phases[:1], arrivals=arrivals, repeating=True,
            duration_s=duration_s, count=count, seed=seed,
        )
    )  # fmt: skip


def ramp(
    rate: float, to_rate: float, *, duration_s: float, arrivals: Arrivals = "constant", seed: int = 0
) -> Schedule:
    """The rate goes evenly from `rate` to `to_rate` over the duration."""
    phases = (Phase(rate=rate, to_rate=to_rate, seconds=duration_s),)
    return _checked(Schedule(kind="ramp", phases=phases, arrivals=arrivals, duration_s=duration_s, seed=seed))


def steps(
    rates: Sequence[float], *, step_s: float = STEP_S, arrivals: Arrivals = "constant", seed: int = 0
) -> Schedule:
    """One rate after another, each held for `step_s` seconds."""
    phases = tuple(Phase(rate=rate, to_rate=rate, seconds=step_s) for rate in rates)
    return _checked(
        Schedule(kind="steps", phases=phases, arrivals=arrivals, duration_s=step_s * len(phases), seed=seed)
    )


def replay(
    times: Iterable[float],
    *,
    speed: float = 1.0,
    duration_s: float | None = None,
    count: int | None = None,
    source: str = "",
) -> Schedule:
    """Recorded arrival times (seconds on any clock), again: sorted, from 0, and `speed` times as fast."""
    if not (speed > 0 and math.isfinite(speed)):
        raise ConfigError(f"speed is {speed:g}, expected a number above 0, such as 2 for twice as fast")
    sorted_times = sorted(islice(times, MOST_REPLAYED + 1))
    if not sorted_times or len(sorted_times) > MOST_REPLAYED:
        raise ConfigError(
            f"{len(sorted_times):,} arrival times; expected 1 to {MOST_REPLAYED:,}", file=source or None
        )
    first = sorted_times[0]
    offsets = tuple((time - first) / speed for time in sorted_times)
    return _checked(Schedule(kind="replay", times=offsets, source=source, duration_s=duration_s, count=count))


def users(
    number: int, *, duration_s: float | None = None, count: int | None = None, seed: int = 0
) -> Schedule:
    """A closed loop: so many users, each sending its next request when its last answer has come."""
    if number < 1:
        raise ConfigError(f"users is {number}, expected 1 or more")
    return _checked(Schedule(kind="users", users=number, duration_s=duration_s, count=count, seed=seed))


def _checked(schedule: Schedule) -> Schedule:
    for phase in schedule.phases:
        if not all(math.isfinite(rate) and rate >= 0 for rate in (phase.rate, phase.to_rate)):
            raise ConfigError(f"a rate of {phase.rate:g} to {phase.to_rate:g} requests/s; expected 0 or more")
        if phase.seconds is not None and not (phase.seconds > 0 and math.isfinite(phase.seconds)):
            raise ConfigError(f"a step of {phase.seconds:g} s; expected more than 0")
    if (
        schedule.open_loop
        and schedule.kind != "replay"
        and not any(p.rate or p.to_rate for p in schedule.phases)
    ):
        raise ConfigError("the rate is 0 throughout; expected requests per second above 0")
    if schedule.duration_s is not None and not (
        schedule.duration_s > 0 and math.isfinite(schedule.duration_s)
    ):
        raise ConfigError(f"the duration is {schedule.duration_s:g} s; expected more than 0")
    if schedule.count is not None and schedule.count < 1:
        raise ConfigError(f"the count is {schedule.count}; expected 1 or more")
    endless = schedule.kind != "replay" and schedule.duration_s is None and schedule.count is None
    if endless and (schedule.repeating or not schedule.phases or schedule.phases[-1].seconds is None):
        raise ConfigError("a load without end: give a duration (60s) or a count of requests")
    return schedule


# --- offsets --------------------------------------------------------------------------------------------------


def offsets(schedule: Schedule) -> Iterator[float]:
    """The intended start of each request in seconds, ascending; a closed loop has none.

    An intensity that changes over time is followed exactly: the k-th request starts when the integral of the rate
    reaches k (even gaps) or the sum of k unit exponentials (Poisson). Source: Cinlar, Introduction to Stochastic
    Processes, 1975, theorem 4.7.4.

    >>> list(offsets(constant(2.0, duration_s=2.0)))
    [0.0, 0.5, 1.0, 1.5]
    """
    if not schedule.open_loop:
        return iter(())
    times = iter(schedule.times) if schedule.kind == "replay" else _times(schedule)
    end = schedule.duration_s
    if end is not None:
        times = takewhile(lambda time: time < end - 1e-12, times)
    return islice(times, schedule.count)


def _times(schedule: Schedule) -> Iterator[float]:
    rng = random.Random(schedule.seed)
    drawn = schedule.arrivals == "poisson"
    wanted = rng.expovariate(1.0) if drawn else 0.0
    passed, start_s = 0.0, 0.0  # requests and seconds before this phase
    while True:
        for phase in schedule.phases:
            inside = math.inf if phase.seconds is None else (phase.rate + phase.to_rate) / 2 * phase.seconds
            # the last request of an even load falls on the end of its phase by rounding alone
            while wanted - passed < inside * (1 - 1e-12):
                yield start_s + _when(phase, wanted - passed)
                wanted += rng.expovariate(1.0) if drawn else 1.0
            if phase.seconds is None:
                return
            passed, start_s = passed + inside, start_s + phase.seconds
        if not schedule.repeating:
            return


def _when(phase: Phase, requests: float) -> float:
    """Seconds into the phase at which so many requests have been due."""
    if phase.seconds is None or phase.rate == phase.to_rate:
        return requests / phase.rate
    slope = (phase.to_rate - phase.rate) / phase.seconds
    # rate t + slope t^2 / 2 = requests, in the form that doesn't cancel
    root = math.sqrt(max(phase.rate**2 + 2 * slope * requests, 0.0))
    return 2 * requests / (phase.rate + root) if phase.rate + root else 0.0


def expected_count(schedule: Schedule) -> int | None:
    """How many requests it makes, arrivals that are drawn included; None for a closed loop that ends by time."""
    if not schedule.open_loop:
        return schedule.count
    return sum(1 for _ in offsets(schedule))


def mean_rate(schedule: Schedule) -> float:
    """Requests per second over the whole of it; 0 for a closed loop."""
    if schedule.kind == "replay":
        times = list(offsets(schedule))
        span = schedule.duration_s or (times[-1] if len(times) > 1 else 0.0)
        return len(times) / span if span > 0 else 0.0
    if not schedule.open_loop:
        return 0.0
    timed = [(phase, phase.seconds) for phase in schedule.phases if phase.seconds is not None]
    if len(timed) < len(schedule.phases):
        return schedule.phases[-1].rate
    total_s = sum(seconds for _, seconds in timed)
    return sum((phase.rate + phase.to_rate) / 2 * seconds for phase, seconds in timed) / total_s


def length_s(schedule: Schedule) -> float | None:
    """How long it sends, in seconds; None where only its answers decide that."""
    if schedule.duration_s is not None:
        return schedule.duration_s
    if schedule.kind == "replay":
        return schedule.times[-1] if schedule.times else 0.0
    rate = mean_rate(schedule)
    return schedule.count / rate if schedule.count and rate else None


def describe(schedule: Schedule) -> str:
    """One line for people: `20 requests/s Poisson, open loop`."""
    if schedule.kind == "users":
        word = "user" if schedule.users == 1 else "users"
        return f"{schedule.users:,} {word}, closed loop"
    if schedule.kind == "replay":
        rate = mean_rate(schedule)
        return f"replay of {len(schedule.times):,} arrivals, {_rate(rate)} requests/s on average, open loop"
    first, last = schedule.phases[0], schedule.phases[-1]
    drawn = " Poisson" if schedule.arrivals == "poisson" else " constant"
    if schedule.kind == "ramp":
        return f"ramp of {_rate(first.rate)} to {_rate(last.to_rate)} requests/s{drawn}, open loop"
    if schedule.kind == "steps":
        rates = ", ".join(_rate(phase.rate) for phase in schedule.phases)
        return f"steps of {rates} requests/s{drawn}, open loop"
    if schedule.kind == "bursts":
        on, off = first.seconds or 0.0, (last.seconds or 0.0) if len(schedule.phases) > 1 else 0.0
        return (
            f"{_rate(mean_rate(schedule))} requests/s in bursts of {on:g} s every {on + off:g} s, open loop"
        )
    return f"{_rate(first.rate)} requests/s{drawn}, open loop"


def _rate(value: float) -> str:
    """`20`, `2.5`, `1,200`."""
    return f"{value:,.0f}" if value >= 100 or value == round(value) else f"{value:.3g}"


# --- the text form --------------------------------------------------------------------------------------------


def parse(
    *,
    rate: float | None = None,
    arrivals: str | None = None,
    ramp_text: str | None = None,
    steps_text: str | None = None,
    times: Schedule | None = None,
    users_number: int | None = None,
    length: Length,
) -> Schedule:
    """The schedule that the options of a command line say; exactly one of rate, ramp, steps, replay and users.

    Args:
        arrivals: "constant", "poisson", "bursts" or "bursts:ON/OFF" in seconds. Poisson by default for a plain rate,
            as the callers of a service know nothing of each other.
        ramp_text: "FROM:TO"; steps_text: "5,10,20" with `@SECONDS` for the length of a step.
        times: A replay as made by `replay`.

    Raises:
        ConfigError: None or several of them, or one that can't be read.
    """
    given = {
        "--rate": rate,
        "--ramp": ramp_text,
        "--steps": steps_text,
        "--replay": times,
        "--users": users_number,
    }
    chosen = [name for name, value in given.items() if value is not None]
    if len(chosen) != 1:
        said = f"{' and '.join(chosen)} together" if chosen else "no load"
        raise ConfigError(f"{said}; expected one of {', '.join(given)}")
    if times is not None:
        return _checked(_replace_length(times, length))
    if users_number is not None:
        return users(users_number, duration_s=length.duration_s, count=length.count, seed=length.seed)
    if ramp_text is not None:
        low, high = _numbers(ramp_text, ":", 2, "--ramp", "FROM:TO, as in 1:50")
        return ramp(
            low, high, duration_s=length.needed_s("--ramp"), arrivals=_even(arrivals), seed=length.seed
        )
    if steps_text is not None:
        text, _, each = steps_text.partition("@")
        rates = _numbers(text, ",", None, "--steps", "rates with commas, as in 5,10,20 or 5,10,20@30s")
        step_s = (
            parse_seconds(each, "--steps")
            if each
            else (length.duration_s or STEP_S * len(rates)) / len(rates)
        )
        return steps(rates, step_s=step_s, arrivals=_even(arrivals), seed=length.seed)
    assert rate is not None
    return _at_rate(rate, arrivals or "poisson", length)


@dataclass(frozen=True, slots=True, kw_only=True)
class Length:
    """How long a load lasts, by time or by count, and the seed of what is drawn."""

    duration_s: float | None = None
    count: int | None = None
    seed: int = 0

    def needed_s(self, option: str) -> float:
        """The duration, where an option can't do without."""
        if self.duration_s is None:
            raise ConfigError(f"{option} needs --duration, as in --duration 60s")
        return self.duration_s


def _replace_length(schedule: Schedule, length: Length) -> Schedule:
    return dataclasses.replace(schedule, duration_s=length.duration_s, count=length.count, seed=length.seed)


def _at_rate(rate: float, arrivals: str, length: Length) -> Schedule:
    kind, _, rest = arrivals.partition(":")
    if kind == "bursts":
        on_s, off_s = _numbers(rest, "/", 2, "--arrivals", "bursts:ON/OFF in seconds") if rest else (1.0, 4.0)
        return bursts(
            rate, on_s=on_s, off_s=off_s, duration_s=length.duration_s, count=length.count, seed=length.seed
        )
    if kind not in ("constant", "poisson") or rest:
        raise ConfigError(f"--arrivals {arrivals!r}; expected constant, poisson or bursts:ON/OFF")
    make = constant if kind == "constant" else poisson
    return make(rate, duration_s=length.duration_s, count=length.count, seed=length.seed)


def _even(arrivals: str | None) -> Arrivals:
    if arrivals not in (None, "constant", "poisson"):
        raise ConfigError(
            f"--arrivals {arrivals!r} doesn't go with --ramp or --steps; expected constant or poisson"
        )
    return arrivals or "poisson"


def _numbers(text: str, mark: str, count: int | None, option: str, expected: str) -> list[float]:
    try:
        found = [float(part) for part in text.split(mark)]
    except ValueError:
        found = []
    if not found or (count is not None and len(found) != count) or not all(map(math.isfinite, found)):
        raise ConfigError(f"{option} {text!r}; expected {expected}")
    return found


def parse_seconds(text: str, option: str = "--duration") -> float:
    """Seconds of `90`, `90s`, `1.5m`, `2h` or `500ms`.

    >>> parse_seconds("1.5m"), parse_seconds("500ms")
    (90.0, 0.5)
    """
    units: Mapping[str, float] = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
    number = text.strip().lower()
    unit = next((u for u in ("ms", "min", "s", "m", "h") if number.endswith(u)), "")
    try:
        value = float(number.removesuffix(unit)) * units.get(unit, 1.0)
    except ValueError:
        value = -1.0
    if not (value >= 0 and math.isfinite(value)):
        raise ConfigError(f"{option} {text!r}; expected a time such as 60s, 1.5m or 500ms")
    return value
