"""Numbers as people read them: one unit and one number of digits for an estimate and its interval."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ratchet.records import CheckResult

RATES = frozenset({"error"})
_COUNTS = frozenset({"input_tokens", "output_tokens"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """How one quantity is written."""

    scale: float = 1.0
    prefix: str = ""
    suffix: str = ""
    digits: int = 3

    def level(self, value: float | None) -> str:
        """`91.2 %`, `$0.0031`; "-" where there is none."""
        return "-" if value is None else self._text(value, "")

    def change(self, value: float | None) -> str:
        """As `level`, with its sign."""
        return "-" if value is None else self._text(value, "+")

    def bare(self, value: float | None, *, signed: bool = True) -> str:
        """The number without its unit."""
        return "-" if value is None else self._digits(value * self.scale, "+" if signed else "")

    def span(self, low: float | None, high: float | None, *, signed: bool = True) -> str:
        """`[-0.4, +2.8]`, without the unit; a missing limit is infinite; empty where both are missing."""
        if low is None and high is None:
            return ""
        ends = (-math.inf if low is None else low, math.inf if high is None else high)
        return "[" + ", ".join(self.bare(end, signed=signed) for end in ends) + "]"

    def _text(self, value: float, sign: str) -> str:
        number = self._digits(value * self.scale, sign)
        if self.prefix and number[0] in "+-":
            return f"{number[0]}{self.prefix}{number[1:]}{self.suffix}"
        return f"{self.prefix}{number}{self.suffix}"

    def _digits(self, value: float, sign: str) -> str:
        if math.isnan(value):
            return "-"
        if math.isinf(value):
            return "-inf" if value < 0 else f"{sign}inf"
        text = f"{value:{sign},.{self.digits}f}"
        return text.replace("-", sign) if not float(text.replace(",", "")) else text


def change_unit(result: CheckResult, *, rate: bool) -> Unit:
    """The unit of `estimate`, `low` and `high`: points for rates, per cent where relative, else the metric's own."""
    check = result.check
    values = [v for v in (result.estimate, result.low, result.high) if v is not None and math.isfinite(v)]
    limited = check.rule in ("at_most", "at_least")
    if check.relative and not limited:
        unit = Unit(scale=100, suffix=" %")
    elif rate:
        unit = Unit(scale=100, suffix=" %" if limited else " pp")
    else:
        unit = _natural(check.metric, values)
    return _with_digits(unit, result, values)


def level_unit(metric: str, values: list[float], *, rate: bool) -> Unit:
    """The unit of one arm's own value."""
    if rate:
        return Unit(scale=100, suffix=" %", digits=1)
    unit = _natural(metric, values)
    top = max((abs(v) * unit.scale for v in values), default=0.0)
    return Unit(scale=unit.scale, prefix=unit.prefix, suffix=unit.suffix, digits=_significant(top))


def _natural(metric: str, values: list[float]) -> Unit:
    top = max(map(abs, values), default=0.0)
    if metric.endswith("_usd"):
        # a call costs a fraction of a cent: a thousand calls is what people compare
        return Unit(scale=1000, prefix="$", suffix="/1k") if 0 < top < 0.1 else Unit(prefix="$")
    if metric.endswith("tokens_per_s"):
        return Unit(suffix="/s")
    if metric.endswith("_s"):
        return Unit(scale=1000, suffix=" ms") if 0 < top < 0.1 else Unit(suffix=" s")
    if metric in _COUNTS:
        return Unit(digits=0)
    return Unit()


def _with_digits(unit: Unit, result: CheckResult, values: list[float]) -> Unit:
    """Two significant digits of the interval's half width, or three of the estimate."""
    low, high = result.low, result.high
    if low is not None and high is not None and math.isfinite(high - low) and high > low:
        half = (high - low) / 2 * unit.scale
        digits = min(5, max(0, 1 - math.floor(math.log10(half))))
    else:
        digits = _significant(max((abs(v) * unit.scale for v in values), default=0.0))
    return Unit(scale=unit.scale, prefix=unit.prefix, suffix=unit.suffix, digits=digits)


def _significant(value: float) -> int:
    if value <= 0:
        return 3
    return min(5, max(0, 2 - math.floor(math.log10(value))))


def count(value: float) -> str:
    """`500`, `12.4k`, `1.2M`.

    >>> count(500), count(12_400), count(1_200_000)
    ('500', '12.4k', '1.2M')
    """
    for size, letter in ((1e6, "M"), (1e4, "k")):
        if value >= size:
            return f"{value / (1e6 if letter == 'M' else 1e3):.1f}{letter}"
    return f"{value:,.0f}"
