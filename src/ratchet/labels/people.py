"""What came of a queue: how far people agree with each other and with themselves, and how fast they are."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ratchet import codec
from ratchet.agreements import Estimate, between, text_of, to_estimate
from ratchet.labels import rubrics
from ratchet.labels.queues import Queue
from ratchet.labels.rubrics import Rubric
from ratchet.ports import LabelEvent, Store
from ratchet.records import Score, ScoreValue
from ratchet.stats import agreement as measures

ENOUGH = 10
"""Items that two people labelled: below it no agreement is shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CriterionAgreement:
    """How far people agree on one question."""

    name: str
    """The label that is given or not; "" for the answer as a whole."""
    items: int
    """With two labels or more."""
    same: float
    """Share of pairs of labels that are equal."""
    alpha: Estimate | None
    """Krippendorff's; None where only one label was used."""
    kappa: Estimate | None
    """Cohen's, of two people, weighted for numbers; None with more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class People:
    """How far the people of a queue agree."""

    people: tuple[str, ...]
    shared: int
    """Items that two or more labelled."""
    criteria: tuple[CriterionAgreement, ...] = ()
    """Empty until enough are shared."""
    repeated: int = 0
    """Items that one person labelled twice."""
    self_same: float | None = None
    """Share of these with the same label both times."""
    unclear: int = 0
    """Items on which somebody found the rubric unclear."""
    split: Mapping[int, Mapping[str, str]] = field(default_factory=dict[int, Mapping[str, str]])
    """Positions on which people differ: person to label."""


def value_of(event: LabelEvent) -> ScoreValue:
    """What a label said."""
    return codec.decode(Score, event.data["score"]).value


def agreement(store: Store, queue: Queue) -> People:
    """How far the people who labelled this queue agree, from its labels that stand."""
    rubric = rubrics.load(store, queue.rubric)
    repeats = {
        item.position: item.repeat_of for item in store.label_items(queue.id) if item.repeat_of is not None
    }
    said: dict[int, dict[str, ScoreValue]] = {}
    unclear: set[int] = set()
    for event in store.label_events(queue.id):
        if event.kind == "label":
            said.setdefault(event.position, {})[event.person] = value_of(event)
        elif event.kind == "unclear":
            unclear.add(event.position)
    twice = [
        (said[first][person], value)
        for position, first in repeats.items()
        for person, value in said.get(position, {}).items()
        if person in said.get(first, {})
    ]
    shared = {p: own for p, own in said.items() if p not in repeats and len(own) > 1}
    return People(
        people=tuple(sorted({person for own in said.values() for person in own})),
        shared=len(shared),
        criteria=tuple(_criteria(rubric, list(shared.values()))) if len(shared) >= ENOUGH else (),
        repeated=len(twice),
        self_same=sum(a == b for a, b in twice) / len(twice) if twice else None,
        unclear=len(unclear),
        split={
            p: {person: text_of(value) for person, value in own.items()}
            for p, own in shared.items()
            if len(set(own.values())) > 1
        },
    )


def _criteria(
    rubric: Rubric | None, said: Sequence[Mapping[str, ScoreValue]]
) -> Iterable[CriterionAgreement]:
    labels = rubrics.criteria(rubric) if rubric is not None else []
    if not labels:
        yield _one("", said, is_scale=rubric is not None and rubric.kind == "scale")
    for label in labels:
        given = [{p: isinstance(v, frozenset) and label in v for p, v in own.items()} for own in said]
        yield _one(label, given, is_scale=False)


def _one(name: str, said: Sequence[Mapping[str, ScoreValue]], *, is_scale: bool) -> CriterionAgreement:
    alpha, same = between(said)
    people = sorted({person for own in said for person in own})
    kappa = None
    if len(people) == 2:
        first, second = people
        values = sorted({v for own in said for v in own.values()}, key=_order)
        codes = {value: code for code, value in enumerate(values)}
        found = measures.agreement(
            [codes[own[first]] for own in said],
            [codes[own[second]] for own in said],
            weights="quadratic" if is_scale else "none",
            categories=list(range(len(values))),
        )
        kappa = to_estimate(found.kappa) if found.kappa else None
    return CriterionAgreement(name=name, items=len(said), same=same or 0.0, alpha=alpha, kappa=kappa)


def _order(value: ScoreValue) -> tuple[float, str]:
    return (float(value), "") if isinstance(value, (bool, int, float)) else (0.0, text_of(value))


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast a person labels."""

    labels: int
    median_s: float | None
    """Seconds an item, over the last 50 with a time."""

    @property
    def per_hour(self) -> float | None:
        """Labels in an hour at this pace."""
        return 3600.0 / self.median_s if self.median_s else None


def pace(store: Store, queue: Queue, person: str) -> Pace:
    """This person's pace in this queue."""
    times: list[float] = []
    labels = 0
    for event in store.label_events(queue.id, person=person):
        if event.kind == "label":
            labels += 1
            seconds = event.data["score"].get("metadata", {}).get("seconds")
            if isinstance(seconds, (int, float)):
                times.append(float(seconds))
    return Pace(labels=labels, median_s=statistics.median(times[-50:]) if times else None)
