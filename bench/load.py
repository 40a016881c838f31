"""The load generator beside the yardstick, in turn, against a server that logs when each byte went out.

The server has a core of its own; ours and the yardstick's clients share another. What either reports is held against
the server's log of the same requests, so a server that is late itself flatters and harms nobody.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
TOKENS = 50
FIRST_S, GAP_S = 0.1, 0.01
STREAM_S = FIRST_S + GAP_S * (TOKENS - 1)
RATES = (20, 100, 300)
DISTORTED = 0.10
"""A rate is undistorted while the p99 of the time to the first token is within this share of the server's."""
LADDER = (300, 450, *(round(600 * 1.12**step) for step in range(16)))
"""Rates tried for the highest undistorted one, up to 3,284/s; steps of 12 % where it matters."""

Pin = Callable[[int], Callable[[], None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a client reports and what the server logged of the same requests, in seconds."""

    sent: int
    answered: int
    ttft: np.ndarray
    ttft_from_send: np.ndarray
    gaps: np.ndarray
    true_ttft: np.ndarray
    true_gaps: np.ndarray
    cpu_share: float
    facts: dict[str, Any]

    def error(self, quantile: float) -> float:
        """How far the reported time to the first token is off at this quantile, as a share."""
        return self.at(self.ttft, quantile) / self.at(self.true_ttft, quantile) - 1

    def gap_error_s(self, quantile: float) -> float:
        return self.at(self.gaps, quantile) - self.at(self.true_gaps, quantile)

    def at(self, values: np.ndarray, quantile: float) -> float:
        return float(np.quantile(values, quantile)) if len(values) else float("nan")

    @property
    def is_whole(self) -> bool:
        return self.answered == self.sent

    @property
    def is_undistorted(self) -> bool:
        return self.is_whole and abs(self.error(0.99)) <= DISTORTED


@contextlib.contextmanager
def server(pin: Pin, core: int) -> Iterator[int]:
    command = [sys.executable, str(HERE / "streaming.py"), "--first-s", str(FIRST_S), "--gap-s", str(GAP_S)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=pin(core))
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


class Bench:
    """Runs clients against one server."""

    def __init__(self, port: int, folder: Path, pin: Pin, core: int) -> None:
        self.port = port
        self.folder = folder
        self._pin = pin
        self._core = core

    def ours(self, rate: float, seconds: float, *, warm_s: float = 0.0, processes: int = 1) -> Seen:
        warm = int(rate * warm_s)
        count, path = int(rate * seconds), self.folder / "ours.npz"
        words = ["streaming_ours.py", str(self.port), str(rate), str(count), str(path), str(processes)]
        facts, log = self._run(words, warm)
        with np.load(path) as found:
            sent_s, scheduled_s, first_s = (found[n] for n in ("sent_s", "scheduled_s", "first_token_s"))
            good = (found["error"] == 0) & (found["output_tokens"] == TOKENS) & (found["index"] >= warm)
            gaps = found["gaps"]
        return Seen(
            sent=count - warm,
            answered=int(good.sum()),
            ttft=(first_s - scheduled_s)[good],
            ttft_from_send=(first_s - sent_s)[good],
            gaps=gaps,
            **log,
            cpu_share=facts["cpu_s"] / facts["wall_s"],
            facts=facts,
        )

    def yardstick(self, rate: float, seconds: float, *, warm_s: float = 0.0) -> Seen:
        warm = int(rate * warm_s)
        count, path = int(rate * seconds), self.folder / "yardstick.f64"
        words = ["streaming_minimal.py", str(self.port), str(rate), str(count), str(path)]
        facts, log = self._run(words, warm)
        rows = np.fromfile(path, np.float64).reshape(-1, TOKENS + 3) / 1e9
        good = (rows[:, -1] > 0) & (rows[:, 0] * 1e9 >= warm)
        return Seen(
            sent=count - warm,
            answered=int(good.sum()),
            ttft=(rows[:, 3] - rows[:, 1])[good],
            ttft_from_send=(rows[:, 3] - rows[:, 2])[good],
            gaps=np.diff(rows[good, 3:], axis=1).ravel(),
            **log,
            cpu_share=facts["cpu_s"] / facts["wall_s"],
            facts=facts,
        )

    def _run(self, words: list[str], warm: int) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """What a client printed, and what the server logged meanwhile."""
        self._ask("/reset", b"{}")
        command = [sys.executable, str(HERE / words[0]), *words[1:]]
        done = subprocess.run(
            command, capture_output=True, text=True, preexec_fn=self._pin(self._core), check=False
        )
        if done.returncode:
            raise RuntimeError(f"{words[0]} ended with {done.returncode}:\n{done.stderr[-2000:]}")
        log = np.frombuffer(self._ask("/log"), np.int64).reshape(-1, TOKENS + 2) / 1e9
        log = log[(log[:, -1] > 0) & (log[:, 0] * 1e9 >= warm)]
        return json.loads(done.stdout), {
            "true_ttft": log[:, 2] - log[:, 1],
            "true_gaps": np.diff(log[:, 2:], axis=1).ravel(),
        }

    def _ask(self, path: str, data: bytes | None = None) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", data, timeout=60) as reply:
            return reply.read()


def accuracy(bench: Bench, seconds: float) -> None:
    print(
        f"Streams of {TOKENS} tokens, {1000 * FIRST_S:g} ms to the first, {1000 * GAP_S:g} ms apart; times in ms"
    )
    print(
        "  rate  client     TTFT p50 (server)   TTFT p99 (server)    off p50  off p99   gap p50/p99 (server)"
        "          CPU   valid"
    )
    for rate in RATES:
        for name, run in (("ratchet", bench.ours), ("yardstick", bench.yardstick)):
            seen = run(rate, seconds)
            print(line(rate, name, seen))
            if name == "ratchet":
                for shortage in seen.facts["shortages"]:
                    print(f"        invalid, short of {shortage['resource']}: {shortage['reason']}")
    print("  goal: off at most 3 %, gaps by the larger of 3 % and 1 ms; 20/s and 100/s valid\n")


def line(rate: float, name: str, seen: Seen) -> str:
    def ms(values: np.ndarray, quantile: float) -> float:
        return 1000 * seen.at(values, quantile)

    valid = {True: "yes", False: "no", None: "-"}[seen.facts.get("valid")]
    lost = "" if seen.is_whole else f"  {seen.sent - seen.answered} of {seen.sent} unanswered"
    return (
        f"  {rate:>4g}  {name:<9} {ms(seen.ttft, 0.5):8.1f} ({ms(seen.true_ttft, 0.5):6.1f})"
        f"   {ms(seen.ttft, 0.99):8.1f} ({ms(seen.true_ttft, 0.99):6.1f})"
        f"   {seen.error(0.5):+8.2%} {seen.error(0.99):+8.2%}"
        f"   {ms(seen.gaps, 0.5):5.2f}/{ms(seen.gaps, 0.99):6.2f} ({ms(seen.true_gaps, 0.5):5.2f}/{ms(seen.true_gaps, 0.99):6.2f})"
        f"   {seen.cpu_share:6.1%}   {valid}{lost}"
    )


def highest(bench: Bench, seconds: float, budget_s: float) -> None:
    """The highest undistorted rate of both on one core, step by step in turn, the first second left out."""
    ends = time.perf_counter() + budget_s
    best: dict[str, int] = {"ratchet": 0, "yardstick": 0}
    shares: dict[str, float] = {}
    runs: dict[str, Callable[..., Seen]] = {"ratchet": bench.ours, "yardstick": bench.yardstick}
    done: set[str] = set()
    late = 0.0
    for rate in LADDER:
        for name, run in runs.items():
            if name in done or time.perf_counter() > ends:
                continue
            seen = run(rate, seconds, warm_s=1.0)
            late = max(late, seen.at(seen.true_ttft, 0.99) / FIRST_S - 1)
            if not seen.is_undistorted:
                seen = run(rate, seconds, warm_s=1.0)  # one bad moment of the machine is no limit
            if seen.is_undistorted:
                best[name], shares[name] = rate, seen.cpu_share
            else:
                done.add(name)
        if len(done) == len(runs):
            break
    print(f"Highest rate with the p99 of the first token within {DISTORTED:.0%} of the server's, one core")
    if not best["yardstick"]:
        print(
            f"  the yardstick itself fails at {LADDER[0]}/s: this machine is too busy or too small to say\n"
        )
        return
    text = ", ".join(
        f"{name} {rate:,}/s ({shares.get(name, 0):.0%} of the core)" for name, rate in best.items()
    )
    print(f"  {text}: ratio {best['ratchet'] / max(best['yardstick'], 1):.2f} (goal: at least 0.80)")
    if len(done) < len(runs):
        print("  (time or the ladder ended before both had failed: the ratio is of what was reached)")
    print(f"  the server itself was late by at most {late:.0%} at p99\n")


def merging(bench: Bench, seconds: float) -> None:
    rate = 100
    one, two = bench.ours(rate, seconds), bench.ours(rate, seconds, processes=2)
    print(f"One process against two, {rate}/s")
    for name, seen in (("one", one), ("two", two)):
        print(line(rate, name, seen))
    print(
        "  both are held against the server's log of their own run; the merge of equal samples is exact by test\n"
    )


def cost(bench: Bench, seconds: float) -> None:
    """CPU of the client, a number that other programs on the machine disturb less than times."""
    rate = 200
    pairs = [(bench.ours(rate, seconds), bench.yardstick(rate, seconds)) for _ in range(3)]
    ours, theirs = (
        statistics.median(1e6 * seen.facts["cpu_s"] / seen.sent for seen in column)
        for column in zip(*pairs, strict=True)
    )
    print(f"CPU a stream of {TOKENS} tokens at {rate}/s")
    print(f"  ratchet {ours:.0f} us, yardstick {theirs:.0f} us: {ours / theirs:.2f} of the yardstick\n")


def bench_load(pin: Pin, client_core: int, server_core: int, *, quick: bool = False) -> None:
    """Some five minutes; `quick` some forty seconds, enough to see that it works."""
    seconds = 3.0 if quick else 12.0
    with tempfile.TemporaryDirectory(prefix="ratchet-load-") as folder, server(pin, server_core) as port:
        bench = Bench(port, Path(folder), pin, client_core)
        bench.yardstick(50, 1.0)  # so that neither meets a cold server
        accuracy(bench, seconds)
        cost(bench, 1.0 if quick else 4.0)
        merging(bench, seconds)
        highest(bench, 2.0 if quick else 4.0, 30.0 if quick else 170.0)
