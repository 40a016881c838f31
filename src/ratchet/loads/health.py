"""The generator watches itself: how late it was, how busy, and whether the result speaks of it or of the server."""

from __future__ import annotations

import asyncio
import sys
from array import array
from collections.abc import Sequence
from time import perf_counter, process_time

import numpy as np

from ratchet.errors import ConfigError
from ratchet.loads.records import Health, Mode, Samples, Shortage, Vitals

PROBE_S = 0.02
LEAST_PRECISION_S = 0.001
"""A result may be off by this much, or by 3 % of what was measured, whichever is more."""
PRECISION_SHARE = 0.03
BUSY_SHARE = 0.85
STARVED_SHARE = 0.05
_SPARE_FILES = 64
_TIMER_S = 0.001
"""What event loops round their own timers to: no sign of delay."""


class Watch:
    """Notes how late the event loop wakes and how busy the process is, while it runs on that loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._delays = array("f")
        self._handle: asyncio.TimerHandle | None = None
        self._due_s = 0.0
        self._began_s = self._window_s = perf_counter()
        self._began_cpu_s = self._window_cpu_s = process_time()
        self._began_starved_s = starved_s()
        self._peak = 0.0

    def start(self) -> None:
        """Begin now: what came before does not count."""
        self._began_s = self._window_s = perf_counter()
        self._began_cpu_s = self._window_cpu_s = process_time()
        self._began_starved_s = starved_s()
        self._plan()

    def _plan(self) -> None:
        self._due_s = perf_counter() + PROBE_S
        self._handle = self._loop.call_later(PROBE_S, self._probe)

    def _probe(self) -> None:
        now = perf_counter()
        self._delays.append(max(0.0, now - self._due_s - _TIMER_S))
        if now - self._window_s >= 1.0:
            self._close_window(now)
        self._plan()

    def _close_window(self, now: float) -> None:
        cpu = process_time()
        self._peak = max(self._peak, (cpu - self._window_cpu_s) / max(now - self._window_s, 1e-9))
        self._window_s, self._window_cpu_s = now, cpu

    def stop(self, *, peak_sockets: int, connections: int, resent: int, refused: int, bare: bool) -> Vitals:
        """What was noted since `start`."""
        if self._handle is not None:
            self._handle.cancel()
        now, cpu = perf_counter(), process_time()
        if not self._peak:
            self._close_window(now)
        return Vitals(
            wall_s=(now - self._began_s,),
            cpu_s=(cpu - self._began_cpu_s,),
            peak_cpu_share=(self._peak,),
            starved_s=(starved_s() - self._began_starved_s,),
            loop_delay_s=np.sort(np.array(self._delays, np.float32)),
            peak_sockets=(peak_sockets,),
            connections=connections,
            resent=resent,
            refused=refused,
            peak_memory_mb=(memory_mb(),),
            bare=bare,
        )


def starved_s() -> float:
    """Seconds that this process's first thread was ready to run and had no core; 0 where the system doesn't say."""
    try:
        with open("/proc/self/schedstat", "rb") as file:
            return int(file.read().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0


def memory_mb() -> float:
    """The most memory this process has held so far; 0 on Windows."""
    if sys.platform == "win32":
        return 0.0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 1024


def judge(samples: Samples, vitals: Vitals, mode: Mode, *, notes: Sequence[str] = ()) -> Health:
    """Whether the generator was precise enough for what it measured, and if not, what it was short of."""
    measured = samples.measured()
    precision_s = max(LEAST_PRECISION_S, PRECISION_SHARE * _typical_s(measured))
    lag = measured.lag_s if mode == "open" else np.zeros(0)
    delay = vitals.loop_delay_s
    shares = [cpu / max(wall, 1e-9) for cpu, wall in zip(vitals.cpu_s, vitals.wall_s, strict=True)]
    starved = max(
        (s / max(w, 1e-9) for s, w in zip(vitals.starved_s, vitals.wall_s, strict=True)), default=0.0
    )
    lag_p99_s, delay_p99_s = _quantile(lag, 0.99), _quantile(delay, 0.99)
    peak = max(vitals.peak_cpu_share, default=0.0)
    shortages: list[Shortage] = []
    if vitals.refused:
        shortages.append(_sockets(vitals))
    late = lag_p99_s > precision_s
    if late or delay_p99_s > precision_s:
        facts = (
            f"requests left {1000 * lag_p99_s:.1f} ms late and the event loop woke {1000 * delay_p99_s:.1f} ms late "
            f"at p99, where {1000 * precision_s:.1f} ms is allowed"
        )
        shortages.append(_slow(facts, peak=peak, starved=starved, late=late))
    return Health(
        valid=not shortages,
        shortages=tuple(shortages),
        lag_p50_s=_quantile(lag, 0.5),
        lag_p99_s=lag_p99_s,
        lag_max_s=_quantile(lag, 1.0),
        loop_delay_p50_s=_quantile(delay, 0.5),
        loop_delay_p99_s=delay_p99_s,
        loop_delay_max_s=_quantile(delay, 1.0),
        cpu_share=max(shares, default=0.0),
        peak_cpu_share=peak,
        starved_share=starved,
        processes=len(vitals.wall_s),
        peak_sockets=sum(vitals.peak_sockets),
        connections=vitals.connections,
        resent=vitals.resent,
        refused=vitals.refused,
        peak_memory_mb=sum(vitals.peak_memory_mb),
        notes=tuple(notes),
    )


def _slow(facts: str, *, peak: float, starved: float, late: bool) -> Shortage:
    if peak >= BUSY_SHARE:
        reason = (
            f"the generator used {100 * peak:.0f} % of a core: {facts}. Use more --processes, or a lower rate"
        )
        return Shortage(resource="cpu", reason=reason)
    if starved >= STARVED_SHARE:
        reason = (
            f"other programs on this machine kept the generator waiting for a core {100 * starved:.0f} % of the time: "
            f"{facts}. Run it on a quieter machine, apart from the server"
        )
        return Shortage(resource="cpu", reason=reason)
    resource = "schedule" if late else "event loop"
    reason = (
        f"{facts}, though the generator had CPU to spare. Run it on a quieter machine, or at a lower rate"
    )
    return Shortage(resource=resource, reason=reason)


def _sockets(vitals: Vitals) -> Shortage:
    reason = (
        f"{vitals.refused} requests found no socket, port or memory with {sum(vitals.peak_sockets)} connections open. "
        "Raise the limit of open files (ulimit -n), or spread the load over more machines"
    )
    return Shortage(resource="sockets", reason=reason)


def _typical_s(samples: Samples) -> float:
    """The median time to the first token, or to the end where nothing streamed; 0 where nothing succeeded."""
    for values in (samples.ttft_from_send_s, samples.e2e_from_send_s):
        known = values[samples.ok & ~np.isnan(values)]
        if len(known):
            return float(np.median(known))
    return 0.0


def _quantile(values: np.ndarray, share: float) -> float:
    known = values[~np.isnan(values)]
    return float(np.quantile(known, share)) if len(known) else 0.0


def raise_file_limit() -> int:
    """How many files this process may hold open now, the soft limit raised to the hard one."""
    if sys.platform == "win32":
        return 2**31
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        hard = 2**20
    if soft == resource.RLIM_INFINITY or soft >= hard:
        return 2**20 if soft == resource.RLIM_INFINITY else soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    return hard


def ephemeral_ports() -> int:
    """How many connections this machine can hold to one address of a server."""
    try:
        with open("/proc/sys/net/ipv4/ip_local_port_range", "rb") as file:
            low, high = map(int, file.read().split())
    except (OSError, ValueError):
        return 16_384  # of 49,152 to 65,535, as IANA has them
    return high - low + 1


def check_limits(
    *, processes: int = 1, rate: float | None = None, users: int | None = None
) -> tuple[str, ...]:
    """What this machine can hold, in sentences; the limit of open files is raised as far as it goes.

    Args:
        rate: Requests per second, all arms together; None for a closed loop.
        users: Requests in flight of a closed loop.

    Raises:
        ConfigError: The load can't leave this machine whatever the server does.
    """
    files = raise_file_limit()
    most = min(processes * max(files - _SPARE_FILES, 0), ephemeral_ports())
    cores = usable_cores()
    if processes < 1:
        raise ConfigError(f"processes is {processes}, expected 1 or more")
    if users is not None and users > most:
        raise ConfigError(
            f"{users} users need as many connections, and this machine can hold {most}: raise the limit of open files "
            "(ulimit -n) or use more processes"
        )
    if rate is not None and rate * 0.05 > most:
        raise ConfigError(
            f"{rate:g} requests/s with answers of 50 ms need {rate * 0.05:.0f} connections, and this machine can hold "
            f"{most}: raise the limit of open files (ulimit -n) or use more processes"
        )
    said: list[str] = []
    if processes > max(cores - 1, 1):
        said.append(f"{processes} processes share {cores} cores: leave one for everything else")
    if rate and most / rate < 600:
        said.append(
            f"this machine can hold {most} connections: enough at {rate:g} requests/s for answers of up to {most / rate:.0f} s"
        )
    return tuple(said)


def usable_cores() -> int:
    """Cores that this process may use."""
    import os

    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
