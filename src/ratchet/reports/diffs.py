"""Word differences of two texts, as runs that are shared or not."""

from __future__ import annotations

import re
from dataclasses import dataclass

from rapidfuzz.distance import Indel

MOST_CHARS = 40_000
_WORDS = re.compile(r"\s+|\w+|[^\w\s]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A stretch of text; `changed`: the other text has not got it."""

    text: str
    changed: bool


def word_diff(before: str, after: str) -> tuple[list[Run], list[Run]]:
    """The runs of both texts; unmarked where one is longer than MOST_CHARS.

    >>> [(run.text, run.changed) for run in word_diff("a b", "a c")[1]]
    [('a ', False), ('c', True)]
    """
    if max(len(before), len(after)) > MOST_CHARS or before == after:
        return [Run(text=before, changed=False)], [Run(text=after, changed=False)]
    first, second = _WORDS.findall(before), _WORDS.findall(after)
    left: list[Run] = []
    right: list[Run] = []
    for op in Indel.opcodes(first, second):
        changed = op.tag != "equal"
        _add(left, "".join(first[op.src_start : op.src_end]), changed)
        _add(right, "".join(second[op.dest_start : op.dest_end]), changed)
    return left, right


def _add(runs: list[Run], text: str, changed: bool) -> None:
    if text:
        runs.append(Run(text=text, changed=changed))
