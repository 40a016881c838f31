"""A judge of pairs, over HTTP: both orders, flips, lengths."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ratchet import datasets, runs
from ratchet.errors import ConfigError, PlanError, UnknownNameError
from ratchet.ports import Store
from ratchet.records import Run, Score, Task, Variant
from ratchet.scorers.pairwise import Preferences, judge_pairs
from ratchet.simulated.answers import Answer, AnswerKey
from ratchet.simulated.server import serve_in_thread
from ratchet.stores import open_store

COUNT = 40


@pytest.fixture
def store(project: Path) -> Iterator[Store]:
    opened = open_store(project / "runs.db")
    yield opened
    opened.close()


def old(row: dict[str, int]) -> str:
    return f"old {row['number']:02d}"


def new(row: dict[str, int]) -> str:
    return f"new {row['number']:02d}" + " at length" * row["number"]


def pairs_run(store: Store, folder: Path, **arms: Variant) -> Run:
    path = folder / "pairs.jsonl"
    path.write_text("".join(json.dumps({"id": f"q{i}", "input": {"number": i}}) + "\n" for i in range(COUNT)))
    both = {"champion": Variant(target=old), "challenger": Variant(target=new)}
    return runs.run(
        Task(dataset=datasets.load(path), name="pairs"), {**both, **arms}, store=store, root=folder
    )


def says(choice: str) -> str:
    return json.dumps({"reason": f"the {choice}", "score": choice})


def judged(
    store: Store, folder: Path, answers: list[Answer], **given: Any
) -> tuple[Preferences, list[Score], int]:
    run = pairs_run(store, folder, **given.pop("arms", {}))
    with serve_in_thread(answers=AnswerKey(answers)) as server:
        settings = {
            "model": "openai/instant",
            "base_url": server.base_url("openai"),
            **given.pop("settings", {}),
        }
        found = judge_pairs(run, store, settings, root=folder, **given)
        requests = server.stats().requests
    return found, [s for s in store.scores(run.id, name="judge_pairwise")], requests


# what stands in the prompt under <first …> tells the order: the key sees the old answer right after its mark
def places(number: int, *, old_first: str, new_first: str) -> list[Answer]:
    prompt = "FIRST {answer}\nSECOND"
    return [
        Answer(contains=prompt.format(answer=f"old {number:02d}"), answer=says(old_first)),
        Answer(contains=prompt.format(answer=new({"number": number})), answer=says(new_first)),
    ]


PROMPT = "FIRST {first}\nSECOND {second}\n{verdict_format}"


def key(rule: Any) -> list[Answer]:
    return [answer for i in range(COUNT) for answer in places(i, old_first=rule(i)[0], new_first=rule(i)[1])]


def test_a_winner_in_both_orders_wins_and_a_flip_is_a_counted_tie(store: Store, project: Path) -> None:
    def rule(i: int) -> tuple[str, str]:
        if i < 10:
            return "second", "first"  # the new one, wherever it stands
        if i < 16:
            return "first", "second"  # the old one
        if i < 28:
            return "first", "first"  # whatever stands first
        return "tie", "tie"

    found, scores, requests = judged(store, project, key(rule), settings={"prompt": PROMPT})
    assert requests == 2 * COUNT
    assert (found.wins, found.losses, found.ties, found.flips, found.unread) == (10, 6, 24, 12, 0)
    assert found.first_rate == 1.0
    assert found.win_rate is not None
    assert found.win_rate.value == pytest.approx((10 + 12) / 40)
    assert found.flip_rate is not None
    assert found.flip_rate.value == pytest.approx(12 / 40)
    assert len(scores) == COUNT
    for score in scores:
        after, before = store.trace(score.trace_id), store.trace(score.against or "")
        assert after is not None
        assert before is not None
        assert (after.arm, before.arm, after.example_id) == ("challenger", "champion", before.example_id)
        assert len(score.cost_trace_ids) == 2
        flipped = 16 <= int((after.example_id or "q0")[1:]) < 28
        assert score.metadata["flipped"] is flipped
        assert score.value == (0.5 if flipped else score.value)


def test_a_judge_that_likes_long_answers_is_seen(store: Store, project: Path) -> None:
    found, _, _ = judged(
        store,
        project,
        key(lambda i: ("second", "first") if i + (i % 5) * 4 > 24 else ("first", "second")),
        settings={"prompt": PROMPT},
    )
    assert found.length is not None
    assert found.length.low > 0
    assert found.length.n == COUNT


def test_an_unreadable_verdict_is_none_with_its_reason(store: Store, project: Path) -> None:
    answers = [Answer(contains="FIRST", answer="I could not say.")]
    found, scores, requests = judged(store, project, answers, settings={"prompt": PROMPT, "retries": 1})
    assert (found.unread, found.win_rate, requests) == (COUNT, None, 4 * COUNT)
    assert {score.value for score in scores} == {None}
    assert sum(found.reasons.values()) == COUNT


def test_the_built_in_prompt_shows_both_answers_fenced(store: Store, project: Path) -> None:
    found, scores, _ = judged(store, project, [Answer(contains="Which answer does", answer=says("tie"))])
    assert found.ties == COUNT
    assert found.flips == 0
    call = store.trace(scores[0].cost_trace_ids[0])
    assert call is not None
    text = call.input[1]["content"]
    before, after = store.trace(scores[0].against or ""), store.trace(scores[0].trace_id)
    assert before is not None
    assert after is not None
    assert text.index(f"{before.output}\n</first ") < text.index(f"{after.output}\n</second ")


def test_peoples_labels_of_the_pairs_are_compared(store: Store, project: Path) -> None:
    answers = [Answer(contains="Which answer does", answer=says("tie"))]
    run = pairs_run(store, project)
    with serve_in_thread(answers=AnswerKey(answers)) as server:
        settings = {"model": "openai/instant", "base_url": server.base_url("openai")}
        assert judge_pairs(run, store, settings, labels="good", root=project).people is None
        store.write(
            Score(trace_id=row.id, name="good", value=row.arm == "champion" or int((row.example_id or "q0")[1:]) % 2 == 0,
                  source="human", by="ada")
            for row in list(store.rows(run.id)) if row.arm
        )  # fmt: skip
        found = judge_pairs(run, store, settings, labels="good", root=project).people
    assert found is not None
    assert found.value == 0.5


def test_what_can_not_be_compared_is_told(store: Store, project: Path) -> None:
    run = pairs_run(store, project, third=Variant(target=old, version="3"))
    with pytest.raises(PlanError, match="challenger, third: --candidate"):
        judge_pairs(run, store, {"model": "openai/x"}, root=project)
    with pytest.raises(UnknownNameError, match="no arm named 'fourth'"):
        judge_pairs(run, store, {"model": "openai/x"}, candidate="fourth", root=project)
    with pytest.raises(ConfigError, match="takes no labels"):
        judge_pairs(run, store, {"model": "openai/x", "labels": ["a", "b"]}, candidate="third", root=project)
    with pytest.raises(ConfigError, match="needs a model"):
        judge_pairs(run, store, {}, candidate="third", root=project)
