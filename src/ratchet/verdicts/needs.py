"""How many examples would settle a check that is still open."""

from __future__ import annotations

import math

from ratchet.stats import power as power_stats
from ratchet.stats._special import normal_quantile

POWER = 0.8
MAX_NEEDED = 10_000_000


def needed_to_decide(
    *,
    estimate: float,
    low: float,
    high: float,
    bound: float,
    n: int,
    alpha: float = 0.05,
    multiple: float | None = None,
) -> int | None:
    """About how many examples would settle an open check with 80 % power, if the truth is what was seen.

    All numbers oriented: more is better, and the check passes where the truth lies above `bound`. None where the
    estimate stands on the bound or the interval has no finite width. `multiple` is how many standard errors the interval
    reaches where that is more than its normal quantile, as at a look.
    """
    distance = abs(estimate - bound)
    reach = estimate - low if estimate > bound else high - estimate
    if not math.isfinite(reach) or not math.isfinite(distance) or reach <= 0.0 or distance <= 0.0:
        return None
    z = normal_quantile(1.0 - alpha)
    variance = n * (reach / (multiple or z)) ** 2
    needed = power_stats.needed_n(variance, distance, alpha=alpha, power=POWER)
    if multiple is not None:
        beta = normal_quantile(POWER)
        needed = math.ceil(needed * ((multiple + beta) / (z + beta)) ** 2)
    return max(needed, n + 1) if needed <= MAX_NEEDED else None
