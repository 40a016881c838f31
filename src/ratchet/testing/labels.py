"""What every store must do with queues of labels, as tests to inherit: part of `testing.stores.StoreContract`."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from ratchet.ports import LabelItem, LabelQueue, Store
from ratchet.records import Score

Q = "queue"


def a_queue(store: Store, count: int = 5, *, slots: int = 1, **fields: Any) -> list[LabelItem]:
    """The items of a saved queue over traces t0, t1…; fields as in `LabelItem`, for the last item alone."""
    items = [
        LabelItem(queue_id=Q, position=n, slot=slot, trace_id=f"t{n}", details={"why": "random"})
        for n in range(count)
        for slot in range(slots)
    ]
    if fields:
        items[-1] = LabelItem(queue_id=Q, position=count - 1, slot=0, trace_id=f"t{count - 1}", **fields)
    store.save_queue(LabelQueue(id=Q, created_at=1.0, data={"name": "first", "seed": 7}), items)
    return items


def a_label(trace_id: str, value: Any, by: str = "ada", *, at: float = 1.0, **fields: Any) -> Score:
    return Score(
        trace_id=trace_id, name="quality", value=value, source="human", by=by, created_at=at, **fields
    )


def take(
    store: Store, person: str = "ada", most: int = 1, *, now: float = 0.0, lease_s: float = 60.0
) -> list[int]:
    """The positions that this person holds after asking for so many."""
    found = store.lease_items(Q, person, most=most, now=now, until=now + lease_s)
    return [item.position for item in found]


def label(store: Store, position: int, value: Any, by: str = "ada", *, slot: int = 0, token: str = "", at: float = 1.0) -> bool:  # fmt: skip
    score = a_label(f"t{position}", value, by, at=at, metadata={"queue": Q, "position": position})
    return store.finish_item(Q, position, slot, score, token=token) is not None


def human(store: Store) -> dict[tuple[str, str], Any]:
    return {(s.trace_id, s.by): s.value for s in store.scores(name="quality") if s.source == "human"}


class LabelContract:
    """Leases, labels and undo."""

    def test_a_queue_comes_back_as_it_was_saved_and_is_never_changed(self, store: Store) -> None:
        items = a_queue(store, 3)
        store.save_queue(LabelQueue(id=Q, created_at=2.0, data={"name": "second"}), [])
        assert store.label_queue(Q) == LabelQueue(id=Q, created_at=1.0, data={"name": "first", "seed": 7})
        assert list(store.label_items(Q)) == items
        assert store.label_item(Q, 1, 0) == items[1]
        assert store.label_item(Q, 3, 0) is None
        assert store.label_queue("none") is None
        store.save_queue(LabelQueue(id="newer", created_at=3.0, data={}), [])
        assert [queue.id for queue in store.label_queues()] == ["newer", Q]

    def test_everyone_gets_the_next_items_that_nobody_has(self, store: Store) -> None:
        a_queue(store, 5)
        assert take(store, "ada", 2) == [0, 1]
        assert take(store, "ben", 2) == [2, 3]
        assert take(store, "ada", 2) == [0, 1], "asked again, the same"
        assert take(store, "cy", 2) == [4]
        assert take(store, "dan", 2) == []

    def test_a_lease_that_ran_out_is_given_on_and_its_first_holder_can_no_longer_label(
        self, store: Store
    ) -> None:
        a_queue(store, 1)
        assert take(store, "ada", now=0.0, lease_s=10.0) == [0]
        assert take(store, "ben", now=9.0) == []
        assert take(store, "ben", now=10.0) == [0]
        assert not label(store, 0, True, "ada")
        assert label(store, 0, True, "ben")
        assert human(store) == {("t0", "ben"): True}

    def test_a_label_after_its_lease_ran_out_counts_while_nobody_else_has_the_item(
        self, store: Store
    ) -> None:
        a_queue(store, 2)
        take(store, "ada", now=0.0, lease_s=10.0)
        assert label(store, 0, True, "ada", at=500.0)
        assert label(store, 1, False, "ada", at=501.0), "nobody ever had it"
        assert human(store) == {("t0", "ada"): True, ("t1", "ada"): False}

    def test_an_item_for_two_people_never_goes_to_one_twice(self, store: Store) -> None:
        a_queue(store, 1, slots=2)
        assert take(store, "ada", 2) == [0]
        assert take(store, "ben", 2) == [0]
        assert take(store, "cy", 2) == []
        assert label(store, 0, True, "ada", slot=0)
        assert take(store, "ada", 2) == []
        assert not label(store, 0, False, "ada", slot=1), "the other slot is not hers"
        assert label(store, 0, False, "ben", slot=1)
        assert human(store) == {("t0", "ada"): True, ("t0", "ben"): False}

    def test_a_repeat_goes_to_the_person_alone_who_labelled_what_it_repeats(self, store: Store) -> None:
        a_queue(store, 2, repeat_of=0)
        assert take(store, "ada", 2) == [0]
        label(store, 0, True)
        assert take(store, "ben", 2) == []
        assert take(store, "ada", 2) == [1]
        label(store, 1, False)
        progress = store.label_progress(Q, now=0.0)
        assert (progress.total, progress.done, progress.repeats_done) == (1, 1, 1)

    def test_the_same_label_sent_twice_is_kept_once(self, store: Store) -> None:
        a_queue(store, 2)
        take(store)
        assert label(store, 0, True, token="x1")
        assert label(store, 0, True, token="x1")
        assert not label(store, 0, False, token="x2"), "closed; undo opens it again"
        assert len(list(store.scores(name="quality", history=True))) == 1
        assert len(list(store.label_events(Q))) == 1

    def test_a_skipped_item_goes_to_others_and_not_back(self, store: Store) -> None:
        a_queue(store, 2)
        assert take(store) == [0]
        assert store.skip_item(Q, 0, 0, "ada", now=1.0, token="x")
        assert store.skip_item(Q, 0, 0, "ada", now=1.0, token="x"), "sent twice"
        assert take(store) == [1]
        assert take(store, "ben") == [0]
        assert not store.skip_item(Q, 1, 0, "ben", now=1.0), "it is ada's"
        assert len(list(store.label_events(Q))) == 1

    def test_undo_goes_back_step_by_step_and_shows_the_items_again(self, store: Store) -> None:
        a_queue(store, 3)
        take(store, most=3)
        label(store, 0, True)
        label(store, 1, True)
        store.skip_item(Q, 2, 0, "ada", now=1.0)
        undone = [store.undo_label(Q, "ada", now=5.0, until=65.0) for _ in range(4)]
        assert [(event.kind, event.position) for event in undone if event] == [
            ("skip", 2),
            ("label", 1),
            ("label", 0),
        ]
        assert undone[3] is None
        assert take(store, most=3) == [0, 1, 2]
        assert human(store) == {("t0", "ada"): None, ("t1", "ada"): None}
        reasons = {s.reason for s in store.scores(name="quality")}
        assert reasons == {"undone"}
        assert list(store.label_events(Q)) == []

    def test_the_same_undo_sent_twice_takes_back_one_step(self, store: Store) -> None:
        a_queue(store, 2)
        label(store, 0, True)
        label(store, 1, True)
        undone = [store.undo_label(Q, "ada", now=5.0, until=65.0, token="u1") for _ in range(2)]
        assert [event.position for event in undone if event] == [1, 1]
        assert human(store) == {("t0", "ada"): True, ("t1", "ada"): None}

    def test_undo_brings_back_what_the_label_replaced(self, store: Store) -> None:
        a_queue(store, 1)
        store.write([a_label("t0", 3.0, reason="earlier")])
        take(store)
        label(store, 0, 5.0)
        assert human(store) == {("t0", "ada"): 5.0}
        store.undo_label(Q, "ada", now=9.0, until=10.0)
        (score,) = store.scores(name="quality")
        assert (score.value, score.reason, score.created_at) == (3.0, "earlier", 9.0)
        assert len(list(store.scores(name="quality", history=True))) == 3, "scores are only added"

    def test_undo_leaves_a_newer_label_from_elsewhere(self, store: Store) -> None:
        a_queue(store, 1)
        take(store)
        label(store, 0, True)
        store.write([a_label("t0", False, reason="from the compare page")])
        assert store.undo_label(Q, "ada", now=9.0, until=10.0) is not None
        assert human(store) == {("t0", "ada"): False}

    def test_undo_is_each_persons_own_and_reaches_so_many_steps(self, store: Store) -> None:
        a_queue(store, 6)
        for position, person in enumerate(["ada", "ben", "ada", "ada", "ben", "ada"]):
            label(store, position, True, person)
        assert [
            e.position for _ in range(3) if (e := store.undo_label(Q, "ada", now=9.0, until=10.0, steps=3))
        ] == [5, 3, 2]
        assert store.undo_label(Q, "ada", now=9.0, until=10.0, steps=3) is None
        assert human(store)[("t0", "ada")] is True
        assert human(store)[("t1", "ben")] is True

    def test_undo_of_a_skip_leaves_the_item_with_whom_it_went_to(self, store: Store) -> None:
        a_queue(store, 1)
        take(store)
        store.skip_item(Q, 0, 0, "ada", now=1.0)
        assert take(store, "ben") == [0]
        assert store.undo_label(Q, "ada", now=2.0, until=60.0) is not None
        assert take(store, "ada") == []
        assert label(store, 0, True, "ben")

    def test_everything_is_there_after_reopening_undo_included(
        self, store: Store, make_store: Callable[[], Store]
    ) -> None:
        a_queue(store, 3)
        take(store, most=2, now=0.0)
        label(store, 0, True)
        store.close()
        again = make_store()
        try:
            assert take(again, "ben", now=1.0) == [2], "the leases are kept"
            assert take(again, "ada", now=1.0) == [1]
            assert human(again) == {("t0", "ada"): True}
            event = again.undo_label(Q, "ada", now=2.0, until=60.0)
            assert event is not None
            assert event.position == 0
            assert human(again) == {("t0", "ada"): None}
        finally:
            again.close()

    def test_who_gave_scores_is_listed_by_name_newest_first(self, store: Store) -> None:
        score = Score(trace_id="t1", name="judge", value=True, source="judge", by="judge@1")
        store.write(
            [score, score.replace(trace_id="t2"), score.replace(name="tone", by="tone@1", trace_id="t3")]
        )
        store.write([score.replace(by="judge@2", trace_id="t4"), score.replace(source="human", by="ada")])
        found = store.score_makers("judge")
        assert [(m.name, m.by, m.count, m.newest_trace_id) for m in found] == [
            ("judge", "judge@2", 1, "t4"),
            ("judge", "judge@1", 2, "t2"),
            ("tone", "tone@1", 1, "t3"),
        ]
        assert store.score_makers("judge", after=max(m.newest for m in found)) == []
        assert [m.by for m in store.score_makers("human")] == ["ada"]

    def test_a_flag_is_noted_and_taken_back(self, store: Store) -> None:
        a_queue(store, 1)
        store.flag_item(Q, 0, 0, "ada", "disagree", now=1.0, on=True, data={"judge": False})
        store.flag_item(Q, 0, 0, "ben", "disagree", now=2.0, on=True)
        store.flag_item(Q, 0, 0, "ben", "disagree", now=3.0, on=False)
        events = list(store.label_events(Q))
        assert [(e.person, e.kind, e.data) for e in events] == [("ada", "disagree", {"judge": False})]
        assert list(store.label_events(Q, person="ben")) == []

    def test_progress_counts_by_state_and_person(self, store: Store) -> None:
        a_queue(store, 4)
        take(store, "ada", 2, now=0.0, lease_s=10.0)
        label(store, 0, True, "ada")
        label(store, 2, True, "ben")
        progress = store.label_progress(Q, now=5.0)
        assert (progress.total, progress.done, progress.leased) == (4, 2, 1)
        assert progress.by_person == {"ada": 1, "ben": 1}
        assert store.label_progress(Q, now=10.0).leased == 0

    def test_many_at_once_never_get_one_item_and_label_each_once(self, store: Store) -> None:
        a_queue(store, 60)
        got: list[tuple[str, int]] = []

        def work(person: str) -> None:
            while items := take(store, person, 2, now=0.0):
                for position in items:
                    assert label(store, position, True, person)
                    got.append((person, position))

        threads = [threading.Thread(target=work, args=(f"p{n}",)) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(position for _, position in got) == list(range(60))
        assert len(human(store)) == 60
