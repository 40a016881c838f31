"""A comparison as columns: a row an example of the evidence, both arms side by side. Not for the server's process."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ratchet import codec
from ratchet.evidence import ArmData, Evidence
from ratchet.records import Run, Verdict
from ratchet.reports import examples, views
from ratchet.stores import sqlite_views
from ratchet.stores.sqlite import SQLiteStore
from ratchet.web.columns import Writer


def write(
    store: str | Path,
    verdict: Verdict,
    evidence: Evidence,
    *,
    id: str | None = None,
    texts: Mapping[str, Sequence[str]] | None = None,
) -> Path:
    """The folder with the columns of this comparison.

    Columns: `example` (text); with a shared numeric metric `before`, `after` (repeats averaged), `gain` (signed so that
    more is better; -inf an answer lost, inf one won), the flags `worse`, `better`, `same`, `flipped`, `errored`;
    `slice:<name>` (code) for metadata; `before:<metric>` and `after:<metric>` for every other number both arms have;
    `before_trace` and `after_trace`, the first repeat's answer. Facts: `metric`, `rate`, `higher_is_better`,
    `baseline`, `candidate`, `graded`, `top`, and `sides`, which names the run and arm of each side.

    Args:
        id: The verdict's id in the store; by default its content id.
        texts: Further text columns, an entry an example, "" where there is none: `input` and `expected` of the page.
    """
    called = views.names(verdict, evidence)
    arms = {"before": evidence.arms[called.baseline], "after": evidence.arms[called.candidate]}
    count = len(evidence.examples)
    found = examples.pair(verdict, evidence)
    writer = Writer(store, f"verdict-{id or codec.content_id(verdict)}", count)
    try:
        writer.text("example", np.arange(count), evidence.examples)
        for name, values in (texts or {}).items():
            given = [text for text in values if text]
            codes = np.full(count, -1)
            codes[[bool(text) for text in values]] = np.arange(len(given))
            writer.text(name, codes, given, order=False)
        facts: dict[str, Any] = {"baseline": called.baseline, "candidate": called.candidate, "metric": None}
        if found is not None:
            facts |= _paired(writer, found)
        _others(writer, arms, count, None if found is None else found.metric)
        for name, values in evidence.slices.items():
            words = sorted(set(values) - {""})
            places = {word: code for code, word in enumerate(words)}
            codes = np.array([places.get(text, -1) for text in values], np.int32)
            writer.code(f"slice:{name}", codes, words)
        facts["sides"] = _traces(writer, store, evidence, arms)
        facts["grouped"] = evidence.grouped
        return writer.finish(facts)
    except BaseException:
        writer.abandon()
        raise


def _paired(writer: Writer, found: examples.Paired) -> dict[str, Any]:
    """The columns of the headline metric; what its cells need to be shown."""
    writer.number("before", found.before)
    writer.number("after", found.after)
    writer.number("gain", found.gain)
    flags = {
        "worse": found.gain < 0,
        "better": found.gain > 0,
        "same": found.gain == 0,
        "flipped": found.flipped,
        "errored": found.errored,
    }
    for name, values in flags.items():
        writer.flag(name, values)
    both = np.concatenate([found.before, found.after])
    both = both[np.isfinite(both)]
    low, high = (float(both.min()), float(both.max())) if len(both) else (math.nan, math.nan)
    change = np.abs(found.after - found.before)
    return {
        "metric": found.metric,
        "rate": found.rate,
        "higher_is_better": found.higher_is_better,
        "graded": found.higher_is_better and low >= 0 and high <= 1,
        "low": low if len(both) else None,
        "high": high if len(both) else None,
        "top": float(np.nanmax(change)) if np.isfinite(change).any() else 0.0,
    }


def _others(writer: Writer, arms: Mapping[str, ArmData], count: int, headline: str | None) -> None:
    for metric, column in arms["before"].columns.items():
        other = arms["after"].columns.get(metric)
        if metric == headline or other is None or "labels" in (column.kind, other.kind):
            continue
        for side, arm in arms.items():
            writer.number(f"{side}:{metric}", examples.means(arm, metric, count))


def _traces(
    writer: Writer, store: str | Path, evidence: Evidence, arms: Mapping[str, ArmData]
) -> dict[str, dict[str, str]]:
    """The first repeat's trace of each example and side; where each side comes from, empty where no run is known."""
    places = {example: place for place, example in enumerate(evidence.examples)}
    sides: dict[str, dict[str, str]] = {}
    if not Path(store).exists():
        return sides
    with SQLiteStore(store, read_only=True) as kept:
        runs = [run for run_id in evidence.facts.get("run_ids") or () if (run := kept.run(str(run_id)))]
        for side, arm in arms.items():
            source = _source(runs, arm)
            if source is None:
                continue
            run_id, name = source
            sides[side] = {"run_id": run_id, "arm": name}
            ids = np.zeros((len(places), 16), np.uint8)
            first = np.full(len(places), np.iinfo(np.int64).max)
            for example, repeat, trace_id in sqlite_views.units(kept, run_id, name):
                place = places.get(example)
                if place is not None and repeat < first[place] and len(trace_id) == 32:
                    first[place] = repeat
                    ids[place] = np.frombuffer(bytes.fromhex(trace_id), np.uint8)
            writer.trace(f"{side}_trace", ids)
    return sides


def _source(runs: list[Run], arm: ArmData) -> tuple[str, str] | None:
    """The run and the arm's name in it that these rows come from: by the variant, and of several by the name."""
    alike = [
        (run, name)
        for run in runs
        for name, variant in run.arms.items()
        if codec.content_id(variant) == arm.variant_id
    ]
    for run, name in alike:
        if arm.name in (name, f"{run.name or run.id[:13]}:{name}"):
            return run.id, name
    return (alike[0][0].id, alike[0][1]) if alike else None
