"""The server's own count of what it was asked: the referee of tests that kill clients."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import orjson


@dataclass(slots=True, kw_only=True)
class Received:
    """One request as the server saw it."""

    wire: str
    path: str
    hash: str
    """Of path and body: 32 hex digits."""
    nth: int
    """Which call of this very request, from 0."""
    number: int
    """Which request of this server, from 1."""
    received_s: float
    """Unix time."""
    model: str = ""
    status: int = 0
    """0 until answered; 499 where the client went away."""
    fault: str | None = None


@dataclass(slots=True, kw_only=True)
class Stats:
    """Counts since the start or the last reset."""

    requests: int = 0
    answered: int = 0
    """Whole answers, errors included."""
    broken: int = 0
    """Requests whose client went away, or whose connection a fault closed, before the end of the answer."""
    in_flight: int = 0
    peak_in_flight: int = 0
    unique: int = 0
    """Different requests, by path and body."""
    duplicates: int = 0
    """Requests seen before: `requests - unique`."""
    by_wire: dict[str, int] = field(default_factory=dict[str, int])
    by_model: dict[str, int] = field(default_factory=dict[str, int])
    by_status: dict[str, int] = field(default_factory=dict[str, int])
    by_fault: dict[str, int] = field(default_factory=dict[str, int])


class Counts:
    """Counts requests and, where a path is given, logs each as a line of JSON when it ends."""

    def __init__(self, log: str | Path | None = None) -> None:
        self._log: IO[bytes] | None = None
        if log:
            self._log = Path(log).open("ab", buffering=0)  # noqa: SIM115
        self.in_flight = 0
        self.reset()

    def reset(self) -> None:
        """Forget everything but the requests in flight."""
        self.requests = self.answered = self.broken = 0
        self.peak = self.in_flight
        self.seen: dict[bytes, int] = {}
        self.repeats: dict[str, int] = {}
        self.by_wire: Counter[str] = Counter()
        self.by_model: Counter[str] = Counter()
        self.by_status: Counter[str] = Counter()
        self.by_fault: Counter[str] = Counter()

    def start(self, wire: str, path: str, digest: bytes) -> Received:
        nth = self.seen.get(digest, 0)
        self.seen[digest] = nth + 1
        self.requests += 1
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        self.by_wire[wire] += 1
        return Received(
            wire=wire, path=path, hash=digest.hex(), nth=nth, number=self.requests, received_s=time.time()
        )

    def repeat(self, received: Received, *, whole: bool) -> int:
        """How many whole answers this very request had before; `whole` says that this is one more.

        A request that a fault broke is answered alike when it is tried again.
        """
        before = self.repeats.get(received.hash, 0)
        if whole:
            self.repeats[received.hash] = before + 1
        return before

    def end(self, received: Received) -> None:
        self.in_flight -= 1
        if received.status in (0, 499):
            self.broken += 1
            received.status = 499
        else:
            self.answered += 1
        self.by_model[received.model] += 1
        self.by_status[str(received.status)] += 1
        if received.fault:
            self.by_fault[received.fault] += 1
        if self._log:
            entry = {name: getattr(received, name) for name in Received.__slots__}
            self._log.write(orjson.dumps(entry | {"answered_s": time.time()}) + b"\n")

    def stats(self) -> Stats:
        return Stats(
            requests=self.requests,
            answered=self.answered,
            broken=self.broken,
            in_flight=self.in_flight,
            peak_in_flight=self.peak,
            unique=len(self.seen),
            duplicates=self.requests - len(self.seen),
            by_wire=dict(self.by_wire),
            by_model=dict(self.by_model),
            by_status=dict(self.by_status),
            by_fault=dict(self.by_fault),
        )

    def close(self) -> None:
        if self._log:
            self._log.close()
            self._log = None
