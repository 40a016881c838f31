"""What came of a queue: agreement between people, with themselves, and pace."""

from __future__ import annotations

from typing import Any

import pytest

from ratchet.labels import giving, people, queues, rubrics
from ratchet.labels.giving import Answer
from ratchet.labels.queues import Queue, Recipe
from ratchet.ports import Store
from ratchet.records import Run


def answer_all(store: Store, queue: Queue, person: str, say: Any, *, seconds: float = 2.0) -> None:
    while found := giving.lease(store, queue, person, most=10):
        for item in found:
            value = say(item)
            answer = Answer(position=item.position, slot=item.slot, value=value, seconds=seconds)
            assert giving.give(store, queue, item, person, answer) is not None


def test_two_people_s_agreement_is_kappa_with_an_interval(store: Store, run: Run) -> None:
    queue = queues.build(run, store, Recipe(n=20, score="quality", arms=("champion",), per_item=2))
    answer_all(store, queue, "ann", lambda item: item.position % 2 == 0)
    answer_all(store, queue, "ben", lambda item: item.position % 2 == 0 and item.position != 0)
    found = people.agreement(store, queue)
    (one,) = found.criteria
    assert (found.people, found.shared, one.items) == (("ann", "ben"), 20, 20)
    assert one.same == pytest.approx(0.95)
    assert one.kappa is not None
    assert one.kappa.value == pytest.approx(0.9)
    assert one.kappa.low is not None
    assert one.kappa.low < 0.9 < (one.kappa.high or 0.0)
    assert found.split == {0: {"ann": "true", "ben": "false"}}


def test_three_people_have_alpha_and_many_labels_a_line_each(store: Store, run: Run) -> None:
    rubric = rubrics.of_labels("smells", ["DRY", "SRP"], many=True)
    recipe = Recipe(n=12, score="smells", arms=("champion",), per_item=3)
    queue = queues.build(run, store, recipe, rubric=rubric)
    for person in ("ann", "ben", "cy"):
        answer_all(
            store,
            queue,
            person,
            lambda item, p=person: ["DRY"] if item.position % 2 else (["SRP"] if p == "cy" else []),
        )
    found = people.agreement(store, queue)
    assert [(one.name, one.kappa) for one in found.criteria] == [("DRY", None), ("SRP", None)]
    assert found.criteria[0].alpha is not None
    assert found.criteria[0].alpha.value == 1.0
    assert found.criteria[1].same < 1.0


def test_below_ten_shared_items_no_number_is_shown(store: Store, run: Run) -> None:
    queue = queues.build(run, store, Recipe(n=9, score="quality", arms=("champion",), per_item=2))
    for person in ("ann", "ben"):
        answer_all(store, queue, person, lambda item: True)
    found = people.agreement(store, queue)
    assert (found.shared, found.criteria) == (9, ())


def test_repeats_tell_how_far_one_person_agrees_with_themselves(store: Store, run: Run) -> None:
    queue = queues.build(run, store, Recipe(n=20, score="quality", repeats=0.2, arms=("champion",)))
    answer_all(store, queue, "ann", lambda item: item.repeat_of is None)
    found = people.agreement(store, queue)
    assert (found.repeated, found.self_same) == (4, 0.0)
    assert found.shared == 0


def test_what_was_undone_counts_nowhere(store: Store, run: Run) -> None:
    queue = queues.build(run, store, Recipe(n=20, score="quality", arms=("champion",), per_item=2))
    for person in ("ann", "ben"):
        answer_all(store, queue, person, lambda item: True, seconds=3.0)
    assert giving.undo(store, queue, "ben") is not None
    found = people.agreement(store, queue)
    assert found.shared == 19
    assert found.criteria[0].alpha is None, "one label only"
    pace = people.pace(store, queue, "ben")
    assert (pace.labels, pace.median_s, pace.per_hour) == (19, 3.0, 1200.0)


def test_flags_on_an_unclear_rubric_are_counted_by_item(store: Store, run: Run) -> None:
    queue = queues.build(run, store, Recipe(n=3, score="quality"))
    for person in ("ann", "ben"):
        store.flag_item(queue.id, 1, 0, person, "unclear", now=1.0, on=True)
    assert people.agreement(store, queue).unclear == 1
