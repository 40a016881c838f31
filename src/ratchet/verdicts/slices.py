"""Differences within slices of the data: exploratory, corrected for their number, and never able to cause a ship."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ratchet.evidence import Bools, Evidence
from ratchet.records import Check, CheckResult
from ratchet.stats.multiplicity import benjamini_hochberg
from ratchet.verdicts.anytime import Look, estimate_at
from ratchet.verdicts.decisions import finite, unit_of
from ratchet.verdicts.estimates import Estimate, Question, estimate
from ratchet.verdicts.pairs import Pair, within
from ratchet.verdicts.values import NoValuesError

FALSE_DISCOVERIES = 0.10
MIN_EXAMPLES = 20
MAX_SLICES = 200
"""Slice x metric pairs; the largest slices first."""
_MEASURES = ("mean", "rate", "ratio", "accuracy")


def slices_of(
    evidence: Evidence,
    pair: Pair,
    checks: Sequence[Check],
    *,
    alpha: float,
    seed: int,
    look: Look | None = None,
) -> tuple[CheckResult, ...]:
    """Each check's difference within each slice of 20 or more examples, as reports; `p` is corrected (BH).

    Only means and rates: they are what slices are asked about, and need no resampling.
    """
    asked = [
        check.replace(
            rule="no_worse", margin=None, role="report", settings={**check.settings, "primary": "all"}
        )
        for check in checks
        if check.measure in _MEASURES
        and check.rule in ("better", "no_worse")
        and not check.settings.get("added")
    ]
    found: list[tuple[Check, dict[str, str], Estimate, Pair]] = []
    for where, chosen in _cells(evidence, pair):
        part = within(pair, chosen)
        for check in asked:
            try:
                question = Question(check=check, alpha=alpha, seed=seed)
                made = estimate(question, part) if look is None else estimate_at(question, part, look)
            except NoValuesError:
                continue
            found.append((check, where, made, part))
        if len(found) >= MAX_SLICES:
            break
    if not found:
        return ()
    adjusted = benjamini_hochberg([_two_sided(made) for _, _, made, _ in found]).tolist()
    return tuple(
        _result(evidence, part, check, where, made, q)
        for (check, where, made, part), q in zip(found, adjusted, strict=True)
    )


def _cells(evidence: Evidence, pair: Pair) -> Iterator[tuple[dict[str, str], Bools]]:
    """The slices, each with its units; an entry an example's index."""
    present = np.zeros(len(evidence.examples), np.bool_)
    present[pair.before_unit] = True
    cells: list[tuple[int, dict[str, str], Bools]] = []
    for key, texts in evidence.slices.items():
        values, codes = np.unique(np.array(texts, dtype=object).astype(str), return_inverse=True)
        if not 1 < len(values) <= MAX_SLICES:
            continue
        for index, value in enumerate(values.tolist()):
            chosen = (codes == index) & present
            size = int(chosen.sum())
            if size >= MIN_EXAMPLES:
                cells.append((size, {key: value}, chosen))
    cells.sort(key=lambda cell: (-cell[0], *cell[1].items()))
    for _, where, chosen in cells:
        yield where, chosen


def _two_sided(made: Estimate) -> float:
    sides = [p for p in (made.p_passes, made.p_fails) if p is not None]
    return min(1.0, 2.0 * min(sides)) if sides else 1.0


def _result(
    evidence: Evidence, part: Pair, check: Check, where: dict[str, str], made: Estimate, q: float
) -> CheckResult:
    interval = made.interval
    better = made.oriented(1.0 if check.higher_is_better else -1.0)[0] > 0
    shown = q <= FALSE_DISCOVERIES
    return CheckResult(
        check=check,
        outcome="reported",
        estimate=finite(interval.estimate),
        low=finite(interval.low),
        high=finite(interval.high),
        level=interval.level,
        baseline_value=finite(made.baseline_value),
        candidate_value=finite(made.candidate_value),
        n=interval.n,
        n_groups=interval.n_groups,
        method=interval.method,
        p=q,
        reason=f"{'better' if better else 'worse'} here (false discoveries held at 10 %)" if shown else "",
        where=where,
        unit=unit_of(part, check),
    )
