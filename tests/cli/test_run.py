from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from ratchet.cli.tables import cell_width
from ratchet.simulated.server import SimulatedServer, serve_in_thread

from .conftest import PROJECT, Ratchet, lay


def test_a_run_ends_with_a_table_of_eighty_columns_and_the_next_command(ratchet: Ratchet, laid: Path) -> None:
    found = ratchet("run")
    assert found.code == 0
    lines = found.out.splitlines()
    assert lines[0].startswith("questions: 5 examples, run ")
    assert max(map(cell_width, lines)) <= 80
    assert any("champion *" in line and "rules" in line for line in lines)
    assert any(line.startswith("  exact_match") and "100.0 %" in line for line in lines)
    assert "Next: ratchet show " in found.out


def test_json_is_one_document_and_nothing_else_on_standard_output(laid: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ratchet", "run", "--json"],
        capture_output=True,
        text=True,
        cwd=laid,
        env=dict(os.environ),
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["state"], said["reason"]) == ("finished", "")
    assert said["summary"]["arms"]["rules"]["scores"]["exact_match"]["estimate"]["value"] == 1.0
    assert "champion 5/5" in done.stderr, "progress goes to standard error"


def test_a_dry_run_shows_calls_tokens_and_dollars_and_makes_no_call(
    ratchet: Ratchet, laid: Path, server: SimulatedServer
) -> None:
    found = ratchet("run", "--dry-run", "--repeat", "2", "--limit", "3")
    assert found.code == 0
    assert "3 examples x 2 repeats x 2 arms" in found.out
    assert "Nothing was called." in found.out
    plan = ratchet("run", "--dry-run", "--repeat", "2", "--limit", "3", "--json").json
    assert (plan["examples"], plan["repeats"], plan["calls"]) == (3, 2, 12)
    assert plan["arms"]["champion"]["cost_usd"] > 0
    assert server.stats().requests == 0
    assert ratchet("list", "--json").code in (0, 2)
    assert not (laid / ".ratchet").exists() or ratchet("list", "--json").json == []


def test_failed_answers_exit_with_4_unless_so_many_are_allowed(
    ratchet: Ratchet, laid: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve_in_thread(faults=["400:first=2"]) as faulty:
        monkeypatch.setenv("OPENAI_BASE_URL", faulty.base_url("openai"))
        found = ratchet("run", "--name", "first")
        assert found.code == 4
        assert "2 answers failed, more than --max-errors 0" in found.err
        assert "--retry-failed" in found.err
        again = ratchet("run", "questions", "--resume", "first", "--retry-failed", "--json")
        assert again.code == 0
        assert again.json["summary"]["arms"]["champion"]["failed"] == 0
    with serve_in_thread(faults=["400:first=2"]) as faulty:
        monkeypatch.setenv("OPENAI_BASE_URL", faulty.base_url("openai"))
        assert ratchet("run", "--no-cache", "--max-errors", "2").code == 0


def test_a_budget_stops_a_run_which_can_then_go_on(
    ratchet: Ratchet, laid: Path, server: SimulatedServer
) -> None:
    lay(laid, 60)
    found = ratchet("run", "--budget-tokens", "9000", "--json", "-v", "champion")
    assert found.code == 0
    assert (found.json["state"], found.json["reason"]) == ("stopped", "the budget is used up")
    run_id = found.json["run"]
    assert f"--resume {run_id}" in found.err
    done = found.json["summary"]["arms"]["champion"]["rows"]
    assert 0 < done < 60
    resumed = ratchet("run", "-v", "champion", "--resume", "--json")
    assert resumed.code == 0
    assert resumed.json["run"] == run_id
    assert resumed.json["summary"]["arms"]["champion"]["rows"] == 60
    assert server.stats().requests == 60


def test_a_run_whose_every_key_is_refused_is_no_success_whatever_the_server_says(
    ratchet: Ratchet, laid: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay(laid, 60)
    with serve_in_thread(faults=["401"]) as faulty:
        monkeypatch.setenv("OPENAI_BASE_URL", faulty.base_url("openai"))
        found = ratchet("run", "--max-errors", "1000", "-j", "2")
    assert found.code == 4
    assert "Stopped: " in found.err


@pytest.mark.parametrize("extension", ["json", "jsonl", "csv", "md"])
def test_results_are_written_in_the_format_that_the_extension_says(
    ratchet: Ratchet, laid: Path, extension: str
) -> None:
    path = laid / "out" / f"result.{extension}"
    assert ratchet("run", "-o", str(path)).code == 0
    text = path.read_text()
    if extension == "json":
        assert json.loads(text)["arms"]["rules"]["rows"] == 5
    elif extension == "jsonl":
        rows = [json.loads(line) for line in text.splitlines()]
        assert Counter(row["arm"] for row in rows) == {"champion": 5, "rules": 5}
        assert all(row["score.exact_match"] is True for row in rows if row["arm"] == "rules")
    elif extension == "csv":
        table = list(csv.DictReader(text.splitlines()))
        assert len(table) == 10
        assert {row["score.exact_match"] for row in table if row["arm"] == "rules"} == {"True"}
    else:
        assert text.startswith("# questions\n")


def test_without_a_project_a_dataset_and_a_function_are_enough(ratchet: Ratchet, laid: Path) -> None:
    (laid / "ratchet.yaml").unlink()
    found = ratchet("run", "-d", "rows.jsonl", "-t", "own_rules:reply", "-s", "exact_match", "--json")
    assert found.code == 0
    assert (
        found.json["summary"]["arms"]["own_rules:reply"]["scores"]["exact_match"]["estimate"]["value"] == 1.0
    )


def test_a_dataset_is_read_from_standard_input(laid: Path) -> None:
    (laid / "ratchet.yaml").unlink()
    command = [
        sys.executable,
        "-m",
        "ratchet",
        "run",
        "-d",
        "-",
        "--format",
        "jsonl",
        "-t",
        "own_rules:reply",
        "--json",
    ]
    rows = (laid / "rows.jsonl").read_text()
    done = subprocess.run(command, input=rows, capture_output=True, text=True, cwd=laid, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["summary"]["arms"]["own_rules:reply"]["rows"] == 5


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            PROJECT.replace("exact_match", "exact_mtch"),
            "ratchet.yaml:5, tasks.questions.scorers[0]: no scorer named 'exact_mtch'.",
        ),
        (PROJECT.replace("own_rules:reply", "own_rules:replay"), "Did you mean 'reply'?"),
        (PROJECT.replace("{question}", "{quesion}"), "quesion"),
        (PROJECT.replace("openai/instant", "openia/instant"), "Did you mean 'openai'?"),
    ],
)
def test_what_is_wrong_in_the_project_is_told_before_any_call(
    ratchet: Ratchet, laid: Path, server: SimulatedServer, text: str, said: str
) -> None:
    lay(laid, text=text)
    found = ratchet("run")
    assert found.code == 2
    assert said in found.err
    assert server.stats().requests == 0


def test_a_missing_key_is_told_before_any_call(
    ratchet: Ratchet, laid: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL")
    found = ratchet("run")
    assert found.code == 2
    assert "champion (openai): set OPENAI_API_KEY" in found.err


def test_keys_are_read_from_a_file_and_appear_nowhere(
    ratchet: Ratchet, laid: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted = "planted-key-of-nobody-0123456789"
    monkeypatch.setenv("OPENAI_API_KEY", "")  # restored to what it was after the test
    monkeypatch.delenv("OPENAI_API_KEY")
    (laid / ".env").write_text(f"OPENAI_API_KEY={planted}\n")
    found = ratchet("run", "--json", "-o", "all.jsonl")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert found.code == 0
    kept = [path for path in laid.rglob("*") if path.is_file() and path.name != ".env"]
    assert planted not in found.out + found.err
    assert [path for path in kept if planted.encode() in path.read_bytes()] == []


def test_a_run_made_without_a_project_is_resumed_by_its_id_alone(ratchet: Ratchet, project: Path) -> None:
    (project / "rows.jsonl").write_text('{"id": "a", "input": {"q": "x"}, "expected": "x"}\n')
    (project / "own_rules.py").write_text("def reply(row):\n    return row['q']\n")
    first = ratchet(
        "run", "-d", "rows.jsonl", "-t", "own_rules:reply", "-s", "exact_match", "--budget-minutes", "1e-9"
    )
    words = first.err.split("Go on with: ratchet ")[1].splitlines()[0].split()
    again = ratchet(*words, "--json")
    assert again.code == 0, again.err
    assert again.json["state"] == "finished"
    assert again.json["summary"]["arms"]["own_rules:reply"]["rows"] == 1


def test_a_function_that_changed_since_does_not_go_on_with_its_run(ratchet: Ratchet, project: Path) -> None:
    (project / "rows.jsonl").write_text('{"id": "a", "input": {"q": "x"}, "expected": "x"}\n')
    (project / "own_rules.py").write_text("def reply(row):\n    return row['q']\n")
    first = ratchet("run", "-d", "rows.jsonl", "-t", "own_rules:reply", "--budget-minutes", "1e-9")
    words = first.err.split("Go on with: ratchet ")[1].splitlines()[0].split()
    (project / "own_rules.py").write_text("def reply(row):\n    return 'something else altogether'\n")
    again = ratchet(*words)
    assert again.code == 2
    assert "other variants" in again.err


def a_stopped_run(ratchet: Ratchet, *options: str) -> tuple[str, list[str]]:
    """The id of a run that stopped before its first call, and the command that goes on with it."""
    first = ratchet("run", *options, "--budget-minutes", "1e-9", "--json")
    return first.json["run"], first.err.split("Go on with: ratchet ")[1].splitlines()[0].split()


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (["--limit", "2"], "--limit is 2, and the run was made with 4"),
        (["--sample", "2"], "--sample is 2, and the run was made without it"),
        (["--seed", "5"], "--seed is 5, and the run was made with 3"),
        (["--repeat", "3"], "--repeat (the run has 2, now 3)"),
        (["--name", "other"], "--name is 'other', and the run was made without it"),
        (["-v", "champion"], "rules (is in the run alone)"),
        (["--stream"], "champion (stream, False in the run)"),
        (["--aa"], "champion again (is not in the run)"),
    ],
)
def test_a_resume_refuses_what_would_change_its_plan(
    ratchet: Ratchet, laid: Path, option: list[str], said: str
) -> None:
    run_id, again = a_stopped_run(ratchet, "--limit", "4", "--seed", "3", "--repeat", "2")
    found = ratchet(*again, *option)
    assert found.code == 2
    assert said in found.err
    assert run_id in found.err
    assert "start a new run" in found.err


@pytest.mark.parametrize(
    "options",
    [
        ["--limit", "4", "--seed", "3", "--repeat", "2"],
        ["--sample", "3", "--repeat", "2", "-v", "champion", "--stream"],
        ["--aa", "--repeat", "2"],
    ],
)
def test_the_command_that_a_stopped_run_names_goes_on_with_its_plan(
    ratchet: Ratchet, laid: Path, options: list[str]
) -> None:
    run_id, again = a_stopped_run(ratchet, *options)
    plain = ratchet(*again, "--json")
    assert plain.code != 2, plain.err
    assert plain.json["run"] == run_id
    assert plain.json["state"] == "finished"
    arms = {name: arm["rows"] for name, arm in plain.json["summary"]["arms"].items()}
    assert sum(arms.values()) == {"--limit": 16, "--sample": 6, "--aa": 20}[options[0]]
    same = ratchet(*again, *options, "--json")
    assert same.json["run"] == run_id


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (["-t", "own_rules:other"], "own_rules:other (is not in the run)"),
        (["-s", "contains"], "--scorer (the run has exact_match, now contains)"),
        (["-d", "more.jsonl"], "--dataset (the run has 1 examples of"),
        (["--repeat", "2"], "--repeat (the run has 1, now 2)"),
        (["--input", "q"], "--input: says how --dataset is read"),
    ],
)
def test_a_run_made_without_a_project_keeps_what_it_was_made_of(
    ratchet: Ratchet, project: Path, option: list[str], said: str
) -> None:
    (project / "rows.jsonl").write_text('{"id": "a", "input": {"q": "x"}, "expected": "x"}\n')
    (project / "more.jsonl").write_text('{"id": "b", "input": {"q": "y"}, "expected": "y"}\n')
    (project / "own_rules.py").write_text(
        "def reply(row):\n    return row['q']\ndef other(row):\n    return 'o'\n"
    )
    made = ["-d", "rows.jsonl", "-t", "own_rules:reply", "-s", "exact_match"]
    run_id, again = a_stopped_run(ratchet, *made)
    found = ratchet(*again, *option)
    assert found.code == 2
    assert said in found.err
    assert ratchet(*again, *made, "--json").json["run"] == run_id


@pytest.mark.parametrize("option", [["-m", "openai/other"], ["-p", "Say {question}"], ["-s", "contains"]])
def test_an_option_that_the_project_would_let_have_no_effect_is_refused(
    ratchet: Ratchet, laid: Path, option: list[str]
) -> None:
    found = ratchet("run", *option)
    assert found.code == 2
    assert "ratchet.yaml says what to run" in found.err
