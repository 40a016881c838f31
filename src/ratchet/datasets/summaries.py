"""What a dataset is made of: labels, groups, splits, examples that stand there twice."""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from ratchet import codec
from ratchet.datasets.manifests import examples
from ratchet.datasets.rows import body_of
from ratchet.datasets.values import canonical
from ratchet.records import Dataset, Example, Json

MAX_LABELS = 1000
"""More distinct answers than these are not labels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """How often each label, split and group stands in a dataset."""

    examples: int
    labels: Mapping[str, int] | None
    """Examples by label, most frequent first; an example with several labels counts for each, and without
    any as "(none)". None: too many distinct answers to be labels."""
    splits: Mapping[str, int]
    groups: int
    ungrouped: int
    largest_group: int
    """Examples in it."""


def balance(dataset: Dataset) -> Balance:
    """Counts of labels, splits and groups."""
    labels: Counter[str] | None = Counter()
    splits: Counter[str] = Counter()
    groups: Counter[str] = Counter()
    count = 0
    for example in examples(dataset):
        count += 1
        if example.split is not None:
            splits[example.split] += 1
        if example.group is not None:
            groups[example.group] += 1
        if labels is not None:
            labels.update(_labels(example.expected))
            labels = labels if len(labels) <= MAX_LABELS else None
    return Balance(
        examples=count,
        labels=dict(labels.most_common()) if labels is not None else None,
        splits=dict(splits.most_common()),
        groups=len(groups),
        ungrouped=count - groups.total(),
        largest_group=max(groups.values(), default=0),
    )


def _labels(expected: Json) -> set[str]:
    values = expected if isinstance(expected, list) else [] if expected is None else [expected]
    return {value if isinstance(value, str) else codec.dumps(value).decode() for value in values} or {
        "(none)"
    }


def duplicates(dataset: Dataset, *, by: Literal["content", "input"] = "content") -> list[tuple[str, ...]]:
    """Ids of examples that are the same, in the order of the file; two passes and some 50 bytes an example.

    Args:
        by: "content": all but the id is equal. "input": the input is, whatever is expected.
    """
    hashes = array("Q", (_hash(example, by) for example in examples(dataset)))
    twice = {a for a, b in pairwise(sorted(hashes)) if a == b}
    found: dict[bytes, list[str]] = {}
    if twice:
        for example in examples(dataset):
            if _hash(example, by) in twice:
                found.setdefault(hashlib.sha256(_bytes(example, by)).digest(), []).append(example.id)
    return [tuple(ids) for ids in found.values() if len(ids) > 1]


def _bytes(example: Example, by: str) -> bytes:
    return body_of(example) if by == "content" else canonical(example.input)


def _hash(example: Example, by: str) -> int:
    return int.from_bytes(hashlib.sha256(_bytes(example, by)).digest()[:8], "big")
