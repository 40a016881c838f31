"""What must hold before two arms are compared, and what a reader should know beside the numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ratchet.evidence import ArmData, Evidence
from ratchet.records import Check
from ratchet.verdicts import judged
from ratchet.verdicts.pairs import MAX_FAILED_SHARE, MAX_MISSING_SHARE, Pair

CACHE_GAP = 0.05
WARN_FAILED_SHARE = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """Why no verdict is possible, and what is only worth a warning."""

    broken: tuple[str, ...]
    warnings: tuple[str, ...]


def examine(evidence: Evidence, pair: Pair, checks: Sequence[Check]) -> Conditions:
    """The conditions of this comparison."""
    return Conditions(
        broken=tuple(_broken(pair, checks)),
        warnings=(*evidence.warnings, *_warnings(evidence, pair), *judged.warnings(evidence, pair, checks)),
    )


def _broken(pair: Pair, checks: Sequence[Check]) -> Iterator[str]:
    share = pair.missing / pair.wanted if pair.wanted else 0.0
    if share > MAX_MISSING_SHARE:
        yield (
            f"{pair.missing:,} of {pair.wanted:,} rows are in one arm only ({share:.1%}, at most "
            f"{MAX_MISSING_SHARE:.0%} may be): what is missing is seldom missing by chance"
        )
    for arm, rows in ((pair.baseline, pair.before), (pair.candidate, pair.after)):
        failed = float(arm.failed[rows].mean())
        if failed > MAX_FAILED_SHARE:
            kinds = ", ".join(f"{kind} {count:,}" for kind, count in list(arm.error_kinds.items())[:3])
            yield f"{failed:.1%} of the answers of {arm.name} failed{f' ({kinds})' if kinds else ''}: run it again first"
    for metric in dict.fromkeys(check.metric for check in checks):
        judges = [_judged_by(arm, metric) for arm in (pair.baseline, pair.candidate)]
        if all(judges) and judges[0] != judges[1]:
            yield (
                f"{metric} was judged by {judges[0]} in {pair.baseline.name} and by {judges[1]} in "
                f"{pair.candidate.name}; judge both alike with `ratchet score`"
            )


def _judged_by(arm: ArmData, metric: str) -> str:
    return arm.columns[metric].by if metric in arm.columns else ""


def _warnings(evidence: Evidence, pair: Pair) -> Iterator[str]:
    names = pair.baseline.name, pair.candidate.name
    if pair.missing and pair.missing / pair.wanted <= MAX_MISSING_SHARE:
        yield f"{pair.missing:,} of {pair.wanted:,} rows are in one arm only and were left out."
    if pair.doubled:
        yield f"{pair.doubled:,} examples have the content of another example; copies count once."
    if not pair.aligned:
        yield "The arms have other numbers of repeats; examples are compared by their means."
    cached = [float(arm.cached[rows].mean()) for arm, rows in _both(pair)]
    if abs(cached[0] - cached[1]) > CACHE_GAP:
        yield f"{cached[0]:.0%} of {names[0]} and {cached[1]:.0%} of {names[1]} came from the cache: their times differ in kind."
    failed = [float(arm.failed[rows].mean()) for arm, rows in _both(pair)]
    if failed[0] > WARN_FAILED_SHARE:
        yield f"{failed[0]:.1%} of the answers of {names[0]} failed: the candidate is held against a weak baseline."
    models, prices = evidence.facts.get("models") or {}, evidence.facts.get("prices") or {}
    if (
        models.get(names[0])
        and models.get(names[0]) == models.get(names[1])
        and prices.get(names[0]) != prices.get(names[1])
    ):
        yield f"{names[0]} and {names[1]} are one model at other prices: a part of the cost difference is the price list's."
    if not evidence.facts.get("interleaved", False) and _timed(pair):
        yield "The arms did not run interleaved, so differences in latency are reported and decide nothing."


def _timed(pair: Pair) -> bool:
    return any(name in pair.candidate.columns for name in ("latency_s", "ttft_s", "tokens_per_s"))


def _both(pair: Pair) -> tuple[tuple[ArmData, np.ndarray], tuple[ArmData, np.ndarray]]:
    return (pair.baseline, pair.before), (pair.candidate, pair.after)
