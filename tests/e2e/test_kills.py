"""`ratchet run`, killed at random moments and resumed, loses nothing and pays for almost nothing twice."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from ratchet.simulated.server import SimulatedServer, serve_in_thread
from ratchet.stores import open_store

ROWS = 2000
IN_FLIGHT = 16
KILLS = 30


@pytest.fixture
def folder(project: Path) -> Path:
    rows = ({"id": f"q{i}", "input": {"question": f"What is {i}?"}, "expected": str(i)} for i in range(ROWS))
    (project / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (project / "ratchet.yaml").write_text(
        "variants:\n"
        "  a: {model: openai/steady, prompt: 'Answer: {question}', limits: {retries: 8, total_s: 5}}\n"
        "tasks:\n"
        "  questions: {dataset: rows.jsonl, scorers: [exact_match]}\n"
    )
    return project


def start(folder: Path, url: str, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "ratchet", "run", "questions", "-j", str(IN_FLIGHT), "--json", *more]
    environment = {**os.environ, "OPENAI_BASE_URL": url}
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def killed_and_resumed(folder: Path, server: SimulatedServer, draw: random.Random) -> list[int]:
    """Kill and resume until the run is done; the calls in flight at each kill, as the server saw them."""
    url = server.base_url("openai")
    in_flight: list[int] = []
    process = start(folder, url)
    while len(in_flight) < KILLS:
        answered = server.stats().answered
        wanted = answered + draw.randrange(1, ROWS // KILLS)
        while process.poll() is None and server.stats().answered < wanted:
            time.sleep(0.001)
        if process.poll() is not None:
            break
        time.sleep(draw.random() * 0.02)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        in_flight.append(server.stats().in_flight)
        check_store(folder)
        process = start(folder, url, "--resume")
    try:
        output, errors = process.communicate(timeout=110)
    except subprocess.TimeoutExpired:
        end(process)
        raise
    assert process.returncode == 0, errors
    assert json.loads(output)["state"] == "finished"
    return in_flight


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def check_store(folder: Path) -> None:
    path = folder / ".ratchet" / "ratchet.db"
    if not path.exists():
        return
    database = sqlite3.connect(path)
    try:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    finally:
        database.close()


def paid_twice(log: Path) -> int:
    """Calls beyond the first that a vendor would bill: answered, or under way when the client was killed."""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    good = Counter(line["hash"] for line in lines if line["status"] in (200, 499) and not line["fault"])
    assert len(good) == ROWS
    return sum(good.values()) - ROWS


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    "faults",
    [
        (),
        ("429:0.05,retry=ms,after=0.02", "500:0.03", "503:0.02", "drop:0.01", "malformed:0.01", "empty:0.01"),
    ],
)
def test_thirty_kills_leave_every_row_exactly_once(folder: Path, faults: tuple[str, ...]) -> None:
    log = folder / "requests.jsonl"
    with serve_in_thread(profiles=["steady=ttft_s=0.02~0.05"], faults=faults, log=log, seed=7) as server:
        kills = killed_and_resumed(folder, server, random.Random(11))
    assert len(kills) >= KILLS * 0.8, "the run ended before it was killed often enough"
    with open_store(folder / ".ratchet" / "ratchet.db") as store:
        (run,) = store.runs()
        rows = list(store.rows(run.id))
        assert Counter(row.example_id for row in rows) == {f"q{i}": 1 for i in range(ROWS)}
        assert [row.error_kind for row in rows] == [None] * ROWS
        assert Counter(score.trace_id for score in store.scores(run.id)) == {row.id: 1 for row in rows}
    twice = paid_twice(log)
    assert twice <= len(kills) * IN_FLIGHT
