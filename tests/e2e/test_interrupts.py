"""Ctrl-C once finishes what is in flight, twice drops it; what is shown meanwhile, and where."""

from __future__ import annotations

import json
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from ratchet.simulated.server import SimulatedServer, serve_in_thread
from ratchet.stores import open_store

from .commands import LONGEST_S, VARIANT, end, kept, lay, once, ratchet, start, summary

ROWS = 60
IN_FLIGHT = "4"
SLOW = "steady=ttft_s=0.2"
EXIT_FAILED = 4
STEADY = VARIANT.replace("instant", "steady")


@pytest.fixture
def folder(project: Path) -> Path:
    return lay(project, ROWS, variants=f"a: {STEADY}")


@contextmanager
def running(folder: Path, server: SimulatedServer) -> Generator[subprocess.Popen[str]]:
    process = start(folder, "run", "-j", IN_FLIGHT, OPENAI_BASE_URL=server.base_url("openai"))
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def until(process: subprocess.Popen[str], reached: Callable[[], bool]) -> None:
    ends_s = time.monotonic() + LONGEST_S
    while not reached():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < ends_s, "nothing happened"
        time.sleep(0.01)


def interrupted(process: subprocess.Popen[str]) -> list[str]:
    """The command it says to go on with."""
    done = end(process)
    assert done.returncode == EXIT_FAILED, done.stderr
    assert "Traceback" not in done.stderr
    found = re.search(r"Stopped: interrupted\. Go on with: (ratchet .+)\n", done.stderr)
    assert found, done.stderr
    return shlex.split(found[1])[1:]


def goes_on(folder: Path, command: list[str], server: SimulatedServer) -> None:
    """The command it gave, taken as it stands, completes the run."""
    done = ratchet(folder, *command, "--json", OPENAI_BASE_URL=server.base_url("openai"))
    assert (done.returncode, summary(done)["state"]) == (0, "finished"), done.stderr
    rows = kept(folder)
    assert once(rows)
    assert {row.example_id for row in rows} == {f"q{i}" for i in range(ROWS)}
    assert [row.error_kind for row in rows] == [None] * ROWS
    assert len({row.run_id for row in rows}) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_once_keeps_what_is_in_flight_and_says_how_to_go_on(folder: Path, number: signal.Signals) -> None:
    with serve_in_thread(profiles=[SLOW]) as server, running(folder, server) as process:
        until(process, lambda: server.stats().answered >= 6)
        process.send_signal(number)
        command = interrupted(process)
        found = kept(folder)
        assert once(found)
        assert 6 <= len(found) == server.stats().requests < ROWS
        goes_on(folder, command, server)
        assert server.stats().requests == ROWS


def test_twice_drops_what_is_in_flight_and_leaves_the_store_whole(folder: Path) -> None:
    with serve_in_thread(faults=["hang:every=3"]) as server, running(folder, server) as process:
        until(process, lambda: server.stats().in_flight == int(IN_FLIGHT))
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)
        assert process.poll() is None, "what is in flight is waited for"
        process.send_signal(signal.SIGINT)
        command = interrupted(process)
        assert once(kept(folder))
        assert len(kept(folder)) < ROWS
    with serve_in_thread() as server:
        goes_on(folder, command, server)


def test_calls_that_wait_for_a_retry_are_left_to_the_resume(folder: Path) -> None:
    with serve_in_thread(faults=["429:every=2,after=30"]) as server, running(folder, server) as process:
        until(process, lambda: server.stats().requests >= 4 and server.stats().in_flight == 0)
        process.send_signal(signal.SIGINT)
        command = interrupted(process)
        assert all(row.error_kind is None for row in kept(folder))
    with serve_in_thread() as server:
        goes_on(folder, command, server)


@pytest.mark.parametrize("times", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_while_a_judge_works_no_answer_and_no_score_is_lost(project: Path, times: int) -> None:
    judge = "{judge: {prompt: 'Is {answer} right? Say <score>5</score>', model: openai/judge, labels: [good, bad], retries: 0}}"
    folder = lay(project, ROWS, variants=f"a: {VARIANT}", scorers=f"exact_match, {judge}")
    with serve_in_thread(profiles=["instant", "judge=ttft_s=0.2"]) as server:
        with running(folder, server) as process:
            until(process, lambda: server.stats().answered >= 6)
            for _ in range(times):
                process.send_signal(signal.SIGINT)
                time.sleep(0.1)
            command = interrupted(process)
        assert len(kept(folder)) < ROWS
        if times == 1:
            assert judged(folder) == {row.id for row in kept(folder)}
        goes_on(folder, command, server)
        assert judged(folder) == {row.id for row in kept(folder)}


def judged(folder: Path) -> set[str]:
    """The answers that have a score of the judge, once each."""
    with closing(open_store(folder / ".ratchet" / "ratchet.db", read_only=True)) as store:
        (run,) = store.runs()
        found = [score.trace_id for score in store.scores(run.id) if score.name.startswith("judge")]
    assert len(found) == len(set(found))
    return set(found)


def test_an_interrupt_before_the_first_call_is_no_traceback(folder: Path) -> None:
    with serve_in_thread() as server, running(folder, server) as process:
        process.send_signal(signal.SIGINT)
        done = end(process)
        # where Python itself was still starting, it is its own default that ends it
        assert done.returncode in (EXIT_FAILED, 0, -signal.SIGINT, 1), done.stderr


def test_without_a_terminal_progress_is_plain_lines_on_standard_error(folder: Path) -> None:
    with serve_in_thread() as server:
        done = ratchet(folder, "run", "--json", OPENAI_BASE_URL=server.base_url("openai"))
    assert json.loads(done.stdout)["state"] == "finished"
    assert f"a {ROWS}/{ROWS}" in done.stderr
    assert "\x1b" not in done.stderr + done.stdout
    assert "\r" not in done.stderr


def test_in_a_terminal_progress_is_redrawn_and_standard_output_stays_pure(folder: Path) -> None:
    screen, terminal = pty.openpty()
    with serve_in_thread(profiles=[SLOW]) as server:
        process = subprocess.Popen(
            [sys.executable, "-m", "ratchet", "run", "--json", "-j", "20"],
            cwd=folder,
            env={
                **os.environ,
                "OPENAI_BASE_URL": server.base_url("openai"),
                "TERM": "xterm",
                "COLUMNS": "100",
            },
            stdin=terminal,
            stdout=subprocess.PIPE,
            stderr=terminal,
        )
        os.close(terminal)
        shown = _read_all(screen)
        out, _ = process.communicate(timeout=LONGEST_S)
    assert process.returncode == 0
    assert json.loads(out)["state"] == "finished"
    assert b"\x1b" not in out
    assert f"{ROWS}/{ROWS}" in shown
    redraws = re.findall(r"\x1b\[(\d+)A\x1b\[2K", shown)
    assert len(redraws) >= 2, "it moves up over what it drew before"


def _read_all(screen: int) -> str:
    pieces: list[bytes] = []
    try:
        while piece := os.read(screen, 65536):
            pieces.append(piece)
    except OSError:  # how Linux says that nobody writes to it any more
        pass
    finally:
        os.close(screen)
    return b"".join(pieces).decode()
