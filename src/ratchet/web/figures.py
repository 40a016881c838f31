"""The figures of a run for its page: summary, histograms, distributions and confusion, as JSON.

Computed in the child process that makes the columns; the server reads them and draws.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ratchet import codec, measures, summaries
from ratchet.records import Json, Run, Score

if TYPE_CHECKING:
    from ratchet.stores.sqlite import SQLiteStore
    from ratchet.web.columns import AnyArray, Table
    from ratchet.web.run_columns import Report

QUANTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
MOST_BINS = 36
MOST_BARS = 12
MOST_CLASSES = 12
"""Of a confusion matrix; rarer labels are counted as one."""
REST = "(other labels)"


def compute(store: SQLiteStore, run: Run, table: Table, report: Report) -> dict[str, Json]:
    """Everything the page of a run draws beside its rows."""
    summary = summaries.summarise(run, store, worst=8)
    report("computing figures", 1, 3)
    arms = table.values("arm")
    masks = {arm: np.asarray(arms == code) for code, arm in enumerate(table.info("arm").words)}
    answered = ~np.asarray(table.values("failed"))
    found = {
        "summary": codec.plain(dataclasses.asdict(summary)),
        "latency_s": _times(table, "latency_s", masks, answered),
        "ttft_s": _times(table, "ttft_s", masks, answered),
        "scores": [_distribution(table, score, masks) for score in table.facts["scores"]],
    }
    report("computing figures", 2, 3)
    labelled = {name for arm in summary.arms.values() for name, score in arm.scores.items() if score.by_label}
    found["confusion"] = [
        matrix for name in sorted(labelled) if (matrix := _confusion(store, run, table, name))
    ]
    return found


def _times(
    table: Table, name: str, masks: Mapping[str, AnyArray], answered: AnyArray
) -> dict[str, Json] | None:
    """Counts between shared edges and quantiles for each arm; None where nothing was timed."""
    values = table.values(name)
    known = answered & np.isfinite(values)
    if not known.any():
        return None
    # a few very slow answers would leave one bar: the last bin holds all beyond the 99th percentile
    low, high = 0.0, float(np.quantile(values[known], 0.99)) * 1.05
    beyond = bool((values[known] > high).any())
    edges = np.linspace(
        low, high if high > low else low + 1e-3, min(MOST_BINS, max(8, int(known.sum() ** 0.5))) + 1
    )
    arms: dict[str, Json] = {}
    for arm, mask in masks.items():
        mine = np.asarray(values[mask & known])
        if not len(mine):
            continue
        counts, _ = np.histogram(np.minimum(mine, edges[-1]), bins=edges)
        arms[arm] = {
            "counts": counts.tolist(),
            "n": len(mine),
            "quantiles": {q: float(np.quantile(mine, share)) for q, share in QUANTILES.items()},
            "mean": float(mine.mean()),
            "max": float(mine.max()),
        }
    return {"edges": edges.tolist(), "beyond": beyond, "arms": arms}


def _distribution(table: Table, score: Mapping[str, str], masks: Mapping[str, AnyArray]) -> dict[str, Json]:
    """How often each value (or range of values) was given, arm by arm."""
    column = score["column"]
    values, info = table.values(column), table.info(column)
    kind = score["kind"]
    if kind == "label":
        common = sorted(range(len(info.words)), key=lambda code: -info.counts[code])[:MOST_BARS]
        bars: list[dict[str, Json]] = [
            {"label": info.words[code], "counts": {arm: int((values[mask] == code).sum()) for arm, mask in masks.items()}}
            for code in common
        ]  # fmt: skip
        unscored = {arm: int((values[mask] < 0).sum()) for arm, mask in masks.items()}
        return {**score, "bars": bars, "edges": None, "unscored": unscored}
    known = values[np.isfinite(values)]
    unscored = {arm: int((~np.isfinite(values[mask])).sum()) for arm, mask in masks.items()}
    distinct = np.unique(known[:100_000])
    if kind == "bool" or len(distinct) <= MOST_BARS:
        distinct = np.array([0.0, 1.0]) if kind == "bool" else np.unique(known)
        if len(distinct) <= MOST_BARS:
            bars = [
                {"value": float(v), "counts": {arm: int((values[mask] == v).sum()) for arm, mask in masks.items()}}
                for v in distinct
            ]  # fmt: skip
            return {**score, "bars": bars, "edges": None, "unscored": unscored}
    low, high = float(known.min()), float(known.max())
    if low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    edges = np.linspace(low, high, 21)
    counts = {
        arm: np.histogram(values[mask][np.isfinite(values[mask])], bins=edges)[0]
        for arm, mask in masks.items()
    }
    bars = [
        {"counts": {arm: int(counted[index]) for arm, counted in counts.items()}}
        for index in range(len(edges) - 1)
    ]
    return {**score, "bars": bars, "edges": edges.tolist(), "unscored": unscored}


def _confusion(store: SQLiteStore, run: Run, table: Table, name: str) -> dict[str, Json] | None:
    """Expected against predicted labels, arm by arm; None for sets of labels."""
    counted: dict[str, Counter[tuple[str, str]]] = {arm: Counter() for arm in run.arms}
    arms, words = table.values("arm"), table.info("arm").words
    batch: list[Score] = []
    for score in store.scores(run.id, name=name):
        if isinstance(score.metadata.get("expected"), list):
            return None
        if score.metadata.get("expected") is not None and score.source != "human":
            batch.append(score)
        if len(batch) == 4096:
            _count(batch, table, arms, words, counted)
            batch = []
    _count(batch, table, arms, words, counted)
    support = Counter[str]()
    for pairs in counted.values():
        for (expected, predicted), n in pairs.items():
            support[expected] += n
            support[predicted] += 0
    if not support:
        return None
    common = [label for label, _ in support.most_common(MOST_CLASSES)]
    labels = sorted(common) + ([REST] if len(support) > len(common) else [])
    places = {label: place for place, label in enumerate(labels)}
    rest = len(labels) - 1
    matrices: dict[str, Json] = {}
    for arm, pairs in counted.items():
        matrix = [[0] * len(labels) for _ in labels]
        for (expected, predicted), n in pairs.items():
            matrix[places.get(expected, rest)][places.get(predicted, rest)] += n
        matrices[arm] = matrix
    return {"name": name, "labels": labels, "arms": matrices}


def _count(
    scores: list[Score],
    table: Table,
    arms: AnyArray,
    words: tuple[str, ...],
    counted: dict[str, Counter[tuple[str, str]]],
) -> None:
    if not scores:
        return
    rows = table.find("trace", [score.trace_id for score in scores])
    for score, row in zip(scores, rows.tolist(), strict=True):
        if row < 0:
            continue
        predicted = score.metadata.get("predicted")
        pair = (str(score.metadata["expected"]), measures.UNKNOWN if predicted is None else str(predicted))
        counted[words[arms[row]]][pair] += 1
