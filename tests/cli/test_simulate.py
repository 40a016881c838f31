"""`ratchet simulate` in a process of its own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from click.testing import CliRunner

from ratchet.cli.simulate import simulate

COMMAND = [sys.executable, "-c", "from ratchet.cli.simulate import simulate; simulate()"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_prints_its_addresses_serves_and_ends_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    key = tmp_path / "key.jsonl"
    key.write_text('{"prompt": "Q", "answer": "right"}\n')
    command = [
        *COMMAND,
        "--json",
        "--answers",
        str(key),
        "--fault",
        "503:at=2",
        "--profile",
        "slow=skill=0.5",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        addresses = json.loads(process.stdout.readline())
        content = json.dumps({"model": "instant", "messages": [{"role": "user", "content": "Q"}]}).encode()
        url = addresses["base_urls"]["openai"] + "/chat/completions"
        with urllib.request.urlopen(urllib.request.Request(url, content)) as answer:
            assert json.loads(answer.read())["choices"][0]["message"]["content"] == "right"
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(urllib.request.Request(url, content))
        caught.value.close()
        assert caught.value.code == 503
        process.send_signal(number)
        _, told = process.communicate(timeout=10)
    finally:
        process.kill()
    assert process.returncode == 0
    assert told == "Stopped after 2 requests.\n"


def test_a_wrong_option_is_told_before_anything_is_served() -> None:
    runner = CliRunner()
    assert "Did you mean 'cut'" in str(runner.invoke(simulate, ["--fault", "cutt"]).exception)
    assert "Did you mean 'champion'" in str(runner.invoke(simulate, ["--profile", "champoin"]).exception)
    assert runner.invoke(simulate, ["--answers", "no-such-file"]).exit_code == 2
