"""Two processes that resume one run: the second refuses at once, and goes on as soon as the first was killed."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from ratchet.simulated.server import serve_in_thread

from .commands import kept, lay, once, ratchet, start, summary

pytestmark = pytest.mark.slow
ROWS = 60
STEADY = "{model: openai/steady, prompt: 'Answer: {question}', params: {max_tokens: 20}}"


def test_the_second_of_two_resumes_refuses_until_the_first_was_killed(project: Path) -> None:
    folder = lay(project, ROWS, variants=f"a: {STEADY}")
    with serve_in_thread(seed=1, profiles=["steady=ttft_s=0.2"]) as server:
        url = server.base_url("openai")
        stopped = ratchet(folder, "run", "--budget-minutes", "1e-9", "--json", OPENAI_BASE_URL=url)
        run_id = summary(stopped)["run"]
        first = start(folder, "run", "--resume", run_id, "-j", "1", OPENAI_BASE_URL=url)
        while server.stats().requests == 0:
            assert first.poll() is None
            time.sleep(0.01)
        second = ratchet(folder, "run", "--resume", run_id, OPENAI_BASE_URL=url)
        assert first.poll() is None, "the first was still at it"
        assert second.returncode == 4
        assert f"run {run_id} is being worked on by another process (pid {first.pid})" in second.stderr
        assert "Wait for it, or stop it" in second.stderr
        first.kill()
        first.communicate()
        third = ratchet(folder, "run", "--resume", run_id, "--json", OPENAI_BASE_URL=url)
        assert summary(third)["state"] == "finished"
        assert server.stats().requests <= ROWS + 1, "paid twice: at most what was in flight at the kill"
    rows = kept(folder)
    assert len(rows) == ROWS
    assert once(rows)
