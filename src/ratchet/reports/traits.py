"""The properties by which regressions are searched for what they have in common."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ratchet.evidence import ArmData, Bools, Evidence
from ratchet.reports import texts, views
from ratchet.reports.common import Kind, Trait

MOST_READ = 5_000
"""Examples whose texts are read; of more, all of the worst and a random part of the others."""
MOST_WORDS = 150
MOST_REASONS = 60
_FEWEST = 5
_MOST_SHARE = 0.6
_WORDS = re.compile(r"[^\W\d_]{3,24}")
_REASON_CHARS = 90


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What was read of one example, beyond its numbers; all of it is hostile."""

    input: str = ""
    output: str = ""
    """The candidate's answers."""
    errors: tuple[str, ...] = ()
    """Why the candidate gave no answer, or stopped early: kinds such as "timeout" and "length"."""
    reasons: tuple[tuple[str, str], ...] = ()
    """Score and reason, of the candidate's answers."""


Observe = Callable[[int], Observed | None]


def of_evidence(evidence: Evidence, called: views.Names) -> list[Trait]:
    """Slices, failures and labels: what the evidence alone says."""
    n = len(evidence.examples)
    found: list[Trait] = []
    for name, values in evidence.slices.items():
        column = np.asarray(values, dtype=object).astype(str)
        for value in np.unique(column).tolist():
            label = f"{name}: {value or '(none)'}"
            found.append(Trait(kind="slice", text=label, where=column == value, slice=(name, str(value))))
    candidate = evidence.arms[called.candidate]
    for text, rows in (
        (f"{called.candidate} failed", candidate.failed),
        (f"{called.candidate} refused", candidate.refused),
        (f"the answer of {called.candidate} could not be read", candidate.unparsable),
    ):
        found.append(Trait(kind="error", text=text, where=_any(candidate, rows, n)))
    return found + list(_labels(candidate, n))


def _any(arm: ArmData, rows: Bools, n: int) -> Bools:
    return np.bincount(arm.example[rows], minlength=n) > 0


def _labels(arm: ArmData, n: int) -> Iterator[Trait]:
    """What was expected, label by label."""
    for column in arm.columns.values():
        if not column.labels:
            continue
        names = Counter(label for _, expected in column.labels for label in expected)
        for label, _ in names.most_common(MOST_REASONS):
            rows = np.array([label in expected for _, expected in column.labels], np.bool_)
            yield Trait(kind="label", text=f"{column.name} expects {label}", where=_any(arm, rows, n))


def of_texts(observe: Observe, chosen: Sequence[int], n: int, called: views.Names) -> list[Trait]:
    """Words, reasons, errors and length, of the examples in `chosen`; elsewhere every property is absent."""
    inputs, outputs, reasons, errors = _Found(n), _Found(n), _Found(n), _Found(n)
    sizes = np.full(n, -1, np.int64)
    for index in chosen:
        seen = observe(index)
        if seen is None:
            continue
        sizes[index] = len(seen.input)
        inputs.add(index, _words(seen.input))
        outputs.add(index, _words(seen.output))
        errors.add(index, seen.errors)
        reasons.add(
            index,
            {
                f"{score} said “{texts.cut(' '.join(why.split()), _REASON_CHARS)}”"
                for score, why in seen.reasons
            },
        )
    total = int((sizes >= 0).sum())
    name = called.candidate
    found = [
        *errors.traits("error", f"{name}: {{}}", MOST_REASONS, total),
        *reasons.traits("reason", "{}", MOST_REASONS, total),
        *inputs.traits("word", "the input says “{}”", MOST_WORDS, total),
        *outputs.traits("word", f"{name} says “{{}}”", MOST_WORDS, total),
    ]
    known = sizes[sizes >= 0]
    if len(known) >= 20 and (limit := int(np.percentile(known, 75))) > known.min():
        found.append(
            Trait(kind="size", text=f"the input is long (over {limit:,} characters)", where=sizes > limit)
        )
    return found


def _words(text: str) -> set[str]:
    return {word.lower() for word in _WORDS.findall(text[:20_000])}


class _Found:
    """In which examples each text stands."""

    def __init__(self, n: int) -> None:
        self._n = n
        self._places: dict[str, list[int]] = {}

    def add(self, index: int, found: set[str] | tuple[str, ...]) -> None:
        for text in found:
            self._places.setdefault(text, []).append(index)

    def traits(self, kind: Kind, pattern: str, most: int, total: int) -> Iterator[Trait]:
        """The most frequent ones that are neither rare nor nearly everywhere."""
        limit = total * _MOST_SHARE
        known = [(text, at) for text, at in self._places.items() if _FEWEST <= len(at) <= limit]
        known.sort(key=lambda pair: (-len(pair[1]), pair[0]))
        for text, at in known[:most]:
            where = np.zeros(self._n, np.bool_)
            where[at] = True
            yield Trait(kind=kind, text=pattern.format(text), where=where)


def to_read(worst: Bools, usable: Bools, *, most: int = MOST_READ, seed: int = 0) -> list[int]:
    """Whose texts to read: all examples, or of too many the worst (half at most) and a random part of the others."""
    every = np.flatnonzero(usable)
    if len(every) <= most:
        return every.tolist()
    rng = np.random.default_rng(seed)
    bad, rest = np.flatnonzero(worst & usable), np.flatnonzero(~worst & usable)
    bad = rng.permutation(bad)[: most // 2]
    return np.sort(np.concatenate([bad, rng.permutation(rest)[: most - len(bad)]])).tolist()
