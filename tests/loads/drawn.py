"""Load tests made up row by row: what was scheduled, what came back, and a generator that kept time."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
from aiohttp import web
from numpy.typing import ArrayLike

from ratchet.loads.records import (
    ERROR_KINDS,
    Health,
    Measured,
    Mode,
    Samples,
    Vitals,
)

TIMEOUT = ERROR_KINDS.index("timeout")
SERVER = ERROR_KINDS.index("server")


def samples(
    scheduled_s: ArrayLike,
    e2e_s: ArrayLike,
    *,
    arms: Sequence[str] = ("a",),
    arm: ArrayLike | None = None,
    ttft_s: ArrayLike | None = None,
    tokens: int = 5,
    error: ArrayLike | None = None,
    status: ArrayLike | None = None,
) -> Samples:
    """One row a request, in the order of index; tokens come evenly from the first to the end."""
    at, took = np.asarray(scheduled_s, np.float64), np.asarray(e2e_s, np.float64)
    n = len(at)
    first = at + (took / 2 if ttft_s is None else np.asarray(ttft_s, np.float64))
    end = at + took
    gap = ((end - first) / max(tokens - 1, 1)).astype(np.float32)
    codes = np.zeros(n, np.int8) if error is None else np.asarray(error, np.int8)
    first = np.where(codes == 0, first, np.nan)
    held = np.where(codes == 0, tokens - 1, 0)
    return Samples(
        arms=tuple(arms),
        index=np.arange(n),
        arm=np.zeros(n, np.int16) if arm is None else np.asarray(arm, np.int16),
        scheduled_s=at,
        dispatched_s=at + 1e-5,
        sent_s=at + 2e-5,
        first_token_s=first,
        last_token_s=np.where(codes == 0, end, np.nan),
        last_byte_s=end,
        connect_s=np.zeros(n, np.float32),
        max_gap_s=gap,
        chunks=np.full(n, tokens, np.int32),
        input_tokens=np.where(codes == 0, 100, -1).astype(np.int32),
        output_tokens=np.where(codes == 0, tokens, -1).astype(np.int32),
        cached_tokens=np.full(n, -1, np.int32),
        status=np.full(n, 200, np.int16) if status is None else np.asarray(status, np.int16),
        error=codes,
        received_bytes=np.full(n, 1000),
        warm_up=np.zeros(n, np.bool_),
        gaps=np.repeat(gap, held),
        offsets=np.concatenate(([0], np.cumsum(held))).astype(np.int64),
    )


def measured(found: Samples, *, mode: Mode = "open", valid: bool = True) -> Measured:
    """These samples as a test whose generator kept time, or did not."""
    return Measured(
        samples=found,
        vitals=_vitals(),
        health=health(valid),
        mode=mode,
        started_at=1_700_000_000.0,
        elapsed_s=1.0,
    )


def health(valid: bool = True) -> Health:
    from ratchet.loads.records import Shortage

    short = () if valid else (Shortage(resource="cpu", reason="one core was busy"),)
    return Health(
        valid=valid, shortages=short, lag_p50_s=1e-5, lag_p99_s=1e-4, lag_max_s=1e-3, loop_delay_p50_s=0.0,
        loop_delay_p99_s=1e-4, loop_delay_max_s=1e-3, cpu_share=0.1, peak_cpu_share=0.2, starved_share=0.0, processes=1,
        peak_sockets=3, connections=3, resent=0, refused=0, peak_memory_mb=80.0,
    )  # fmt: skip


def trusted(found: Measured) -> Measured:
    """As if the machine had been quiet: tests share their cores, and what they check is not the generator."""
    return replace(found, health=replace(found.health, valid=True, shortages=()))


def _vitals() -> Vitals:
    return Vitals(
        wall_s=(1.0,), cpu_s=(0.1,), peak_cpu_share=(0.2,), starved_s=(0.0,), loop_delay_s=np.zeros(1, np.float32),
        peak_sockets=(3,), connections=3, resent=0, refused=0, peak_memory_mb=(80.0,),
    )  # fmt: skip


def queue(arrivals: Sequence[float], *, servers: int, work_s: float) -> list[float]:
    """End-to-end seconds of each arrival at a first-come queue with so many servers and a fixed time of work (M/D/c)."""
    free = [0.0] * servers
    latencies: list[float] = []
    for at in arrivals:
        place = min(range(servers), key=free.__getitem__)
        free[place] = max(at, free[place]) + work_s
        latencies.append(free[place] - at)
    return latencies


@dataclass(slots=True)
class Desk:
    """A server that works on `servers` requests at a time, each for `work_s`: its capacity is known.

    When each is done is computed ahead, as `queue` does, so that a busy machine lowers no capacity. `frozen` is a stretch
    of the server's life, in seconds from its first request, in which it finishes nothing; of every ten requests, `failing`
    are answered with 500.
    """

    servers: int
    work_s: float
    frozen: tuple[float, float] = (0.0, 0.0)
    failing: int = 0
    url: str = ""
    served: int = 0
    first_s: float = 0.0

    def __post_init__(self) -> None:
        self.free = [0.0] * self.servers

    free: list[float] = field(default_factory=list[float])

    async def answer(self, request: web.Request) -> web.Response:
        await request.read()
        now = time.monotonic()
        self.first_s = self.first_s or now
        self.served += 1
        if self.served % 10 < self.failing:
            return web.Response(status=500, text="broken")
        place = min(range(self.servers), key=self.free.__getitem__)
        done = self._thawed(max(now, self.free[place]) + self.work_s)
        self.free[place] = done
        await asyncio.sleep(max(0.0, done - time.monotonic()))
        message = {"role": "assistant", "content": "ok"}
        return web.json_response(
            {
                "id": "x",
                "model": "desk",
                "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 10, "completion_tokens": 1, "total_tokens": 11},
            }
        )

    def _thawed(self, done: float) -> float:
        begin, end = (self.first_s + at for at in self.frozen)
        return done + (end - begin) if begin <= done < end else done


@contextmanager
def serving(desk: Desk) -> Generator[Desk]:
    """The desk over real HTTP, on a thread of its own."""
    ready = threading.Event()
    stops: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def serve() -> None:
        stop = asyncio.Event()
        stops.append((asyncio.get_running_loop(), stop))
        app = web.Application()
        app.router.add_post("/v1/chat/completions", desk.answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=4096).start()
        desk.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        ready.set()
        await stop.wait()
        await runner.cleanup()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield desk
    finally:
        loop, stop = stops[0]
        loop.call_soon_threadsafe(stop.set)
        thread.join(timeout=5)
