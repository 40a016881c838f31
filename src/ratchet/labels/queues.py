"""Queues: which answers people look at, in which order, and why. Built once; the store deals the items out."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from ratchet import codec, datasets
from ratchet.errors import ConfigError, PlanError, UnknownNameError, did_you_mean
from ratchet.labels import rubrics
from ratchet.labels.comparing import Pair, disagreements, pairs_of
from ratchet.labels.draws import choose
from ratchet.labels.rubrics import Rubric
from ratchet.ports import LabelItem, LabelQueue, Store
from ratchet.records import Dimension, Json, Run

Order = Literal["random", "disagreement", "worst", "pairs"]
ORDERS: Mapping[str, str] = {
    "random": "Random",
    "disagreement": "Disagreement first",
    "worst": "Worst change first",
    "pairs": "Blind pairs",
}
Between = Literal["judge-code", "repeats", "arms", "people"]
BETWEEN: Mapping[str, str] = {
    "judge-code": "judge and code",
    "repeats": "repeats of one arm",
    "arms": "arms",
    "people": "people",
}
LEASE_S = 5 * 60.0
"""An open page renews its leases."""
MOST_ITEMS = 20_000
_KEPT_CHARS = 20_000
"""Longer inputs and expected answers are not copied into the item; the page takes them from the trace."""
_APART = 10
"""A repeat comes at least so many items after what it repeats, where the queue is long enough."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a queue is to be built."""

    order: Order = "random"
    score: str = "quality"
    """The name of the scores that labels become."""
    n: int = 100
    """Examples, each with the answers of all arms; for "disagreement" and "worst" items."""
    seed: int = 0
    name: str = ""
    stratify: str | None = None
    """Metadata, or "group": each of its values gets its share."""
    where: Mapping[str, str] = field(default_factory=dict[str, str])
    """Only examples with these values."""
    arms: tuple[str, ...] = ()
    """Only these arms' answers."""
    between: Between = "judge-code"
    """Between whom, for "disagreement"."""
    other: str | None = None
    """The second score of "judge-code"; the first code score by default."""
    metric: str | None = None
    """What "worst" goes by; the queue's own score by default."""
    lower_is_better: bool = False
    baseline: str | None = None
    baseline_run: str | None = None
    """Where the baseline's answers are, if in another run."""
    candidate: str | None = None
    per_item: int = 1
    """People who label each item."""
    repeats: float = 0.0
    """Share of the items shown to the same person again."""
    blind: bool = True
    """For pairs of answers: hide which arm gave which, and swap the sides at random."""
    lease_s: float = LEASE_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """One queue, as it was built."""

    id: str
    name: str
    run_id: str
    rubric: str
    """The rubric's name, which is the score's; its newest version is what people see."""
    recipe: Recipe
    size: int
    """Items, repeats not counted."""
    frame: int
    """Examples or pairs that could have been drawn."""
    created_at: float
    by: str = ""
    dimension: Dimension = "accuracy"
    dataset_id: str = ""
    splits: tuple[str, ...] = ()
    """Of its examples: who opens the queue sees examples of these."""

    @property
    def is_pairwise(self) -> bool:
        """Whether a label says which of two answers is better."""
        return self.recipe.order == "pairs"

    def describe(self) -> str:
        """How its items were chosen, in words."""
        recipe = self.recipe
        text = ORDERS[recipe.order]
        if recipe.order == "disagreement":
            text = f"Disagreement of {BETWEEN[recipe.between]} first"
        if recipe.stratify:
            text += f", by {recipe.stratify}"
        for key, value in recipe.where.items():
            text += f", only {key}={value}"
        return text


@dataclass(frozen=True, slots=True)
class _Planned:
    trace_id: str
    against: str | None = None
    details: Mapping[str, Json] = field(default_factory=dict[str, Any])


def build(run: Run, store: Store, recipe: Recipe, *, by: str = "", rubric: Rubric | None = None) -> Queue:
    """A new queue over this run's answers, kept in the store; the same recipe gives the same order.

    Args:
        rubric: What is asked; the newest of the score's name by default, else what its scorer could have said.

    Raises:
        ConfigError: A setting that doesn't fit.
        PlanError: Nothing is there to label.
        UnknownNameError: No such arm, score or metadata.
    """
    _check(run, recipe)
    asked = _rubric(run, store, recipe, rubric)
    planned, frame = _PLANS[recipe.order](run, store, recipe)
    if not planned:
        raise PlanError(f"run {run.id} has nothing for this queue: {_nothing(recipe)}")
    texts, splits = _texts(run, store, planned)
    rng = random.Random(f"{recipe.seed} repeats")
    order = _with_repeats(len(planned), recipe.repeats, rng)
    places: dict[int, int] = {}
    now = time.time()
    queue = Queue(
        id=codec.content_id([run.id, codec.identity(recipe), now, by])[:12],
        name=codec.clean_text(recipe.name.strip())[:100] or f"{ORDERS[recipe.order]}, {recipe.score}",
        run_id=run.id,
        rubric=asked.name,
        recipe=recipe,
        size=len(planned),
        frame=frame,
        created_at=now,
        by=by,
        dimension=_dimension(run, recipe.score),
        dataset_id=run.task.dataset.id,
        splits=splits,
    )
    items: list[LabelItem] = []
    for position, index in enumerate(order):
        first = places.setdefault(index, position)
        item = planned[index]
        repeat_of = first if first != position else None
        items += [
            LabelItem(
                queue_id=queue.id, position=position, slot=slot, trace_id=item.trace_id, against=item.against,
                repeat_of=repeat_of, details={**item.details, **texts.get(item.trace_id, {})},
            )
            for slot in range(recipe.per_item)
        ]  # fmt: skip
    if store.ref(f"rubrics/{asked.name}") is None or rubric is not None:
        rubrics.keep(store, asked, by=by)
    store.save_queue(LabelQueue(id=queue.id, created_at=now, data=codec.encode(queue)), items)
    return queue


def load(store: Store, queue_id: str) -> Queue:
    """The queue of this id, or of which this is the beginning or the name.

    Raises:
        UnknownNameError: There is none.
    """
    row = store.label_queue(queue_id)
    if row is not None:
        return _decode(row)
    found = all_of(store)
    fits = [q for q in found if q.name == queue_id] or [
        q for q in found if queue_id and q.id.startswith(queue_id)
    ]
    if len(fits) >= 1:
        return fits[0]
    raise UnknownNameError("label queue", queue_id, [q.id for q in found[:20]])


def all_of(store: Store) -> list[Queue]:
    """Every queue, newest first."""
    return [_decode(row) for row in store.label_queues()]


def _decode(row: LabelQueue) -> Queue:
    return codec.decode(Queue, dict(row.data))


def _check(run: Run, recipe: Recipe) -> None:
    if recipe.order not in ORDERS:
        raise ConfigError(
            f"the order is {recipe.order!r}, expected one of {', '.join(ORDERS)}.{did_you_mean(recipe.order, ORDERS)}"
        )
    if recipe.between not in BETWEEN:
        raise ConfigError(f"between is {recipe.between!r}, expected one of {', '.join(BETWEEN)}")
    limits = (
        ("the number of items", recipe.n, 1, MOST_ITEMS),
        ("people per item", recipe.per_item, 1, 20),
        ("the share of repeats", recipe.repeats, 0.0, 0.5),
        ("the lease", recipe.lease_s, 1.0, 7 * 86400.0),
    )
    for what, value, low, high in limits:
        if not low <= value <= high:
            raise ConfigError(f"{what} is {value:g}, expected {low:g} to {high:g}")
    if not recipe.score.strip():
        raise ConfigError("the labels need a name: what the scores are to be called, such as quality")
    for arm in (*recipe.arms, recipe.candidate):
        if arm is not None and arm not in run.arms:
            raise UnknownNameError("arm", arm, run.arms)


def _rubric(run: Run, store: Store, recipe: Recipe, given: Rubric | None) -> Rubric:
    asked = given or rubrics.load(store, recipe.score)
    if asked is None:
        asked = rubrics.pairwise(recipe.score) if recipe.order == "pairs" else rubrics.default_for(run, store, recipe.score)  # fmt: skip
    if (asked.kind == "pair") != (recipe.order == "pairs"):
        raise ConfigError(
            f"the rubric {asked.name!r} asks for {rubrics.KINDS[asked.kind]}, which doesn't fit the order "
            f"{recipe.order!r}; give the scores another name"
        )
    return replace(asked, name=recipe.score)


def _dimension(run: Run, score: str) -> Dimension:
    for scorer in run.task.scorers:
        if score == scorer.name or score.startswith(f"{scorer.name}."):
            return scorer.dimension
    return "accuracy"


def _nothing(recipe: Recipe) -> str:
    if recipe.order == "disagreement":
        return f"no two values of {recipe.score} by {BETWEEN[recipe.between]} differ"
    return "no example has answers on both arms"


def _random(run: Run, store: Store, recipe: Recipe) -> tuple[list[_Planned], int]:
    found = choose(
        run,
        store,
        n=recipe.n,
        seed=recipe.seed,
        stratify=recipe.stratify,
        where=recipe.where,
        arms=recipe.arms,
    )
    why = f"drawn at random, {found.examples} of {found.frame} examples"
    details: dict[str, Json] = {"probability": found.probability, "why": why}
    return [_Planned(trace, details=details) for trace in found.traces], found.frame


def _disagreement(run: Run, store: Store, recipe: Recipe) -> tuple[list[_Planned], int]:
    found = disagreements(
        run, store, recipe.score, between=recipe.between, other=recipe.other, arms=recipe.arms,
        where=recipe.where, seed=recipe.seed,
    )  # fmt: skip
    return [_Planned(d.trace_id, details={"why": d.why}) for d in found[: recipe.n]], len(found)


def _worst(run: Run, store: Store, recipe: Recipe) -> tuple[list[_Planned], int]:
    found = _pairs(run, store, recipe, metric=recipe.metric or recipe.score)
    sign = -1.0 if recipe.lower_is_better else 1.0
    scored = [(sign * pair.change, pair) for pair in found if pair.change is not None]
    if not scored:
        raise PlanError(
            f"no example has a number as {recipe.metric or recipe.score!r} on both arms; another score is named with "
            "--metric"
        )
    worst = sorted(scored, key=lambda item: (item[0], item[1].candidate))[: recipe.n]
    rng = random.Random(recipe.seed)
    return [_paired(pair, recipe, rng, f"change {gain:+.3g}") for gain, pair in worst], len(scored)


def _blind_pairs(run: Run, store: Store, recipe: Recipe) -> tuple[list[_Planned], int]:
    found = sorted(_pairs(run, store, recipe), key=lambda pair: pair.candidate)
    rng = random.Random(recipe.seed)
    rng.shuffle(found)
    chosen = found[: recipe.n]
    why = f"drawn at random, {len(chosen)} of {len(found)} pairs"
    probability = len(chosen) / len(found) if found else 0.0
    return [_paired(pair, recipe, rng, why, probability=probability) for pair in chosen], len(found)


def _pairs(run: Run, store: Store, recipe: Recipe, metric: str | None = None) -> list[Pair]:
    other = store.run(recipe.baseline_run) if recipe.baseline_run else None
    if recipe.baseline_run and other is None:
        raise PlanError(f"the store has no run {recipe.baseline_run!r}, which the baseline is to be from")
    before, after = sides(run, recipe, other)
    return pairs_of(run, store, before, after, metric=metric, where=recipe.where, baseline_run=other)


def _paired(pair: Pair, recipe: Recipe, rng: random.Random, why: str, **more: Json) -> _Planned:
    swap = recipe.blind and rng.random() < 0.5
    details = {"why": why, "left": "candidate" if swap else "baseline", **more}
    return _Planned(pair.candidate, against=pair.baseline, details=details)


def sides(run: Run, recipe: Recipe, baseline_run: Run | None = None) -> tuple[str, str]:
    """Baseline and candidate.

    Raises:
        PlanError: The run has not two arms, or several could be the candidate.
    """
    first = baseline_run or run
    before = recipe.baseline or first.baseline or next(iter(first.arms))
    if before not in first.arms:
        raise UnknownNameError("arm", before, first.arms)
    others = [arm for arm in run.arms if arm != before or first is not run]
    if recipe.candidate is None and len(others) != 1:
        raise PlanError(
            f"which arm is compared with {before}? There are {', '.join(others) or 'no others'}; name the candidate"
        )
    return before, recipe.candidate or others[0]


_PLANS: Mapping[str, Callable[[Run, Store, Recipe], tuple[list[_Planned], int]]] = {
    "random": _random,
    "disagreement": _disagreement,
    "worst": _worst,
    "pairs": _blind_pairs,
}


def _texts(
    run: Run, store: Store, planned: Sequence[_Planned]
) -> tuple[dict[str, dict[str, Json]], tuple[str, ...]]:
    """By trace: its example's id, input and expected answer, so that the page needs no file; and the splits."""
    wanted = {item.trace_id for item in planned}
    by_trace = {row.id: row.example_id for row in store.rows(run.id) if row.id in wanted}
    examples = set(by_trace.values())
    found: dict[str, dict[str, Json]] = {}
    splits: set[str] = set()
    for example in datasets.examples(run.task.dataset):
        if example.id in examples:
            splits |= {example.split} if example.split else set()
            texts: dict[str, Json] = {"example": example.id}
            for name, value in (("input", example.input), ("expected", example.expected)):
                if value is not None and len(codec.dumps(value)) <= _KEPT_CHARS:
                    texts[name] = value
            found[example.id] = texts
    own = {trace: found[example] for trace, example in by_trace.items() if example in found}
    return own, tuple(sorted(splits))


def _with_repeats(count: int, share: float, rng: random.Random) -> list[int]:
    """Indices of the items in their order, some of them a second time, later."""
    order = list(range(count))
    chosen = sorted(rng.sample(order, min(round(share * count), count)))
    for index in chosen:
        at = order.index(index)
        first = min(at + _APART + 1, len(order))
        order.insert(rng.randint(first, len(order)), index)
    return order
