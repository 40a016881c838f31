from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ratchet import verdicts
from ratchet.errors import PlanError
from ratchet.records import Verdict
from ratchet.stores.sqlite import SQLiteStore
from ratchet.verdicts import keeping
from ratchet.verdicts.keeping import Source

from .made import arm, evidence, passes

SOURCES = {"a": Source(run_id="run", arm="a"), "b": Source(run_id="run", arm="b")}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLiteStore]:
    with SQLiteStore(tmp_path / "s.db") as found:
        yield found


def made(*, wrong: int = 30, at: float = 100.0) -> Verdict:
    found = evidence(
        arm("a", {"exact_match": passes(200)}), arm("b", {"exact_match": passes(200, range(wrong))})
    )
    return verdicts.decide(found).replace(created_at=at)


def keep(store: SQLiteStore, verdict: Verdict, **view: str) -> keeping.Kept:
    return keeping.keep(
        store, verdict, view={"sentence": "Hold: no.", "total": 200, **view}, sources=SOURCES, task="tickets"
    )


def test_a_kept_verdict_comes_back_whole(store: SQLiteStore) -> None:
    verdict = made()
    kept = keep(store, verdict)
    assert keeping.find(store, kept.id) == kept
    assert keeping.verdict_of(store, kept) == verdict
    assert keeping.view_of(store, kept)["sentence"] == "Hold: no."


def test_lists_are_newest_first_and_know_the_arms_without_the_verdict(store: SQLiteStore) -> None:
    old, new = keep(store, made(wrong=10, at=50.0)), keep(store, made(wrong=40, at=200.0))
    assert [one.id for one in keeping.kept(store)] == [new.id, old.id]
    assert [one.id for one in keeping.kept(store, limit=1)] == [new.id]
    (first, _) = keeping.kept(store, run_id="run")
    assert (first.baseline, first.candidate, first.task, first.outcome, first.n) == (
        "a",
        "b",
        "tickets",
        new.outcome,
        200,
    )
    assert keeping.kept(store, run_id="another") == []


def test_the_same_comparison_made_again_keeps_its_address_and_tells_its_newest_date(
    store: SQLiteStore,
) -> None:
    first, again = keep(store, made(at=100.0)), keep(store, made(at=300.0), note="new labels")
    assert first.id == again.id
    (only,) = keeping.kept(store)
    assert only.decided_at == 300.0
    assert keeping.view_of(store, only)["note"] == "new labels"


def test_the_beginning_of_an_id_finds_it_and_an_unknown_one_nothing(store: SQLiteStore) -> None:
    kept = keep(store, made())
    assert keeping.find(store, kept.id[:8]) == kept
    assert keeping.find(store, "f" * 32) is None
    assert keeping.find(store, "") is None


def test_a_beginning_that_fits_two_is_refused_with_their_names(store: SQLiteStore) -> None:
    for name in ("abcdef01", "abcdef02"):
        store.move_ref(f"verdicts/{name}", "x", expected=None)
    with pytest.raises(PlanError, match="fits 2 verdicts"):
        keeping.find(store, "abcdef")


def test_a_lost_view_is_said(store: SQLiteStore) -> None:
    kept = keeping.Kept(
        id="1" * 32, outcome="hold", task="", baseline="a", candidate="b", sentence="", n=0, decided_at=0.0,
        run_ids=(), view_id="2" * 32,
    )  # fmt: skip
    with pytest.raises(PlanError, match="lost the view"):
        keeping.view_of(store, kept)
    with pytest.raises(PlanError, match="lost the verdict"):
        keeping.verdict_of(store, kept)


def test_many_at_once_lose_none(store: SQLiteStore) -> None:
    found = [made(wrong=wrong) for wrong in (5, 15, 25, 35)]
    threads = [threading.Thread(target=keep, args=(store, verdict)) for verdict in found for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {one.id for one in keeping.kept(store)} == {keeping.id_of(verdict) for verdict in found}
