"""A model that says which of two answers is better, asked in both orders: what changes with the order is a tie."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ratchet import asking, codec, prompts, runs
from ratchet.agreements import Estimate, mean_of, to_estimate
from ratchet.errors import ConfigError, PlanError, ScorerError, UnknownNameError
from ratchet.families import family_of
from ratchet.ports import Ask, Store
from ratchet.records import Example, Json, Run, Score, Trace, Variant
from ratchet.scorers import _rubrics
from ratchet.scorers.judge import _variant, read_reply
from ratchet.stats.lengths import LengthEffect, length_effect
from ratchet.stats.proportions import wilson_interval

NAME = "judge_pairwise"
CHOICES = ("first", "second", "tie")
_MIN_FOR_LENGTH = 30
_LEVEL = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Preferences:
    """What a pairwise judge found. Win rates are the candidate's, ties counted as half."""

    name: str
    by: str
    baseline: str
    candidate: str
    wins: int
    losses: int
    ties: int
    """Flips included."""
    flips: int
    """Pairs whose winner changed with the order; each is a tie."""
    unread: int
    """Pairs without a readable verdict in both orders; they count nowhere else."""
    win_rate: Estimate | None
    flip_rate: Estimate | None
    first_rate: float | None
    """Of the choices in flipped pairs, ties aside, the share for the answer shown first: 0.5 is no preference for a place."""
    length: LengthEffect | None = None
    family: str = ""
    """Where the judge is of a candidate's family, which one."""
    people: Estimate | None = None
    """Share of pairs on which people's labels prefer the same side; None without labels."""
    reasons: Mapping[str, int] = field(default_factory=dict[str, int])
    """Why pairs are unread."""


def rubric(settings: Mapping[str, Json], root: Path) -> _rubrics.Rubric:
    """The rubric of these settings: `model`, `prompt` (its own variables: {first} and {second}) and a judge's others.

    Raises:
        ConfigError, PromptError: A setting doesn't fit.
    """
    given = dict(settings)
    if not given.get("prompt"):
        path = Path(__file__).parent / "pairs" / "preference.yaml"
        given["prompt"] = codec.encode(prompts.load(path).replace(path="", name="preference"))
    for key in ("criteria", "labels", "scale"):
        if key in given:
            raise ConfigError(f"a pairwise judge says first, second or tie; it takes no {key}")
    prepared = _rubrics.prepare({**given, "labels": list(CHOICES)}, root)
    return _rubrics.rubric_of(prepared)


def judge_pairs(
    run: Run,
    store: Store,
    settings: Mapping[str, Json],
    *,
    baseline: str | None = None,
    candidate: str | None = None,
    labels: str | None = None,
    root: Path,
    concurrency: int = 16,
) -> Preferences:
    """Ask a model which arm answered each example better, in both orders, and keep a Score of each pair.

    The Score stands on the candidate's trace, `against` the baseline's: 1 won, 0 lost, 0.5 a tie or a flip. Failed
    answers are not compared.

    Args:
        labels: A score that people labelled; their preference by it is compared with the judge's.

    Raises:
        UnknownNameError: No such arm.
        PlanError: There is no pair of answers.
    """
    baseline, candidate = _arms(run, baseline, candidate)
    chosen = rubric(settings, root)
    pairs = _pairs(run, store, baseline, candidate, root)
    if not pairs:
        raise PlanError(f"{baseline} and {candidate} have no pair of answers in run {run.id}")
    by = f"{NAME}@1+{chosen.version}"

    async def ask_all() -> list[Score]:
        async with asking.asking(run, store, [chosen.variant], root=root, concurrency=concurrency) as ask:
            room = asyncio.Semaphore(concurrency)

            async def one(before: Trace, after: Trace, example: Example) -> Score:
                async with room:
                    score = await _both_orders(chosen, by, before, after, example, ask)
                    await store.awrite([score])
                    return score

            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one(*pair)) for pair in pairs]
            return [task.result() for task in tasks]

    found = runs.drive(lambda _: ask_all())
    return _summed(run, store, found, pairs, chosen.variant, (by, baseline, candidate), labels)


def _arms(run: Run, baseline: str | None, candidate: str | None) -> tuple[str, str]:
    before = baseline or run.baseline or next(iter(run.arms))
    others = [arm for arm in run.arms if arm != before]
    if candidate is None and len(others) != 1:
        raise PlanError(
            f"which arm is the candidate? There are {', '.join(others) or 'none'}: --candidate NAME"
        )
    after = candidate or others[0]
    for arm in (before, after):
        if arm not in run.arms:
            raise UnknownNameError("arm", arm, run.arms)
    return before, after


def _pairs(
    run: Run, store: Store, baseline: str, candidate: str, root: Path
) -> list[tuple[Trace, Trace, Example]]:
    sides: dict[tuple[str, int], dict[str, Trace]] = {}
    examples: dict[str, Example] = {}
    for trace, example in runs.pairs(run, store):
        if trace.error is None and trace.answer_error is None and trace.arm in (baseline, candidate):
            sides.setdefault((example.id, trace.repeat), {})[trace.arm] = trace
            examples[example.id] = example
    return [
        (both[baseline], both[candidate], examples[example])
        for (example, _), both in sides.items()
        if baseline in both and candidate in both
    ]


async def _both_orders(
    chosen: _rubrics.Rubric, by: str, before: Trace, after: Trace, example: Example, ask: Ask
) -> Score:
    said: list[str | None] = []
    reasons: list[str] = []
    asked: list[str] = []
    for first, second in ((before, after), (after, before)):
        choice, reason, calls = await _choice(chosen, first, second, example, ask)
        said.append(choice)
        reasons.append(reason)
        asked += calls
    unread = next((reasons[i] for i, choice in enumerate(said) if choice is None), None)
    value = None if unread is not None else _value(said)
    return Score(
        trace_id=after.id,
        against=before.id,
        name=NAME,
        value=value,
        reason=(unread or " | ".join(filter(None, reasons)))[:1000] or None,
        source="judge",
        by=by,
        cost_trace_ids=tuple(asked),
        metadata={
            "orders": said,
            "flipped": _flipped(said),
            "rubric": chosen.name,
            "rubric_version": chosen.version,
            "judge": chosen.variant.model,
        },
        created_at=time.time(),
    )


def _value(said: Sequence[str | None]) -> float:
    """1 where the candidate won in both orders, 0 where it lost in both, else 0.5."""
    return {("second", "first"): 1.0, ("first", "second"): 0.0}.get((said[0] or "", said[1] or ""), 0.5)


def _flipped(said: Sequence[str | None]) -> bool:
    """Whether the verdict changed with the order; a tie in one order alone is a change too."""
    return None not in said and tuple(said) not in {("second", "first"), ("first", "second"), ("tie", "tie")}


async def _choice(
    chosen: _rubrics.Rubric, first: Trace, second: Trace, example: Example, ask: Ask
) -> tuple[str | None, str, list[str]]:
    """First, second or tie (None: unread), why, and the calls."""
    asked: list[str] = []
    try:
        filled = _rubrics.variables_for(chosen, first, example)
        other = _rubrics.variables_for(chosen, second, example)
    except ScorerError as error:
        return None, str(error), asked
    filled |= {"first": filled["answer"], "second": other["answer"]}
    both = f"{filled['boundary']} {other['boundary']}"
    filled["boundary"] = hashlib.sha256(both.encode()).hexdigest()[:12]
    reason = "the judge was not asked"
    for attempt in range(chosen.retries + 1):
        reply = await ask(_variant(chosen), filled, judged=first, repeat=attempt)
        asked.append(reply.id)
        if reply.error is not None:
            return None, f"the judge failed: {reply.error.kind}: {reply.error.message}", asked
        reading = read_reply(reply, chosen.criteria, chosen.output)
        if isinstance(choice := reading.values.get(""), str):
            return choice, reading.reasons.get("", ""), asked
        reason = reading.problems.get("", reading.problem)
    return None, reason, asked


def _summed(
    run: Run,
    store: Store,
    found: Sequence[Score],
    pairs: Sequence[tuple[Trace, Trace, Example]],
    judge: Variant,
    names: tuple[str, str, str],
    labels: str | None,
) -> Preferences:
    by, baseline, candidate = names
    read = [(s, pair) for s, pair in zip(found, pairs, strict=True) if isinstance(s.value, float)]
    values = [s.value for s, _ in read if isinstance(s.value, float)]
    flips = [s for s, _ in read if s.metadata["flipped"]]
    places = [c for s in flips for c in s.metadata["orders"] if c != "tie"]
    units = [p[2].group if p[2].group is not None else f"example {p[2].id}" for _, p in read]
    longer = [float(_size(after) - _size(before)) for _, (before, after, _) in read]
    steady = len(read) >= _MIN_FOR_LENGTH and len(set(values)) > 1 and len(set(longer)) > 1
    reasons: dict[str, int] = {}
    for score in found:
        if score.value is None:
            reasons[score.reason or ""] = reasons.get(score.reason or "", 0) + 1
    family = family_of(judge.model)
    related = [arm for arm in (baseline, candidate) if family and family_of(run.arms[arm].model) == family]
    return Preferences(
        name=NAME,
        by=by,
        baseline=baseline,
        candidate=candidate,
        wins=values.count(1.0),
        losses=values.count(0.0),
        ties=values.count(0.5),
        flips=len(flips),
        unread=len(found) - len(read),
        win_rate=mean_of(values, units) if values else None,
        flip_rate=to_estimate(wilson_interval(len(flips), len(read), level=_LEVEL)) if read else None,
        first_rate=places.count("first") / len(places) if places else None,
        length=length_effect(values, longer, level=_LEVEL) if steady else None,
        family=f"{family} ({', '.join(related)})" if related else "",
        people=_with_people(run, store, read, labels) if labels else None,
        reasons=reasons,
    )


def _size(trace: Trace) -> int:
    output: Any = trace.output
    return len(output) if isinstance(output, str) else len(codec.dumps(output))


def _with_people(
    run: Run,
    store: Store,
    read: Sequence[tuple[Score, tuple[Trace, Trace, Example]]],
    labels: str,
) -> Estimate | None:
    """How often the judge's side is the one that people's labels prefer, ties being a side of their own."""
    from ratchet.calibrations import human_values

    human = human_values(store, run.id, labels)
    same: list[float] = []
    units: list[str] = []
    for score, (before, after, example) in read:
        if before.id in human and after.id in human and isinstance(score.value, float):
            change = human[after.id] - human[before.id]
            preferred = 1.0 if change > 0 else 0.0 if change < 0 else 0.5
            same.append(float(preferred == score.value))
            units.append(example.group if example.group is not None else f"example {example.id}")
    return mean_of(same, units) if same else None
