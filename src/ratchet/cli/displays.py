"""Progress on standard error: lines that move in a terminal, plain lines elsewhere."""

from __future__ import annotations

import shutil
import sys
import time
from dataclasses import dataclass
from typing import TextIO

from ratchet.progress import ArmProgress, Progress
from ratchet.reports.texts import cell_width, safe

PLAIN_EVERY_S = 5.0
PLAIN_WIDTH = 100
_STOPPING = "stopping: what is in flight is finished and kept; Ctrl-C again drops it"


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
        self._stream.write(f"{plain_line(progress)}\n")
        self._stream.flush()


@dataclass(frozen=True, slots=True)
class _Detail:
    """How much a plain line says."""

    name: int
    """Columns of an arm's name at most."""
    calls: bool = False
    """Also what is in flight, waiting and being judged."""
    full: bool = True
    """Counts to the last digit, and not as 12.3k."""
    by_arm: bool = True
    """What failed and was retried by arm, and not in sum."""


_DETAILS = (
    _Detail(40, calls=True),
    _Detail(40),
    _Detail(16),
    _Detail(16, full=False),
    _Detail(24, by_arm=False),
    *(_Detail(width, full=False, by_arm=False) for width in (16, 10, 6, 4)),
)


def plain_line(progress: Progress, width: int = PLAIN_WIDTH) -> str:
    """Every arm's counts and what the run does, as long as it must be: with one arm or two at most `width` columns."""
    said = ""
    for detail in _DETAILS:
        said = "; ".join(
            [_plain_arm(n, arm, detail) for n, arm in progress.arms.items()] + [_plain_foot(progress, detail)]
        )
        if cell_width(said) <= width:
            break
    return said


def _plain_arm(name: str, arm: ArmProgress, detail: _Detail) -> str:
    done = _count(arm.done, detail) + ("" if arm.total is None else f"/{_count(arm.total, detail)}")
    parts = [f"{_middle(safe(name), detail.name)} {done}"]
    if detail.by_arm:
        parts += _troubles(arm.failed, arm.retried, detail)
    return ", ".join(parts)


def _plain_foot(progress: Progress, detail: _Detail) -> str:
    arms = progress.arms.values()
    parts: list[str] = []
    if not detail.by_arm:
        parts += _troubles(sum(arm.failed for arm in arms), sum(arm.retried for arm in arms), detail)
    parts.append(f"{progress.rows_per_s:,.0f} rows/s")
    if detail.calls:
        parts += _calls(progress)
    tokens = sum(arm.input_tokens + arm.output_tokens for arm in arms)
    if tokens:
        parts.append(f"{_short(tokens)} tok")
    if progress.cost_usd:
        parts.append(_dollars(progress.cost_usd, detail))
    if progress.state == "stopping":
        short = "stopping; Ctrl-C again drops it" if detail.full else "stopping"
        parts.append(_STOPPING if detail.calls else short)
    elif (left_s := progress.left_s) is not None and progress.done:
        minutes = round(left_s / 60)
        hours = f"{minutes // 60}h{minutes % 60:02}"
        parts.append(f"{_clock(left_s) if detail.full or minutes < 60 else hours} left")
    return ", ".join(parts)


def _dollars(value_usd: float, detail: _Detail) -> str:
    if value_usd < 10:
        return f"${value_usd:.4f}"
    return f"${value_usd:,.2f}" if detail.full or value_usd < 100 else f"${_short(int(value_usd))}"


def _troubles(failed: int, retried: int, detail: _Detail) -> list[str]:
    named = {"failed": failed, "retried": retried}
    return [f"{_count(number, detail)} {word}" for word, number in named.items() if number]


def _count(number: int, detail: _Detail) -> str:
    return f"{number:,}" if detail.full else str(number) if number < 10_000 else _short(number)


def _short(number: int) -> str:
    """`940`, `1.2k`, `4.6M`: rounded down, so that all but done isn't done.

    >>> _short(940), _short(1_299), _short(12_399), _short(4_600_000), _short(999_999)
    ('940', '1.2k', '12k', '4.6M', '999k')
    """
    for size, letter in ((1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")):
        if number >= size:
            whole, tenth = divmod(number * 10 // size, 10)
            return f"{whole}{letter}" if whole >= 10 or not tenth else f"{whole}.{tenth}{letter}"
    return str(number)


def _middle(name: str, width: int) -> str:
    """The name, with its middle left out where it is too wide: models often differ at their end.

    >>> _middle("openai/gpt-4o-mini-2024-07-18", 16)
    'openai/…24-07-18'
    """
    if cell_width(name) <= width:
        return name
    end = _beginning(name[::-1], width // 2)[::-1]
    return f"{_beginning(name, width - 1 - cell_width(end))}…{end}"


def _beginning(text: str, width: int) -> str:
    return next((text[:n] for n in range(len(text), 0, -1) if cell_width(text[:n]) <= width), "")


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
    parts = [f"{progress.rows_per_s:,.0f} rows/s", *_calls(progress)]
    if progress.cost_usd:
        parts.append(f"${progress.cost_usd:.4f} so far")
    parts += [_STOPPING] if progress.state == "stopping" else _left(progress)
    return ", ".join(parts)[:width]


def _calls(progress: Progress) -> list[str]:
    parts = [f"{progress.in_flight} in flight"]
    if progress.waiting:
        parts.append(f"{progress.waiting} waiting")
    if progress.judging:
        parts.append(f"{progress.judging} being judged")
    return parts


def _left(progress: Progress) -> list[str]:
    left_s = progress.left_s
    return [f"{_clock(left_s)} left"] if left_s is not None and progress.done else []


def _clock(value_s: float) -> str:
    minutes, seconds = divmod(round(value_s), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
