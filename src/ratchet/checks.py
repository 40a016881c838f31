"""Four functions that return a Check, and their form in ratchet.yaml.

checks:
  - {no_worse: exact_match, margin_pp: 2}
  - {better: cost_usd, ratio: 0.7}
  - {at_most: latency_s, p: 95, limit: 2.0}
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

from ratchet import codec
from ratchet.errors import CodecError, ConfigError, did_you_mean
from ratchet.records import Check, Dimension, Json, Scorer

Rule = Literal["better", "no_worse", "at_most", "at_least"]
RULES: tuple[Rule, ...] = ("better", "no_worse", "at_most", "at_least")
_DIMENSIONS: dict[str, Dimension] = {
    "cost_usd": "cost",
    "input_tokens": "cost",
    "output_tokens": "cost",
    "ttft_s": "latency",
    "latency_s": "latency",
    "tokens_per_s": "latency",
    "goodput": "latency",
    "stability": "stability",
    "error": "stability",
}
_LOWER_IS_BETTER = frozenset(
    {"cost_usd", "input_tokens", "output_tokens", "ttft_s", "latency_s", "error", "refused", "unparsable"}
)
_CHOICES: dict[str, tuple[str, ...]] = {
    "refused": ("fail", "as_scored"),
    "unparsable": ("fail", "as_scored"),
    "primary": ("all", "any"),
}
"""Kept in `Check.settings`: how refusals and answers without extraction count, and whether any primary may win."""
_KEYS = frozenset(
    {"margin", "margin_pp", "ratio", "limit", "p", "measure", "label", "role", "dimension", "errors",
     "max_error_share", "higher_is_better", "relative", "k", "worst", *_CHOICES}
)  # fmt: skip


def better(metric: str | Scorer, **settings: Any) -> Check:
    """The candidate must be better: by `margin`, `margin_pp` points, or to `ratio` times the baseline."""
    return make("better", metric, settings)


def no_worse(metric: str | Scorer, **settings: Any) -> Check:
    """The candidate must not be worse by more than `margin` or `margin_pp` points (default: not worse at all)."""
    return make("no_worse", metric, settings)


def at_most(metric: str | Scorer, **settings: Any) -> Check:
    """The candidate's value must be at most `limit`; `p=95` means its 95th percentile."""
    return make("at_most", metric, settings)


def at_least(metric: str | Scorer, **settings: Any) -> Check:
    """The candidate's value must be at least `limit`."""
    return make("at_least", metric, settings)


def resolve(spec: Check | Mapping[str, Json]) -> Check:
    """The check of one entry of `checks:` in ratchet.yaml.

    Raises:
        ConfigError: It names no rule or two, or an unknown or unfitting setting.
    """
    if isinstance(spec, Check):
        return spec
    named: list[Rule] = [rule for rule in RULES if rule in spec]
    if len(named) != 1:
        found = ", ".join(map(str, spec)) or "nothing"
        raise ConfigError(f"a check needs exactly one of {', '.join(RULES)}; found {found}")
    settings = {key: value for key, value in spec.items() if key != named[0]}
    metric = spec[named[0]]
    if not isinstance(metric, str):
        raise ConfigError(
            f"{named[0]} is {metric!r}, expected the name of a scorer or of a fact such as cost_usd"
        )
    return make(named[0], metric, settings)


def make(rule: Rule, metric: str | Scorer, settings: Mapping[str, Any]) -> Check:
    """The check of this rule with these settings."""
    for key in settings:
        if key not in _KEYS:
            raise ConfigError(
                f"{rule} has no setting {key!r}.{did_you_mean(key, _KEYS)} Known: {', '.join(sorted(_KEYS))}"
            )
    dimension: Dimension = (
        metric.dimension if isinstance(metric, Scorer) else _DIMENSIONS.get(metric, "accuracy")
    )
    name = metric.name if isinstance(metric, Scorer) else metric
    limited = rule in ("at_most", "at_least")
    limit = _number(rule, settings, "limit")
    if limited != (limit is not None):
        raise ConfigError(
            f"{rule} {name} needs a limit" if limited else f"{rule} {name} takes a margin, not a limit"
        )
    quantile = _number(rule, settings, "p")
    if quantile is not None and not 0 < quantile < 100:
        raise ConfigError(f"p is {quantile:g}, expected a percentile between 0 and 100, such as 95")
    margin, relative = _margin(rule, settings)
    fields = {
        "metric": name,
        "rule": rule,
        "measure": settings.get("measure", "quantile" if quantile is not None else "mean"),
        "margin": margin,
        "limit": limit,
        "relative": relative,
        "quantile": None if quantile is None else quantile / 100,
        "label": settings.get("label"),
        "role": settings.get("role", "primary" if rule == "better" else "guard"),
        "dimension": settings.get("dimension", dimension),
        "higher_is_better": settings.get("higher_is_better", name not in _LOWER_IS_BETTER),
        "errors": settings.get("errors", "fail"),
        "max_error_share": settings.get("max_error_share", 0.02),
        "settings": _kept(rule, settings),
    }
    try:
        check = codec.decode(Check, fields)
    except CodecError as error:
        raise ConfigError(f"{rule} {name}: {error}") from None
    if not 0 <= check.max_error_share <= 1:
        raise ConfigError(f"max_error_share is {check.max_error_share:g}, expected a share between 0 and 1")
    _check_ratio(check, settings.get("ratio"))
    return check


def _kept(rule: str, settings: Mapping[str, Any]) -> dict[str, Json]:
    """The settings that have no field of their own."""
    found: dict[str, Json] = {}
    for key, allowed in _CHOICES.items():
        if key in settings:
            if settings[key] not in allowed:
                raise ConfigError(f"{key} of {rule} is {settings[key]!r}, expected {' or '.join(allowed)}")
            found[key] = settings[key]
    k, worst = _number(rule, settings, "k"), _number(rule, settings, "worst")
    if k is not None:
        if k < 1 or k != int(k):
            raise ConfigError(f"k of {rule} is {k:g}, expected a whole number of tries, 1 or more")
        found["k"] = int(k)
    if worst is not None:
        found["worst"] = worst
    return found


def _check_ratio(check: Check, ratio: object) -> None:
    """Refuse a ratio on the wrong side of 1: `no_worse: cost_usd, ratio: 0.9` would else allow 10 % more."""
    if not isinstance(ratio, (int, float)) or check.margin == 0:
        return
    wants_more = check.higher_is_better == (check.rule == "better")
    if (ratio > 1) != wants_more:
        side = "above" if wants_more else "below"
        better_is = "more" if check.higher_is_better else "less"
        raise ConfigError(
            f"ratio of {check.rule} {check.metric} is {ratio:g}, expected a number {side} 1: {better_is} is better here"
        )


def _margin(rule: str, settings: Mapping[str, Any]) -> tuple[float | None, Any]:
    """The margin in the metric's unit, and whether it is a share of the baseline."""
    given = [key for key in ("margin", "margin_pp", "ratio") if settings.get(key) is not None]
    if len(given) > 1:
        raise ConfigError(f"{rule} takes one of margin, margin_pp and ratio; found {', '.join(given)}")
    if not given:
        return None, settings.get("relative", False)
    value = _number(rule, settings, given[0]) or 0.0
    if given[0] == "ratio":  # `ratio: 0.7` says 30 % less, `ratio: 1.1` says 10 % more
        if value <= 0:
            raise ConfigError(f"ratio is {value:g}, expected more than 0, such as 0.7 for 30 % less")
        return abs(1 - value), True
    if value < 0:
        raise ConfigError(f"{given[0]} is {value:g}, expected 0 or more")
    return (value / 100, False) if given[0] == "margin_pp" else (value, settings.get("relative", False))


def _number(rule: str, settings: Mapping[str, Any], key: str) -> float | None:
    value = settings.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ConfigError(f"{key} of {rule} is {value!r}, expected a number")
    return float(value)
