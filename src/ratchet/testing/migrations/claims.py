"""What is claimed of a setting, and whether what was counted breaks it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ratchet.stats.proportions import exact_bound
from ratchet.testing.migrations.records import Counts

ALPHA = 0.05
BOUND_LEVEL = 0.999
"""A claim breaks when the exact one-sided bound at this level excludes it."""
SMALL_COVERAGE = 0.93
COVERAGE_SLACK = 0.01
LARGE_N = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A share that must stay within limits, and what was counted."""

    setting: str
    what: str
    count: int
    of: int
    at_most: float | None = None
    at_least: float | None = None

    @property
    def share(self) -> float:
        """What was measured."""
        return self.count / self.of

    @property
    def low(self) -> float:
        """The exact lower bound of the true share."""
        return exact_bound(self.count, self.of, side="lower", level=BOUND_LEVEL)

    @property
    def high(self) -> float:
        """The exact upper bound of the true share."""
        return exact_bound(self.count, self.of, side="upper", level=BOUND_LEVEL)

    @property
    def holds(self) -> bool:
        """Whether the bounds allow it. "At most 0" is meant exactly."""
        if self.at_most == 0.0:
            return self.count == 0
        fits = self.at_most is None or self.low <= self.at_most
        return fits and (self.at_least is None or self.high >= self.at_least)

    def __str__(self) -> str:
        parts = [f"at most {self.at_most:.1%}" if self.at_most is not None else ""]
        parts.append(f"at least {self.at_least:.1%}" if self.at_least is not None else "")
        claimed = " and ".join(part for part in parts if part)
        return (
            f"{self.setting}: {self.what} {self.share:.2%} of {self.of:,} "
            f"[{self.low:.2%}, {self.high:.2%}], claimed {claimed}"
        )


def claims_of(counts: Counts) -> Iterator[Claim]:
    """The claims that are made of this setting: error rates always, coverage where it is promised."""
    setting, n = counts.setting, counts.migrations
    if setting.claims == "refuses":
        yield Claim(setting=setting.name, what="ship", count=counts.ships, of=n, at_most=0.0)
    elif setting.ship_is_false:
        yield Claim(setting=setting.name, what="false ship", count=counts.ships, of=n, at_most=ALPHA)
    if setting.hold_is_false:
        yield Claim(setting=setting.name, what="false hold", count=counts.holds, of=n, at_most=ALPHA)
    if setting.claims != "holds" or setting.resamples:
        return
    large = setting.n >= LARGE_N and setting.kind != "cost"
    # nested and skewed data are promised no more than not to fall short
    exact = large and not setting.groups and setting.repeats == 1 and setting.discordant >= 0.1
    yield Claim(
        setting=setting.name,
        what="coverage of the 95 % interval",
        count=counts.covered_95,
        of=n,
        at_least=0.95 - COVERAGE_SLACK if large else SMALL_COVERAGE,
        at_most=0.95 + COVERAGE_SLACK if exact else None,
    )
