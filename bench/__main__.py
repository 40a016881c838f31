"""`make bench`: whole `ratchet run` processes beside the yardstick's, in turn, in one run.

The server runs on one core, the clients on another. The server must be able to serve three times what the yardstick
asks of it, by its own count; otherwise nothing is reported.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

HERE = Path(__file__).parent
RATCHET = str(Path(sys.executable).with_name("ratchet"))
CORES = sorted(os.sched_getaffinity(0))
CLIENT_CORE, SERVER_CORE = CORES[0], CORES[-1]
PROMPT = "system: Answer with one word.\nuser: 'Question: {question}'\n"


class TooSlowError(Exception):
    """The server can't referee this yardstick."""


def pinned(core: int) -> Callable[[], None]:
    def pin() -> None:
        os.sched_setaffinity(0, {core})
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 8192)), hard))

    return pin


@contextlib.contextmanager
def server(delay_s: float) -> Iterator[str]:
    command = [sys.executable, str(HERE / "server.py"), "--delay-s", str(delay_s)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=pinned(SERVER_CORE))
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def stats(url: str) -> dict[str, float]:
    with urllib.request.urlopen(f"{url}/stats", timeout=10) as reply:
        return json.load(reply)


def reset(url: str) -> None:
    urllib.request.urlopen(urllib.request.Request(f"{url}/reset", data=b"{}"), timeout=10).close()


def dataset(folder: Path, rows: int) -> Path:
    """Rows of which three in five have the answer that the server gives."""
    path = folder / f"rows-{rows}.jsonl"
    if not path.exists():
        with path.open("w") as file:
            for i in range(rows):
                right = i % 5 < 3
                row = {
                    "id": f"row-{i}",
                    "question": f"Which word has number {i}",
                    "expected": f"word-{i}" if right else "none",
                }
                file.write(json.dumps(row) + "\n")
    return path


def timed(
    command: list[str], folder: Path, environment: dict[str, str] | None = None
) -> tuple[float, float, str]:
    """Wall seconds, peak memory in MB, standard output of a process on the clients' core."""
    started = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, **(environment or {})}, preexec_fn=pinned(CLIENT_CORE),
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    output = process.stdout.read()
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stdout.close()
    process.stderr.close()
    if process.returncode:
        raise RuntimeError(f"{command} ended with {process.returncode}:\n{errors[-2000:]}")
    return time.perf_counter() - started, usage.ru_maxrss / 1024, output


def ratchet(folder: Path, path: Path, url: str, concurrency: int) -> tuple[float, float]:
    """One `ratchet run`, store and scores and all; checked to have every row and the right accuracy."""
    (folder / "prompt.yaml").write_text(PROMPT)
    for old in folder.glob("*.db*"):
        old.unlink()
    command = [
        RATCHET, "run", "-d", str(path), "-m", "openai/bench", "-p", "prompt.yaml", "-s", "exact_match",
        "-j", str(concurrency), "--store", str(folder / "bench.db"), "--json",
    ]  # fmt: skip
    wall_s, memory_mb, output = timed(
        command, folder, {"OPENAI_BASE_URL": f"{url}/v1", "OPENAI_API_KEY": "bench"}
    )
    (arm,) = json.loads(output)["summary"]["arms"].values()
    share = arm["scores"]["exact_match"]["estimate"]["value"]
    if arm["failed"] or abs(share - 0.6) > 0.001:
        raise RuntimeError(f"wrong results: {arm['failed']} failed, {share} right")
    return wall_s, memory_mb


def minimal(folder: Path, path: Path, url: str, concurrency: int) -> float:
    command = [
        sys.executable,
        str(HERE / "minimal.py"),
        str(path),
        f"{url}/v1/chat/completions",
        str(concurrency),
    ]
    return timed(command, folder)[0]


def capacity(url: str, seconds: float = 2.0) -> float:
    """Requests a second that the server serves a bare pipelining client, by the server's own count."""
    body = b'{"model":"bench","messages":[{"role":"user","content":"Question: Which word has number 7"}]}'
    request = (
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: "
        + str(len(body)).encode()
        + b"\r\n\r\n"
        + body
    )
    port = int(url.rsplit(":", 1)[1])

    async def flood() -> None:
        end = time.perf_counter() + seconds

        async def one() -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            while time.perf_counter() < end:
                writer.write(request * 16)
                for _ in range(16):
                    await reader.readuntil(b"\r\n\r\n")
                    await reader.readuntil(b"}}")
            writer.close()

        async with asyncio.TaskGroup() as group:
            for _ in range(8):
                group.create_task(one())

    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {CLIENT_CORE})
    reset(url)
    try:
        asyncio.run(flood())
    finally:
        os.sched_setaffinity(0, before)
    found = stats(url)
    return found["requests"] / (found["last_answer_s"] - found["first_answer_s"])


def spread(values: list[float], digits: int = 2) -> str:
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def bench_no_delay(folder: Path, rounds: int) -> None:
    path = dataset(folder, 2000)
    with server(0.0) as url:
        pairs = [(ratchet(folder, path, url, 64)[0], minimal(folder, path, url, 64)) for _ in range(rounds)]
        served = capacity(url)
    ours, theirs = [a for a, _ in pairs], [b for _, b in pairs]
    asked = 2000 / min(theirs)
    if served < 3 * asked:
        raise TooSlowError(
            f"the server serves {served:,.0f}/s, the yardstick asks {asked:,.0f}/s: less than 3x"
        )
    ratios = [a / b for a, b in pairs]
    print(
        f"2,000 rows, 64 in flight, no delay (whole process, {rounds} pairs; the server can serve {served / asked:.1f}x)"
    )
    print(
        f"  minimal loop {spread(theirs)} s, ratchet {spread(ours)} s, ratio {spread(ratios)} (goal: at most 4)\n"
    )


def bench_delay(folder: Path, rounds: int) -> None:
    path, one = dataset(folder, 2000), dataset(folder, 5)
    with server(0.0) as url:
        start_s = statistics.median(ratchet(folder, one, url, 64)[0] for _ in range(3))
    with server(0.2) as url:
        pairs = [
            (ratchet(folder, path, url, 64)[0], minimal(folder, path, url, 64))
            for _ in range(max(rounds // 2, 1))
        ]
    ideal_s = 2000 / 64 * 0.2
    ours = [(wall - start_s) / ideal_s for wall, _ in pairs]
    print("2,000 rows, 64 in flight, 200 ms delay")
    print(
        f"  minimal loop {spread([b for _, b in pairs])} s, ratchet {spread([a for a, _ in pairs])} s, start-up {start_s:.2f} s"
    )
    whole = [wall / (ideal_s + start_s) for wall, _ in pairs]
    print(
        f"  the whole process: {spread(whole, 3)} of rows/concurrency x delay plus start-up (goal: at most 1.08)"
    )
    print(f"  less start-up: {spread(ours, 3)} of rows/concurrency x delay; 32 whole waves alone are 1.024\n")


def bench_many(folder: Path) -> None:
    path = dataset(folder, 20_000)
    with server(1.0) as url:
        ratchet(folder, path, url, 1000)
        found = stats(url)
    rate = (found["requests"] - 1) / (found["last_answer_s"] - found["first_answer_s"])
    print("20,000 rows, 1,000 in flight, 1 s delay")
    print(
        f"  {rate:,.0f} rows/s from first to last answer, by the server's count, at most {found['peak_in_flight']:.0f} in flight (goal: at least 900)\n"
    )


def bench_growth(folder: Path) -> None:
    with server(0.0) as url:
        small_s, small_mb = ratchet(folder, dataset(folder, 10_000), url, 64)
        large_s, large_mb = ratchet(folder, dataset(folder, 100_000), url, 64)
    print("100,000 rows against 10,000, no delay")
    print(
        f"  time {small_s:.1f} s -> {large_s:.1f} s ({large_s / small_s:.1f}x), memory {small_mb:.0f} -> {large_mb:.0f} MB (+{large_mb - small_mb:.0f}; goal: less than 30)\n"
    )


def bench_start(folder: Path) -> None:
    pairs = [
        (timed([RATCHET, "--help"], folder)[0], timed([sys.executable, "-c", "pass"], folder)[0])
        for _ in range(15)
    ]
    ours, python = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(
        f"ratchet --help {1000 * ours:.0f} ms, python -c pass {1000 * python:.0f} ms (goal: at most {2500 * python + 60:.0f} ms)\n"
    )


def bench_verdict(folder: Path, rounds: int) -> None:
    from bench import verdict  # numpy and the store, which the other benches' clients don't share

    verdict.bench_decide(rounds)
    verdict.bench_help(folder, timed)
    verdict.bench_store(folder, timed)


def bench_load(quick: bool) -> None:
    from bench import load  # numpy, which the other benches' clients don't share

    load.bench_load(pinned, CLIENT_CORE, SERVER_CORE, quick=quick)


def bench_page(folder: Path) -> None:
    from bench import page

    page.bench(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--only", choices=["no-delay", "delay", "many", "growth", "start", "verdict", "load", "page"]
    )
    parser.add_argument(
        "--quick", action="store_true", help="short runs of the load test, to see that it works"
    )
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="ratchet-bench-"))
    benches: dict[str, Callable[[], None]] = {
        "start": lambda: bench_start(folder),
        "no-delay": lambda: bench_no_delay(folder, given.rounds),
        "delay": lambda: bench_delay(folder, given.rounds),
        "many": lambda: bench_many(folder),
        "growth": lambda: bench_growth(folder),
        "verdict": lambda: bench_verdict(folder, given.rounds),
        "load": lambda: bench_load(given.quick),
        "page": lambda: bench_page(folder),
    }
    try:
        for name, bench in benches.items():
            if given.only in (None, name):
                bench()
    except TooSlowError as error:
        sys.exit(f"nothing to report: {error}")
    finally:
        shutil.rmtree(folder)


main()
