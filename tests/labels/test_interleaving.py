"""Whatever people do at once with a queue: no item has two holders, nothing is lost, and undo goes back exactly."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from ratchet.ports import LabelItem, LabelQueue
from ratchet.records import Score
from ratchet.stores.sqlite import SQLiteStore

PEOPLE = st.sampled_from(["ada", "ben", "cy"])
LEASE_S = 10.0
STEPS = 5


class Interleaving(RuleBasedStateMachine):
    """A queue of a few items, some for two people, some shown again, beside a model of what must be true of it."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.store = SQLiteStore(self.folder / "ratchet.db")
        self.now = 0.0
        self.tokens = 0
        self.held: dict[tuple[int, int], tuple[str, float]] = {}
        """Slot to its holder, and until when."""
        self.done: dict[tuple[int, int], str] = {}
        self.values: dict[tuple[str, str], list[Any]] = {}
        """(trace, person) to what counted, newest last."""
        self.acts: dict[str, list[tuple[str, tuple[int, int], str]]] = {"ada": [], "ben": [], "cy": []}

    @initialize(slots=st.lists(st.integers(1, 2), min_size=2, max_size=4), repeat=st.booleans())
    def make(self, slots: list[int], repeat: bool) -> None:
        items = [
            LabelItem(queue_id="q", position=position, slot=slot, trace_id=f"t{position}")
            for position, count in enumerate(slots)
            for slot in range(count)
        ]
        if repeat:
            items.append(LabelItem(queue_id="q", position=len(slots), slot=0, trace_id="t0", repeat_of=0))
        self.items: Mapping[tuple[int, int], LabelItem] = {(i.position, i.slot): i for i in items}
        self.store.save_queue(LabelQueue(id="q", created_at=0.0, data={}), items)

    def live(self, slot: tuple[int, int]) -> str | None:
        who, until = self.held.get(slot, ("", 0.0))
        return who if who and until > self.now else None

    def skipped(self, person: str) -> set[int]:
        return {slot[0] for kind, slot, _ in self.acts[person] if kind == "skip"}

    @rule(person=PEOPLE, most=st.integers(1, 3))
    def take(self, person: str, most: int) -> None:
        before = {slot: self.live(slot) for slot in self.items}
        found = self.store.lease_items("q", person, most=most, now=self.now, until=self.now + LEASE_S)
        places = [(item.position, item.slot) for item in found]
        assert len(places) == len(set(places)) <= most
        for slot in places:
            assert slot not in self.done
            assert before[slot] in (None, person), "somebody else's lease was live"
            assert slot[0] not in self.skipped(person) or self.held.get(slot, ("",))[0] == person
            others = [s for s in self.items if s[0] == slot[0] and s != slot]
            assert all(self.done.get(other) != person for other in others)
            repeat_of = self.items[slot].repeat_of
            assert repeat_of is None or person in [who for s, who in self.done.items() if s[0] == repeat_of] or before[slot] == person or self.held.get(slot, ("",))[0] == person  # fmt: skip
            self.held[slot] = (person, self.now + LEASE_S)

    @rule(person=PEOPLE, place=st.integers(0, 9), value=st.booleans(), twice=st.booleans())
    def label(self, person: str, place: int, value: bool, twice: bool) -> None:
        slot = sorted(self.items)[place % len(self.items)]
        item = self.items[slot]
        self.tokens += 1
        score = Score(
            trace_id=item.trace_id, name="n", value=value, source="human", by=person,
            metadata={"position": slot[0], "slot": slot[1], "mark": self.tokens}, created_at=self.now,
        )  # fmt: skip
        mine = slot not in self.done and self.held.get(slot, (person,))[0] == person
        kept = False
        for _ in range(2 if twice else 1):
            kept = self.store.finish_item("q", *slot, score, token=str(self.tokens)) is not None
            if kept:
                assert mine, "the slot was another's"
        if kept and slot not in self.done:
            self.done[slot] = person
            self.held.pop(slot, None)
            self.values.setdefault((item.trace_id, person), []).append(value)
            self.acts[person].append(("label", slot, item.trace_id))

    @rule(person=PEOPLE, place=st.integers(0, 9))
    def skip(self, person: str, place: int) -> None:
        slot = sorted(self.items)[place % len(self.items)]
        if self.store.skip_item("q", *slot, person, now=self.now):
            assert slot not in self.done
            assert self.held.get(slot, (person,))[0] == person
            self.held.pop(slot, None)
            self.acts[person].append(("skip", slot, ""))

    @rule(person=PEOPLE)
    def undo(self, person: str) -> None:
        event = self.store.undo_label("q", person, now=self.now, until=self.now + LEASE_S, steps=1000)
        if not self.acts[person]:
            assert event is None
            return
        kind, slot, trace = self.acts[person].pop()
        assert event is not None
        assert (event.kind, (event.position, event.slot)) == (kind, slot)
        if kind == "label":
            self.values[trace, person].pop()
            del self.done[slot]
        item = self.store.label_item("q", *slot)
        assert item is not None
        if kind == "label" or item.person == person:
            assert (item.state, item.person) == ("leased", person)
            self.held[slot] = (person, self.now + LEASE_S)

    @rule(seconds=st.sampled_from([1.0, LEASE_S]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def restart(self) -> None:
        self.store.close()
        self.store = SQLiteStore(self.folder / "ratchet.db")

    @invariant()
    def the_store_says_what_happened(self) -> None:
        if not hasattr(self, "items"):
            return
        found = {(item.position, item.slot): item for item in self.store.label_items("q")}
        assert {s: i.person for s, i in found.items() if i.state == "done"} == self.done
        assert {s: i.person for s, i in found.items() if i.state == "leased"} == {
            s: who for s, (who, _) in self.held.items()
        }
        holders = [(s[0], i.person) for s, i in found.items() if i.person]
        assert len(holders) == len(set(holders)), "one person has two slots of one item"
        counts = {(s.trace_id, s.by): s.value for s in self.store.scores(name="n")}
        assert counts == {key: (said[-1] if said else None) for key, said in self.values.items()}

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.folder)


@pytest.mark.slow
def test_any_interleaving_keeps_one_holder_a_slot_and_every_label() -> None:
    run_state_machine_as_test(
        Interleaving, settings=settings(max_examples=20, stateful_step_count=25, deadline=None)
    )
