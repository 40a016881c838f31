"""Load reports to write down: two arms, one of them sometimes failing; and sweeps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from loads.drawn import TIMEOUT, measured, queue, samples
from ratchet.loads import schedules, summaries, sweeping
from ratchet.loads.records import Measured, Slo
from ratchet.loads.sweeping import Search, Sweep
from ratchet.records import Price
from ratchet.reports.loads import LoadReport

PRICE = Price(input_usd_per_mtok=2.5, output_usd_per_mtok=10.0)
SLO = Slo(ttft_s=0.5, e2e_s=2.0)


def two_arms(
    n: int = 1200, *, names: tuple[str, str] = ("champion", "challenger"), valid: bool = True
) -> LoadReport:
    """Twenty requests a second each; the second arm is faster, and two in a hundred of its requests time out."""
    rng = np.random.default_rng(1)
    at = np.repeat(np.array(list(schedules.offsets(schedules.poisson(20, count=n, seed=1)))), 2)
    arm = np.tile([0, 1], n)
    ttft = rng.lognormal(-1.2, 0.25, 2 * n) * np.where(arm == 1, 0.6, 1.0)
    e2e = ttft + rng.lognormal(-0.3, 0.3, 2 * n) * np.where(arm == 1, 0.7, 1.0)
    error = np.where((arm == 1) & (rng.random(2 * n) < 0.02), TIMEOUT, 0)
    found = samples(at, e2e, arms=names, arm=arm, ttft_s=ttft, tokens=60, error=error)
    jitter = rng.lognormal(0, 0.4, len(found.gaps)).astype(np.float32)
    found = replace(found, gaps=found.gaps * jitter)
    result = summaries.summarise(
        measured(found, valid=valid), load="20 requests/s Poisson, open loop", slo=SLO,
        prices_by_arm={names[0]: PRICE, names[1]: None},
    )  # fmt: skip
    return LoadReport(result=result, samples=found, facts={"Run": "0199", "Workload": "synthetic"})


def sweep_of(name: str, servers: int, work_s: float, *, slo: Slo = SLO, valid: bool = True) -> Sweep:
    """A sweep of a computed queue, a little uneven."""

    def measure(rate: float, seconds: float) -> Measured:
        times = list(schedules.offsets(schedules.poisson(rate, duration_s=seconds, seed=3)))
        rng = np.random.default_rng(int(rate * 100))
        e2e = np.array(queue(times, servers=servers, work_s=work_s)) * rng.lognormal(0, 0.05, len(times))
        return measured(
            samples(times, e2e, ttft_s=np.maximum(e2e - work_s * 0.8, 0.01), arms=(name,)), valid=valid
        )

    return sweeping.sweep(
        name,
        measure,
        lambda done: summaries.summarise(done, load="x", slo=slo),
        search=Search(start=2.0),
        step_s=20.0,
    )


def sweeps() -> LoadReport:
    found = (sweep_of("champion", 12, 0.4), sweep_of("challenger", 24, 0.3))
    return LoadReport(sweeps=found, facts={"Workload": "synthetic, 512 tokens in, 128 out"})
