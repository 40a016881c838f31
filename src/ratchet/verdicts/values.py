"""What a check looks at: one number a row of both arms, with failed, refused and unparsable answers treated as declared."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ratchet.errors import did_you_mean
from ratchet.evidence import FACTS, ArmData, Bools, Floats, Ints, Labels
from ratchet.records import Check
from ratchet.verdicts.pairs import Pair

FLAGS = ("error", "refused", "unparsable")
"""Metrics that are facts of every row: 1 where it is so."""
TIMES = ("latency_s", "ttft_s")
LABEL_MEASURES = ("macro_f1", "micro_f1", "jaccard", "accuracy")
REPEAT_MEASURES = (
    "agreement",
    "stability",
    "flip_rate",
    "similarity",
    "pass_at_k",
    "pass_hat_k",
    "worst",
    "best",
    "group_mean",
)


class NoValuesError(Exception):
    """A check that these data can't answer; its text says why, for the result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    """Both arms' values for one check. Rows that can't be used are gone from both; where `aligned`, rows pair."""

    before: Floats
    after: Floats
    before_unit: Ints
    after_unit: Ints
    groups: Ints | None
    """By unit's code."""
    aligned: bool
    repeats: bool
    """Whether a unit may have several rows."""
    before_labels: tuple[Labels, ...] = ()
    after_labels: tuple[Labels, ...] = ()
    notes: tuple[str, ...] = ()
    blocked: str | None = None
    """Why this check may not pass, whatever the numbers say."""

    def by_unit(self) -> tuple[Floats, Floats, Ints]:
        """The mean of each unit on both sides, and the units' codes."""
        if self.aligned and not self.repeats:
            return self.before, self.after, self.before_unit
        units, codes = np.unique(self.before_unit, return_inverse=True)
        others = np.searchsorted(units, self.after_unit)
        before = np.bincount(codes, weights=self.before) / np.bincount(codes)
        after = np.bincount(others, weights=self.after) / np.bincount(others)
        return before, after, units

    def groups_of(self, units: Ints) -> Ints | None:
        """The cluster of each of these units."""
        return None if self.groups is None else self.groups[units]


def sides(check: Check, pair: Pair) -> Sides:
    """The values of both arms for this check; for a limit, the candidate's own, whatever the baseline lacks.

    Raises:
        NoValuesError: The metric isn't there, or too much of it is missing.
    """
    if check.rule in ("at_most", "at_least"):
        return _alone(check, pair)
    notes: list[str] = []
    bad = [_bad(check, arm)[rows] for arm, rows in _both(pair)]
    values = [_values(check, arm)[rows] for arm, rows in _both(pair)]
    for (arm, rows), each, wrong in zip(_both(pair), values, bad, strict=True):
        _check_errors(check, arm, wrong, notes)
        _check_gaps(check, arm, rows, each, wrong, notes)
    worst = _worst(check, values)
    treated = [np.where(wrong, worst, each) for each, wrong in zip(values, bad, strict=True)]
    keep = [~np.isnan(each) for each in treated]
    if pair.aligned:
        keep = [keep[0] & keep[1]] * 2
    else:
        both = np.intersect1d(pair.before_unit[keep[0]], pair.after_unit[keep[1]])
        keep = [keep[0] & np.isin(pair.before_unit, both), keep[1] & np.isin(pair.after_unit, both)]
    if not keep[0].any():
        raise NoValuesError(_nothing(check, pair))
    labels = [_labels_at(check, arm, rows, kept) for (arm, rows), kept in zip(_both(pair), keep, strict=True)]
    return Sides(
        before=treated[0][keep[0]],
        after=treated[1][keep[1]],
        before_unit=pair.before_unit[keep[0]],
        after_unit=pair.after_unit[keep[1]],
        groups=pair.groups,
        aligned=pair.aligned,
        repeats=pair.repeats,
        before_labels=labels[0],
        after_labels=labels[1],
        notes=tuple(notes),
        blocked=_blocked(check, bad),
    )


def values_of(check: Check, arm: ArmData) -> Floats:
    """One arm's values for this check, errors treated as declared; NaN where a row is left out.

    Raises:
        NoValuesError: The metric isn't there.
    """
    values, bad = _values(check, arm), _bad(check, arm)
    return np.where(bad, _worst(check, [values]), values)


def _both(pair: Pair) -> tuple[tuple[ArmData, Ints], tuple[ArmData, Ints]]:
    return (pair.baseline, pair.before), (pair.candidate, pair.after)


def _alone(check: Check, pair: Pair) -> Sides:
    """The candidate's values; the baseline's, where it has any, are only shown beside them."""
    notes: list[str] = []
    values = _values(check, pair.candidate)[pair.after]
    bad = _bad(check, pair.candidate)[pair.after]
    _check_errors(check, pair.candidate, bad, notes)
    _check_gaps(check, pair.candidate, pair.after, values, bad, notes)
    try:
        base = _values(check, pair.baseline)[pair.before]
        base_bad = _bad(check, pair.baseline)[pair.before]
    except NoValuesError:
        base, base_bad = np.full(len(pair.before), _NAN), np.zeros(len(pair.before), np.bool_)
    worst = _worst(check, [base, values])
    base, values = np.where(base_bad, worst, base), np.where(bad, worst, values)
    kept_base, kept = ~np.isnan(base), ~np.isnan(values)
    if not kept.any():
        raise NoValuesError(_nothing(check, pair))
    return Sides(
        before=base[kept_base],
        after=values[kept],
        before_unit=pair.before_unit[kept_base],
        after_unit=pair.after_unit[kept],
        groups=pair.groups,
        aligned=False,
        repeats=pair.repeats,
        before_labels=_labels_at(check, pair.baseline, pair.before, kept_base),
        after_labels=_labels_at(check, pair.candidate, pair.after, kept),
        notes=tuple(notes),
    )


def _labels_at(check: Check, arm: ArmData, rows: Ints, kept: Bools) -> tuple[Labels, ...]:
    labels = _labels_of(check, arm)
    bad = _bad(check, arm)
    return (
        tuple((None, labels[row][1]) if bad[row] else labels[row] for row in rows[kept].tolist())
        if labels
        else ()
    )


def _values(check: Check, arm: ArmData) -> Floats:
    """The metric of every row of the arm; NaN where it has none."""
    flags = {"error": arm.failed, "refused": arm.refused, "unparsable": arm.unparsable}
    if check.metric in flags:
        return flags[check.metric].astype(np.float64)
    column = arm.columns.get(check.metric)
    if column is None:
        known = sorted({*arm.columns, *FLAGS, "stability"})
        if check.metric in FACTS:
            raise NoValuesError(f"{arm.name} has no {check.metric}{_why_no_fact(check.metric, arm)}")
        raise NoValuesError(
            f"{arm.name} has no score {check.metric!r}.{did_you_mean(check.metric, known)} Known: {', '.join(known)}"
        )
    if check.measure in LABEL_MEASURES or (column.kind == "labels" and check.label is None):
        if not column.labels or not any(expected for _, expected in column.labels):
            raise NoValuesError(f"{check.metric} carries no expected labels, which {check.measure} needs")
        return _label_values(check, column.labels)
    if check.label is not None:
        if not column.labels:
            raise NoValuesError(f"{check.metric} has no labels; label: {check.label} asks for one")
        found = [
            _NAN if predicted is None else float(check.label in predicted) for predicted, _ in column.labels
        ]
        return np.array(found, np.float64)
    values = column.values
    if check.metric in TIMES:
        values = np.where(arm.cached, _NAN, values)  # a cached answer took no time
    if check.measure == "rate" and not np.isin(values[~np.isnan(values)], (0.0, 1.0)).all():
        raise NoValuesError(f"{check.metric} is a number, not a pass or fail; use the measure mean")
    return values


_NAN = float("nan")


def _label_values(check: Check, labels: tuple[Labels, ...]) -> Floats:
    """A row's own number for measures that are means of rows; 0 stands in for those that are not."""
    if check.measure == "jaccard" and check.label is None:
        from ratchet.stats.labels import jaccard

        expected = [truth for _, truth in labels]
        predicted = [frozenset({"(unknown)"}) if found is None else found for found, _ in labels]
        return jaccard(expected, predicted)
    if check.measure in ("macro_f1", "micro_f1", "jaccard"):
        return np.zeros(len(labels))
    return np.array([float(found == expected) for found, expected in labels], np.float64)


def _labels_of(check: Check, arm: ArmData) -> tuple[Labels, ...]:
    column = arm.columns.get(check.metric)
    return column.labels if column is not None and check.measure in LABEL_MEASURES else ()


def _why_no_fact(metric: str, arm: ArmData) -> str:
    if metric in TIMES and bool(arm.cached.all()):
        return ": every answer came from the cache, which has no time; run with --no-cache"
    if metric == "ttft_s":
        return ": nothing was streamed; set stream: true"
    return ": its price is unknown" if metric == "cost_usd" else ""


def _nothing(check: Check, pair: Pair) -> str:
    if check.metric in TIMES and bool(pair.candidate.cached.any() or pair.baseline.cached.any()):
        return f"no pair of answers has a {check.metric}: those from the cache have none; run with --no-cache"
    return f"no example has {check.metric} in both arms"


def _bad(check: Check, arm: ArmData) -> Bools:
    """Rows whose answer counts as an error for this check.

    A refusal is a fail, but for security, where it may be right and the scorer has the word. `settings` override:
    {"refused": "as_scored"} and {"unparsable": "as_scored"}.
    """
    if check.metric in FLAGS:
        return np.zeros(len(arm.failed), np.bool_)
    means_of_facts = check.metric in FACTS and not (check.metric in TIMES and check.measure == "quantile")
    if means_of_facts:
        return arm.failed
    bad = arm.failed.copy()
    refusals = "as_scored" if check.dimension == "security" else "fail"
    if check.settings.get("refused", refusals) == "fail":
        bad |= arm.refused
    if check.settings.get("unparsable", "fail") == "fail":
        bad |= arm.unparsable
    return bad


def _leaves_out(check: Check) -> bool:
    """Whether failed answers are left out: where asked for, and for means of cost, time and tokens."""
    return check.errors != "fail" or (check.metric in FACTS and not _is_time_quantile(check))


def _check_errors(check: Check, arm: ArmData, bad: Bools, notes: list[str]) -> None:
    """Count what is left out; too much of it makes the check void, unless leaving out was asked for."""
    if not _leaves_out(check) or not bad.any():
        return
    share = float(bad.mean())
    if check.errors != "exclude" and share > check.max_error_share:
        raise NoValuesError(
            f"{int(bad.sum()):,} of {len(bad):,} answers of {arm.name} failed ({share:.1%}); above "
            f"{check.max_error_share:.0%}, {check.metric} of the rest says nothing"
        )
    notes.append(f"{int(bad.sum()):,} failed answers of {arm.name} left out")


def _is_time_quantile(check: Check) -> bool:
    return check.metric in TIMES and check.measure == "quantile"


def _check_gaps(check: Check, arm: ArmData, rows: Ints, values: Floats, bad: Bools, notes: list[str]) -> None:
    """Answers that were given but have no value: a scorer that gave up, an unknown price. Never silently dropped."""
    gaps = np.isnan(values) & ~bad
    if check.metric in TIMES:
        cached = gaps & arm.cached[rows]
        if cached.any():
            notes.append(f"{int(cached.sum()):,} answers of {arm.name} came from the cache and have no time")
        gaps &= ~cached
    share = float(gaps.mean())
    if share > check.max_error_share:
        raise NoValuesError(
            f"{int(gaps.sum()):,} of {len(gaps):,} answers of {arm.name} have no {check.metric} ({share:.1%}); "
            f"above {check.max_error_share:.0%} the rest says nothing"
        )
    if gaps.any():
        notes.append(f"{int(gaps.sum()):,} answers of {arm.name} without {check.metric} left out")


def _worst(check: Check, values: list[Floats]) -> float:
    """What a failed answer counts as: +infinity for times, else the worse of 0 and the worst score of both arms.

    NaN leaves it out.
    """
    if _leaves_out(check):
        return _NAN
    if "worst" in check.settings:
        return float(check.settings["worst"])
    if _is_time_quantile(check):
        return np.inf
    known = np.concatenate([each[~np.isnan(each)] for each in values])
    if not len(known):
        return 0.0
    return min(0.0, float(known.min())) if check.higher_is_better else max(0.0, float(known.max()))


def _blocked(check: Check, bad: list[Bools]) -> str | None:
    """Percentiles of the answers that came never make an arm that fails far more "faster"."""
    if not _is_time_quantile(check):
        return None
    before, after = (float(each.mean()) for each in bad)
    if after > before + check.max_error_share:
        return f"{after:.1%} of the candidate's answers failed, against {before:.1%}: it is not faster"
    return None
