"""Checks on a judge's scores: people's labels put the judge's error into the interval, and a lack of them is told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ratchet.calibrations import BY_PEOPLE, MIN_LABELS, corrected_difference, corrected_mean
from ratchet.evidence import HUMAN, ArmData, Bools, Evidence, Floats, Ints
from ratchet.records import Check
from ratchet.stats.intervals import Alternative, Interval
from ratchet.verdicts.pairs import Pair
from ratchet.verdicts.values import _bad, _values, _worst


def is_corrected(check: Check, pair: Pair) -> bool:
    """Whether people labelled answers that this check's judge scored, and its measure can use their labels."""
    arms = (pair.candidate,) if check.rule in ("at_most", "at_least") else (pair.baseline, pair.candidate)
    return (
        check.measure in ("mean", "rate")
        and not check.relative
        and check.label is None
        and check.errors == "fail"
        and all(HUMAN + check.metric in arm.columns for arm in arms)
    )


def corrected(
    check: Check, pair: Pair, *, level: float, null: float, alternative: Alternative = "two-sided"
) -> Interval | None:
    """The interval of what people would find; None where `is_corrected` is not, or fewer than 2 units are labelled.

    A failed answer is a fail for judge and people alike. Of an example's repeats people label one: the judge's score of
    that repeat is set beside it, and the mean of all repeats where nobody labelled.
    """
    if not is_corrected(check, pair):
        return None
    limited = check.rule in ("at_most", "at_least")
    sides = [(pair.candidate, pair.after, pair.after_unit)]
    if not limited:
        sides.insert(0, (pair.baseline, pair.before, pair.before_unit))
    judged = [_values(check, arm)[rows] for arm, rows, _ in sides]
    bad = [_bad(check, arm)[rows] for arm, rows, _ in sides]
    worst = _worst(check, judged)
    count = 1 + max(int(units.max()) for _, _, units in sides)
    human = [
        np.where(wrong, np.nan, _human(check, arm, rows))
        for (arm, rows, _), wrong in zip(sides, bad, strict=True)
    ]
    labelled = np.zeros(count, np.bool_)
    for said, (_, _, units) in zip(human, sides, strict=True):
        labelled[units[np.isfinite(said)]] = True
    made = [
        _by_unit(np.where(wrong, worst, values), said, wrong, units, labelled, worst)
        for values, said, wrong, (_, _, units) in zip(judged, human, bad, sides, strict=True)
    ]
    groups = None if pair.groups is None else pair.groups[np.arange(count)].tolist()
    if limited:
        ((values, said),) = made
        return corrected_mean(values, said, groups=groups, level=level, null=null)
    (before, said_before), (after, said_after) = made
    return corrected_difference(
        (before, after),
        (said_before, said_after),
        groups=groups,
        level=level,
        null=null,
        alternative=alternative,
    )


def note_on(interval: Interval, raw: float) -> tuple[str, ...]:
    """What the judge alone would have said, where people's labels corrected it."""
    if interval.method.startswith("PPI++") or BY_PEOPLE in interval.method:
        return (f"the judge's own difference is {raw:+.4g}",)
    return ()


def _human(check: Check, arm: ArmData, rows: Ints) -> Floats:
    return arm.columns[HUMAN + check.metric].values[rows]


def _by_unit(
    values: Floats, said: Floats, bad: Bools, units: Ints, labelled: Bools, worst: float
) -> tuple[Floats, Floats]:
    """The judge's value and people's of every unit; NaN where there is none."""
    count = len(labelled)
    has_label = np.isfinite(said)
    own_label = np.zeros(count, np.bool_)
    own_label[units[has_label]] = True
    # of a labelled unit, the repeats that people saw; of all others, every repeat
    used = np.isfinite(values) & (has_label | ~own_label[units])
    judge = _means(values, units, used, count)
    human = _means(said, units, has_label & used, count)
    # the other arm's answer was labelled, and this one failed: nobody needs to look at it
    failed = np.zeros(count, np.bool_)
    failed[units[bad]] = True
    lost = labelled & ~own_label & failed
    judge[lost] = human[lost] = worst
    return judge, human


def _means(values: Floats, units: Ints, used: Bools, count: int) -> Floats:
    sums = np.bincount(units[used], weights=values[used], minlength=count)
    sizes = np.bincount(units[used], minlength=count)
    return np.divide(sums, sizes, out=np.full(count, np.nan), where=sizes > 0)


def warnings(evidence: Evidence, pair: Pair, checks: Sequence[Check]) -> Iterator[str]:
    """What a reader should know of the judges that these checks rest on."""
    judges = evidence.facts.get("judges") or []
    states = evidence.facts.get("calibrations") or {}
    for metric in dict.fromkeys(check.metric for check in checks if check.metric in judges):
        own = [check for check in checks if check.metric == metric]
        judge = pair.candidate.columns[metric].by if metric in pair.candidate.columns else metric
        if all(is_corrected(check, pair) for check in own):
            said = _human(own[0], pair.candidate, pair.after)
            n = len(np.unique(pair.after_unit[np.isfinite(said)]))
            if n < MIN_LABELS:
                yield (
                    f"The judge {judge} is uncalibrated: people labelled {n} examples, at least {MIN_LABELS} are needed. "
                    f"{metric} rests on these labels alone."
                )
            continue
        state = str(states.get(metric, "none"))
        known = f" (its calibration is {state})" if state != "none" else ""
        if all(HUMAN + metric in arm.columns for arm in (pair.baseline, pair.candidate)):
            yield (
                f"The error of the judge {judge} is not in the interval of {metric}: only means and rates with an absolute "
                "margin are corrected by people's labels."
            )
        else:
            yield (
                f"The judge {judge} is uncalibrated here{known}: its scores of {metric} decide as if people had given "
                "them. Label a sample: ratchet judge calibrate sample."
            )
