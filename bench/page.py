"""`python -m bench --only page`: the page of `ratchet view` on large runs, in a real server and a real browser.

The stores are written straight through `store.write`. Times are of whole requests over HTTP, and of what a person sees in
Chromium where there is one: from the click until the new rows stand there.
"""

from __future__ import annotations

import os
import random
import shutil
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ratchet.records import Dataset, Failure, Run, Score, Task, Trace, Variant
from ratchet.stores.sqlite import SQLiteStore

WORDS = (
    "refund", "policy", "seat", "downgrade", "invoice", "webhook", "retry", "export", "audit", "login", "reset", "limit",
    "trial", "extension", "billing", "cancel", "upgrade", "region", "token", "session", "password", "mail", "outage",
)  # fmt: skip
LABELS = ("billing", "bug", "account", "feature", "other")
ARMS = ("champion", "challenger")
CLICKS = 4_000
PORT = 18_190


def write_store(path: Path, examples: int, *, scored: bool = True) -> str:
    """A finished run of two arms on so many examples; its id."""
    rng = random.Random(1)
    task = Task(dataset=Dataset(id="d" * 32, count=examples, name="tickets"), name="tickets")
    arms = {arm: Variant(model=f"simulated/{arm}") for arm in ARMS}
    run = Run(
        id=f"bench-{examples}",
        task=task,
        arms=arms,
        baseline=ARMS[0],
        name=f"{examples:,} examples",
        created_at=time.time(),
    )
    with SQLiteStore(path) as store:
        store.save_run(run)
        batch: list[Trace | Score] = []
        for example in range(examples):
            for arm in ARMS:
                batch += _answer(rng, run.id, arm, example, scored=scored)
            if len(batch) >= 5_000:
                store.write(batch)
                batch = []
        store.write(batch)
        store.set_run_state(run.id, "finished")
    return run.id


def _answer(rng: random.Random, run_id: str, arm: str, example: int, *, scored: bool) -> list[Trace | Score]:
    id_ = f"{rng.getrandbits(128):032x}"
    text = " ".join(rng.choices(WORDS, k=40))
    expected = LABELS[example % len(LABELS)]
    predicted = expected if rng.random() < 0.8 else rng.choice(LABELS)
    failed = (
        Failure(kind=rng.choice(("timeout", "rate_limit", "server")), message="it broke")
        if rng.random() < 0.02
        else None
    )
    latency_s = rng.lognormvariate(0.0, 0.5)
    trace = Trace(
        id=id_, run_id=run_id, arm=arm, example_id=f"ticket-{example}", group=f"customer-{example % 1000}",
        input=[{"role": "user", "content": f"Which queue? {text} {example}"}], output=None if failed else f"{predicted} {text}",
        answer=None if failed else predicted, error=failed, latency_s=None if failed else latency_s,
        ttft_s=None if failed else latency_s / 4, cost_usd=0.01 * rng.random(), input_tokens=80, output_tokens=50,
        created_at=time.time(),
    )  # fmt: skip
    if failed or not scored:
        return [trace]
    metadata = {"predicted": predicted, "expected": expected}
    return [
        trace,
        Score(
            trace_id=id_,
            name="label",
            value=predicted == expected,
            metadata=metadata,
            by="label@1",
            created_at=time.time(),
        ),
        Score(
            trace_id=id_,
            name="judge",
            value=round(rng.random(), 2),
            source="judge",
            by="judge@1",
            created_at=time.time(),
        ),
    ]


@contextmanager
def serving(store: Path) -> Generator[tuple[str, subprocess.Popen[bytes]]]:
    """A real `ratchet view` on this store: its address and process."""
    command = [
        sys.executable,
        "-m",
        "ratchet",
        "view",
        "--no-browser",
        "--port",
        str(PORT),
        "--store",
        str(store),
    ]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{PORT}"
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"{url}/login", timeout=5).close()
                break
            except urllib.error.HTTPError:
                break
            except OSError:
                time.sleep(0.05)
        yield url, process
    finally:
        process.terminate()
        process.wait()


def ask(url: str, *, fragment: bool = True) -> tuple[float, int]:
    """Seconds, and bytes as they came, of one request."""
    headers = {"Accept-Encoding": "gzip", **({"X-Fragment": "1", "X-Part": "#answers"} if fragment else {})}
    started = time.perf_counter()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=60) as answer:
            size = len(answer.read())
    except urllib.error.HTTPError as error:
        if error.code >= 500:
            raise RuntimeError(f"{url} answered {error.code}") from error
        size = len(error.read())
    return time.perf_counter() - started, size


def index(store: Path, run: str, url: str) -> tuple[float, float, float]:
    """Seconds until the rows, the figures and the texts of a run are there, from the first visit on."""
    started = time.perf_counter()
    ask(f"{url}/runs/{run}")
    views = store.with_name(f"{store.name}.views")
    rows = _until(lambda: (views / f"run-{run}" / "meta.json").exists(), started)
    figures = _until(lambda: bool(list((views / f"run-{run}").glob("v*/extra.json"))), started)
    texts = _until(
        lambda: figures > 0 and not list(views.glob(f"run-{run}.*.progress")) and _filled(store, run), started
    )
    return rows, figures, texts


def _filled(store: Path, run: str) -> bool:
    from ratchet.stores import sqlite_views
    from ratchet.web import searching

    with SQLiteStore(store, read_only=True) as kept:
        return searching.filled_to(store, run) >= sqlite_views.newest_trace(kept, run)


def _until(done: Callable[[], bool], started: float) -> float:
    while not done():
        time.sleep(0.1)
        if time.perf_counter() - started > 3600:
            raise TimeoutError("an hour has passed")
    return time.perf_counter() - started


QUERIES = {
    "filter by arm": "arm=champion",
    "filter by error": "error=timeout",
    "filter by score": "score=score:judge|0.2..0.4",
    "filter by words": "text=refund+outage",
    "filter by id": "text=ticket-4999",
    "sort": "sort=-latency_s",
    "sort and filter": "sort=-cost_usd&arm=challenger&error=ok",
    "sort by text": "sort=example",
    "far page": "sort=-score:judge&offset=60000",
}


def measure_http(url: str, run: str, pid: int, *, rounds: int = 15) -> Iterator[str]:
    """A line for each way to filter, sort and open: what it took, and how much of it the server worked."""
    ways = {
        name: [f"{'/rows?limit=100&' if 'offset' in query else '?'}{query}"] * rounds
        for name, query in QUERIES.items()
    }
    ways["open a row"] = [f"/rows/{key}" for key in _keys(url, run)[: 2 * rounds]]
    for name, paths in ways.items():
        before_s = cpu_s(pid)
        taken = [1000 * ask(f"{url}/runs/{run}{path}")[0] for path in paths]
        cpu_ms = 1000 * (cpu_s(pid) - before_s) / len(paths)
        yield f"  {name:<16} {_ms(taken)}, of which the server worked {cpu_ms:.0f}"


def cpu_s(pid: int) -> float:
    """Processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _keys(url: str, run: str) -> list[str]:
    with urllib.request.urlopen(f"{url}/runs/{run}/rows?limit=200", timeout=60) as answer:
        text = answer.read().decode()
    return [part[:32] for part in text.split('data-key="')[1:]]


_SOFT = """async ([part, act]) => {
  const old = document.querySelector('virtual-rows');
  const started = performance.now();
  const element = document.querySelector(part);
  if (act) { element.value = act; element.dispatchEvent(new Event('input', {bubbles: true})); } else element.click();
  for (;;) {
    const now = document.querySelector('virtual-rows');
    if (now && now !== old && now.querySelector('tr[data-index]')) return performance.now() - started;
    await new Promise((next) => requestAnimationFrame(next));
  }
}"""
_OPEN = """async (index) => {
  const row = document.querySelector(`tr[data-index='${index}']`);
  const started = performance.now();
  row.click();
  const id = row.dataset.key;
  for (;;) {
    if (document.querySelector(`#answer a[href='/traces/${id}']`)) return performance.now() - started;
    await new Promise((next) => requestAnimationFrame(next));
  }
}"""


def measure_browser(url: str, run: str) -> dict[str, Any] | None:
    """What a person waits for in Chromium, in milliseconds, and the bytes of the first view; None without a browser."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None or find_spec("playwright") is None:
        return None
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        started = time.perf_counter()
        page.goto(f"{url}/runs/{run}")
        page.wait_for_selector("tr[data-index]")
        first_ms = 1000 * (time.perf_counter() - started)
        page.wait_for_load_state("networkidle")
        sizes = page.evaluate(
            "['navigation', 'resource'].flatMap(t => performance.getEntriesByType(t)).map(e => e.transferSize)"
        )
        filtered = [float(page.evaluate(_SOFT, ["#filter-arm", arm])) for arm in (*ARMS, *ARMS)]
        sorted_ms = [
            float(page.evaluate(_SOFT, [f"th.{cell} a", ""]))
            for cell in ("time-cell", "cost-cell", "id", "score-cell")
        ]
        opened = [float(page.evaluate(_OPEN, row)) for row in (0, 3, 6, 9, 1)]
        browser.close()
    return {"first_ms": first_ms, "bytes": sum(sizes), "filter": filtered, "sort": sorted_ms, "open": opened}


def click_around(
    url: str, run: str, process: subprocess.Popen[bytes], clicks: int = CLICKS
) -> tuple[float, float]:
    """Memory of the server in MB before and after thousands of requests over every screen."""
    rng = random.Random(7)
    keys = _keys(url, run)
    before = rss_mb(process.pid)
    for _ in range(clicks):
        key, query = rng.choice(keys), rng.choice(list(QUERIES.values()))
        ask(url + rng.choice([
            "/", "/runs", "/runs/live", f"/runs/{run}", f"/runs/{run}/live", f"/runs/{run}?{query}&row={key}",
            f"/runs/{run}/rows?{query}&offset={rng.randrange(0, 40_000)}&limit=100", f"/runs/{run}/rows/{key}",
            f"/runs/{run}/rows/{key}", f"/traces/{key}", "/traces", f"/traces?text={rng.choice(WORDS)}+{rng.choice(WORDS)}",
            f"/runs/{run}?text={rng.choice(WORDS)}", "/compare", "/datasets", "/label", "/judge", "/playground",
            f"/palette?q={rng.choice(WORDS)}",
        ]))  # fmt: skip
    return before, rss_mb(process.pid)


def rss_mb(pid: int) -> float:
    """Resident memory of a process, mapped files included."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def bench(folder: Path, *, examples: int = 50_000, million: bool = True) -> None:
    """Write the stores, serve them, print the figures."""
    store = folder / "page.db"
    run = write_store(store, examples)
    print(f"{examples:,} examples x 2 arms, {store.stat().st_size / 1e6:,.0f} MB")
    with serving(store) as (url, process):
        rows_s, figures_s, texts_s = index(store, run, url)
        print(
            f"  first visit without an index: rows after {rows_s:.1f} s, figures {figures_s:.1f} s, text search {texts_s:.1f} s"
        )
    with serving(store) as (url, process):
        seen = measure_browser(url, run)
        if seen is None:
            first_s, size = ask(f"{url}/runs/{run}", fragment=False)
            print(
                f"  first view, cold: {1000 * first_s:.0f} ms over HTTP (no browser here), {size / 1024:.0f} KB without styles and scripts"
            )
        else:
            print(
                f"  first view in Chromium, cold: {seen['first_ms']:.0f} ms (goal: less than 1,000), {seen['bytes'] / 1024:.0f} KB transferred (goal: less than 120)"
            )
            for name in ("filter", "sort", "open"):
                print(f"  {name} in Chromium: {_ms(seen[name])} (goal: 150)")
        print(
            "  over HTTP (goal: 150 ms), on a machine with a load of",
            " ".join(f"{load:.1f}" for load in os.getloadavg()),
        )
        for line in measure_http(url, run, process.pid):
            print(line)
        started = time.perf_counter()
        before, after = click_around(url, run, process)
        print(
            f"  server memory {before:.0f} -> {after:.0f} MB after {CLICKS:,} requests in {time.perf_counter() - started:.0f} s (goal: less than 120)"
        )
    if million:
        bench_million(folder)


def bench_million(folder: Path) -> None:
    """A run of 1,000,000 rows: does it open?"""
    store = folder / "million.db"
    run = write_store(store, 500_000, scored=False)
    print(f"500,000 examples x 2 arms, {store.stat().st_size / 1e6:,.0f} MB, no scores")
    with serving(store) as (url, process):
        first_s, _ = ask(f"{url}/runs/{run}", fragment=False)
        rows_s, figures_s, texts_s = index(store, run, url)
        print(
            f"  opens after {first_s:.1f} s without an index; rows after {rows_s:.0f} s, figures {figures_s:.0f} s, text search {texts_s:.0f} s"
        )
    with serving(store) as (url, process):
        first_s, size = ask(f"{url}/runs/{run}", fragment=False)
        print(f"  first view with an index: {1000 * first_s:.0f} ms, {size / 1024:.0f} KB of HTML")
        for line in measure_http(url, run, process.pid, rounds=5):
            print(line)
        print(f"  server memory {rss_mb(process.pid):.0f} MB")


def _ms(values: list[float]) -> str:
    return f"{statistics.median(values):.0f} ms median, {max(values):.0f} worst"
