from __future__ import annotations

import itertools

import numpy as np
import pytest

from ratchet.errors import ConfigError
from ratchet.loads import schedules
from ratchet.loads.schedules import Length


def test_a_constant_load_starts_at_zero_with_even_gaps_and_ends_before_its_duration() -> None:
    times = list(schedules.offsets(schedules.constant(20, duration_s=3)))
    assert len(times) == 60
    assert times[0] == 0.0
    assert times[-1] < 3
    assert np.allclose(np.diff(times), 0.05)


def test_a_poisson_load_has_exponential_gaps_and_is_the_same_for_a_seed() -> None:
    one = list(schedules.offsets(schedules.poisson(50, duration_s=200, seed=3)))
    assert one == list(schedules.offsets(schedules.poisson(50, duration_s=200, seed=3)))
    assert one != list(schedules.offsets(schedules.poisson(50, duration_s=200, seed=4)))
    gaps = np.diff(one)
    assert abs(gaps.mean() * 50 - 1) < 0.05
    assert abs(gaps.std() * 50 - 1) < 0.05, "an exponential's deviation is its mean"


def test_bursts_send_nothing_between_them_and_keep_the_mean_rate() -> None:
    load = schedules.bursts(10, on_s=1, off_s=4, duration_s=500)
    times = np.array(list(schedules.offsets(load)))
    assert ((times % 5) < 1).all()
    assert abs(len(times) / 500 - 10) < 0.6
    assert schedules.mean_rate(load) == pytest.approx(10)


def test_a_ramp_is_linear_in_its_rate() -> None:
    times = np.array(list(schedules.offsets(schedules.ramp(0, 100, duration_s=10))))
    assert len(times) == pytest.approx(500, abs=1)
    assert (times < 5).sum() == pytest.approx(125, abs=1), "a quarter of them in the first half"
    falling = np.array(list(schedules.offsets(schedules.ramp(100, 0, duration_s=10))))
    assert (falling < 5).sum() == pytest.approx(375, abs=1)


def test_steps_hold_each_rate_for_its_time() -> None:
    times = np.array(list(schedules.offsets(schedules.steps([5, 10, 20], step_s=10))))
    assert [int(((times >= low) & (times < low + 10)).sum()) for low in (0, 10, 20)] == [50, 100, 200]


def test_a_replay_keeps_recorded_gaps_from_zero_and_can_go_faster() -> None:
    load = schedules.replay([1000.5, 1000.0, 1002.0], speed=2)
    assert list(schedules.offsets(load)) == [0.0, 0.25, 1.0]


def test_a_closed_loop_has_users_and_no_times() -> None:
    load = schedules.users(8, duration_s=60)
    assert not load.open_loop
    assert list(schedules.offsets(load)) == []
    assert str(load) == "8 users, closed loop"


def test_a_count_ends_a_load_without_a_duration() -> None:
    load = schedules.poisson(100, count=37)
    assert len(list(schedules.offsets(load))) == 37 == schedules.expected_count(load)


@pytest.mark.parametrize(
    "load",
    [
        schedules.constant(7, duration_s=11),
        schedules.poisson(7, duration_s=11, seed=3),
        schedules.bursts(7, duration_s=11, seed=3),
        schedules.ramp(1, 30, duration_s=9),
        schedules.steps([3, 8], step_s=4),
        schedules.replay([0, 1, 5, 9], duration_s=6),
    ],
    ids=str,
)
def test_the_expected_count_is_exact_so_that_no_budget_is_passed(load: schedules.Schedule) -> None:
    assert schedules.expected_count(load) == len(list(schedules.offsets(load)))


@pytest.mark.parametrize(
    ("load", "said"),
    [
        (schedules.poisson(20, duration_s=1), "20 requests/s Poisson, open loop"),
        (schedules.constant(2.5, duration_s=1), "2.5 requests/s constant, open loop"),
        (schedules.bursts(10, duration_s=1), "10 requests/s in bursts of 1 s every 5 s, open loop"),
        (schedules.ramp(1, 50, duration_s=1), "ramp of 1 to 50 requests/s constant, open loop"),
        (schedules.steps([5, 10]), "steps of 5, 10 requests/s constant, open loop"),
        (schedules.users(1, count=1), "1 user, closed loop"),
    ],
)
def test_a_load_says_what_it_offers(load: schedules.Schedule, said: str) -> None:
    assert schedules.describe(load) == said


def test_a_load_of_many_requests_is_made_one_at_a_time() -> None:
    endless = schedules.offsets(schedules.constant(1000, count=10**9))
    assert list(itertools.islice(endless, 3)) == [0.0, 0.001, 0.002]


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"rate": 20.0}, "poisson"),
        ({"rate": 20.0, "arrivals": "constant"}, "constant"),
        ({"rate": 20.0, "arrivals": "bursts:2/8"}, "bursts"),
        ({"ramp_text": "1:50"}, "ramp"),
        ({"steps_text": "5,10,20"}, "steps"),
        ({"steps_text": "5,10@2m"}, "steps"),
        ({"users_number": 8}, "users"),
        ({"times": schedules.replay([0.0, 1.0])}, "replay"),
    ],
)
def test_the_options_of_a_command_line_say_a_load(options: dict[str, object], kind: str) -> None:
    found = schedules.parse(**options, length=Length(duration_s=30))  # type: ignore[arg-type]
    assert found.kind == kind


def test_steps_share_the_duration_or_have_their_own() -> None:
    shared = schedules.parse(steps_text="5,10,20", length=Length(duration_s=30))
    assert [phase.seconds for phase in shared.phases] == [10, 10, 10]
    own = schedules.parse(steps_text="5,10@2m", length=Length())
    assert [phase.seconds for phase in own.phases] == [120, 120]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "no load; expected one of --rate"),
        ({"rate": 1.0, "users_number": 2}, "--rate and --users together"),
        ({"rate": 0.0}, "the rate is 0 throughout"),
        ({"rate": 5.0, "arrivals": "weekly"}, "expected constant, poisson or bursts:ON/OFF"),
        ({"ramp_text": "1-50"}, "expected FROM:TO"),
        ({"steps_text": "5,fast"}, "expected rates with commas"),
        ({"ramp_text": "1:5", "arrivals": "bursts"}, "doesn't go with --ramp"),
    ],
)
def test_a_load_that_makes_no_sense_is_refused_with_what_was_expected(
    options: dict[str, object], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        schedules.parse(**options, length=Length(duration_s=30))  # type: ignore[arg-type]


def test_a_load_without_end_is_refused() -> None:
    with pytest.raises(ConfigError, match="a load without end"):
        schedules.poisson(20)
    with pytest.raises(ConfigError, match="a load without end"):
        schedules.users(2)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("1.5m", 90), ("2h", 7200), ("500ms", 0.5), ("3 s", 3)]
)
def test_times_are_read_with_their_unit(text: str, seconds: float) -> None:
    assert schedules.parse_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-1s", "nan", "inf"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="expected a time such as 60s"):
        schedules.parse_seconds(text)
