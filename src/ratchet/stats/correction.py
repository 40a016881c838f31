"""A judge's scores corrected by human labels: Rogan-Gladen for a rate, prediction-powered inference for any mean."""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from ratchet.errors import PairingError, StatisticsError
from ratchet.stats._arrays import FloatArray, Ids, as_codes, as_values, check_counts, check_level, sums_by
from ratchet.stats._special import normal_quantile, t_quantile
from ratchet.stats.intervals import Interval
from ratchet.stats.means import FEW_GROUPS, t_interval, t_p

ArmPair = tuple[ArrayLike, ArrayLike]
MIN_LABELS = 30
UNSTABLE_BELOW = 0.3


def rogan_gladen(
    *,
    judged_positive: int,
    judged: int,
    true_positives: int,
    positives: int,
    true_negatives: int,
    negatives: int,
    level: float = 0.95,
) -> Interval:
    """The true pass rate behind a judge's, from its sensitivity and specificity on human labels of the same arm.

    (rate + TNR - 1) / (TPR + TNR - 1), cut to 0..1, with an adjusted interval that carries the error of all three.
    `note` warns below TPR + TNR - 1 = 0.3, where it is unstable; raises StatisticsError at 0 or below (the judge is no
    better than chance). A judge measured on one model's answers is not measured on another's. Source: Rogan, Gladen,
    American Journal of Epidemiology 1978, 107:71-76; interval: Lang, Reiczigel, Preventive Veterinary Medicine 2014,
    113:13-22, without their final centring term.

    >>> found = rogan_gladen(judged_positive=700, judged=1000, true_positives=90, positives=100,
    ...                      true_negatives=80, negatives=100)
    >>> round(found.estimate, 4), found.low < 5 / 7 < found.high
    (0.7143, True)
    """
    for successes, n in ((judged_positive, judged), (true_positives, positives), (true_negatives, negatives)):
        check_counts(successes, n)
    rate, sensitivity, specificity = (
        judged_positive / judged,
        true_positives / positives,
        true_negatives / negatives,
    )
    power = sensitivity + specificity - 1.0
    if power <= 0.0:
        raise StatisticsError(
            f"The judge's sensitivity {sensitivity:.3f} and specificity {specificity:.3f} add up to {power + 1:.3f}; "
            "expected more than 1. The judge is no better than chance; its scores can't be corrected."
        )
    z = normal_quantile(0.5 + check_level(level) / 2.0)
    n_rate = judged + z * z
    rate_adjusted = (judged_positive + z * z / 2.0) / n_rate
    sens, spec = (true_positives + 1.0) / (positives + 2.0), (true_negatives + 1.0) / (negatives + 2.0)
    power_adjusted = max(sens + spec - 1.0, 1e-6)
    centre = (rate_adjusted + spec - 1.0) / power_adjusted
    inside = min(max(centre, 0.0), 1.0)
    variance = (
        rate_adjusted * (1.0 - rate_adjusted) / n_rate
        + (1.0 - inside) ** 2 * spec * (1.0 - spec) / (negatives + 2.0)
        + inside**2 * sens * (1.0 - sens) / (positives + 2.0)
    )
    se = math.sqrt(variance) / power_adjusted
    estimate = min(max((rate + specificity - 1.0) / power, 0.0), 1.0)
    return Interval(
        estimate=estimate,
        low=min(max(centre - z * se, 0.0), estimate),
        high=max(min(centre + z * se, 1.0), estimate),
        level=level,
        n=judged,
        method="Rogan-Gladen, Lang-Reiczigel interval",
        se=se,
        too_small=min(positives, negatives) < FEW_GROUPS or positives + negatives < MIN_LABELS,
        note=f"TPR + TNR - 1 is only {power:.2f}: the correction is unstable."
        if power < UNSTABLE_BELOW
        else None,
    )


def _mean_variance(
    values: FloatArray, groups: Ids | None, name: str
) -> tuple[float, int, dict[Hashable, float]]:
    """Variance of the mean, the number of groups, and each group's part in the mean's error."""
    parts: dict[Hashable, float] = {}
    sums, count = (values - values.mean()) / len(values), len(values)
    if groups is not None:
        codes, keys = as_codes(groups, len(values), name)
        sums, count = sums_by(codes, sums, len(keys)), len(keys)
        parts = dict(zip(keys, sums.tolist(), strict=True))
    factor = count / (count - 1.0) if count > 1 else math.inf
    return factor * float((sums**2).sum()), count, parts


def _is_whole(values: FloatArray) -> bool:
    """Whether every value is -1, 0 or 1: a yes/no score, or the difference of two."""
    return bool(np.isin(values, (-1.0, 0.0, 1.0)).all())


def ppi_mean(
    labels: ArrayLike,
    judged_labelled: ArrayLike,
    judged_unlabelled: ArrayLike,
    *,
    groups: Ids | None = None,
    unlabelled_groups: Ids | None = None,
    level: float = 0.95,
    null: float = 0.0,
) -> Interval:
    """The human mean estimated from few human labels and many judge scores (PPI++), never much worse than labels alone.

    lam * mean(judge, unlabelled) + mean(label - lam * judge), with lam tuned in [0, 1] for the smallest variance; an
    interval by t on the labels' degrees of freedom. Works for any score and any bias of the judge, provided that the
    labelled items are a random draw. Below 30 labels (or 10 labelled groups: `too_small`) the interval is that of
    the labels alone and the note says that the judge is uncalibrated. Groups may lie on both
    sides: their covariance is counted where it widens. Scores of 0/1 (and their differences) get two pseudo-labels on which judge and human differ by one either way, since a
    judge that rarely errs may show no error among the labels: plain PPI++ then covers as little as .75 at 30 labels,
    this .96 and more (pseudo-observations after Bonett, Price, JEBS 2012, 37:479-488). Source:
    Angelopoulos, Duchi, Zrnic 2023, arXiv 2311.01453, example 6.1.

    >>> rng = np.random.default_rng(0)
    >>> truth = rng.normal(0.6, 0.2, 1100); judge = truth + 0.1 + rng.normal(0, 0.05, 1100)
    >>> found = ppi_mean(truth[:100], judge[:100], judge[100:])
    >>> found.low < 0.6 < found.high, found.high - found.low < 0.04
    (True, True)
    """
    y, f = as_values(labels, "labels"), as_values(judged_labelled, "judged_labelled")
    rest = as_values(judged_unlabelled, "judged_unlabelled")
    check_level(level)
    if len(y) != len(f):
        raise PairingError(f"There are {len(y)} labels and {len(f)} judge scores of them; expected one each.")
    if len(y) < MIN_LABELS:
        return _labels_only(y, groups, level, null)
    n, rest_n = len(y), len(rest)
    pooled = float(np.concatenate([f, rest]).var())
    covariance = float(((y - y.mean()) * (f - f.mean())).sum()) / (n - 1)
    weight = min(max(covariance / ((1.0 + n / rest_n) * pooled), 0.0), 1.0) if pooled > 0.0 else 0.0
    residual, owners = y - weight * f, groups
    adjusted = _is_whole(y) and _is_whole(f)
    if adjusted:
        centre = (1.0 - weight) * float(f.mean())
        residual = np.append(residual, [centre + 1.0, centre - 1.0])
        owners = [*groups, ("pseudo-label", 1), ("pseudo-label", -1)] if groups is not None else None
    label_variance, count, parts = _mean_variance(residual, owners, "groups")
    judge_variance, _, rest_parts = _mean_variance(rest, unlabelled_groups, "unlabelled_groups")
    # groups on both sides make the two means move together; moving apart is not counted on
    together = 2.0 * weight * sum(part * rest_parts.get(group, 0.0) for group, part in parts.items())
    centre_estimate = weight * float(rest.mean()) + float(residual.mean())
    estimate = weight * float(rest.mean()) + float((y - weight * f).mean())
    judge_part = weight**2 * judge_variance if weight > 0.0 else 0.0
    se, df = math.sqrt(judge_part + label_variance + max(together, 0.0)), max(count - 1.0, 1.0)
    reach = t_quantile(0.5 + level / 2.0, df) * se if math.isfinite(se) else math.inf
    return Interval(
        estimate=estimate,
        low=centre_estimate - reach,
        high=centre_estimate + reach,
        level=level,
        n=n,
        method=f"PPI++ (lambda {weight:.2f}, {rest_n} unlabelled{', two pseudo-labels' if adjusted else ''})",
        p=t_p(centre_estimate, se, df, null, "two-sided") if math.isfinite(se) else 1.0,
        p_method="PPI++ t",
        null=null,
        se=se,
        df=df,
        n_rows=n + rest_n,
        n_groups=len(set(groups)) if groups is not None else None,
        too_small=count - 2 * adjusted < FEW_GROUPS,
    )


def _labels_only(y: FloatArray, groups: Ids | None, level: float, null: float) -> Interval:
    found = t_interval(y, groups=groups, level=level, null=null)
    return replace(
        found,
        method=f"{found.method}, human labels only",
        note=f"Only {len(y)} labels (at least {MIN_LABELS} needed): the judge is uncalibrated and was not used.",
    )


def ppi_difference(
    labels: ArmPair,
    judged: ArmPair,
    unlabelled: ArmPair,
    *,
    groups: Ids | None = None,
    unlabelled_groups: Ids | None = None,
    level: float = 0.95,
    null: float = 0.0,
) -> Interval:
    """The paired human difference `after - before` from few labelled pairs and many judged ones (PPI++).

    Each argument is (before, after); `judged` are the judge's scores of the labelled items, `unlabelled` of the rest.

    Both arms of an item are labelled together; the judge's bias may differ between the arms. Source: `ppi_mean` on
    the differences.

    >>> rng = np.random.default_rng(0)
    >>> before = rng.normal(0, 1, 400); after = before + 0.5 + rng.normal(0, 0.2, 400)
    >>> judged = after + 0.3
    >>> found = ppi_difference(
    ...     (before[:80], after[:80]), (before[:80], judged[:80]), (before[80:], judged[80:])
    ... )
    >>> found.low < 0.5 < found.high
    True
    """
    pairs = (
        (*labels, "labels"),
        (*judged, "judged"),
        (*unlabelled, "unlabelled"),
    )
    differences: list[FloatArray] = []
    for before, after, name in pairs:
        first, second = as_values(before, f"{name}_before"), as_values(after, f"{name}_after")
        if len(first) != len(second):
            raise PairingError(
                f"{name}_before has {len(first)} rows and {name}_after {len(second)}; expected pairs."
            )
        differences.append(second - first)
    return ppi_mean(*differences, groups=groups, unlabelled_groups=unlabelled_groups, level=level, null=null)
