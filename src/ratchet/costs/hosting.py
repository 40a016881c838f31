"""An API's price per call against machines of one's own."""

from __future__ import annotations

import math

from ratchet.costs.records import MONTH_H, MONTH_S, Hosting, Traffic
from ratchet.errors import ConfigError


def hosting(
    *,
    arm: str,
    against: str,
    against_per_call_usd: float,
    gpu_usd_per_hour: float,
    requests_per_s: float,
    gpus: int = 1,
    utilisation: float = 0.5,
    throughput_from: str = "stated",
    traffic: Traffic | None = None,
) -> Hosting:
    """What an arm costs on rented or owned machines, and from which traffic on that is less than the other's price.

    A replica is paid for by the hour, used or not, and serves `requests_per_s` within the SLO at full load, of which
    traffic uses `utilisation` on average. The break-even is where one replica's month costs what the API would; where
    even a replica at that utilisation costs more a call, there is none.

    Raises:
        ConfigError: A number is out of its range.
    """
    for name, value, least in (
        ("--gpu-usd-per-hour", gpu_usd_per_hour, 0.0),
        ("the throughput in requests/s", requests_per_s, 0.0),
        ("--gpus", gpus, 0),
    ):
        if not (value > least and math.isfinite(value)):
            raise ConfigError(f"{name} is {value:g}; expected a number above {least:g}")
    if not 0 < utilisation <= 1:
        raise ConfigError(f"--utilisation is {utilisation:g}; expected a share above 0 and at most 1")
    replica_usd = gpu_usd_per_hour * gpus * MONTH_H
    replica_calls = requests_per_s * utilisation * MONTH_S
    per_call = replica_usd / replica_calls
    break_even = None
    if against_per_call_usd > 0 and replica_usd / against_per_call_usd <= replica_calls:
        break_even = replica_usd / against_per_call_usd
    replicas = month = against_month = None
    if traffic is not None:
        calls = traffic.calls_per_month.value
        replicas = max(1, math.ceil(calls / replica_calls - 1e-9))
        month, against_month = replicas * replica_usd, calls * against_per_call_usd
    return Hosting(
        arm=arm,
        against=against,
        gpu_usd_per_hour=gpu_usd_per_hour,
        gpus=gpus,
        requests_per_s=requests_per_s,
        throughput_from=throughput_from,
        utilisation=utilisation,
        per_call_usd=per_call,
        replica_usd_per_month=replica_usd,
        replica_calls_per_month=replica_calls,
        against_per_call_usd=against_per_call_usd,
        break_even_calls_per_month=break_even,
        replicas=replicas,
        per_month_usd=month,
        against_per_month_usd=against_month,
    )
