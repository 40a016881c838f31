"""All that a page shows of a verdict, rows aside, as JSON: kept beside the verdict, so that pages do no statistics."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from ratchet import costs
from ratchet.costs import texts as said
from ratchet.evidence import Evidence
from ratchet.records import Json, Verdict
from ratchet.reports import common, examples, numbers, texts, traits, views
from ratchet.reports.drawing import VERSION
from ratchet.reports.examples import Paired
from ratchet.reports.numbers import Unit

MOST_VALUES = 20


def view(
    verdict: Verdict,
    evidence: Evidence | None = None,
    *,
    others: Sequence[Verdict] = (),
    observe: traits.Observe | None = None,
    found: Paired | None = None,
) -> dict[str, Json]:
    """What `drawing.drawn` turns into a page.

    Args:
        others: Verdicts of further candidates against the same baseline.
        observe: What the examples' texts say, by index in `evidence.examples`; without it only slices, failures and
            labels are searched for what regressions have in common.
        found: As `examples.pair` gives it, where it is known already.
    """
    shown = views.lines(verdict, evidence)
    called = views.names(verdict, evidence)
    if found is None and evidence is not None:
        found = examples.pair(verdict, evidence)
    return {
        "version": VERSION,
        "called": dataclasses.asdict(called),
        "outcome": verdict.outcome,
        "word": views.WORDS[verdict.outcome],
        "explanation": views.explanation(verdict, evidence),
        "sentence": views.sentence(verdict, evidence),
        "sure": views.surety(verdict),
        "checks": [_check(item) for item in shown],
        "level": views.level_text([item.result for item in shown]),
        "decisions": views.decisions(verdict, evidence),
        "reasons": views.reasons(verdict, evidence),
        "warnings": list(verdict.warnings),
        "facts": [[name, value] for name, value in _facts(verdict, evidence, shown)],
        "candidates": [_candidate(v, evidence) for v in [verdict, *others]] if others else [],
        "scatter": _scatter(verdict, evidence),
        "cost": _cost(verdict),
        "total": len(evidence.examples) if evidence else 0,
        **_examples(evidence, found, called, observe),
    }


def _cost(verdict: Verdict) -> dict[str, Json] | None:
    """The cost case in words and tables."""
    case = costs.read(verdict.cost_case)
    if case is None:
        return None
    return {
        "sentence": said.sentence(case),
        "tables": [dataclasses.asdict(table) for table in said.tables(case)],
        "notes": said.notes(case),
    }


def _check(item: views.Line) -> dict[str, Json]:
    result = item.result
    bound = "" if item.bound is None else f", {'limit' if item.zero is None else 'margin'} {item.margin}"
    return {
        "dimension": result.check.dimension,
        "title": item.title,
        "rule": item.rule,
        "a": item.level.level(result.baseline_value),
        "b": item.level.level(result.candidate_value),
        "estimate": item.estimate,
        "span": item.span,
        "margin": item.margin,
        "n": result.n,
        "outcome": result.outcome,
        "word": views.OUTCOMES[result.outcome],
        "reason": result.reason,
        "tone": item.tone,
        "plot": {
            "estimate": _finite(result.estimate), "low": _finite(result.low), "high": _finite(result.high),
            "zero": item.zero, "bound": _finite(item.bound),
            "label": f"{item.title}: {item.estimate} {item.span}{bound}, n {result.n:,}, {result.outcome}",
        },
    }  # fmt: skip


def _finite(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else float(value)


def _candidate(verdict: Verdict, evidence: Evidence | None) -> dict[str, Json]:
    from ratchet.verdicts import keeping

    return {
        "id": keeping.id_of(verdict),
        "name": views.names(verdict, evidence).candidate,
        "outcome": verdict.outcome,
        "word": views.WORDS[verdict.outcome],
        "explanation": views.explanation(verdict, evidence),
    }


def _scatter(verdict: Verdict, evidence: Evidence | None) -> dict[str, Json] | None:
    """Quality against cost; None below three arms that have both: the checks say more of two."""
    if evidence is None:
        return None
    quality, cost, found = examples.points(verdict, evidence)
    if len(found) < 3:
        return None
    rate = any(
        arm.columns[quality].kind == "bool" for arm in evidence.arms.values() if quality in arm.columns
    )
    x = numbers.level_unit(cost, [p.cost for p in found], rate=False)
    y = numbers.level_unit(quality, [p.quality for p in found], rate=rate)
    return {
        "quality": quality,
        "cost": cost,
        "x": _unit(x),
        "y": _unit(y),
        "points": [
            {"name": p.name, "cost": p.cost, "quality": p.quality, "front": p.front, "role": p.role,
             "cost_text": x.level(p.cost), "quality_text": y.level(p.quality)}
            for p in sorted(found, key=lambda p: p.cost)
        ],
    }  # fmt: skip


def _unit(unit: Unit) -> dict[str, Json]:
    return dataclasses.asdict(unit)


def _examples(
    evidence: Evidence | None, found: Paired | None, called: views.Names, observe: traits.Observe | None
) -> dict[str, Json]:
    """Tally, slices, distribution and what regressions have in common; empty without a shared numeric metric."""
    if evidence is None or found is None:
        return {"metric": "", "tally": None, "forest": None, "histogram": None, "counts": {}, "slices": {},
                "cells": None, "common": None}  # fmt: skip
    counted = examples.tally(found)
    flipped, errored = int(found.flipped.sum()), int(found.errored.sum())
    return {
        "metric": found.metric,
        "tally": {"better": counted.better, "same": counted.same, "worse": counted.worse},
        "forest": _forest(found, evidence),
        "histogram": _histogram(found),
        "counts": {"all": len(found.gain), "worse": counted.worse, "better": counted.better, "flipped": flipped, "errored": errored},
        "slices": _slices(evidence),
        "cells": cells(found),
        "common": _common(evidence, found, called, observe),
    }  # fmt: skip


def cells(found: Paired) -> dict[str, Json]:
    """How one example's numbers are shown: unit, whether cells are graded in colour, the largest change."""
    change = np.abs(found.after - found.before)
    both = np.concatenate([found.before, found.after])
    both = both[np.isfinite(both)]
    low, high = (float(both.min()), float(both.max())) if len(both) else (-1.0, -1.0)
    return {
        "unit": _unit(numbers.level_unit(found.metric, [low, high] if len(both) else [], rate=False)),
        "graded": found.higher_is_better and low >= 0 and high <= 1,
        "top": float(np.nanmax(change)) if np.isfinite(change).any() else 0.0,
    }


def _slices(evidence: Evidence) -> dict[str, Json]:
    """Values of each slice with their counts, most frequent first."""
    found: dict[str, Json] = {}
    for name, values in evidence.slices.items():
        counted = Counter(filter(None, values)).most_common(MOST_VALUES)
        if len(counted) > 1:
            found[name] = [[value, count] for value, count in counted]
    return found


def _forest(found: Paired, evidence: Evidence) -> dict[str, Json] | None:
    whole = examples.overall(found, evidence)
    if whole is None:
        return None
    unit = examples.change_unit(found)
    return {
        "unit": _unit(unit),
        "bars": [
            {
                "label": part.name,
                "low": _finite(part.low),
                "estimate": part.estimate,
                "high": _finite(part.high),
                "text": f"{unit.change(part.estimate)} {unit.span(part.low, part.high)}",
                "n": part.n,
                "tone": part.tone,
                "strong": part is whole,
            }
            for part in [whole, *examples.slices(found, evidence)]
        ],
    }


def _histogram(found: Paired) -> dict[str, Json] | None:
    """Changes example by example, for metrics with more than a few values."""
    change = (found.after - found.before)[np.isfinite(found.gain)]
    if len(np.unique(change)) < 8:
        return None
    # a few extreme changes would leave one bar: the outer bins hold all beyond the 1st and 99th percentile
    low, high = (float(v) for v in np.percentile(change, [1, 99]))
    if low >= high:
        return None
    counts, edges = np.histogram(np.clip(change, low, high), bins=min(30, max(8, int(len(change) ** 0.5))))
    return {
        "counts": [int(n) for n in counts],
        "edges": [float(e) for e in edges],
        "unit": _unit(examples.change_unit(found)),
    }


def _common(
    evidence: Evidence, found: Paired, called: views.Names, observe: traits.Observe | None
) -> dict[str, Json]:
    tried = traits.of_evidence(evidence, called)
    gain = found.gain
    if observe is not None:
        worst = common.worst_of(gain, rate=found.rate)
        chosen = traits.to_read(worst, ~np.isnan(gain))
        tried += traits.of_texts(observe, chosen, len(gain), called)
        if len(chosen) < int((~np.isnan(gain)).sum()):  # a property that was not looked for is not absent
            kept = np.full(len(gain), np.nan)
            kept[chosen] = gain[chosen]
            gain = kept
    made = common.in_common(
        gain, tried, rate=found.rate, groups=evidence.groups if evidence.grouped else None
    )
    return {
        "sentence": common.sentence(made),
        "findings": [
            {"kind": one.kind, "text": one.text, "counts": common.describe(one, made), "p": one.p,
             "slice": list(one.slice) if one.slice else None}
            for one in made.findings
        ],
        "note": common.note(made),
    }  # fmt: skip


def _facts(verdict: Verdict, evidence: Evidence | None, shown: Sequence[views.Line]) -> list[tuple[str, str]]:
    """Hashes, seeds, prices and methods: what makes the verdict repeatable."""
    facts: list[tuple[str, Any]] = [
        ("Task", verdict.task_id),
        ("Baseline", verdict.baseline),
        ("Candidate", verdict.candidate),
        ("Runs", "\n".join(verdict.run_ids)),
    ]
    if verdict.created_at:
        facts.append(("Decided", time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(verdict.created_at))))
    facts += [(f"Method of {item.title}", _how(item)) for item in shown if item.result.method]
    facts += [(key.replace("_", " "), value) for key, value in verdict.inputs.items()]
    if evidence is not None:
        known = {"task_id", "run_ids", *verdict.inputs}
        facts += [(key.replace("_", " "), value) for key, value in evidence.facts.items() if key not in known]
    return [
        (name, texts.cut(texts.as_text(value), 20_000)) for name, value in facts if value not in ("", None)
    ]


def _how(item: views.Line) -> str:
    result = item.result
    parts = [result.method, item.rule, f"n {result.n:,}"]
    if result.n_groups is not None:
        parts.append(f"{result.n_groups:,} groups")
    if result.p is not None:
        parts.append("p < 1e-15" if result.p < 1e-15 else f"p {result.p:.3g}")
    if result.seed is not None:
        parts.append(f"seed {result.seed}")
    return ", ".join(parts)
