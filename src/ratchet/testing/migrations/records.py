"""A migration whose truth is known, and what was counted over many of them."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Literal, TypeVar

from ratchet import checks
from ratchet.records import Check

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Kind = Literal["binary", "continuous", "cost", "latency"]
Claims = Literal["holds", "refuses", "measured"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """How examples and answers are drawn, and the rule that judges them."""

    name: str
    kind: Kind = "binary"
    n: int = 300
    """Examples."""
    difference: float = 0.0
    """The truth: candidate minus baseline; of cost and latency, as a share of the baseline (0.1 is 10 % more)."""
    margin: float = 0.05
    """Of `no_worse`; the minimum gain of `better`; the limit of `at_least`."""
    rule: Literal["no_worse", "better", "at_least"] = "no_worse"
    absolute: bool = False
    """Cost is compared by its difference instead of its ratio."""
    discordant: float = 0.1
    """Share of examples that one arm alone passes; binary."""
    rate: float = 0.8
    """Share that the baseline passes; binary."""
    groups: int = 0
    """Clusters; 0: every example stands alone."""
    unequal: bool = False
    """Groups of very different size."""
    icc: float = 0.2
    """Share of the differences' variance that a group has in common."""
    repeats: int = 1
    own: float = 0.7
    """Share of the differences' variance that an example's repeats have in common."""
    ties: float = 0.0
    """Share of examples on which both arms are equal; continuous."""
    spread: float = 0.5
    """Standard deviation of the log of cost or time; of the differences of scores, in units of 0.3."""
    quantile: float = 0.95
    """Of latency."""
    error_rates: tuple[float, float] = (0.0, 0.0)
    """Of the baseline and of the candidate; a failed answer counts as failed."""
    checks: int = 1
    """So many independent scores, each with its check and the same truth."""
    any_wins: bool = False
    """One of several primaries is enough."""
    claims: Claims = "holds"
    """What is claimed here: the error rates and the coverage; that no ship is ever decided; or the error rates alone,
    because intervals can't hold their coverage and the verdict leans on its refusals."""

    @property
    def sign(self) -> float:
        """1 where more is better."""
        return -1.0 if self.kind in ("cost", "latency") else 1.0

    @property
    def bound(self) -> float:
        """What the oriented truth is held against."""
        return -self.margin if self.rule == "no_worse" else self.margin

    @property
    def oriented(self) -> float:
        """The truth with more being better; for a limit, the candidate's own rate."""
        return self.rate + self.difference if self.rule == "at_least" else self.sign * self.difference

    @property
    def ship_is_false(self) -> bool:
        """The truth is on the bound or worse."""
        return self.oriented <= self.bound + 1e-12

    @property
    def hold_is_false(self) -> bool:
        """The truth is on the bound or better."""
        return self.oriented >= self.bound - 1e-12

    @property
    def truth(self) -> float:
        """What the interval of the check should cover."""
        if self.rule == "at_least":
            return self.rate + self.difference
        return MEAN_COST * self.difference if self.absolute else self.difference

    @property
    def resamples(self) -> bool:
        """Whether its method draws; fewer migrations are simulated then."""
        return self.kind == "latency"


MEAN_COST = 0.01
"""Of the baseline's answers, in dollars."""


def checks_of(setting: Migration) -> tuple[Check, ...]:
    """The rules that this migration is judged by, made by the functions that people call."""
    if setting.kind == "latency":
        return (checks.no_worse("latency_s", p=100 * setting.quantile, margin=setting.margin, relative=True),)
    if setting.kind == "cost":
        margin = setting.margin * (MEAN_COST if setting.absolute else 1.0)
        given = {"margin": margin, "relative": not setting.absolute}
        return (checks.make(setting.rule, "cost_usd", given).replace(role="guard"),)
    measure = "rate" if setting.kind == "binary" else "mean"
    made: list[Check] = []
    for name in score_names(setting):
        if setting.rule == "at_least":
            check = checks.at_least(name, limit=setting.margin, measure=measure)
        else:
            check = checks.make(setting.rule, name, {"margin": setting.margin, "measure": measure})
        made.append(check.replace(settings={"primary": "any"}) if setting.any_wins else check)
    return tuple(made)


def score_names(setting: Migration) -> tuple[str, ...]:
    """The names of its scores."""
    return tuple(f"score_{i}" for i in range(1, setting.checks + 1)) if setting.checks > 1 else ("score",)


Counted = TypeVar("Counted", bound="DataclassInstance")


def added(first: Counted, second: Counted) -> Counted:
    """The numbers of both together; all else as the first has it, or as the second where the first is empty."""
    sums = {
        each.name: one + other
        if isinstance(one := getattr(first, each.name), (int, float))
        and isinstance(other := getattr(second, each.name), (int, float))
        else one or getattr(second, each.name)
        for each in fields(first)
    }
    return replace(first, **sums)


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What happened in so many migrations of one setting."""

    setting: Migration
    migrations: int = 0
    ships: int = 0
    holds: int = 0
    covered_90: int = 0
    covered_95: int = 0
    weak: int = 0
    """Verdicts where the interval would have passed its bound and was too weak to decide."""
    invalid: int = 0
    method: str = ""
    """Of the first."""
    seconds: float = field(default=0.0, compare=False)

    def __add__(self, other: Counts) -> Counts:
        return added(self, other)
