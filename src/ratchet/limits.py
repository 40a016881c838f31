"""How fast one endpoint may be called: concurrency that adapts, requests and tokens per minute, pauses; and how many
answers are worked on at once.

Lanes and buckets are pure: time is an argument, so that tests need no clock.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from ratchet.records import Limits

_DECREASE = 0.7
_QUIET_S = 1.0
"""A second refusal within this time belongs to the same burst and does not lower the limit again."""

LONGEST_PAUSE_S = 600.0
"""However long a server asks for; `policy.retry_wait_s` waits no longer either."""


@dataclass(slots=True)
class Bucket:
    """A token bucket: `per_minute` flows in evenly, at most `burst_s` seconds' worth is saved up."""

    per_minute: float
    burst_s: float = 1.0
    level: float = field(init=False)
    at_s: float | None = None

    def __post_init__(self) -> None:
        self.level = self._capacity

    @property
    def _capacity(self) -> float:
        return max(self.per_minute / 60 * self.burst_s, 1.0)

    def wait_s(self, now_s: float) -> float:
        """Seconds until something may be taken; a taking larger than the level leaves a debt to wait for."""
        self._fill(now_s)
        return 0.0 if self.level > 0 else (-self.level + 1e-9) / self.per_minute * 60

    def take(self, amount: float, now_s: float) -> None:
        self._fill(now_s)
        self.level -= amount

    def _fill(self, now_s: float) -> None:
        if self.at_s is not None and now_s > self.at_s:
            self.level = min(self._capacity, self.level + (now_s - self.at_s) * self.per_minute / 60)
        self.at_s = now_s if self.at_s is None else max(now_s, self.at_s)


Waiting = TypeVar("Waiting")


class Lane(Generic[Waiting]):
    """One endpoint's share of a run: what waits for it, what is in flight, when the next may start.

    The limit falls by 30 % on a 429, 503 or 529 (once a burst) and rises by one for each full round of successes:
    additive increase, multiplicative decrease (Chiu & Jain 1989).
    """

    def __init__(self, limits: Limits, concurrency: int) -> None:
        self.ceiling = min(limits.concurrency or concurrency, concurrency)
        self.limit = float(self.ceiling)
        self.in_flight = 0
        self.paused_until_s = 0.0
        self.requests = Bucket(limits.rpm) if limits.rpm else None
        self.tokens = Bucket(limits.tpm, burst_s=6.0) if limits.tpm else None
        self.waiting: deque[Waiting] = deque()
        self._lowered_at_s = float("-inf")

    def tighten(self, limits: Limits) -> None:
        """Hold to these limits as well: two variants that share an endpoint may each name some."""
        self.ceiling = min(self.ceiling, limits.concurrency or self.ceiling)
        self.limit = min(self.limit, self.ceiling)
        if limits.rpm and (self.requests is None or limits.rpm < self.requests.per_minute):
            self.requests = Bucket(limits.rpm)
        if limits.tpm and (self.tokens is None or limits.tpm < self.tokens.per_minute):
            self.tokens = Bucket(limits.tpm, burst_s=6.0)

    def wait_s(self, now_s: float) -> float:
        """Seconds until one more call may start; infinity while only a finished call can make room."""
        if self.in_flight >= int(self.limit):
            return float("inf")
        wait = self.paused_until_s - now_s
        if self.requests:
            wait = max(wait, self.requests.wait_s(now_s))
        if self.tokens:
            wait = max(wait, self.tokens.wait_s(now_s))
        return max(wait, 0.0)

    def start(self, tokens: int, now_s: float) -> None:
        """One call starts; `tokens` is the estimate of its input and output."""
        self.in_flight += 1
        if self.requests:
            self.requests.take(1, now_s)
        if self.tokens:
            self.tokens.take(tokens, now_s)

    def finish(self, *, tokens_over: int, now_s: float, sent: bool = True) -> None:
        """One call ended; `tokens_over` is what it used beyond the estimate (or below, negative).

        Args:
            sent: False for a call that was never made, because its answer was known.
        """
        self.in_flight -= 1
        if self.requests and not sent:
            self.requests.take(-1, now_s)
        if self.tokens and tokens_over:
            self.tokens.take(tokens_over, now_s)

    def succeeded(self) -> None:
        if self.limit < self.ceiling:
            self.limit = min(self.limit + 1 / self.limit, self.ceiling)

    def refused(self, now_s: float, retry_after_s: float | None) -> None:
        """The server said it is too much."""
        if now_s - self._lowered_at_s >= _QUIET_S:
            self.limit = max(1.0, min(self.limit, self.in_flight) * _DECREASE)
            self._lowered_at_s = now_s
        if retry_after_s:
            self.paused_until_s = max(self.paused_until_s, now_s + min(retry_after_s, LONGEST_PAUSE_S))


class Turnstile:
    """Lets a few through at once, in the order they came; one event loop, no locks."""

    def __init__(self, places: int) -> None:
        self._free = places
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def enter(self) -> None:
        if self._free > 0:
            self._free -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.leave()
            raise

    def leave(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():  # not cancelled
                turn.set_result(None)
                return
        self._free += 1
