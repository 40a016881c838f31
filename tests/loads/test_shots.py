from __future__ import annotations

import pickle
from itertools import islice
from pathlib import Path

import orjson
import pytest

from ratchet import variants
from ratchet.loads import schedules, shots, workloads
from ratchet.loads.records import Shot
from ratchet.loads.shots import Volley
from ratchet.records import Variant


@pytest.fixture
def volley(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Volley:
    monkeypatch.setenv("OPENAI_API_KEY", "key")
    made = workloads.synthetic(
        workloads.parse_lengths("8"), workloads.parse_lengths("4"), tmp_path, distinct=10
    )
    arms = {name: variants.resolve(Variant(model=f"openai/{name}")) for name in ("a", "b")}
    return Volley(schedule=schedules.poisson(10, count=30, seed=2), workload=made, arms=arms)


def model_of(shot: Shot) -> str:
    return str(orjson.loads(shot.body)["model"])


def question_of(shot: Shot) -> str:
    return str(orjson.loads(shot.body)["messages"])


def test_every_arm_is_asked_the_same_at_the_same_moment_in_an_order_of_its_own(volley: Volley) -> None:
    found = list(volley(0, 1))
    assert [shot.index for shot in found] == list(range(60))
    pairs = list(zip(found[::2], found[1::2], strict=True))
    assert all(one.at_s == two.at_s and question_of(one) == question_of(two) for one, two in pairs)
    assert all({model_of(one), model_of(two)} == {"a", "b"} for one, two in pairs)
    assert {one.arm for one, _ in pairs} == {0, 1}, "neither arm is always first"


def test_the_parts_of_several_processes_together_are_the_schedule(volley: Volley) -> None:
    whole = {shot.index: (shot.at_s, shot.arm, shot.body) for shot in volley(0, 1)}
    parts = [list(volley(part, 3)) for part in range(3)]
    assert {shot.index: (shot.at_s, shot.arm, shot.body) for part in parts for shot in part} == whole
    assert all(shot.index % 3 == number for number, part in enumerate(parts) for shot in part)


def test_a_volley_can_be_sent_to_another_process(volley: Volley) -> None:
    again: Volley = pickle.loads(pickle.dumps(volley))
    assert [shot.body for shot in again(0, 1)] == [shot.body for shot in volley(0, 1)]


def test_a_closed_loop_has_shots_without_end_and_with_a_count_so_many_an_arm(volley: Volley) -> None:
    import dataclasses

    endless = dataclasses.replace(volley, schedule=schedules.users(2, duration_s=1))
    assert len(list(islice(endless(0, 1), 500))) == 500
    counted = dataclasses.replace(volley, schedule=schedules.users(2, count=7))
    assert len(list(counted(0, 1))) == 14


def test_each_slot_knows_which_example_it_asked_and_for_the_how_manieth_time(volley: Volley) -> None:
    found = list(shots.origins(volley.schedule, volley.workload))
    assert len(found) == 30
    assert (found[0].example_id, found[0].repeat) == ("s000000", 0)
    assert (found[29].example_id, found[29].repeat) == ("s000009", 2)
