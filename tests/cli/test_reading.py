"""`list`, `show`, `export` and `score` on the runs of a store."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ratchet.cli.tables import cell_width
from ratchet.simulated.server import SimulatedServer

from .conftest import Ratchet, lay


@pytest.fixture
def ran(ratchet: Ratchet, laid: Path) -> str:
    return ratchet("run", "--json", "--name", "first").json["run"]


def test_runs_are_listed_newest_first(ratchet: Ratchet, ran: str) -> None:
    second = ratchet("run", "--json", "-v", "rules", "--name", "second").json["run"]
    listed = ratchet("list", "--json").json
    assert [(row["id"], row["name"], row["state"]) for row in listed] == [
        (second, "second", "finished"),
        (ran, "first", "finished"),
    ]
    assert [row["id"] for row in ratchet("list", "-n", "1", "--json").json] == [second]
    lines = ratchet("list").out.splitlines()
    assert lines[0].split() == ["run", "started", "state", "task", "arms", "name"]
    assert lines[1].startswith(second[:13])
    assert max(map(cell_width, lines)) <= 80


@pytest.mark.parametrize(
    "how",
    [lambda run: [], lambda run: ["last"], lambda run: [run], lambda run: [run[:13]], lambda run: ["first"]],
)
def test_a_run_is_shown_by_its_id_its_beginning_or_its_name(
    ratchet: Ratchet, ran: str, how: Callable[[str], list[str]]
) -> None:
    found = ratchet("show", *how(ran), "--json")
    assert found.code == 0
    assert found.json["run_id"] == ran


def test_a_beginning_that_fits_two_runs_is_refused_and_a_name_means_the_newest(
    ratchet: Ratchet, ran: str
) -> None:
    second = ratchet("run", "--json", "-v", "rules", "--name", "first").json["run"]
    assert ratchet("show", "first", "--json").json["run_id"] == second
    both = "".join(a if a == b else "\n" for a, b in zip(ran, second, strict=True)).split("\n")[0]
    found = ratchet("show", both)
    assert found.code == 2
    assert "fits 2 runs; give more of the id" in found.err
    nobody = ratchet("show", "nobody")
    assert (nobody.code, "no run is named 'nobody'" in nobody.err) == (2, True)


def test_an_answer_is_shown_with_its_steps_and_scores(ratchet: Ratchet, ran: str) -> None:
    worst = ratchet("show", "--json").json["worst"]
    trace_id = worst[0]["trace_id"]
    for start in (trace_id, trace_id[:12]):
        found = ratchet("show", start, "--json").json
        assert found["trace"]["id"] == trace_id
        assert found["scores"][0]["name"] == "exact_match"
    said = ratchet("show", trace_id[:12]).out
    assert "--- user\nAnswer: What is" in said
    assert "span     chat instant" in said
    assert "score    exact_match = False" in said
    missing = ratchet("show", "0" * 32)
    assert (missing.code, "no answer's id begins with" in missing.err) == (2, True)


def test_hostile_answers_do_not_drive_the_terminal(ratchet: Ratchet, laid: Path) -> None:
    (laid / "own_rules.py").write_text("def reply(row): return 'a\\x1b[2Jb\\u202ec'\n")
    ratchet("run", "-v", "rules")
    trace_id = ratchet("show", "--json").json["worst"][0]["trace_id"]
    said = ratchet("show", trace_id).out
    assert "\x1b" not in said
    assert "\u202e" not in said
    assert "a\\u001b[2Jb\\u202ec" in said


def test_what_json_can_hardly_say_is_shown_and_exported_all_the_same(ratchet: Ratchet, laid: Path) -> None:
    lay(laid, 1)
    (laid / "own_rules.py").write_text("def reply(row): return {'big': 2**70, 'half': '\\ud800'}\n")
    assert ratchet("run", "-v", "rules").code == 0
    trace_id = ratchet("show", "--json").json["worst"][0]["trace_id"]
    assert ratchet("show", trace_id, "--json").json["trace"]["output"]["big"] == 2**70
    assert ratchet("show", trace_id).code == 0
    for name in ("out.jsonl", "out.csv", "out.json", "out.md"):
        assert ratchet("export", "-o", name).code == 0
    assert json.loads((laid / "out.jsonl").read_text())["output"]["big"] == 2**70


def test_answers_are_exported_one_a_row_with_their_scores_and_reasons(
    ratchet: Ratchet, ran: str, laid: Path
) -> None:
    found = ratchet("export", "first", "-o", "deep/answers.csv")
    assert (found.code, found.out) == (0, "")
    assert "answers.csv written" in found.err
    rows = list(csv.DictReader((laid / "deep" / "answers.csv").read_text().splitlines()))
    assert {(row["arm"], row["example_id"]) for row in rows} == {
        (arm, f"q{i}") for arm in ("champion", "rules") for i in range(5)
    }
    assert ratchet("export", "-o", "answers.jsonl").code == 0
    lines = [json.loads(line) for line in (laid / "answers.jsonl").read_text().splitlines()]
    assert len(lines) == 10
    assert {"trace_id", "arm", "example_id", "output", "cost_usd", "error", "score.exact_match"} <= set(
        lines[0]
    )


def test_answers_are_judged_again_without_a_call(ratchet: Ratchet, ran: str, server: SimulatedServer) -> None:
    before = server.stats().requests
    found = ratchet("score", "first", "-s", "json_valid", "--json")
    assert found.code == 0
    assert found.json["run"] == ran
    assert set(found.json["summary"]["arms"]["rules"]["scores"]) == {"exact_match", "json_valid"}
    assert server.stats().requests == before
    unknown = ratchet("score", "first", "-s", "json_vald")
    assert (unknown.code, "Did you mean 'json_valid'?" in unknown.err) == (2, True)
