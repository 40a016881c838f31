from __future__ import annotations

from typing import Any

import pytest

from ratchet.costs import traffic
from ratchet.costs.hosting import hosting
from ratchet.costs.records import MONTH_H, MONTH_S
from ratchet.errors import ConfigError

GIVEN: dict[str, Any] = {
    "arm": "own", "against": "api", "against_per_call_usd": 0.001, "gpu_usd_per_hour": 2.0, "requests_per_s": 10.0,
    "utilisation": 0.5,
}  # fmt: skip


def test_machines_break_even_where_one_replicas_month_costs_what_the_api_would() -> None:
    found = hosting(**GIVEN)
    assert found.replica_usd_per_month == pytest.approx(2.0 * MONTH_H)
    assert found.replica_calls_per_month == pytest.approx(5 * MONTH_S)
    assert found.per_call_usd == pytest.approx(2.0 / 3600 / 5)
    at = found.break_even_calls_per_month
    assert at == pytest.approx(2.0 * MONTH_H / 0.001)
    assert at is not None
    assert at * found.against_per_call_usd == pytest.approx(found.replica_usd_per_month)


def test_an_api_below_even_a_busy_replicas_price_is_never_beaten() -> None:
    for dollars in (0.0001, 0.0):
        given: dict[str, Any] = {**GIVEN, "against_per_call_usd": dollars}
        assert hosting(**given).break_even_calls_per_month is None


def test_traffic_takes_whole_replicas() -> None:
    most = 5 * MONTH_S
    for calls, replicas in ((1.0, 1), (most, 1), (most * 1.01, 2), (most * 3, 3)):
        found = hosting(**GIVEN, traffic=traffic.stated(repr(calls)))
        assert found.replicas == replicas
        assert found.per_month_usd == pytest.approx(replicas * found.replica_usd_per_month)
        assert found.against_per_month_usd == pytest.approx(calls * 0.001)


@pytest.mark.parametrize(
    ("name", "value"), [("gpu_usd_per_hour", 0.0), ("requests_per_s", -1.0), ("gpus", 0), ("utilisation", 1.5), ("utilisation", 0.0)]
)  # fmt: skip
def test_a_number_out_of_its_range_is_refused(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match="expected"):
        hosting(**(GIVEN | {name: value}))
