"""The shape of evidence: columns of numbers, a row an answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ratchet.records import Check, Dimension, Json

Floats = np.ndarray[Any, np.dtype[np.float64]]
Ints = np.ndarray[Any, np.dtype[np.int64]]
Bools = np.ndarray[Any, np.dtype[np.bool_]]
Labels = tuple[frozenset[str] | None, frozenset[str]]

FACTS = ("cost_usd", "ttft_s", "latency_s", "input_tokens", "output_tokens", "tokens_per_s")
LOWER_IS_BETTER = frozenset({"cost_usd", "ttft_s", "latency_s", "input_tokens", "output_tokens"})
DIMENSIONS: Mapping[str, Dimension] = {
    "cost_usd": "cost",
    "input_tokens": "cost",
    "output_tokens": "cost",
    "ttft_s": "latency",
    "latency_s": "latency",
    "tokens_per_s": "latency",
}
MAX_SLICES = 20
"""Metadata with more distinct values than this is no slice."""


SIMILARITY = "stability:similarity"
"""The column of how alike the answers to a row's example are; there where a check asks for it."""
HUMAN = "human:"
"""Begins the name of a column of people's labels: `human:judge` beside `judge`; several people's are averaged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One metric of one arm, a value a row; NaN: not scored."""

    name: str
    values: Floats
    kind: str = "number"
    """"bool" (1 passes), "number", or "labels"; a labels column has NaN values and its `labels`."""
    dimension: Dimension = "accuracy"
    higher_is_better: bool = True
    by: str = ""
    """scorer@version; two arms are comparable only where these agree."""
    labels: tuple[Labels, ...] = ()
    """(predicted, expected) a row, for F1 and the like; empty where there are none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmData:
    """One arm's rows. All arrays have one entry a row; rows are in order of (example, repeat)."""

    name: str
    variant_id: str
    example: Ints
    """Index into `Evidence.examples`."""
    repeat: Ints
    failed: Bools
    """No answer: an error."""
    refused: Bools
    unparsable: Bools
    cached: Bools
    columns: Mapping[str, Column]
    """By metric: facts (FACTS) and scores."""
    answers: tuple[Json, ...] = ()
    """The parsed answer a row, for agreement over repeats; empty where not kept."""
    error_kinds: Mapping[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything a verdict looks at."""

    examples: tuple[str, ...]
    """Ids, in the dataset's order; in the plan's order where the run stops when decided (`facts["looks"]`)."""
    groups: Ints
    """Cluster of each example; every example its own where none are given."""
    grouped: bool
    """Whether groups were given."""
    contents: tuple[str, ...]
    """Content hash of each example, or "" where unknown; the same id must have the same content in all arms."""
    slices: Mapping[str, tuple[str, ...]]
    """Metadata to slice by: a text an example."""
    arms: Mapping[str, ArmData]
    checks: tuple[Check, ...] = ()
    """Those written before the run."""
    facts: Mapping[str, Json] = field(default_factory=dict[str, Any])
    """task_id, dataset_id, run_ids, prompts, prices, scorers, seeds, environment, interleaved (bool), source."""
    warnings: tuple[str, ...] = ()


def first_examples(evidence: Evidence, n: int) -> Evidence:
    """The evidence of the first `n` examples, in its own order."""
    if n >= len(evidence.examples):
        return evidence
    return replace(
        evidence,
        examples=evidence.examples[:n],
        groups=evidence.groups[:n],
        contents=evidence.contents[:n],
        slices={key: texts[:n] for key, texts in evidence.slices.items()},
        arms={name: _first_rows(arm, n) for name, arm in evidence.arms.items()},
    )


def _first_rows(arm: ArmData, n: int) -> ArmData:
    kept = np.flatnonzero(arm.example < n)
    rows = kept.tolist()
    return replace(
        arm,
        example=arm.example[kept],
        repeat=arm.repeat[kept],
        failed=arm.failed[kept],
        refused=arm.refused[kept],
        unparsable=arm.unparsable[kept],
        cached=arm.cached[kept],
        columns={
            name: replace(
                column,
                values=column.values[kept],
                labels=tuple(column.labels[row] for row in rows) if column.labels else (),
            )
            for name, column in arm.columns.items()
        },
        answers=tuple(arm.answers[row] for row in rows) if arm.answers else (),
    )
