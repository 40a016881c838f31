"""The one record that every interval function returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Alternative = Literal["two-sided", "greater", "less"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """An estimate with its two-sided interval, the p-value of the stated null, and how both were made.

    `level` is the nominal two-sided coverage. `n` counts the independent examples that entered, `n_rows` the rows
    before repeats were averaged, `n_groups` the clusters (None: every example is its own). `se` and `df` are None
    where the method has none. `too_small` means that the data allow a report but no claim of "no worse" or
    "better"; `skewed` means that the values are too skewed for their number (Cochran's rule), so that the error rates of
    a t interval are not to be trusted. Limits may be infinite; no field is ever NaN.

    >>> Interval(estimate=0.1, low=-0.1, high=0.3, level=0.95, n=40, method="paired t").excludes(0.0)
    False
    """

    estimate: float
    low: float
    high: float
    level: float
    n: int
    method: str
    p: float | None = None
    null: float = 0.0
    alternative: Alternative = "two-sided"
    p_method: str | None = None
    se: float | None = None
    df: float | None = None
    n_rows: int | None = None
    n_groups: int | None = None
    draws: int | None = None
    too_small: bool = False
    skewed: bool = False
    skewness: float = 0.0
    """Of the units where limits by Student's t rest on them; the side of the longer tail."""
    note: str | None = None

    def excludes(self, value: float) -> bool:
        """Whether `value` lies strictly outside the interval."""
        return value < self.low or value > self.high
