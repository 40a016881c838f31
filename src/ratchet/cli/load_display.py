"""A load test while it runs, on standard error: charts that move in a terminal, plain lines elsewhere."""

from __future__ import annotations

import shutil
import sys
import time
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, TextIO

from ratchet.reports.texts import fit, safe

if TYPE_CHECKING:
    from ratchet.loads.records import Tick

PLAIN_EVERY_S = 5.0
_BARS = "▁▂▃▄▅▆▇█"
_KEPT = 240


class LoadDisplay:
    """Call it with a Tick twice a second; `close` leaves the last state standing."""

    def __init__(
        self,
        arms: Sequence[str],
        *,
        total_s: float | None,
        calls: int | None,
        stream: TextIO | None = None,
        live: bool | None = None,
    ) -> None:
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty() if live is None else live
        self._arms = list(arms)
        self._total_s, self._calls = total_s, calls
        self._latest: list[deque[float | None]] = [deque(maxlen=_KEPT) for _ in arms]
        """Median end-to-end seconds of what ended in each tick; None where nothing did."""
        self._lines = 0
        self._said_s = time.perf_counter()
        self._tick: Tick | None = None
        self._drawn: Tick | None = None

    def __call__(self, tick: Tick) -> None:
        self._tick = tick
        for place, kept in enumerate(self._latest):
            kept.append(_median(tick, place))
        if self._live:
            self._draw(tick)
        elif time.perf_counter() - self._said_s >= PLAIN_EVERY_S:
            self._say(tick)

    def close(self) -> None:
        """Show the last state, once."""
        if self._tick is not None and self._tick is not self._drawn:
            (self._draw if self._live else self._say)(self._tick)
        self._lines = 0
        self._tick = None

    def _draw(self, tick: Tick) -> None:
        width = shutil.get_terminal_size((80, 24)).columns
        lines = [self._arm_line(place, width) for place in range(len(self._arms))]
        lines.append(fit(self._foot(tick), width).rstrip())
        up = f"\x1b[{self._lines}A" if self._lines else ""
        self._stream.write(up + "".join(f"\x1b[2K{line}\n" for line in lines))
        self._stream.flush()
        self._lines, self._drawn = len(lines), tick

    def _say(self, tick: Tick) -> None:
        self._said_s = time.perf_counter()
        self._stream.write(f"{self._foot(tick)}\n")
        self._stream.flush()
        self._drawn = tick

    def _arm_line(self, place: int, width: int) -> str:
        kept = list(self._latest[place])
        known = [value for value in kept if value is not None]
        latest = f"e2e {_short(known[-1])}, worst {_short(max(known))}" if known else "no answer yet"
        name = fit(safe(self._arms[place]), 16)
        room = max(width - 16 - len(latest) - 4, 0)
        return f"{name} {spark(kept, room)} {latest}"[:width]

    def _foot(self, tick: Tick) -> str:
        time_text = f"{tick.elapsed_s:.0f} s" + (f" of {self._total_s:.0f} s" if self._total_s else "")
        sent = f"{tick.sent:,}" + (f" of {self._calls:,}" if self._calls else "")
        per_s = tick.done / tick.elapsed_s if tick.elapsed_s > 0 else 0.0
        parts = [
            time_text,
            f"{sent} sent",
            f"{tick.in_flight:,} in flight",
            f"{tick.done:,} done",
            f"{per_s:,.1f}/s",
        ]
        if tick.failed:
            parts.append(f"{tick.failed:,} failed")
        return ", ".join(parts)


def spark(values: Sequence[float | None], width: int) -> str:
    """The last values as bars from 0 to the highest of them; a blank where there is none.

    >>> spark([0.1, 0.2, None, 0.4], 4)
    '▂▄ █'
    """
    shown = list(values)[-width:] if width > 0 else []
    top = max((value for value in shown if value is not None), default=0.0)
    if top <= 0:
        return " " * len(shown)
    last = len(_BARS) - 1
    return "".join(
        " " if value is None else _BARS[min(last, int(value / top * len(_BARS) - 1e-9))] for value in shown
    )


def _median(tick: Tick, place: int) -> float | None:
    ended = sorted(
        latency
        for arm, latency, error in zip(
            tick.arm.tolist(), tick.e2e_s.tolist(), tick.error.tolist(), strict=True
        )
        if arm == place and error == 0 and latency == latency
    )
    return ended[len(ended) // 2] if ended else None


def _short(value_s: float) -> str:
    return f"{1000 * value_s:.0f} ms" if value_s < 1 else f"{value_s:.2f} s"
