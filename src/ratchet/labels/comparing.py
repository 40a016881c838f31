"""Which answers differ: an example's answers of two arms, and values of a score that don't agree."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ratchet.agreements import number_of, text_of
from ratchet.errors import ConfigError, UnknownNameError
from ratchet.labels.draws import answers_by_example, strata_of
from ratchet.ports import Store, TraceRow
from ratchet.records import Run, Score, ScoreValue


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """The answers of two arms to one example."""

    example: str
    baseline: str
    """Trace id."""
    candidate: str
    change: float | None
    """Of the metric, candidate minus baseline, means over repeats; None without numbers on both."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Disagreement:
    """An answer on which two or more differ."""

    trace_id: str
    distance: float
    why: str


def pairs_of(
    run: Run,
    store: Store,
    baseline: str,
    candidate: str,
    *,
    metric: str | None = None,
    where: Mapping[str, str] | None = None,
    baseline_run: Run | None = None,
) -> list[Pair]:
    """Every example that both arms answered, each with its first repeat that has both.

    Args:
        baseline_run: Where the baseline's answers are, if in another run of the same examples.
    """
    first = baseline_run or run
    before = answers_by_example(first, store, arms=(baseline,))
    after = _only(run, answers_by_example(run, store, arms=(candidate,)), where or {})
    values = _numbers(run, store, metric) if metric else {}
    if metric and first is not run:
        values |= _numbers(first, store, metric)
    found: list[Pair] = []
    for example, repeats in after.items():
        others = before.get(example, {})
        repeat = min(repeats.keys() & others.keys(), default=None)
        if repeat is not None:
            ours = _mean(values.get(own[candidate]) for own in repeats.values())
            theirs = _mean(values.get(own[baseline]) for own in others.values())
            found.append(
                Pair(
                    example=example,
                    baseline=others[repeat][baseline],
                    candidate=repeats[repeat][candidate],
                    change=None if ours is None or theirs is None else ours - theirs,
                )
            )
    return found


def _only(
    run: Run, answers: dict[str, dict[int, dict[str, str]]], where: Mapping[str, str]
) -> dict[str, dict[int, dict[str, str]]]:
    for key, value in where.items():
        values = strata_of(run, answers, key)
        answers = {example: own for example, own in answers.items() if values.get(example, "") == value}
    return answers


def _numbers(run: Run, store: Store, metric: str) -> dict[str, float]:
    """By trace; of several sources the one that judged last, people aside."""
    found: dict[str, float] = {}
    for score in store.scores(run.id, name=metric):
        value = number_of(score.value)
        if value is not None and score.against is None and score.source in ("code", "judge"):
            found[score.trace_id] = value
    return found


def _mean(values: Iterable[float | None]) -> float | None:
    given = [value for value in values if value is not None]
    return sum(given) / len(given) if given else None


def disagreements(
    run: Run,
    store: Store,
    score: str,
    *,
    between: str,
    other: str | None = None,
    arms: Sequence[str] = (),
    where: Mapping[str, str] | None = None,
    seed: int = 0,
) -> list[Disagreement]:
    """Answers on which values of this score differ, the farthest apart first, equals in an order drawn with the seed.

    Raises:
        UnknownNameError: No such score.
        ConfigError: "judge-code" without a code score.
    """
    rows = _rows(run, store, arms, where or {})
    scores = [
        s for s in store.scores(run.id) if s.trace_id in rows and s.against is None and s.value is not None
    ]
    known = sorted({s.name for s in scores})
    if score not in known:
        raise UnknownNameError("score", score, known)
    if between == "judge-code":
        found = _two_scores(scores, score, other)
    elif between == "people":
        found = _between(_by_trace([s for s in scores if s.name == score and s.source == "human"]))
    else:
        found = _between_answers(
            [s for s in scores if s.name == score and s.source != "human"], rows, between
        )
    random.Random(seed).shuffle(found)
    return sorted(found, key=lambda d: -d.distance)


def _rows(run: Run, store: Store, arms: Sequence[str], where: Mapping[str, str]) -> dict[str, TraceRow]:
    answers = _only(run, answers_by_example(run, store, arms=arms), where)
    ids = {trace for repeats in answers.values() for own in repeats.values() for trace in own.values()}
    return {row.id: row for row in store.rows(run.id) if row.id in ids}


def _two_scores(scores: Sequence[Score], score: str, other: str | None) -> list[Disagreement]:
    second = other or next((s.name for s in scores if s.source == "code" and s.name != score), None)
    if second is None:
        raise ConfigError(f"{score} is compared with a second score, and there is none by code; name it")
    values: dict[str, dict[str, ScoreValue]] = {}
    for found in scores:
        if found.name in (score, second) and found.source in ("judge", "code"):
            values.setdefault(found.trace_id, {})[found.name] = found.value
    return _between({trace: list(own.items()) for trace, own in values.items()})


def _by_trace(scores: Sequence[Score]) -> dict[str, list[tuple[str, ScoreValue]]]:
    found: dict[str, list[tuple[str, ScoreValue]]] = {}
    for score in scores:
        found.setdefault(score.trace_id, []).append((score.by, score.value))
    return found


def _between(said: Mapping[str, Sequence[tuple[str, ScoreValue]]]) -> list[Disagreement]:
    found: list[Disagreement] = []
    for trace, values in said.items():
        distance = _distance([value for _, value in values])
        if distance > 0.0:
            found.append(Disagreement(trace_id=trace, distance=distance, why=_differ(values)))
    return found


def _between_answers(
    scores: Sequence[Score], rows: Mapping[str, TraceRow], between: str
) -> list[Disagreement]:
    """One answer of each group that differs: the one farthest from the others."""
    groups: dict[tuple[str | None, ...], list[Score]] = {}
    for score in scores:
        row = rows[score.trace_id]
        key = (
            (row.example_id, row.arm, score.by)
            if between == "repeats"
            else (row.example_id, str(row.repeat), score.by)
        )
        groups.setdefault(key, []).append(score)
    found: list[Disagreement] = []
    for own in groups.values():
        distance = _distance([s.value for s in own])
        if distance > 0.0:
            odd = max(own, key=lambda s: sum(_distance([s.value, o.value]) for o in own))
            # which arm or repeat said what would tell people what to think
            values = ", ".join(sorted(text_of(s.value) for s in own))
            found.append(
                Disagreement(trace_id=odd.trace_id, distance=distance, why=f"{between} differ: {values}")
            )
    return found


def _distance(values: Sequence[ScoreValue]) -> float:
    if len(values) < 2:
        return 0.0
    numbers = [number_of(value) for value in values]
    given = [number for number in numbers if number is not None]
    if len(given) == len(values):
        return max(given) - min(given)
    return float(len({text_of(value) for value in values}) - 1)


def _differ(values: Sequence[tuple[str, ScoreValue]]) -> str:
    return "; ".join(f"{who} says {text_of(value)}" for who, value in values)
