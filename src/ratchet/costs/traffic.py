"""How often a product calls its model: stated, or counted from what was recorded."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ratchet.costs.records import MONTH_S, Range, Traffic
from ratchet.errors import ConfigError, PlanError

_SECONDS = {"s": 1.0, "sec": 1.0, "second": 1.0, "min": 60.0, "minute": 60.0, "h": 3600.0, "hour": 3600.0,
            "d": 86_400.0, "day": 86_400.0, "week": 604_800.0, "month": MONTH_S, "year": 12 * MONTH_S}  # fmt: skip
_STATED = re.compile(
    r"(?P<number>[0-9][0-9_,]*\.?[0-9]*(?:[eE][+]?[0-9]+)?)\s*(?P<size>[kKmM]?)\s*(?:/\s*(?P<unit>[a-z]+))?"
)
_SIZES = {"": 1.0, "k": 1e3, "m": 1e6}


def stated(text: str) -> Traffic:
    """From `2M/month`, `5/s`, `40_000/day`; a bare number is calls a month.

    >>> stated("10/s").calls_per_month.value
    26298000.0

    Raises:
        ConfigError: The text is no rate.
    """
    found = _STATED.fullmatch(text.strip())
    unit = (found["unit"] or "month") if found else ""
    if found is None or unit not in _SECONDS:
        units = ", ".join(dict.fromkeys(("s", "min", "hour", "day", "week", "month", "year")))
        raise ConfigError(
            f"traffic {text!r} is no rate; expected a number of calls per {units}, as in 2M/month or 5/s"
        )
    number = float(found["number"].replace("_", "").replace(",", "")) * _SIZES[found["size"].lower()]
    if number <= 0:
        raise ConfigError(f"traffic {text!r} is not above 0; expected how often the product calls the model")
    value = number / _SECONDS[unit] * MONTH_S
    return Traffic(
        calls_per_month=Range(value=value, low=value, high=value, method="stated"), source="stated"
    )


def counted(times_s: Iterable[float], source: str) -> Traffic:
    """From the times of recorded calls, in seconds: their number over the time they span.

    The interval is the exact one for a Poisson count (Garwood, Biometrika 1936, 28:437-442), which takes calls as
    independent: bursts and the hours of the day make the truth less certain than it says.

    Raises:
        PlanError: Fewer than two calls, or all at one moment.
    """
    from ratchet.stats._special import chi2_quantile

    n, first, last = 0, float("inf"), float("-inf")
    for at in times_s:
        n, first, last = n + 1, min(first, at), max(last, at)
    span_s = last - first
    if n < 2 or span_s <= 0:
        raise PlanError(
            f"{source} holds {n} calls over {max(span_s, 0):g} s; a rate needs two at different times"
        )
    scale = MONTH_S / span_s
    gaps = n - 1
    low, high = chi2_quantile(0.025, 2 * gaps) / 2, chi2_quantile(0.975, 2 * gaps + 2) / 2
    return Traffic(
        calls_per_month=Range(
            value=gaps * scale, low=low * scale, high=high * scale, method="exact Poisson", n=n
        ),
        source=f"{n:,} calls over {_span(span_s)} in {source}",
    )


def _span(seconds: float) -> str:
    for size, name in ((86_400.0, "days"), (3600.0, "hours"), (60.0, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {name}"
    return f"{seconds:.1f} s"
