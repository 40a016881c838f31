"""`ratchet run --stop-when-decided`, and the verdict of older configurations."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .conftest import Ratchet

PROJECT = """
tasks:
  sums:
    dataset: sums.jsonl
    scorers: [exact_match]
    checks:
      - {no_worse: exact_match, margin_pp: 20}
      - {no_worse: latency_s, p: 95, ratio: 50}
variants:
  old: {target: "answers:old"}
  new: {target: "answers:new"}
"""


@pytest.fixture
def sums(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    rows = ({"id": f"s{i}", "input": {"x": str(i)}, "expected": str(i)} for i in range(120))
    (tmp_path / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "answers.py").write_text(
        "def old(row):\n    return row['x']\n\n\ndef new(row):\n    return '0' if int(row['x']) % 2 else row['x']\n"
    )
    (tmp_path / "ratchet.yaml").write_text(PROJECT)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_dry_run_says_when_it_looks_and_which_checks_wait_for_the_end(ratchet: Ratchet, sums: Path) -> None:
    said = " ".join(ratchet("run", "--stop-when-decided", "--dry-run").out.split())
    assert (
        "Stops when decided: after 60, 72, 84, 96, 108, 120 examples, in an order drawn from seed 0" in said
    )
    assert "latency_s p95 can be judged at the end alone" in said
    plan = ratchet("run", "--stop-when-decided", "--dry-run", "--json").json
    assert plan["looks"] == [60, 72, 84, 96, 108, 120]
    assert ratchet("run", "--dry-run", "--json").json["looks"] == []


def test_shown_harm_stops_the_run_with_1_and_says_when(ratchet: Ratchet, sums: Path) -> None:
    found = ratchet("run", "--stop-when-decided", "-j", "2")
    assert found.code == 1
    assert "decided at look 1 of 6, after 60 of 120 examples" in " ".join(found.out.split())
    assert "anytime-valid 90 % interval" in " ".join(found.out.split())
    row = ratchet("list", "--json").json[0]
    assert (row["state"], row["reason"]) == ("finished", "decided after 60 of 120 examples: hold")


def test_a_noise_check_is_not_stopped_early(ratchet: Ratchet, sums: Path) -> None:
    found = ratchet("run", "--aa", "--stop-when-decided", "-v", "old")
    assert found.code == 2
    assert "leave one out" in found.err
