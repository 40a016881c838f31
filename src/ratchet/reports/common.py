"""What the worst regressions have in common: properties more frequent among them than elsewhere, nothing random claimed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ratchet.reports.examples import Bools, Floats
from ratchet.stats import enrichment, multiplicity

FALSE_DISCOVERIES = 0.05
FEWEST_WORSE = 5
"""With fewer regressions nothing can be said about them."""
MOST_SHOWN = 5
_MOST_HOW = 2
_WORST_SHARE = 0.25
_ALIKE = 0.8
"""Two properties that share this much of their examples say the same; the likelier one is shown."""
Kind = Literal["slice", "error", "reason", "label", "word", "size"]
_HOW = frozenset({"error", "reason"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Trait:
    """A property that an example has or has not."""

    kind: Kind
    text: str
    """As in "difficulty: hard" or "the input says “refund”"."""
    where: Bools
    """An entry an example."""
    slice: tuple[str, str] | None = None
    """Metadata's name and value, for a slice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One property that the worst regressions have more often than the other examples."""

    kind: Kind
    text: str
    worst: int
    """How many of the worst have it."""
    others: int
    p: float
    """Adjusted for the number of properties tried (Benjamini-Hochberg)."""
    slice: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Common:
    """What was found, and out of how much."""

    findings: tuple[Finding, ...]
    worst: int
    """Examples looked at as the worst regressions."""
    worse: int
    """Examples that got worse at all."""
    others: int
    """The rest, which the worst are compared with."""
    tried: int
    """Properties tried."""


def worst_of(gain: Floats, *, rate: bool) -> Bools:
    """The worst regressions: all that got worse on a pass or fail; else the worst quarter of them, 20 at least."""
    worse = gain < 0
    count = int(worse.sum())
    if rate or count <= 40:
        return worse
    most = max(20, int(count * _WORST_SHARE))
    limit = np.sort(gain)[most - 1]
    return gain <= min(float(limit), -0.0) if np.isfinite(limit) else worse & ~np.isfinite(gain)


def in_common(
    gain: Floats, traits: Sequence[Trait], *, rate: bool, groups: np.ndarray[Any, Any] | None = None
) -> Common:
    """The properties that are over-represented among the worst regressions, most telling first.

    Fisher's exact test (cluster-robust where groups are given), corrected over all properties tried, so that of what is
    claimed at most 5 % is expected to be chance. Ways of failing and places of failing are shown in turn.

    Args:
        gain: Change an example, signed so that more is better; NaN: not comparable, and left out.
        traits: Each with an entry an example.
    """
    usable = ~np.isnan(gain)
    worst = worst_of(gain, rate=rate)
    n, count = int(usable.sum()), int(worst.sum())
    kept = [trait for trait in traits if 0 < int((trait.where & usable).sum()) < n]
    found: list[tuple[float, Trait]] = []
    if FEWEST_WORSE <= count < n and kept:
        part = None if groups is None else groups[usable]
        p = [enrichment.over_represented(worst[usable], trait.where[usable], groups=part) for trait in kept]
        adjusted = multiplicity.benjamini_hochberg(p).tolist()
        found = [(q, trait) for q, trait in zip(adjusted, kept, strict=True) if q <= FALSE_DISCOVERIES]
        found.sort(key=lambda pair: pair[0])
    rest = usable & ~worst
    return Common(
        findings=tuple(
            Finding(kind=trait.kind, text=trait.text, worst=int((trait.where & worst).sum()),
                    others=int((trait.where & rest).sum()), p=q, slice=trait.slice)
            for q, trait in _shown(found, worst)
        ),
        worst=count, worse=int((gain < 0).sum()), others=int(rest.sum()), tried=len(kept),
    )  # fmt: skip


def _shown(found: Sequence[tuple[float, Trait]], worst: Bools) -> list[tuple[float, Trait]]:
    """The first few that do not repeat one another: at most two ways of failing while there are places of failing."""
    distinct: list[tuple[float, Trait]] = []
    for q, trait in found:
        mine = trait.where & worst
        if not any(
            _alike(mine, other.where & worst) for _, other in distinct if _side(other) == _side(trait)
        ):
            distinct.append((q, trait))
    how = [pair for pair in distinct if pair[1].kind in _HOW]
    where = [pair for pair in distinct if pair[1].kind not in _HOW]
    room = max(_MOST_HOW, MOST_SHOWN - len(where))
    chosen = how[:room] + where[: MOST_SHOWN - len(how[:room])]
    return sorted(chosen, key=lambda pair: (pair[1].kind not in _HOW, pair[0]))


def _side(trait: Trait) -> bool:
    return trait.kind in _HOW


def _alike(one: Bools, other: Bools) -> bool:
    either = int((one | other).sum())
    return either > 0 and int((one & other).sum()) / either >= _ALIKE


def sentence(found: Common) -> str:
    """One sentence on the whole: what it rests on, or that nothing stands out."""
    looked = "regression" if found.worst == 1 else "regressions"
    which = (
        f"the {found.worst:,} worst of {found.worse:,}"
        if found.worst < found.worse
        else f"the {found.worst:,}"
    )
    if not found.worse:
        return "No example got worse."
    if found.worst < FEWEST_WORSE:
        return f"{found.worse:,} {looked}: too few to tell what they have in common."
    if not found.findings:
        return f"Nothing stands out among {which} {looked}: {found.tried:,} properties tried, none shown more frequent than elsewhere."
    return f"Among {which} {looked}, more often than among the other {found.others:,} examples:"


def note(found: Common) -> str:
    """How the search was made; empty where nothing was tried."""
    if not found.tried or found.worst < FEWEST_WORSE:
        return ""
    return (
        f"{found.tried:,} properties tried (slices, errors, labels, reasons, words); one-sided exact tests, "
        f"false discoveries held at {100 * FALSE_DISCOVERIES:.0f} % (Benjamini-Hochberg)."
    )


def describe(finding: Finding, found: Common) -> str:
    """`14 of 31 (45 %), elsewhere 20 of 217 (9 %)`."""
    return (
        f"{finding.worst:,} of {found.worst:,} ({_share(finding.worst, found.worst)}), "
        f"elsewhere {finding.others:,} of {found.others:,} ({_share(finding.others, found.others)})"
    )


def _share(part: int, whole: int) -> str:
    share = 100 * part / whole if whole else 0.0
    return f"{share:.1f} %" if 0 < share < 1 else f"{share:.0f} %"
