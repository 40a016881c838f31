"""False alarms of sequential methods when somebody looks 39 times."""

from __future__ import annotations

import numpy as np

from ratchet.stats.sequential import asymptotic_sequence, betting_interval, discordant_e_value
from ratchet.testing.migrations.claims import ALPHA, Claim

LOOKS = np.arange(40, 801, 20)
"""39 looks between 40 and 800 examples."""
DISCORDANT = 0.11
REJECT = 1.0 / ALPHA


def false_alarms(migrations: int) -> list[Claim]:
    """How often each method calls equal arms different at any of the looks; the t interval beside them for contrast."""
    alarms = dict.fromkeys(("discordant-pair e-value", "betting confidence sequence", "asymptotic confidence sequence"), 0)  # fmt: skip
    fixed = 0
    for seed in range(migrations):
        drawn = np.random.default_rng([39, seed]).random(int(LOOKS[-1]))
        change = np.where(drawn < DISCORDANT / 2, 1.0, np.where(drawn < DISCORDANT, -1.0, 0.0))
        gains, losses = np.cumsum(change > 0)[LOOKS - 1], np.cumsum(change < 0)[LOOKS - 1]
        alarms["discordant-pair e-value"] += any(
            discordant_e_value(int(b), int(c)) >= REJECT for b, c in zip(losses, gains, strict=True)
        )
        alarms["betting confidence sequence"] += betting_interval(change, bounds=(-1.0, 1.0)).excludes(0.0)
        found = asymptotic_sequence(change, planned_n=len(change))
        low, high = found.low[LOOKS - 1], found.high[LOOKS - 1]
        alarms["asymptotic confidence sequence"] += bool(((low > 0) | (high < 0)).any())
        means = (gains - losses) / LOOKS
        errors = np.sqrt(((gains + losses) / LOOKS - means**2) / LOOKS)
        fixed += bool((np.abs(means) > 1.96 * errors).any())
    made = [
        Claim(setting=name, what="false alarm", count=count, of=migrations, at_most=ALPHA)
        for name, count in alarms.items()
    ]
    return [*made, Claim(setting="a 95 % t interval at every look", what="false alarm", count=fixed, of=migrations)]  # fmt: skip
