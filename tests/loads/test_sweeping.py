from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from ratchet.errors import ConfigError
from ratchet.loads import schedules, summaries, sweeping
from ratchet.loads.records import Measured, Slo
from ratchet.loads.schedules import Schedule
from ratchet.loads.summaries import Result
from ratchet.loads.sweeping import Reading, Search, Sweep

from .drawn import SERVER, measured, queue, samples

Served = Callable[[Sequence[float]], Sequence[float]]
SLO = Slo(e2e_s=2.0)


def sweep_of(
    served: Served,
    *,
    start: float = 1.0,
    arrivals: Callable[..., Schedule] = schedules.constant,
    slo: Slo = SLO,
    failing: float = 0.0,
    valid_below: float = math.inf,
    step_s: float = 10.0,
) -> Sweep:
    """A sweep of a server that is computed, not run: its clock costs nothing."""

    def measure(rate: float, seconds: float) -> Measured:
        times = list(schedules.offsets(arrivals(rate, duration_s=seconds, seed=int(rate * 1000))))
        rng = random.Random(rate)
        error = [SERVER if rng.random() < failing else 0 for _ in times]
        return measured(samples(times, np.array(served(times)), error=error), valid=rate < valid_below)

    def summarise(found: Measured) -> Result:
        return summaries.summarise(found, load="x", slo=slo)

    return sweeping.sweep("a", measure, summarise, search=Search(start=start), step_s=step_s)


def many(servers: int, work_s: float) -> Served:
    return lambda times: queue(times, servers=servers, work_s=work_s)


@pytest.mark.parametrize(
    ("servers", "work_s"), [(1, 0.1), (4, 0.1), (16, 0.16), (50, 0.5), (32, 0.04), (1, 0.7), (64, 0.2)]
)
@pytest.mark.parametrize("start", [1.0, 5.0])
def test_a_sweep_finds_a_known_capacity_within_five_per_cent_in_eight_steps(
    servers: int, work_s: float, start: float
) -> None:
    capacity = servers / work_s
    found = sweep_of(many(servers, work_s), start=start)
    assert len(found.steps) <= 8
    assert found.highest_rate is not None
    assert abs(found.highest_rate / capacity - 1) <= 0.05
    assert found.capacity is not None
    assert abs(found.capacity / capacity - 1) <= 0.05
    assert found.precise
    assert found.valid


@pytest.mark.parametrize("capacity", [30.0, 90.0, 400.0])
def test_a_sweep_of_independent_callers_finds_it_too(capacity: float) -> None:
    found = sweep_of(many(8, 8 / capacity), arrivals=schedules.poisson, start=4.0, step_s=30.0)
    assert len(found.steps) <= 8
    assert found.capacity is not None
    assert abs(found.capacity / capacity - 1) <= 0.05
    assert found.highest_rate is not None
    assert 0.85 < found.highest_rate / capacity <= 1.03


def test_the_highest_rate_that_holds_the_objective_may_lie_below_the_capacity() -> None:
    def crowded(times: Sequence[float]) -> list[float]:
        rate = len(times) / (times[-1] - times[0])
        return [0.1 + 0.01 * rate] * len(times)  # slower with load, but never behind

    found = sweep_of(crowded, slo=Slo(e2e_s=0.5))
    assert found.capacity is None
    assert found.highest_rate is not None
    assert abs(found.highest_rate / 40 - 1) <= 0.05
    assert {step.reading.because for step in found.steps} == {"", "goodput"}


def test_a_server_that_fails_three_calls_in_ten_holds_nothing() -> None:
    found = sweep_of(many(8, 0.1), failing=0.3)
    assert found.highest_rate is None
    assert all(step.reading.because == "errors" for step in found.steps)
    assert any("not even the lowest rate held" in note for note in found.notes)


def test_a_sweep_that_the_generator_ends_is_invalid_and_says_how_far_it_came() -> None:
    found = sweep_of(many(1000, 0.1), valid_below=200)
    assert not found.valid
    assert found.highest_rate is not None
    assert found.highest_rate >= 64
    assert found.steps[-1].reading.because == "generator"
    assert any("the generator was the limit" in note for note in found.notes)


def test_one_step_that_the_generator_spoilt_is_tried_again() -> None:
    search = Search(start=10.0)
    spoilt = Reading(rate=10.0, held=False, because="generator", goodput=1.0, slope=0.0)
    assert search.ask() == 10.0
    search.tell(spoilt)
    assert search.ask() == 10.0
    search.tell(spoilt)
    assert search.ask() is None


def test_a_server_that_holds_all_that_is_tried_is_said_to_hold_so_much_or_more() -> None:
    found = sweep_of(lambda times: [0.01] * len(times), start=0.2, step_s=1.0)
    assert found.broken_at is None
    assert len(found.steps) == 8
    assert any("or more" in note for note in found.notes)


def test_starting_too_high_comes_down() -> None:
    found = sweep_of(many(4, 0.4), start=300.0)
    assert found.highest_rate is not None
    assert abs(found.highest_rate / 10 - 1) <= 0.05
    assert len(found.steps) <= 5


def test_noise_is_no_growth() -> None:
    rng = np.random.default_rng(1)
    at = np.arange(2000) / 100
    grown = [sweeping.growth(samples(at, rng.lognormal(-2, 0.6, 2000)))[1] for _ in range(200)]
    assert np.mean(grown) < 0.02


def test_growth_is_the_excess_of_what_is_offered_over_what_is_served() -> None:
    at = np.arange(1200) / 120
    slope, grows = sweeping.growth(samples(at, queue(at.tolist(), servers=10, work_s=0.1)))
    assert grows
    assert slope == pytest.approx(120 / 100 - 1, rel=0.05)


def test_a_sweep_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(ConfigError, match="a sweep from 0 requests/s"):
        sweep_of(many(1, 0.1), start=0.0)
