"""One process's share of a load test: requests leave when the schedule says so, and answers are noted as they come.

Open loop: sending never waits for answers, so a server that stalls meets the same load as one that doesn't, and what
it kept waiting counts from the start that was intended. Closed loop: each user sends when its last answer is over.
"""

from __future__ import annotations

import asyncio
import gc
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter_ns

from ratchet.errors import ProviderError
from ratchet.loads import answers, health
from ratchet.loads.alarms import Alarm
from ratchet.loads.client import Client
from ratchet.loads.exchanges import Exchange, Route, route_of
from ratchet.loads.in_process import Caller
from ratchet.loads.records import ErrorCount, Mode, Samples, Shot, Tick, Vitals
from ratchet.loads.sampling import Fact, Recorder
from ratchet.loads.targets import Target

_AHEAD = 256
"""Shots made before they are due, so that making one never makes another late."""
_TICK_S = 0.5
_TICK_ROWS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Drive:
    """How a test is driven. Time limits of single requests are those of each variant's `limits`."""

    mode: Mode = "open"
    users: int = 1
    """Of a closed loop: requests always in flight, over all processes."""
    duration_s: float | None = None
    """No request starts after it; None: when the shots are used up."""
    warm_up_s: float = 0.0
    """Requests due before it are sent, kept and marked, and count for nothing."""
    grace_s: float = 30.0
    """How long answers may take after the last request has left; what is open then counts as a timeout."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What one process saw."""

    samples: Samples
    vitals: Vitals
    errors: tuple[ErrorCount, ...]
    interrupted: bool


class Driver:
    """Drives one process's shots. `prepare`, then `run`; `stop` may come at any time, from the same thread.

    Args:
        users: This process's share of a closed loop's users.
    """

    def __init__(
        self,
        targets: Sequence[Target],
        shots: Iterator[Shot],
        drive: Drive,
        *,
        users: int = 0,
        report: Callable[[Tick], None] | None = None,
    ) -> None:
        self._targets = targets
        self._shots = shots
        self._drive = drive
        self._users = users or drive.users
        self._report = report
        self._loop = asyncio.get_running_loop()
        self._routes: list[Route | None] = []
        self._ahead: deque[Shot] = deque()
        self._exhausted = False
        self._interrupted = False
        self._broken: Exception | None = None
        self._all_sent = asyncio.Event()
        self._all_done = asyncio.Event()
        self._start_ns = 0
        self._sent = 0
        self._ticked = 0
        self._ticking: asyncio.TimerHandle | None = None
        open_loop = drive.mode == "open"
        self._client = Client(self._settle, None if open_loop else self._user_is_free)
        self._caller = Caller(self._keep, self._call_ended)
        self._alarm = Alarm(self._loop, self._ring)
        self._watch = health.Watch(self._loop)
        self._recorder = Recorder(tuple(target.name for target in targets), 0)

    async def prepare(self) -> None:
        """Look up hosts, read keys and make the first shots.

        Raises:
            ConfigError: A host has no address, or a header can't be sent.
        """
        health.raise_file_limit()
        self._routes = [None if t.wire is None else await route_of(t) for t in self._targets]
        await self._client.open([route for route in self._routes if route is not None])
        self._fill()

    def stop(self) -> None:
        """Send nothing more, and give up what is under way."""
        self._interrupted = self._exhausted = True
        self._ahead.clear()
        self._all_sent.set()
        self._give_up("interrupted", "the test was interrupted")
        self._all_done.set()

    async def run(self, start_ns: int) -> Part:
        """Drive to the end of the schedule and of its answers.

        Args:
            start_ns: Second 0 of the test, on `perf_counter_ns`.

        Raises:
            Exception: Whatever the making of a shot raised.
        """
        self._start_ns = self._recorder.start_ns = start_ns
        bare = all(target.wire is not None for target in self._targets)
        with _quiet_collector(off=bare):
            await asyncio.sleep(max(0.0, (start_ns - perf_counter_ns()) / 1e9 - 0.005))
            self._watch.start()
            self._tick()
            self._alarm.set(start_ns)
            await self._until_sent()
            await self._until_done()
            vitals = self._watch.stop(
                peak_sockets=self._client.peak_sockets,
                connections=self._client.connections,
                resent=self._client.resent,
                refused=self._client.refused,
                bare=bare,
            )
            self._alarm.close()
            await self._client.close()
            await self._caller.close()
        if self._ticking is not None:
            self._ticking.cancel()
        self._say()
        for target in self._targets:
            if close := getattr(target.provider, "aclose", None):
                await close()
            await target.http.aclose()
        if self._broken is not None:
            raise self._broken
        return Part(
            samples=self._recorder.samples(),
            vitals=vitals,
            errors=self._recorder.errors,
            interrupted=self._interrupted,
        )

    async def _until_sent(self) -> None:
        limit_s = self._drive.duration_s
        if self._drive.mode == "open" or limit_s is None:
            await self._all_sent.wait()
            return
        try:  # in a closed loop every user may be waiting for a server that has stalled
            until_ns = self._start_ns + int(limit_s * 1e9)
            async with asyncio.timeout(max(0.0, (until_ns - perf_counter_ns()) / 1e9)):
                await self._all_sent.wait()
        except TimeoutError:
            self._end_shots()

    async def _until_done(self) -> None:
        if not self._in_flight:
            return
        grace_s = self._drive.grace_s
        try:
            async with asyncio.timeout(grace_s):
                await self._all_done.wait()
        except TimeoutError:
            self._give_up("timeout", f"no complete answer {grace_s:g} s after the last request had left")

    def _give_up(self, kind: str, message: str) -> None:
        def error() -> ProviderError:
            return ProviderError(message, kind=kind)

        self._client.give_up_all(error)
        self._caller.give_up_all(error)

    # what is due leaves

    def _fill(self) -> None:
        """Have shots ready: a few more than were used since, so that one call never takes long."""
        ahead = self._ahead
        limit_s = self._drive.duration_s if self._drive.mode == "open" else None
        for _ in range(4 if self._sent else _AHEAD):
            if self._exhausted or len(ahead) >= _AHEAD:
                return
            shot = next(self._shots, None)
            if shot is None or (limit_s is not None and shot.at_s >= limit_s):
                self._exhausted = True
                return
            ahead.append(shot)

    def _end_shots(self) -> None:
        self._exhausted = True
        self._ahead.clear()
        self._all_sent.set()

    def _ring(self) -> None:
        if self._drive.mode == "open":
            self._guarded(self._send_due)
            return
        for _ in range(self._users):
            self._guarded(self._next_of_user)

    def _guarded(self, step: Callable[[], None]) -> None:
        """A callback's error would be logged and forgotten: it ends the test instead, and `run` raises it."""
        try:
            step()
        except Exception as error:
            self._broken = self._broken or error
            self._end_shots()
            self._all_done.set()

    def _send_due(self) -> None:
        """Send every shot whose time has come, and set the alarm for the next."""
        ahead, start_ns = self._ahead, self._start_ns
        while ahead:
            now = perf_counter_ns()
            at_ns = start_ns + int(ahead[0].at_s * 1e9)
            if at_ns > now:
                self._alarm.set(at_ns)
                break
            self._dispatch(ahead.popleft(), at_ns, now)
            if not ahead:
                self._fill()
        self._fill()
        if not ahead:
            self._all_sent.set()

    def _next_of_user(self) -> None:
        """A user of the closed loop sends, unless the test is over."""
        now = perf_counter_ns()
        limit_s = self._drive.duration_s
        if limit_s is not None and now - self._start_ns >= limit_s * 1e9:
            self._end_shots()
        if not self._ahead:
            self._fill()
        if self._ahead:
            self._dispatch(self._ahead.popleft(), now, now)
            self._fill()
        else:
            self._all_sent.set()

    def _user_is_free(self, exchange: Exchange) -> None:
        self._loop.call_soon(self._guarded, self._next_of_user)

    def _dispatch(self, shot: Shot, scheduled_ns: int, now_ns: int) -> None:
        self._sent += 1
        route = self._routes[shot.arm]
        if route is not None:
            self._client.send(Exchange(shot, route, scheduled_ns, now_ns))
            return
        target = self._targets[shot.arm]
        warm_up = self._is_warm_up(shot, scheduled_ns)
        self._caller.call(target, shot, scheduled_ns=scheduled_ns, dispatched_ns=now_ns, warm_up=warm_up)

    def _is_warm_up(self, shot: Shot, scheduled_ns: int) -> bool:
        return shot.warm_up or scheduled_ns - self._start_ns < self._drive.warm_up_s * 1e9

    # what has ended is kept

    def _settle(self, exchange: Exchange) -> None:
        shot = exchange.shot
        fact = Fact(
            index=shot.index,
            arm=shot.arm,
            warm_up=self._is_warm_up(shot, exchange.scheduled_ns),
            scheduled_ns=exchange.scheduled_ns,
            dispatched_ns=exchange.dispatched_ns,
            sent_ns=exchange.sent_ns,
            ended_ns=exchange.ended_ns,
            connect_ns=exchange.connect_ns,
            status=exchange.head.status if exchange.head else 0,
            received_bytes=exchange.size,
        )
        self._keep(fact, answers.read(exchange))

    def _keep(self, fact: Fact, answer: answers.Answer) -> None:
        self._recorder.add(fact, answer)
        self._check_done()

    def _call_ended(self) -> None:
        if self._drive.mode == "closed":
            self._guarded(self._next_of_user)
        self._check_done()

    def _check_done(self) -> None:
        if self._all_sent.is_set() and not self._in_flight:
            self._all_done.set()

    @property
    def _in_flight(self) -> int:
        return self._client.in_flight + self._caller.in_flight

    # how it goes

    def _tick(self) -> None:
        self._ticking = self._loop.call_later(_TICK_S, self._tick)
        self._guarded(self._say)

    def _say(self) -> None:
        if self._report is None:
            return
        fresh = len(self._recorder) - self._ticked
        arm, ttft_s, e2e_s, error = self._recorder.since(self._ticked, step=1 + fresh // _TICK_ROWS)
        self._ticked += fresh
        self._report(
            Tick(
                elapsed_s=max(0.0, (perf_counter_ns() - self._start_ns) / 1e9),
                sent=self._sent,
                in_flight=self._in_flight,
                done=len(self._recorder),
                failed=self._recorder.failed,
                arm=arm,
                ttft_s=ttft_s,
                e2e_s=e2e_s,
                error=error,
            )
        )


@contextmanager
def _quiet_collector(*, off: bool) -> Generator[None]:
    """What is alive is left out of garbage collection; with `off` there is none (the bare client makes no cycles)."""
    was_on = gc.isenabled()
    gc.collect()
    gc.freeze()
    if off:
        gc.disable()
    try:
        yield
    finally:
        gc.unfreeze()
        if was_on:
            gc.enable()
