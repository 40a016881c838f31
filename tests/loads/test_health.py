from __future__ import annotations

import asyncio
import time
from typing import Any

import numpy as np
import pytest

from ratchet.errors import ConfigError
from ratchet.loads import health, records
from ratchet.loads.answers import Answer
from ratchet.loads.records import Samples, Vitals
from ratchet.loads.sampling import Fact, Recorder

MS = 1_000_000


def samples(*, lag_ms: float, ttft_ms: float = 100.0, warm_up: bool = False) -> Samples:
    recorder = Recorder(("a",), 0)
    for index in range(200):
        at = index * 10 * MS
        sent = at + int(lag_ms * MS)
        first = sent + int(ttft_ms * MS)
        fact = Fact(
            index=index, arm=0, warm_up=warm_up, scheduled_ns=at, dispatched_ns=sent, sent_ns=sent, ended_ns=first
        )  # fmt: skip
        recorder.add(fact, Answer(tokens_ns=[first]))
    return recorder.samples()


def vitals(**given: Any) -> Vitals:
    quiet: dict[str, Any] = {
        "wall_s": (10.0,), "cpu_s": (1.0,), "peak_cpu_share": (0.1,), "starved_s": (0.0,),
        "loop_delay_s": np.zeros(500, np.float32), "peak_sockets": (10,), "connections": 10, "resent": 0,
        "refused": 0, "peak_memory_mb": (50.0,),
    }  # fmt: skip
    return Vitals(**{**quiet, **given})


def test_a_generator_that_kept_time_is_valid() -> None:
    found = health.judge(samples(lag_ms=0.2), vitals(), "open", notes=["a note"])
    assert found.valid
    assert found.shortages == ()
    assert found.lag_p99_s == pytest.approx(0.0002)
    assert found.cpu_share == pytest.approx(0.1)
    assert found.notes == ("a note",)


@pytest.mark.parametrize(
    ("given", "resource", "reason"),
    [
        ({"peak_cpu_share": (0.97,)}, "cpu", "the generator used 97 % of a core"),
        ({"starved_s": (2.0,)}, "cpu", "waiting for a core 20 % of the time"),
        ({}, "schedule", "had CPU to spare"),
    ],
)
def test_a_late_generator_says_what_it_was_short_of(
    given: dict[str, Any], resource: str, reason: str
) -> None:
    found = health.judge(samples(lag_ms=5), vitals(**given), "open")
    assert not found.valid
    assert found.shortages[0].resource == resource
    assert reason in found.shortages[0].reason
    assert "requests left 5.0 ms late" in found.shortages[0].reason


def test_lateness_is_weighed_against_what_was_measured() -> None:
    assert health.judge(samples(lag_ms=5, ttft_ms=1000), vitals(), "open").valid
    assert not health.judge(samples(lag_ms=5, ttft_ms=10), vitals(), "open").valid


def test_a_loop_that_woke_late_stamped_late() -> None:
    delays = np.full(500, 0.02, np.float32)
    found = health.judge(samples(lag_ms=0), vitals(loop_delay_s=delays), "closed")
    assert [shortage.resource for shortage in found.shortages] == ["event loop"]


def test_requests_that_could_not_leave_are_a_shortage_of_sockets() -> None:
    found = health.judge(samples(lag_ms=0), vitals(refused=3), "open")
    assert [shortage.resource for shortage in found.shortages] == ["sockets"]
    assert "3 requests found no socket" in found.shortages[0].reason
    assert "ulimit -n" in found.shortages[0].reason


def test_lateness_in_the_warm_up_does_not_count() -> None:
    assert health.judge(samples(lag_ms=50, warm_up=True), vitals(), "open").valid


def test_the_vitals_of_processes_add_up() -> None:
    merged = records.merge_vitals(
        [
            vitals(loop_delay_s=np.array([3, 5], np.float32), peak_sockets=(4,), resent=1),
            vitals(loop_delay_s=np.array([1], np.float32), cpu_s=(9.0,), bare=False),
        ]
    )
    assert merged.loop_delay_s.tolist() == [1, 3, 5]
    assert merged.peak_sockets == (4, 10)
    assert merged.resent == 1
    assert not merged.bare
    found = health.judge(samples(lag_ms=0), merged, "open")
    assert found.processes == 2
    assert found.peak_sockets == 14
    assert found.cpu_share == pytest.approx(0.9)  # the busiest process


def test_a_load_that_can_not_leave_this_machine_is_refused_before_it_starts() -> None:
    with pytest.raises(ConfigError, match="need 5000000 connections, and this machine can hold"):
        health.check_limits(rate=100_000_000)
    with pytest.raises(ConfigError, match="10000000 users need as many connections"):
        health.check_limits(users=10_000_000)
    with pytest.raises(ConfigError, match="processes is 0, expected 1 or more"):
        health.check_limits(processes=0)


def test_tight_limits_are_said_beforehand() -> None:
    cores = health.usable_cores()
    (shared,) = health.check_limits(processes=cores + 1)
    assert f"{cores + 1} processes share {cores} cores" in shared
    (held,) = health.check_limits(rate=10_000)
    assert "enough at 10000 requests/s for answers of up to" in held


def blocking(seconds: float) -> None:
    time.sleep(seconds)


def test_the_watch_notes_a_loop_that_was_blocked() -> None:
    async def use() -> Vitals:
        watch = health.Watch(asyncio.get_running_loop())
        watch.start()
        await asyncio.sleep(0.03)
        blocking(0.1)
        await asyncio.sleep(0.05)
        return watch.stop(peak_sockets=1, connections=2, resent=3, refused=4, bare=True)

    found = asyncio.run(use())
    assert found.loop_delay_s.max() > 0.05
    assert found.wall_s[0] > 0.15
    assert (found.connections, found.resent, found.refused) == (2, 3, 4)
