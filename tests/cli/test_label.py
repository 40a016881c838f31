"""`ratchet label`, as a person types it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from labels.desk import a_desk
from ratchet.labels import giving, queues
from ratchet.labels.giving import Answer
from ratchet.stores.sqlite import SQLiteStore

from .conftest import Ratchet


@pytest.fixture
def store(project: Path) -> Iterator[SQLiteStore]:
    (project / ".ratchet").mkdir()
    with SQLiteStore(project / ".ratchet" / "ratchet.db") as opened:
        a_desk(opened, project)
        yield opened


def test_without_a_store_or_a_queue_the_next_step_is_named(ratchet: Ratchet, project: Path) -> None:
    missing = ratchet("label")
    assert missing.code == 2
    assert "`ratchet run` makes one" in missing.err


def test_a_queue_is_made_listed_and_its_labels_go_out_and_in(
    ratchet: Ratchet, store: SQLiteStore, project: Path
) -> None:
    assert "No queue yet. Make one: ratchet label new" in ratchet("label").out
    made = ratchet(
        "label",
        "new",
        "--order",
        "worst",
        "--metric",
        "grade",
        "-s",
        "quality",
        "-n",
        "3",
        "--name",
        "the worst",
    )
    assert made.code == 0, made.err
    (queue,) = queues.all_of(store)
    assert f"Queue {queue.id}, the worst: 3 items" in made.out
    assert f"/label/{queue.id}" in made.out
    (item,) = giving.lease(store, queue, "ann", most=1)
    assert giving.give(store, queue, item, "ann", Answer(position=0, slot=0, value=True))
    listed = ratchet("label").out
    assert "1 of 3" in listed
    assert "ann" in listed
    for kind in ("csv", "jsonl", "json"):
        out = ratchet("label", "--export", f"out/labels.{kind}", "--queue", "the worst")
        assert f"out/labels.{kind}: 1 labels" in out.out
        assert "0 labels kept" in ratchet("label", "--import", f"out/labels.{kind}").out
    assert ratchet("label", "--import", "out/labels.json", "--by", "ben", "--json").json == {
        "file": "out/labels.json",
        "labels": 1,
    }
    assert {s.by for s in store.scores(name="quality") if s.source == "human"} == {"ann", "ben"}


def test_options_become_the_recipe(ratchet: Ratchet, store: SQLiteStore, project: Path) -> None:
    (project / "rubric.md").write_text("When in doubt, no.", "utf-8")
    words = "label new run --score tone --asked many:a,b --text rubric.md -n 4 --where topic=a --arm champion --per-item 2 --repeats 0.25 --seed 9 --json"
    found = ratchet(*words.split()).json
    assert found["items"] == 8
    queue = queues.load(store, found["queue"])
    recipe = queue.recipe
    assert (recipe.n, recipe.seed, recipe.where, recipe.arms) == (4, 9, {"topic": "a"}, ("champion",))
    assert (recipe.per_item, recipe.repeats) == (2, 0.25)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("label --export a.csv --import rubric.md", "give one of them"),
        ("label --export labels.xlsx", "the extension says the format of labels"),
        ("label --export a.csv --queue nothing", "no label queue named 'nothing'"),
        ("label new --where topic", "expected KEY=VALUE"),
        ("label new --asked 5-1", "expected the lower end first"),
        ("label new nonsense", "no run is named 'nonsense'"),
        ("label --import rubric.md", "the extension says the format of labels"),
    ],
)
def test_what_can_not_be_done_is_said_with_what_can(
    ratchet: Ratchet, store: SQLiteStore, project: Path, words: str, why: str
) -> None:
    (project / "rubric.md").write_text("x", "utf-8")
    found = ratchet(*words.split())
    assert found.code == 2
    assert why in found.err


def test_a_bad_row_is_told_by_file_line_and_column_and_nothing_is_kept(
    ratchet: Ratchet, store: SQLiteStore, project: Path
) -> None:
    rows = [{"trace_id": row.id, "name": "quality", "value": True} for row in store.rows("run")][:2]
    (project / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    found = ratchet("label", "--import", "in.jsonl")
    assert found.code == 2
    assert "in.jsonl:1, column 'by': '': expected who labelled; --by NAME says it for all rows" in found.err
    assert ratchet("label", "--import", "in.jsonl", "--by", "ann").out.startswith("in.jsonl: 2 labels kept")
