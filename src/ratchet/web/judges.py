"""The judges' screen: how far each agrees with people, where they differ, and whether its calibration holds."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from starlette.routing import Route

from ratchet import calibrations, sheets
from ratchet.agreements import ArmAgreement, compare, number_of, text_of
from ratchet.labels import queues
from ratchet.ports import ScoreMaker
from ratchet.web import labels_seen, pages

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from ratchet.calibrations import Status
    from ratchet.records import Run, Score, ScoreValue
    from ratchet.stores.sqlite import SQLiteStore

MOST_LABELLED = 2000
"""Newest labelled answers that the live numbers rest on."""
MOST_DISAGREEMENTS = 100
MOST_CLASSES = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Differing:
    """An answer on which a judge and people differ."""

    trace_id: str
    arm: str
    example: str
    people: str
    judge: str
    reason: str
    note: str
    distance: float
    confirmed: tuple[str, ...]
    """Who saw the judge's answer and still disagrees."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """A judge against people's labels as they are now."""

    overall: ArmAgreement
    arms: Mapping[str, ArmAgreement]
    people: tuple[str, ...]
    undecided: int
    unscored: int
    differing: tuple[Differing, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Flips:
    """A pairwise judge asked in both orders."""

    pairs: int
    flipped: int
    """Whose winner changed with the order."""


@dataclass(slots=True)
class _Made:
    """What was read of a store: judges by score name and maker, and numbers until a label or score is added."""

    lock: threading.Lock
    last: int
    makers: dict[tuple[str, str], ScoreMaker]
    live: dict[tuple[str, str, int, int], Live | None]


_MADE: WeakKeyDictionary[SQLiteStore, _Made] = WeakKeyDictionary()
_OPENING = threading.Lock()


@pages.needs("view")
def index(request: Request) -> Response:
    """Every judge, and one of them in full: `?judge=NAME`."""
    store = pages.store(request)
    found = judges(store)
    names = list(dict.fromkeys(maker.name for maker in found))
    asked = request.query_params.get("judge", "")
    chosen = asked if asked in names else (names[0] if names else "")
    runs = store.runs(limit=1)
    if not chosen:
        return pages.render(request, "judges.html", names=[], one=None, has_runs=bool(runs))
    makers = [maker for maker in found if maker.name == chosen]
    return pages.render(request, "judges.html", names=names, one=_one(store, makers), has_runs=True)


def judges(store: SQLiteStore) -> list[ScoreMaker]:
    """Every judge by the name of its score, its newest version first; read once, then only what is new."""
    made = _made(store)
    with made.lock:
        for maker in store.score_makers("judge", after=made.last):
            before = made.makers.get((maker.name, maker.by))
            count = maker.count + (before.count if before else 0)
            made.makers[maker.name, maker.by] = ScoreMaker(
                name=maker.name,
                by=maker.by,
                count=count,
                newest_trace_id=maker.newest_trace_id,
                newest=maker.newest,
            )
        made.last = max((maker.newest for maker in made.makers.values()), default=0)
        return sorted(made.makers.values(), key=lambda maker: (maker.name, -maker.newest))


def _made(store: SQLiteStore) -> _Made:
    with _OPENING:
        return _MADE.setdefault(store, _Made(threading.Lock(), 0, {}, {}))


def _one(store: SQLiteStore, makers: Sequence[ScoreMaker]) -> dict[str, Any]:
    newest = makers[0]
    trace = store.trace(newest.newest_trace_id)
    run = store.run(trace.run_id) if trace is not None and trace.run_id else None
    kept = calibrations.load(store, newest.name)
    status = calibrations.status(kept, newest.by, run.arms if run else {})
    found = _live_cached(store, newest)
    return {
        "maker": newest,
        "versions": len(makers),
        "models": _models(run, newest.name),
        "run": run,
        "calibration": kept,
        "calibrated_at": max(
            (move.at for move in store.ref_log(f"calibrations/{newest.name}")), default=None
        ),
        "status": status,
        "next": _next_step(newest, run, status, found),
        "live": found,
        "labels": list(found.overall.confusion)[:MOST_CLASSES] if found else [],
        "flips": _flips(store, run, newest),
        "queue_link": {"run": run.id if run else "", "order": "random", "score": newest.name, "n": "60"},
    }


def _models(run: Run | None, score: str) -> list[str]:
    from ratchet import scores

    scorer = sheets.scorer_of(run, score) if run is not None else None
    return sorted({str(model.model) for model in scores.models_of(scorer)}) if scorer else []


def _next_step(
    maker: ScoreMaker, run: Run | None, status: Status, live: Live | None
) -> list[tuple[str, str]]:
    """What to type, and why."""
    which = run.id[:13] if run else ""
    score = f" --scorer {maker.name}" if maker.name != "judge" else ""
    steps: list[tuple[str, str]] = []
    if live is None:
        steps.append(
            (f"ratchet label new {which} --score {maker.name} -n 60".replace("  ", " "), "deal answers out to people, to be labelled here")
        )  # fmt: skip
        steps.append((f"ratchet judge calibrate sample {which}{score} -n 60 -o labels.csv", "or on a sheet"))
    if status.state != "fresh":
        steps.append(
            (
                f"ratchet judge calibrate report {which}{score} --retest 1",
                "measure it on the labels, and keep that",
            )
        )
    return steps


def _live_cached(store: SQLiteStore, maker: ScoreMaker) -> Live | None:
    labels = labelled(store, maker.name)
    mark = hash(tuple(sorted((trace, repr(sorted(given.items()))) for trace, given in labels.items())))
    made = _made(store)
    key = (maker.name, maker.by, maker.newest, mark)
    if key not in made.live:
        found = live(store, maker, labels)
        with made.lock:
            if len(made.live) > 32:
                made.live.clear()
            made.live[key] = found
    return made.live[key]


def labelled(store: SQLiteStore, score: str) -> dict[str, dict[str, ScoreValue]]:
    """By trace: what each person said as this score, of the newest labelled answers."""
    found: dict[str, dict[str, ScoreValue]] = {}
    for trace_id, given in labels_seen.of_people(store).items():
        own = {by: value for (name, by), value in given.items() if name == score}
        if own:
            found[trace_id] = own
    return dict(list(found.items())[-MOST_LABELLED:])


def live(
    store: SQLiteStore, maker: ScoreMaker, labels: Mapping[str, Mapping[str, ScoreValue]]
) -> Live | None:
    """This version of the judge against people's labels; None where no answer has both."""
    pairs: list[tuple[ScoreValue, ScoreValue]] = []
    units: list[str] = []
    arms: list[str] = []
    differing: list[Differing] = []
    undecided = unscored = 0
    confirmed = _confirmed(store, maker.name)
    for trace_id, said in labels.items():
        scores = list(store.scores(trace_id=trace_id, name=maker.name))
        judge = next(
            (s for s in scores if s.source == "judge" and s.by == maker.by and s.against is None), None
        )
        people = calibrations.decided_of(list(said.values()))
        if judge is None or judge.value is None or people is None:
            undecided += people is None
            unscored += people is not None
            continue
        trace = store.trace(trace_id)
        pairs.append((people, judge.value))
        units.append((trace.group or trace.example_id or trace_id) if trace else trace_id)
        arms.append((trace.arm or "") if trace else "")
        if text_of(people) != text_of(judge.value):
            notes = "; ".join(s.reason for s in scores if s.source == "human" and s.reason)
            example = (trace.example_id or "") if trace else ""
            who = tuple(sorted(confirmed.get(trace_id, ())))
            differing.append(
                _differing(judge, people, arm=arms[-1], example=example, note=notes, confirmed=who)
            )
    if not pairs:
        return None
    by_arm = {
        arm: compare([p for p, a in zip(pairs, arms, strict=True) if a == arm], [u for u, a in zip(units, arms, strict=True) if a == arm], with_bias=False)
        for arm in sorted(set(arms))
    }  # fmt: skip
    return Live(
        overall=compare(pairs, units, with_bias=False),
        arms=by_arm,
        people=tuple(sorted({person for said in labels.values() for person in said})),
        undecided=undecided,
        unscored=unscored,
        differing=tuple(
            sorted(differing, key=lambda d: (-len(d.confirmed), -d.distance, d.trace_id))[:MOST_DISAGREEMENTS]
        ),
    )


def _differing(
    judge: Score, people: ScoreValue, *, arm: str, example: str, note: str, confirmed: tuple[str, ...]
) -> Differing:
    first, second = number_of(people), number_of(judge.value)
    return Differing(
        trace_id=judge.trace_id,
        arm=arm,
        example=example,
        people=text_of(people),
        judge=text_of(judge.value),
        reason=judge.reason or "",
        note=note,
        distance=1.0 if first is None or second is None else abs(second - first),
        confirmed=confirmed,
    )


def _confirmed(store: SQLiteStore, score: str) -> dict[str, set[str]]:
    """By trace: who, shown the judge's answer, pressed the key that says it is wrong."""
    found: dict[str, set[str]] = {}
    for queue in queues.all_of(store):
        if queue.recipe.score == score:
            for event in store.label_events(queue.id):
                if event.kind == "disagree":
                    item = store.label_item(queue.id, event.position, event.slot)
                    if item is not None:
                        found.setdefault(item.trace_id, set()).add(event.person)
    return found


def _flips(store: SQLiteStore, run: Run | None, maker: ScoreMaker) -> Flips | None:
    """None for a judge of single answers."""
    trace = maker.newest_trace_id
    if run is None or not any(s.against for s in store.scores(trace_id=trace, name=maker.name)):
        return None
    own = [
        s
        for s in store.scores(run.id, name=maker.name)
        if s.by == maker.by and s.value is not None and s.against
    ]
    return Flips(pairs=len(own), flipped=sum(bool(s.metadata.get("flipped")) for s in own))


routes = [Route("/judge", index, methods=["GET"])]
