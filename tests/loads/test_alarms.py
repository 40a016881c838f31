from __future__ import annotations

import asyncio
from time import perf_counter_ns

import pytest
import uvloop

from ratchet.loads.alarms import Alarm


@pytest.mark.parametrize("loops", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("precise", [True, False], ids=["system's timer", "loop's timer"])
def test_an_alarm_rings_once_and_never_early(loops: object, precise: bool) -> None:
    rang: list[int] = []

    async def use() -> int:
        over = asyncio.Event()

        def ring() -> None:
            rang.append(perf_counter_ns())
            over.set()

        alarm = Alarm(asyncio.get_running_loop(), ring)
        if not precise:
            alarm.forgo_precision()
        alarm.set(perf_counter_ns() + 10_000_000_000)
        due = perf_counter_ns() + 20_000_000
        alarm.set(due)  # the earlier setting is forgotten
        await over.wait()
        await asyncio.sleep(0.02)
        alarm.close()
        return due

    with asyncio.Runner(loop_factory=loops) as runner:  # pyright: ignore[reportArgumentType]
        due = runner.run(use())
    assert len(rang) == 1
    assert rang[0] >= due - 100_000


def test_an_alarm_for_the_past_rings_at_once() -> None:
    async def use() -> None:
        over = asyncio.Event()
        alarm = Alarm(asyncio.get_running_loop(), over.set)
        alarm.set(perf_counter_ns() - 1_000_000_000)
        async with asyncio.timeout(5):
            await over.wait()
        alarm.close()

    asyncio.run(use())
