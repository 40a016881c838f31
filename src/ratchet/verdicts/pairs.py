"""Two arms on the same examples: which rows belong together, and what makes a comparison of them impossible."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ratchet.errors import PairingError, UnknownNameError
from ratchet.evidence import ArmData, Bools, Evidence, Ints

MAX_MISSING_SHARE = 0.02
MAX_FAILED_SHARE = 0.5
"""Above this, an arm's answers are no ground for a decision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """The rows of both arms that are compared.

    `unit` is what counts once: an example, or all examples of one content. Where `aligned`, row i of both sides is the
    same (example, repeat); else the sides hold other repeats of the same examples and only means by unit pair.
    """

    baseline: ArmData
    candidate: ArmData
    before: Ints
    """Rows of the baseline."""
    after: Ints
    """Rows of the candidate."""
    before_unit: Ints
    after_unit: Ints
    groups: Ints | None
    """The cluster of each unit; None where every unit stands alone."""
    aligned: bool
    repeats: bool
    """Whether a unit has several rows."""
    examples: int
    missing: int
    """(example, repeat) rows that only one arm has, or examples where the arms' repeats differ by design."""
    wanted: int
    doubled: int
    """Examples whose content another example has too."""

    @property
    def units(self) -> int:
        """How many units are compared."""
        return len(np.unique(self.before_unit))

    @property
    def independent(self) -> int:
        """How many of them are independent: groups where there are any, else units."""
        return self.units if self.groups is None else len(np.unique(self.groups[self.before_unit]))


def arm_of(evidence: Evidence, name: str) -> ArmData:
    """The arm of this name.

    Raises:
        UnknownNameError: There is none.
    """
    if name not in evidence.arms:
        raise UnknownNameError("arm", name, evidence.arms)
    return evidence.arms[name]


def pair(evidence: Evidence, baseline: str, candidate: str) -> Pair:
    """The rows of two arms, paired by example and repeat.

    Raises:
        PairingError: An arm holds one (example, repeat) twice, or the arms share no example.
    """
    arms = arm_of(evidence, baseline), arm_of(evidence, candidate)
    span = 1 + max((int(arm.repeat.max()) for arm in arms if len(arm.repeat)), default=0)
    keys = [_keys(arm, span, evidence.examples) for arm in arms]
    same_repeats = len({int(arm.repeat.max(initial=0)) for arm in arms}) == 1
    if same_repeats:
        shared, before, after = np.intersect1d(*keys, assume_unique=True, return_indices=True)
        wanted = len(keys[0]) + len(keys[1]) - len(shared)
        missing = wanted - len(shared)
    else:
        tried = [np.unique(arm.example) for arm in arms]
        common = np.intersect1d(*tried, assume_unique=True)
        before, after = (np.flatnonzero(np.isin(arm.example, common)) for arm in arms)
        wanted = len(tried[0]) + len(tried[1]) - len(common)
        missing = wanted - len(common)
    if not len(before):
        raise PairingError(
            f"{baseline} and {candidate} share no example ({_some(evidence, arms[0])} against {_some(evidence, arms[1])}); "
            "a comparison needs the same examples, by the same ids, on both sides"
        )
    owner, doubled = _units(evidence, arms[0].example[before])
    before_unit, after_unit = owner[arms[0].example[before]], owner[arms[1].example[after]]
    return Pair(
        baseline=arms[0],
        candidate=arms[1],
        before=before,
        after=after,
        before_unit=before_unit,
        after_unit=after_unit,
        groups=_groups(evidence, owner),
        aligned=same_repeats,
        repeats=len(np.unique(before_unit)) < max(len(before), len(after)),
        examples=len(np.unique(arms[0].example[before])),
        missing=missing,
        wanted=wanted,
        doubled=doubled,
    )


def within(found: Pair, chosen: Bools) -> Pair:
    """The pair with only the units for which `chosen` holds; an entry a unit's code."""
    before, after = chosen[found.before_unit], chosen[found.after_unit]
    return replace(
        found,
        before=found.before[before],
        after=found.after[after],
        before_unit=found.before_unit[before],
        after_unit=found.after_unit[after],
    )


def _keys(arm: ArmData, span: int, examples: Sequence[str]) -> Ints:
    keys = arm.example * span + arm.repeat
    values, counts = np.unique(keys, return_counts=True)
    if len(values) < len(keys):
        key = int(values[int(np.argmax(counts > 1))])
        raise PairingError(
            f"{arm.name} has example {examples[key // span]!r}, repeat {key % span}, {int(counts.max())} times; "
            "expected each (id, repeat) once. Number the repeats, or give other examples other ids."
        )
    return keys


def _some(evidence: Evidence, arm: ArmData) -> str:
    names = [evidence.examples[code] for code in np.unique(arm.example)[:3].tolist()]
    return f"{', '.join(map(repr, names))}…" if names else "no rows"


def _units(evidence: Evidence, examples: Ints) -> tuple[Ints, int]:
    """The unit of each example of the evidence, and how many of `examples` are copies of an earlier one."""
    owner = np.arange(len(evidence.examples), dtype=np.int64)
    if not evidence.contents:
        return owner, 0
    first: dict[str, int] = {}
    doubled = 0
    for code in np.unique(examples).tolist():
        content = evidence.contents[code]
        if not content:
            continue
        known = first.setdefault(content, code)
        if known != code:
            owner[code] = known
            doubled += 1
    return owner, doubled


def _groups(evidence: Evidence, owner: Ints) -> Ints | None:
    """The cluster of each unit; groups that share an example's content are one."""
    if not evidence.grouped:
        return None
    above: dict[int, int] = {}

    def top(group: int) -> int:
        while above.get(group, group) != group:
            group = above[group]
        return group

    groups = evidence.groups.astype(np.int64)
    for code in np.flatnonzero(owner != np.arange(len(owner))).tolist():
        above[top(int(groups[code]))] = top(int(groups[owner[code]]))
    return np.array([top(group) for group in groups.tolist()], np.int64) if above else groups
