"""Measures over the repeats of an example, or over the examples of a group: one value each, then a mean as any other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ratchet.evidence import SIMILARITY, ArmData, Floats, Ints, is_short, similarity_of
from ratchet.records import Check
from ratchet.stats import stability
from ratchet.verdicts.pairs import Pair
from ratchet.verdicts.values import REPEAT_MEASURES, NoValuesError, Sides, sides

_SPREADS = ("worst", "best", "group_mean")


def is_over_repeats(check: Check, pair: Pair) -> bool:
    """Whether the check's values are made of several answers to one example."""
    kept = check.metric in pair.candidate.columns
    return check.measure in REPEAT_MEASURES or (check.metric == "stability" and not kept)


def sides_by_example(check: Check, pair: Pair) -> Sides:
    """One value an example and arm: the agreement of its repeats, the chance that they pass, the worst of its group.

    Raises:
        NoValuesError: There are no repeats, or the answers weren't kept.
    """
    if check.measure in ("pass_at_k", "pass_hat_k"):
        return _passes(check, pair)
    if check.measure in _SPREADS:
        return _spread(check, pair)
    return _similarity(check, pair) if check.measure == "similarity" else _agreement(check, pair)


def _codes(found: Sides) -> tuple[Ints, Ints, Ints]:
    units, codes = np.unique(found.before_unit, return_inverse=True)
    return units, codes.astype(np.int64), np.searchsorted(units, found.after_unit)


def _passes(check: Check, pair: Pair) -> Sides:
    found = sides(replace(check, measure="rate", rule="no_worse"), pair)
    units, before, after = _codes(found)
    tries = np.bincount(before), np.bincount(after)
    k = int(check.settings.get("k", min(int(each.min()) for each in tries)))
    share = stability.pass_at_k if check.measure == "pass_at_k" else stability.pass_hat_k
    return _made(
        found,
        share(np.bincount(before, weights=found.before), tries[0], k),
        share(np.bincount(after, weights=found.after), tries[1], k),
        units,
        f"k = {k}",
    )


def _spread(check: Check, pair: Pair) -> Sides:
    """The worst, the best or the mean answer to each group of examples (paraphrases), else to each example."""
    found = sides(replace(check, measure="mean", rule="no_worse"), pair)
    owners = (found.before_unit, found.after_unit)
    if found.groups is not None:
        owners = (found.groups[found.before_unit], found.groups[found.after_unit])
    units = np.unique(owners[0])
    low = (check.measure == "worst") == check.higher_is_better
    values: list[Floats] = []
    for owner, side in zip(owners, (found.before, found.after), strict=True):
        codes = np.searchsorted(units, owner)
        if check.measure == "group_mean":
            values.append(np.bincount(codes, weights=side) / np.bincount(codes))
            continue
        extreme = np.full(len(units), np.inf if low else -np.inf)
        (np.minimum if low else np.maximum).at(extreme, codes, side)
        values.append(extreme)
    return replace(_made(found, values[0], values[1], units, ""), groups=None)


def _made(found: Sides, before: Floats, after: Floats, units: Ints, note: str) -> Sides:
    notes = (*found.notes, note) if note else found.notes
    return replace(
        found,
        before=before,
        after=after,
        before_unit=units,
        after_unit=units,
        aligned=True,
        repeats=False,
        notes=notes,
    )


def _similarity(check: Check, pair: Pair) -> Sides:
    """How alike the answers to each example are, by edit distance; a repeat that failed is like nothing."""
    if check.metric != "stability":
        raise NoValuesError(
            f"similarity is of the answers, not of {check.metric}: ask for the metric stability, measure similarity"
        )
    values: list[Floats] = []
    for arm, rows, units in (
        (pair.baseline, pair.before, pair.before_unit),
        (pair.candidate, pair.after, pair.after_unit),
    ):
        _check_repeated(arm, units)
        _, codes = np.unique(units, return_inverse=True)
        alike = _alike(arm)[rows]
        values.append(np.bincount(codes, weights=np.nan_to_num(alike)) / np.bincount(codes))
    return _by_unit(pair, values)


def _alike(arm: ArmData) -> Floats:
    column = arm.columns.get(SIMILARITY)
    if column is not None:
        return column.values
    if not arm.answers:
        raise NoValuesError(f"the answers of {arm.name} were not kept, which similarity needs")
    if not all(is_short(answer) for answer in arm.answers):
        raise NoValuesError(
            f"the answers of {arm.name} are long and were kept as hashes; similarity of them is measured where the check "
            "stands in the task before its runs are compared"
        )
    lost = (arm.failed | arm.unparsable).tolist()
    answers = [None if gone else answer for answer, gone in zip(arm.answers, lost, strict=True)]
    return similarity_of(answers, arm.example)


def _check_repeated(arm: ArmData, units: Ints) -> None:
    if int(np.unique(units, return_counts=True)[1].max()) < 2:
        raise NoValuesError(
            f"{arm.name} has one answer an example; stability needs repeats: 2 or more, better 5"
        )


def _by_unit(pair: Pair, values: list[Floats]) -> Sides:
    units = np.unique(pair.before_unit)
    return Sides(
        before=values[0],
        after=values[1],
        before_unit=units,
        after_unit=units,
        groups=pair.groups,
        aligned=True,
        repeats=False,
    )


def _agreement(check: Check, pair: Pair) -> Sides:
    if check.measure == "agreement" and len(pair.before) != len(pair.after):
        raise NoValuesError(
            "the arms have other numbers of repeats; agreement falls with that number, so it can't be compared"
        )
    values: list[Floats] = []
    for arm, rows, units in (
        (pair.baseline, pair.before, pair.before_unit),
        (pair.candidate, pair.after, pair.after_unit),
    ):
        _check_repeated(arm, units)
        answers = _answers(check, arm)
        values.append(_by_example(check, [answers[row] for row in rows.tolist()], units))
    return _by_unit(pair, values)


def _by_example(check: Check, answers: list[object], units: Ints) -> Floats:
    if check.measure == "agreement":
        return stability.same_by_example(answers, units)
    flips = stability.repeat_flips_by_example(answers, units)
    return flips if check.measure == "flip_rate" else 1.0 - flips


def _answers(check: Check, arm: ArmData) -> list[object]:
    """What is compared between repeats, a row: the answer, or what a scorer made of it. None agrees with nothing."""
    column = arm.columns.get(check.metric)
    if check.metric == "stability" or column is None:
        if not arm.answers:
            raise NoValuesError(
                f"the answers of {arm.name} were not kept, which stability needs; repeats: 2 or more keeps them"
            )
        found: list[object] = list(arm.answers)
    elif column.kind == "labels":
        found = [None if predicted is None else tuple(sorted(predicted)) for predicted, _ in column.labels]
    else:
        found = [None if value != value else value for value in column.values.tolist()]
    lost = (arm.failed | arm.unparsable).tolist()
    return [None if gone else _hashable(answer) for answer, gone in zip(found, lost, strict=True)]


def _hashable(answer: object) -> object:
    """The answer with its type, so that 1, True and "1" differ."""
    return None if answer is None else (type(answer).__name__, str(answer))
