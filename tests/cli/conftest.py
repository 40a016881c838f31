"""The command in this process: its exit code, and what it wrote where."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ratchet import cli
from ratchet.simulated.server import SimulatedServer, serve_in_thread

PROJECT = """\
variants:
  champion: {model: openai/instant, prompt: 'Answer: {question}', price: {input_usd_per_mtok: 1, output_usd_per_mtok: 2}}
  rules: {target: 'own_rules:reply'}
tasks:
  questions: {dataset: rows.jsonl, scorers: [exact_match]}
"""
RULES = "def reply(row):\n    return row['question'].split()[-1].rstrip('?')\n"


@dataclass(frozen=True, slots=True)
class Result:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Ratchet = Callable[..., Result]


@pytest.fixture
def ratchet(project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Ratchet:
    def command(*args: str) -> Result:
        capsys.readouterr()
        monkeypatch.delitem(sys.modules, "own_rules", raising=False)
        importlib.invalidate_caches()
        monkeypatch.setattr(sys, "argv", ["ratchet", *args])
        with pytest.raises(SystemExit) as left:
            cli.main()
        said = capsys.readouterr()
        assert "Traceback" not in said.err + said.out
        return Result(left.value.code if isinstance(left.value.code, int) else 1, said.out, said.err)

    return command


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatedServer]:
    with serve_in_thread(seed=1) as running:
        monkeypatch.setenv("OPENAI_BASE_URL", running.base_url("openai"))
        yield running


def lay(folder: Path, count: int = 5, text: str = PROJECT) -> Path:
    """A small project in this folder."""
    rows = ({"id": f"q{i}", "input": {"question": f"What is {i}?"}, "expected": str(i)} for i in range(count))
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "ratchet.yaml").write_text(text)
    (folder / "own_rules.py").write_text(RULES)
    return folder


@pytest.fixture
def laid(project: Path, server: SimulatedServer) -> Path:
    return lay(project)
