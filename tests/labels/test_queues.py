"""Queues: what is drawn, in which order, with which chance, and what stands beside it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from ratchet import calibrations
from ratchet.errors import ConfigError, PlanError, UnknownNameError
from ratchet.labels import giving, queues, rubrics
from ratchet.labels.giving import Answer
from ratchet.labels.queues import Queue, Recipe
from ratchet.ports import LabelItem, Store
from ratchet.records import Run, Score

from .desk import a_desk, trace_id


def items(store: Store, queue: Queue) -> list[LabelItem]:
    return list(store.label_items(queue.id))


def test_a_random_queue_has_every_arm_of_its_examples_and_says_their_chance(store: Store, run: Run) -> None:
    queue = queues.build(run, store, Recipe(n=5, seed=3), by="ann")
    found = items(store, queue)
    assert Counter(item.details["example"] for item in found).most_common()[-1][1] == 2
    assert len(found) == 10
    assert {item.details["probability"] for item in found} == {5 / 20}
    assert {
        (
            item.details["input"]["question"][:7],
            item.details["expected"] in "0123456789 10 11 12 13 14 15 16 17 18 19",
        )
        for item in found
    } == {("What is", True)}
    again = queues.build(run, store, Recipe(n=5, seed=3), by="ann")
    assert [i.trace_id for i in items(store, again)] == [i.trace_id for i in found]
    other = queues.build(run, store, Recipe(n=5, seed=4), by="ann")
    assert [i.trace_id for i in items(store, other)] != [i.trace_id for i in found]


def test_a_queue_is_found_by_id_by_its_beginning_and_by_name(store: Store, run: Run) -> None:
    queue = queues.build(run, store, Recipe(name="tone of july"))
    for name in (queue.id, queue.id[:6], "tone of july"):
        assert queues.load(store, name) == queue
    with pytest.raises(UnknownNameError, match="label queue"):
        queues.load(store, "nothing")


def test_a_slice_and_an_arm_narrow_what_is_drawn(store: Store, run: Run) -> None:
    queue = queues.build(run, store, Recipe(n=50, where={"topic": "b"}, arms=("champion",)))
    found = items(store, queue)
    assert {int(item.details["example"][1:]) % 2 for item in found} == {1}
    assert len(found) == 10
    assert queue.describe() == "Random, only topic=b"


def test_strata_get_their_share(store: Store, run: Run) -> None:
    queue = queues.build(run, store, Recipe(n=10, stratify="topic", arms=("champion",)))
    topics = Counter(int(item.details["example"][1:]) % 2 for item in items(store, queue))
    assert topics == {0: 5, 1: 5}


def test_failed_answers_are_not_dealt_out(store: Store, tmp_path: Path) -> None:
    run = a_desk(store, tmp_path, count=4, failed=[("champion", 1)], id="r2")
    queue = queues.build(run, store, Recipe(n=9))
    assert trace_id("champion", 1) not in {item.trace_id for item in items(store, queue)}


def test_disagreement_of_judge_and_code_comes_first_and_only(store: Store, run: Run) -> None:
    queue = queues.build(run, store, Recipe(order="disagreement", score="quality", other="exact", n=100))
    found = items(store, queue)
    assert {int(item.details["example"][1:]) % 5 for item in found} == {0}
    assert len(found) == 8
    assert all("probability" not in item.details for item in found)
    assert "exact says" in found[0].details["why"]


def test_disagreement_of_repeats_shows_the_odd_one_out(store: Store, tmp_path: Path) -> None:
    run = a_desk(store, tmp_path, count=6, repeats=3, id="r3")
    queue = queues.build(run, store, Recipe(order="disagreement", between="repeats", score="exact", n=100))
    odd = {(item.details["example"], item.trace_id[8:10]) for item in items(store, queue)}
    assert odd == {(f"q{i}", f"{(-i) % 3:02d}") for i in range(6)}


def test_disagreement_of_arms_and_of_people(store: Store, run: Run) -> None:
    arms = queues.build(run, store, Recipe(order="disagreement", between="arms", score="exact", n=100))
    assert {item.details["example"] for item in items(store, arms)} == {f"q{i}" for i in range(0, 20, 3)}
    trace = trace_id("champion", 4)
    said = Score(trace_id=trace, name="exact", value=True, source="human", by="ann")
    store.write([said, said.replace(by="ben", value=False)])
    people = queues.build(run, store, Recipe(order="disagreement", between="people", score="exact"))
    assert [item.trace_id for item in items(store, people)] == [trace]


def test_where_nothing_differs_the_error_says_so(store: Store, run: Run) -> None:
    with pytest.raises(PlanError, match="no two values of exact by people differ"):
        queues.build(run, store, Recipe(order="disagreement", between="people", score="exact"))
    with pytest.raises(UnknownNameError, match="Did you mean 'exact'"):
        queues.build(run, store, Recipe(order="disagreement", between="arms", score="exakt"))


def test_the_worst_change_comes_first_beside_the_baseline(store: Store, run: Run) -> None:
    queue = queues.build(run, store, Recipe(order="worst", metric="grade", score="quality", n=4, blind=False))
    found = items(store, queue)
    assert [item.details["example"] for item in found] == ["q19", "q18", "q17", "q16"]
    assert [item.against for item in found] == [trace_id("champion", i) for i in (19, 18, 17, 16)]
    assert {item.details["left"] for item in found} == {"baseline"}
    lower = queues.build(
        run, store, Recipe(order="worst", metric="grade", score="quality", n=1, lower_is_better=True)
    )
    assert items(store, lower)[0].details["example"] == "q0"


def test_the_worst_change_is_found_across_two_runs(store: Store, run: Run, tmp_path: Path) -> None:
    recipe = Recipe(
        order="worst",
        metric="grade",
        score="quality",
        n=1,
        baseline="champion",
        candidate="challenger",
        baseline_run="run",
    )
    assert items(store, queues.build(run, store, recipe))[0].details["example"] == "q19"
    with pytest.raises(PlanError, match="no run 'gone'"):
        queues.build(run, store, Recipe(order="worst", metric="grade", baseline_run="gone"))


def test_blind_pairs_swap_their_sides_at_random_and_keep_their_chance(store: Store, run: Run) -> None:
    queue = queues.build(run, store, Recipe(order="pairs", score="preference", n=16))
    found = items(store, queue)
    assert set(Counter(item.details["left"] for item in found)) == {"baseline", "candidate"}
    assert {item.details["probability"] for item in found} == {16 / 20}
    assert rubrics.load(store, "preference") is not None
    assert queue.is_pairwise


@pytest.mark.parametrize(("left", "said", "value"), [("baseline", "left", 0.0), ("baseline", "right", 1.0), ("candidate", "left", 1.0), ("candidate", "right", 0.0), ("candidate", "tie", 0.5)])  # fmt: skip
def test_a_pair_s_label_is_the_candidate_s_whatever_side_it_stood_on(store: Store, run: Run, left: str, said: str, value: float) -> None:  # fmt: skip
    queue = queues.build(run, store, Recipe(order="pairs", score="preference", n=20))
    item = next(item for item in items(store, queue) if item.details["left"] == left)
    score = giving.give(store, queue, item, "ann", Answer(position=item.position, slot=0, value=said))
    assert score is not None
    assert (score.value, score.trace_id, score.against) == (value, item.trace_id, item.against)


def test_some_items_are_shown_again_later(store: Store, run: Run) -> None:
    queue = queues.build(run, store, Recipe(n=20, repeats=0.1))
    found = items(store, queue)
    again = [item for item in found if item.repeat_of is not None]
    assert (len(found), len(again), queue.size) == (44, 4, 40)
    for item in again:
        assert item.repeat_of is not None
        assert found[item.repeat_of].trace_id == item.trace_id
        assert item.position > item.repeat_of


def test_an_item_has_a_slot_for_each_person(store: Store, run: Run) -> None:
    queue = queues.build(run, store, Recipe(n=3, arms=("champion",), per_item=3))
    assert [(i.position, i.slot) for i in items(store, queue)] == [(p, s) for p in range(3) for s in range(3)]


@pytest.mark.parametrize(
    ("recipe", "why"),
    [
        (Recipe(n=0), "number of items is 0"),
        (Recipe(per_item=0), "people per item"),
        (Recipe(repeats=0.9), "share of repeats"),
        (Recipe(score=" "), "need a name"),
        (Recipe(order="rnadom"), "Did you mean 'random'"),  # pyright: ignore[reportArgumentType]
        (Recipe(where={"topic": "z"}), "no answer with topic=z"),
        (Recipe(order="worst", metric="nothing"), "'nothing' on both arms"),
    ],
)
def test_a_recipe_that_can_not_be_followed_says_why(store: Store, run: Run, recipe: Recipe, why: str) -> None:
    with pytest.raises((ConfigError, PlanError), match=why):
        queues.build(run, store, recipe)


def test_an_unknown_arm_and_metadata_are_named(store: Store, run: Run) -> None:
    with pytest.raises(UnknownNameError, match="no arm named 'chamption'"):
        queues.build(run, store, Recipe(arms=("chamption",)))
    with pytest.raises(UnknownNameError, match="topic"):
        queues.build(run, store, Recipe(stratify="topics"))


def test_a_rubric_of_another_kind_is_refused_for_pairs(store: Store, run: Run) -> None:
    rubrics.keep(store, rubrics.passing("quality"))
    with pytest.raises(ConfigError, match="give the scores another name"):
        queues.build(run, store, Recipe(order="pairs", score="quality"))


def test_labels_of_a_queue_count_for_the_judge_s_calibration(store: Store, run: Run) -> None:
    queue = queues.build(run, store, Recipe(n=20, score="quality"))
    for item in giving.lease(store, queue, "ann", most=40):
        truth = "champion" in str(store.trace(item.trace_id)) or int(item.details["example"][1:]) % 3 != 0
        assert giving.give(store, queue, item, "ann", Answer(position=item.position, slot=0, value=truth))
    found = calibrations.calibrate(run, store, "quality")
    assert (found.n, found.pairs, found.people) == (40, 20, ("ann",))
    assert found.probability == 1.0
    assert found.overall.raw.value == pytest.approx(0.8)
    assert all("random sample" not in warning for warning in found.warnings)


def test_a_label_says_by_which_rubric_with_which_chance_and_how_long_it_took(store: Store, run: Run) -> None:
    queue = queues.build(run, store, Recipe(n=5, score="quality"))
    (item,) = giving.lease(store, queue, "ann", most=1)
    score = giving.give(
        store, queue, item, "ann", Answer(position=0, slot=0, value=True, seconds=2.345, note=" odd ")
    )
    assert score is not None
    rubric = rubrics.load(store, "quality")
    assert rubric is not None
    assert (score.source, score.by, score.name, score.reason) == ("human", "ann", "quality", "odd")
    assert score.metadata == {
        "rubric": "quality",
        "rubric_version": rubric.version,
        "queue": queue.id,
        "position": 0,
        "why": "drawn at random, 5 of 20 examples",
        "probability": 0.25,
        "seconds": 2.35,
    }
    assert [s for s in store.scores(run.id, name="quality") if s.source == "human"] == [score]


def test_a_label_keeps_the_version_of_the_rubric_that_was_shown(store: Store, run: Run) -> None:
    queue = queues.build(run, store, Recipe(n=5, score="quality"))
    shown = rubrics.load(store, "quality")
    assert shown is not None
    rubrics.keep(store, rubrics.edited(shown, text="stricter"))
    (item,) = giving.lease(store, queue, "ann", most=1)
    score = giving.give(
        store, queue, item, "ann", Answer(position=0, slot=0, value=True, rubric_version=shown.version)
    )
    assert score is not None
    assert score.metadata["rubric_version"] == shown.version
    with pytest.raises(UnknownNameError, match="version of the rubric"):
        giving.give(store, queue, item, "ann", Answer(position=0, slot=0, value=True, rubric_version="no"))


def test_a_value_that_is_no_answer_is_refused_and_nothing_is_kept(store: Store, run: Run) -> None:
    queue = queues.build(run, store, Recipe(n=5, score="quality"))
    (item,) = giving.lease(store, queue, "ann", most=1)
    with pytest.raises(ConfigError, match=r"'maybe': expected Good \| Bad"):
        giving.give(store, queue, item, "ann", Answer(position=0, slot=0, value="maybe"))
    assert store.label_progress(queue.id, now=0.0).done == 0


def test_a_quick_label_needs_no_queue(store: Store, run: Run) -> None:
    trace = trace_id("champion", 1)
    score = giving.quick(store, trace, "quality", True, by="ann", note="fine")
    assert (score.value, score.reason, score.metadata) == (True, "fine", {"why": "compare"})
    with pytest.raises(PlanError, match="no trace 'none'"):
        giving.quick(store, "none", "quality", True, by="ann")
    with pytest.raises(ConfigError, match="no name"):
        giving.quick(store, trace, " ", True, by="ann")
    rubrics.keep(store, rubrics.passing("quality"))
    with pytest.raises(ConfigError, match=r"expected Good \| Bad"):
        giving.quick(store, trace, "quality", 7, by="ann")
