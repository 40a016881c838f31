"""Progress on standard error: lines that move in a terminal, plain lines elsewhere."""

from __future__ import annotations

import shutil
import sys
import time
from typing import TextIO

from ratchet.progress import ArmProgress, Progress

PLAIN_EVERY_S = 5.0


class Display:
    """Call it with a Progress a few times a second; `close` leaves the last state standing."""

    def __init__(self, stream: TextIO | None = None, *, live: bool | None = None) -> None:
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty() if live is None else live
        self._lines = 0
        self._said_s = time.perf_counter()
        self._last: Progress | None = None
        self._said_done = -1

    def __call__(self, progress: Progress) -> None:
        self._last = progress
        if self._live:
            self._draw(progress)
        elif time.perf_counter() - self._said_s >= PLAIN_EVERY_S:
            self._said_s = time.perf_counter()
            self._say(progress)

    def close(self) -> None:
        if self._last is None:
            return
        if self._live:
            self._draw(self._last)
        elif self._last.done != self._said_done:
            self._say(self._last)

    def _draw(self, progress: Progress) -> None:
        width = shutil.get_terminal_size((80, 24)).columns
        lines = [_arm_line(name, arm, width) for name, arm in progress.arms.items()]
        lines.append(_foot(progress, width))
        up = f"\x1b[{self._lines}A" if self._lines else ""
        self._stream.write(up + "".join(f"\x1b[2K{line}\n" for line in lines))
        self._stream.flush()
        self._lines = len(lines)

    def _say(self, progress: Progress) -> None:
        self._said_done = progress.done
        arms = "; ".join(
            f"{name} {_done(arm)}{f', {arm.failed} failed' if arm.failed else ''}"
            f"{f', {arm.retried} retried' if arm.retried else ''}"
            for name, arm in progress.arms.items()
        )
        self._stream.write(f"{arms}; {_foot(progress, 200)}\n")
        self._stream.flush()


def _done(arm: ArmProgress) -> str:
    return f"{arm.done:,}" if arm.total is None else f"{arm.done:,}/{arm.total:,}"


def _arm_line(name: str, arm: ArmProgress, width: int) -> str:
    share = arm.done / arm.total if arm.total else 0.0
    bar = "█" * int(share * 16) + "░" * (16 - int(share * 16))
    notes = [_done(arm)]
    if arm.failed:
        notes.append(f"{arm.failed} failed")
    if arm.retried:
        notes.append(f"{arm.retried} retried")
    if arm.cached:
        notes.append(f"{arm.cached} cached")
    notes.append(f"{(arm.input_tokens + arm.output_tokens) / 1000:,.0f}k tok")
    if arm.cost_usd:
        notes.append(f"${arm.cost_usd:.4f}")
    return f"{name[:16]:16} {bar} {'  '.join(notes)}"[:width]


def _foot(progress: Progress, width: int) -> str:
    parts = [f"{progress.rows_per_s:,.0f} rows/s", f"{progress.in_flight} in flight"]
    if progress.waiting:
        parts.append(f"{progress.waiting} waiting")
    if progress.judging:
        parts.append(f"{progress.judging} being judged")
    if progress.cost_usd:
        parts.append(f"${progress.cost_usd:.4f} so far")
    left_s = progress.left_s
    if progress.state == "stopping":
        parts.append("stopping: what is in flight is finished and kept; Ctrl-C again drops it")
    elif left_s is not None and progress.done:
        parts.append(f"{_clock(left_s)} left")
    return ", ".join(parts)[:width]


def _clock(value_s: float) -> str:
    minutes, seconds = divmod(round(value_s), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
