"""A judge measured against people: `calibrate` says how far they agree, `corrected_difference` uses it.

A judge's scores carry its errors. Labelled answers of the same examples on both arms tell how large these are, and
prediction-powered inference puts them into the interval that decides.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from ratchet import codec, scores, sheets
from ratchet.agreements import LEVEL, ArmAgreement, Estimate, between, compare, mean_of, number_of, text_of
from ratchet.errors import PlanError
from ratchet.families import family_of
from ratchet.ports import Store, TraceRow
from ratchet.records import Json, Run, Score, Scorer, ScoreValue, Variant
from ratchet.stats.correction import MIN_LABELS, ppi_difference, ppi_mean
from ratchet.stats.intervals import Alternative, Interval
from ratchet.stats.lengths import LengthEffect, length_effect
from ratchet.stats.means import t_p
from ratchet.stats.paired import mean_interval, paired_difference

MAX_KEPT = 200
BY_PEOPLE = "people's labels"
"""Stands in the method of an interval that rests on labels alone."""
Floats = np.ndarray[Any, np.dtype[np.float64]]
Bools = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Disagreement:
    """An answer on which judge and people differ."""

    trace_id: str
    arm: str
    example_id: str
    human: str
    judge: str
    distance: float
    reason: str = ""
    """The judge's."""
    note: str = ""
    """The people's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """How far one judge can be trusted on these variants. Immutable; a new one is a new version."""

    score: str
    judge: str
    """scorer@version; the version changes with the prompt, the rubric and the model."""
    judge_models: tuple[str, ...]
    run_id: str
    baseline: str | None
    variants: Mapping[str, str]
    """Arm to the variant's content id."""
    labels: str
    """What a label could be, in words."""
    people: tuple[str, ...]
    n: int
    """Labelled answers that the judge scored too."""
    pairs: int
    """Examples labelled on all arms."""
    undecided: int
    """Answers on which people were evenly split: left out of the agreement."""
    unscored: int
    """Labelled answers that the judge gave no score."""
    samples: tuple[str, ...]
    probability: float | None
    """Chance of an example to be drawn; None where samples differ, or labels came from elsewhere."""
    overall: ArmAgreement
    arms: Mapping[str, ArmAgreement]
    agreement_difference: Mapping[str, Estimate]
    """Arm to its agreement minus the baseline's, on the same examples."""
    bias_difference: Mapping[str, Estimate]
    """Arm to the judge's favour for it over the baseline: what the raw verdict would be wrong by."""
    between_people: Estimate | None
    """Krippendorff's alpha; None with one person."""
    people_raw: float | None
    """Share of pairs of labels by two people that are the same."""
    retest: ArmAgreement | None = None
    """The judge against itself, asked again."""
    lengths: Mapping[str, LengthEffect] = field(default_factory=dict[str, LengthEffect])
    """By arm, against the baseline."""
    disagreements: tuple[Disagreement, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """Whether a calibration speaks about this judge on these variants."""

    state: Literal["fresh", "stale", "none"]
    changes: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.state}: {'; '.join(self.changes)}" if self.changes else self.state


@dataclass(frozen=True, slots=True)
class _Item:
    """One labelled answer."""

    row: TraceRow
    judge: Score
    human: list[Score]
    decided: ScoreValue
    """What most people say, for numbers their mean; None where they are split."""


def calibrate(
    run: Run, store: Store, score: str, *, retests: Mapping[str, Sequence[ScoreValue]] | None = None
) -> Calibration:
    """The judge of `score` measured on the answers of this run that people labelled.

    `retests` are what the judge said when asked again, by trace id (`retests.retest`).

    Raises:
        PlanError: No answer is labelled, or no judge scored it.
    """
    score = sheets.judged_score(run, store, score)
    rows = {row.id: row for row in store.rows(run.id) if row.arm in run.arms}
    judged, labels, by = _scores(run, store, score, rows)
    labelled = [trace for trace in labels if trace in judged]
    items = [
        _Item(rows[trace], judged[trace], labels[trace], decided_of([s.value for s in labels[trace]]))
        for trace in sorted(labelled, key=lambda t: (rows[t].example_id or "", rows[t].arm or ""))
        if judged[trace].value is not None
    ]
    decided = [item for item in items if item.decided is not None]
    if not decided:
        raise PlanError(
            f"no answer of run {run.id} has both a label and a score of {score} by the judge.\n"
            f"  ratchet judge calibrate sample {run.id[:13]} --scorer {score} -o labels.csv"
        )
    scorer = sheets.scorer_of(run, score)
    models = tuple(sorted({str(m.model) for m in scores.models_of(scorer)})) if scorer else ()
    probabilities = {s.metadata.get("probability") for item in items for s in item.human}
    chances = [p for p in probabilities if isinstance(p, float)]
    arms = {arm: _agreement(own) for arm in run.arms if (own := [i for i in decided if i.row.arm == arm])}
    agree, bias = _differences(run, decided)
    alpha, people_raw = between([{s.by: s.value for s in item.human} for item in items])
    found = Calibration(
        score=score,
        judge=by,
        judge_models=models,
        run_id=run.id,
        baseline=run.baseline,
        variants={arm: codec.content_id(variant) for arm, variant in run.arms.items()},
        labels=sheets.labels_for(run, score, [s.value for s in judged.values()]).describe(),
        people=tuple(sorted({s.by for item in items for s in item.human})),
        n=len(decided),
        pairs=_pairs(run, decided),
        undecided=len(items) - len(decided),
        unscored=len(labelled) - len(items),
        samples=tuple(sorted({str(s.metadata.get("sample", "")) for i in items for s in i.human} - {""})),
        probability=chances[0] if len(probabilities) == len(chances) == 1 else None,
        overall=_agreement(decided),
        arms=arms,
        agreement_difference=agree,
        bias_difference=bias,
        between_people=alpha,
        people_raw=people_raw,
        retest=_retested(items, retests or {}),
        lengths=_lengths(run, store, judged, decided, rows),
        disagreements=_disagreements(decided),
    )
    return replace(found, warnings=tuple(_warnings(found, run)))


def _scores(
    run: Run, store: Store, name: str, rows: Mapping[str, TraceRow]
) -> tuple[dict[str, Score], dict[str, list[Score]], str]:
    """The judge's score by trace, people's by trace, and the judge: of several versions the newest."""
    human: dict[str, list[Score]] = {}
    judged: dict[str, dict[str, Score]] = {}
    newest: tuple[float, str] = (float("-inf"), "")
    for score in store.scores(run.id, name=name):
        if score.trace_id not in rows or score.against is not None:
            continue
        if score.source == "human" and score.value is not None:
            human.setdefault(score.trace_id, []).append(score)
        elif score.source == "judge":
            judged.setdefault(score.by, {})[score.trace_id] = score
            newest = max(newest, (score.created_at, score.by))
    return judged.get(newest[1], {}), human, newest[1]


def decided_of(values: Sequence[ScoreValue]) -> ScoreValue:
    """What most people say, for numbers their mean; None where they are evenly split."""
    given = [value for value in values if value is not None]
    if given and all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in given):
        return float(np.mean([float(v) for v in given if isinstance(v, (int, float))]))
    counts = Counter(given).most_common(2)
    if not counts or (len(counts) == 2 and counts[0][1] == counts[1][1]):
        return None
    return counts[0][0]


def _unit(row: TraceRow) -> str:
    return row.group if row.group is not None else f"example {row.example_id}"


def _agreement(items: Sequence[_Item]) -> ArmAgreement:
    return compare([(i.decided, i.judge.value) for i in items], [_unit(i.row) for i in items])


def _by_example(items: Sequence[_Item]) -> dict[tuple[str, int], dict[str, _Item]]:
    found: dict[tuple[str, int], dict[str, _Item]] = {}
    for item in items:
        found.setdefault((item.row.example_id or "", item.row.repeat), {})[item.row.arm or ""] = item
    return found


def _pairs(run: Run, items: Sequence[_Item]) -> int:
    return sum(1 for own in _by_example(items).values() if len(own) == len(run.arms))


def _differences(run: Run, items: Sequence[_Item]) -> tuple[dict[str, Estimate], dict[str, Estimate]]:
    """By arm: its agreement, and its bias, minus the baseline's on the same examples."""
    agree: dict[str, Estimate] = {}
    bias: dict[str, Estimate] = {}
    for arm in run.arms:
        both = [
            (own[run.baseline or ""], own[arm])
            for own in _by_example(items).values()
            if arm != run.baseline and run.baseline in own and arm in own
        ]
        if len(both) < 2:
            continue
        units = [_unit(b.row) for _, b in both]
        agree[arm] = mean_of(
            [float(c.decided == c.judge.value) - float(b.decided == b.judge.value) for b, c in both], units
        )
        errors = [(_error(b), _error(c)) for b, c in both]
        differences = [c - b for b, c in errors if b is not None and c is not None]
        if len(differences) == len(both):
            bias[arm] = mean_of(differences, units)
    return agree, bias


def _error(item: _Item) -> float | None:
    """Judge minus people, in the score's unit."""
    human, judge = number_of(item.decided), number_of(item.judge.value)
    return None if human is None or judge is None else judge - human


def _retested(items: Sequence[_Item], retests: Mapping[str, Sequence[ScoreValue]]) -> ArmAgreement | None:
    pairs: list[tuple[ScoreValue, ScoreValue]] = []
    units: list[str] = []
    for item in items:
        for again in retests.get(item.row.id, ()):
            if again is not None:
                pairs.append((item.judge.value, again))
                units.append(_unit(item.row))
    return compare(pairs, units) if pairs else None


def _lengths(
    run: Run, store: Store, judged: Mapping[str, Score], items: Sequence[_Item], rows: Mapping[str, TraceRow]
) -> dict[str, LengthEffect]:
    """By arm: whether the judge prefers the longer answer at equal labels by people."""
    found: dict[str, LengthEffect] = {}
    for arm in run.arms:
        preference: list[float] = []
        longer: list[float] = []
        human: list[float] = []
        for own in _by_example(items).values():
            before, after = own.get(run.baseline or ""), own.get(arm)
            if before is None or after is None or arm == run.baseline:
                continue
            values = [number_of(v) for i in (before, after) for v in (i.judge.value, i.decided)]
            if None in values:
                continue
            judge_before, human_before, judge_after, human_after = (v or 0.0 for v in values)
            preference.append(0.5 + 0.5 * float(np.sign(judge_after - judge_before)))
            longer.append(float(_length(store, after.row.id) - _length(store, before.row.id)))
            human.append(human_after - human_before)
        if len(preference) >= MIN_LABELS and len(set(preference)) > 1 and len(set(longer)) > 1:
            found[arm] = length_effect(preference, longer, quality=human, level=LEVEL)
    return found


def _length(store: Store, trace_id: str) -> int:
    trace = store.trace(trace_id)
    output = None if trace is None else trace.output
    return len(output) if isinstance(output, str) else len(codec.dumps(output))


def _disagreements(items: Sequence[_Item]) -> tuple[Disagreement, ...]:
    """Worst first: the largest distance, then those on which the most people agree."""
    found: list[tuple[float, int, str, Disagreement]] = []
    for item in items:
        if item.decided == item.judge.value:
            continue
        error = _error(item)
        distance = 1.0 if error is None else abs(error)
        against = sum(s.value != item.judge.value for s in item.human)
        notes = "; ".join(s.reason for s in item.human if s.reason)
        made = Disagreement(
            trace_id=item.row.id,
            arm=item.row.arm or "",
            example_id=item.row.example_id or "",
            human=text_of(item.decided),
            judge=text_of(item.judge.value),
            distance=distance,
            reason=item.judge.reason or "",
            note=notes,
        )
        found.append((-distance, -against, item.row.id, made))
    return tuple(made for *_, made in sorted(found, key=lambda f: f[:3])[:MAX_KEPT])


def _warnings(found: Calibration, run: Run) -> list[str]:
    warnings: list[str] = []
    if found.pairs < MIN_LABELS:
        warnings.append(
            f"uncalibrated: {found.pairs} examples are labelled on all arms, at least {MIN_LABELS} are needed"
        )
    families = {family_of(model): model for model in found.judge_models}
    for arm, variant in run.arms.items():
        family = family_of(variant.model)
        if family is not None and family in families:
            warnings.append(
                f"self-preference: the judge {families[family]} and {arm} ({variant.model}) are of one family, {family}"
            )
    for arm, change in found.bias_difference.items():
        if change.low is not None and change.high is not None and not change.low <= 0.0 <= change.high:
            warnings.append(
                f"the judge favours {arm if change.value > 0 else found.baseline} by {abs(change.value):.3g} "
                f"(95 % interval {change.low:+.3g} to {change.high:+.3g}) beyond what people see"
            )
    for arm, effect in found.lengths.items():
        if effect.low > 0.0 or effect.high < 0.0:
            warnings.append(
                f"the judge prefers the {'longer' if effect.low > 0 else 'shorter'} answer on {arm} at equal labels by people"
            )
    if found.people_raw is not None and (found.overall.raw.low or 0.0) < found.people_raw:
        warnings.append(
            f"judge and people may agree less ({found.overall.raw.low or 0.0:.2f} at the low end) than people among "
            f"themselves ({found.people_raw:.2f})"
        )
    if found.probability is None:
        warnings.append("labels are not of one random sample; the correction assumes that they are")
    return warnings


def keep(store: Store, calibration: Calibration, *, by: str = "") -> str:
    """Keep this version and move `calibrations/<score>` to it; its content id."""
    content_id = codec.content_id(calibration)
    store.put_content("calibration", content_id, codec.encode(calibration))
    name = f"calibrations/{calibration.score}"
    while (current := store.ref(name)) != content_id:
        store.move_ref(name, content_id, expected=current, by=by)
    return content_id


def load(store: Store, score: str) -> Calibration | None:
    """The newest calibration of this score's judge; None without one."""
    content_id = store.ref(f"calibrations/{score}")
    data: Mapping[str, Json] | None = store.content(content_id) if content_id else None
    return None if data is None else codec.decode(Calibration, dict(data))


def status(
    calibration: Calibration | None, scorer: Scorer | str, variants: Mapping[str, Variant | str]
) -> Status:
    """Whether the calibration holds for this scorer (or scorer@version) on these variants (or their content ids)."""
    if calibration is None:
        return Status(state="none")
    changes: list[str] = []
    by = scorer if isinstance(scorer, str) else scores.signature_of(scorer)
    if by != calibration.judge:
        changes.append(
            f"the judge is {by}, calibrated was {calibration.judge} (its prompt, rubric or model changed)"
        )
    known = set(calibration.variants.values())
    for arm, variant in variants.items():
        if (variant if isinstance(variant, str) else codec.content_id(variant)) not in known:
            changes.append(
                f"the variant {arm} is not one of those calibrated ({', '.join(calibration.variants)})"
            )
    return Status(state="stale" if changes else "fresh", changes=tuple(changes))


def human_values(store: Store, run_id: str, score: str) -> dict[str, float]:
    """People's labels as numbers by trace id, the mean of several people; labels that are no numbers are left out."""
    given: dict[str, list[float]] = {}
    for found in store.scores(run_id, name=score):
        value = number_of(found.value)
        if found.source == "human" and value is not None:
            given.setdefault(found.trace_id, []).append(value)
    return {trace: float(np.mean(values)) for trace, values in given.items()}


def corrected_difference(
    judged: tuple[ArrayLike, ArrayLike],
    human: tuple[ArrayLike, ArrayLike],
    *,
    groups: Sequence[Hashable] | None = None,
    level: float = 0.90,
    null: float = 0.0,
    alternative: Alternative = "two-sided",
) -> Interval | None:
    """The difference that people would find, from the judge's scores of all examples and people's of some.

    Both are (baseline, candidate), a value an example; NaN where people did not label (or the judge gave nothing). An
    example counts as labelled where both its answers are, and they must be a random draw. From 30 labelled examples
    on it is PPI++ with a tuned weight; below, the interval of the labels alone, noted as uncalibrated. None with
    fewer than 2. Source: `stats.correction.ppi_difference`.
    """
    before, after = (np.asarray(side, dtype=np.float64) for side in judged)
    said_before, said_after = (np.asarray(side, dtype=np.float64) for side in human)
    chosen = _chosen(before + after, said_before + said_after, groups)
    if chosen is None:
        return None
    own, rest = chosen.labelled, chosen.rest
    if chosen.by_people_alone:
        found = paired_difference(
            said_before[own],
            said_after[own],
            groups=chosen.own,
            level=level,
            null=null,
            alternative=alternative,
        )
        return chosen.told(found)
    found = ppi_difference(
        (said_before[own], said_after[own]),
        (before[own], after[own]),
        (before[rest], after[rest]),
        groups=chosen.own,
        unlabelled_groups=chosen.others,
        level=level,
        null=null,
    )
    if alternative == "two-sided" or found.se is None or found.df is None or not np.isfinite(found.se):
        return found
    centre = (found.low + found.high) / 2.0
    return replace(found, p=t_p(centre, found.se, found.df, null, alternative), alternative=alternative)


def corrected_mean(
    judged: ArrayLike,
    human: ArrayLike,
    *,
    groups: Sequence[Hashable] | None = None,
    level: float = 0.90,
    null: float = 0.0,
) -> Interval | None:
    """The mean that people would find on one arm, as `corrected_difference` finds the difference of two."""
    values, said = np.asarray(judged, dtype=np.float64), np.asarray(human, dtype=np.float64)
    chosen = _chosen(values, said, groups)
    if chosen is None:
        return None
    own, rest = chosen.labelled, chosen.rest
    if chosen.by_people_alone:
        return chosen.told(mean_interval(said[own], groups=chosen.own, level=level))
    return ppi_mean(
        said[own],
        values[own],
        values[rest],
        groups=chosen.own,
        unlabelled_groups=chosen.others,
        level=level,
        null=null,
    )


@dataclass(frozen=True, slots=True)
class _Chosen:
    """Which examples people labelled, and which only the judge scored."""

    labelled: Bools
    rest: Bools
    own: list[Hashable] | None
    others: list[Hashable] | None

    @property
    def by_people_alone(self) -> bool:
        return int(self.labelled.sum()) < MIN_LABELS or not self.rest.any()

    def told(self, found: Interval) -> Interval:
        """The interval of labels alone, saying so."""
        if not self.rest.any():
            return replace(found, method=f"{found.method}, {BY_PEOPLE}")
        return replace(
            found,
            method=f"{found.method}, {BY_PEOPLE} only",
            note=f"only {int(self.labelled.sum())} labelled examples (at least {MIN_LABELS} needed): the judge is "
            "uncalibrated and was not used",
        )


def _chosen(judged: Floats, human: Floats, groups: Sequence[Hashable] | None) -> _Chosen | None:
    scored = np.isfinite(judged)
    labelled = scored & np.isfinite(human)
    rest = scored & ~labelled
    if labelled.sum() < 2:
        return None
    owners = None if groups is None else list(groups)
    own, others = (
        None if owners is None else [owners[i] for i in np.flatnonzero(side)] for side in (labelled, rest)
    )
    return _Chosen(labelled, rest, own, others)
