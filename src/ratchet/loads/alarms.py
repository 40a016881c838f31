"""An alarm that rings at an absolute time, to the microsecond where the system can (event loops round to 1 ms)."""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
from collections.abc import Callable
from time import perf_counter_ns

_TIMER_ABSOLUTE = 1
_NONBLOCK_CLOEXEC = os.O_NONBLOCK | os.O_CLOEXEC if sys.platform == "linux" else 0
_CLOCK_MONOTONIC = 1


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


class Alarm:
    """Calls `ring` at the time last set on `perf_counter_ns`, or a little later, on the running event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[], None]) -> None:
        self._loop = loop
        self._ring = ring
        self._handle: asyncio.TimerHandle | None = None
        self._file = -1
        self._library: ctypes.CDLL | None = None
        self._spec = _Itimerspec()
        if sys.platform == "linux":  # there perf_counter is CLOCK_MONOTONIC
            try:
                self._library = ctypes.CDLL(None, use_errno=True)
                self._file = self._library.timerfd_create(_CLOCK_MONOTONIC, _NONBLOCK_CLOEXEC)
            except (OSError, AttributeError):  # a C library without it
                self._file = -1
            if self._file >= 0:
                loop.add_reader(self._file, self._rang)

    def set(self, at_ns: int) -> None:
        """Ring then, at once if it is past; an earlier setting is forgotten."""
        if self._file < 0 or self._library is None:
            if self._handle is not None:
                self._handle.cancel()
            delay_s = max(0.0, (at_ns - perf_counter_ns()) / 1e9)
            self._handle = self._loop.call_later(delay_s, self._rang_early, at_ns)
            return
        value = self._spec.value
        value.seconds, value.nanoseconds = divmod(max(at_ns, 1), 1_000_000_000)
        self._library.timerfd_settime(self._file, _TIMER_ABSOLUTE, ctypes.byref(self._spec), None)

    def forgo_precision(self) -> None:
        """Do with the loop's own timer, as where the system has no better one."""
        if self._file >= 0:
            self._loop.remove_reader(self._file)
            os.close(self._file)
            self._file = -1

    def close(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self.forgo_precision()

    def _rang(self) -> None:
        try:
            os.read(self._file, 8)
        except BlockingIOError:  # set anew since
            return
        self._ring()

    def _rang_early(self, at_ns: int) -> None:
        if at_ns - perf_counter_ns() > 100_000:  # the loop's clock is coarse
            self.set(at_ns)
        else:
            self._ring()
