from __future__ import annotations

import hashlib
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from .conftest import Ratchet, Result

APP = """
import hashlib

def _draw(text, salt):
    return int(hashlib.sha256((salt + text).encode()).hexdigest(), 16) % 100

def champion(row):
    return row["n"] if _draw(row["n"], "a") < 90 else "?"

def twin(row):
    return row["n"] if _draw(row["n"], "a") < 90 else "?"

def worse(row):
    return row["n"] if _draw(row["n"], "b") < 65 else "?"

def coin(row):
    return row["n"] if _draw(row["n"], "c") < 88 else "?"
"""
PROJECT = """\
variants:
  champion: {target: "app:champion"}
  twin: {target: "app:twin"}
  worse: {target: "app:worse"}
  coin: {target: "app:coin"}
baseline: champion
tasks:
  sums: {dataset: {path: rows.jsonl}, scorers: [exact_match], checks: [{no_worse: exact_match, margin_pp: 5}]}
  free: {dataset: {path: rows.jsonl}, scorers: [exact_match]}
"""


@pytest.fixture
def tasks(project: Path) -> Path:
    name = "app" + hashlib.sha256(str(project).encode()).hexdigest()[:8]
    (project / f"{name}.py").write_text(APP)
    (project / "ratchet.yaml").write_text(PROJECT.replace("app:", f"{name}:"))
    lines = (
        {
            "id": f"q{i}",
            "input": {"n": str(i)},
            "expected": str(i),
            "metadata": {"language": "de" if i % 2 else "en"},
        }
        for i in range(300)
    )
    (project / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return project


def run(ratchet: Ratchet, *arms: str, task: str = "sums", more: tuple[str, ...] = ()) -> Result:
    return ratchet("run", task, *(part for arm in arms for part in ("-v", arm)), *more)


@pytest.mark.parametrize(
    ("candidate", "code", "outcome"), [("twin", 0, "SHIP"), ("worse", 1, "HOLD"), ("coin", 3, "INCONCLUSIVE")]
)
def test_run_ends_in_a_verdict_and_exits_by_it(
    ratchet: Ratchet, tasks: Path, candidate: str, code: int, outcome: str
) -> None:
    found = run(ratchet, "champion", candidate)
    assert found.code == code, found.err
    assert f"\n{outcome}: " in found.out
    again = ratchet("compare")
    assert again.code == code
    assert again.out.startswith(f"{outcome}: ")


def test_an_inconclusive_verdict_may_pass(ratchet: Ratchet, tasks: Path) -> None:
    assert run(ratchet, "champion", "coin", more=("--inconclusive", "pass")).code == 0
    assert ratchet("compare", "--inconclusive", "pass").code == 0


def test_without_written_checks_the_verdict_only_informs(ratchet: Ratchet, tasks: Path) -> None:
    found = run(ratchet, "champion", "worse", task="free")
    assert found.code == 0
    assert "HOLD: " in found.out
    assert "these are defaults" in " ".join(found.out.split())
    assert "can't see a drop under" in found.err


def test_one_arm_has_no_verdict(ratchet: Ratchet, tasks: Path) -> None:
    found = run(ratchet, "champion")
    assert found.code == 0
    assert "interval by Tango" not in found.out
    assert run(ratchet, "champion", more=("-o", "verdict.md")).code == 2


def test_a_plan_too_small_for_its_own_checks_is_refused_before_any_call(
    ratchet: Ratchet, tasks: Path
) -> None:
    text = (tasks / "ratchet.yaml").read_text()
    (tasks / "ratchet.yaml").write_text(text.replace("margin_pp: 5", "margin_pp: 2"))
    found = run(ratchet, "champion", "twin")
    assert found.code == 2
    assert "300 examples can't see a drop under 4.54 to 6.42 points" in found.err
    assert ratchet("list").code == 2 or "sums" not in ratchet("list").out
    assert run(ratchet, "champion", "twin", more=("--force",)).code == 0
    partial = run(ratchet, "champion", "twin", more=("--limit", "30", "--no-cache"))
    assert partial.code == 0
    assert "30 examples can't see a drop" in partial.err


def test_a_try_out_of_few_examples_fails_only_where_harm_is_shown(ratchet: Ratchet, tasks: Path) -> None:
    few = ("--limit", "60", "--no-cache")
    assert run(ratchet, "champion", "coin", more=few).code == 0
    assert run(ratchet, "champion", "worse", more=few).code == 1
    assert run(ratchet, "champion", "coin", more=("--sample", "60", "--no-cache")).code == 3


def test_run_writes_the_verdict_where_the_name_says_so(ratchet: Ratchet, tasks: Path) -> None:
    assert run(ratchet, "champion", "twin", more=("-o", "verdict.md")).code == 0
    assert "exact_match" in (tasks / "verdict.md").read_text()
    run(ratchet, "champion", "twin", more=("-o", "junit.xml"))
    assert ElementTree.parse(tasks / "junit.xml").getroot() is not None
    run(ratchet, "champion", "twin", more=("-o", "summary.md"))
    assert "SHIP" not in (tasks / "summary.md").read_text()


def test_json_of_a_run_holds_its_verdicts(ratchet: Ratchet, tasks: Path) -> None:
    found = run(ratchet, "champion", "twin", "worse", more=("--json",))
    assert found.code == 1
    assert [verdict["outcome"] for verdict in found.json["verdicts"]] == ["ship", "hold"]


def test_compare_writes_every_format_and_evidence_that_verifies(ratchet: Ratchet, tasks: Path) -> None:
    run(ratchet, "champion", "worse")
    names = ("v.json", "v.md", "v.html", "v.junit.xml", "v.csv")
    outputs = [part for name in names for part in ("-o", name)]
    assert ratchet("compare", *outputs, "--evidence", "e.json.gz").code == 1
    assert all((tasks / name).stat().st_size > 100 for name in names)
    (tasks / "rows.jsonl").unlink()
    (tasks / ".ratchet" / "ratchet.db").unlink()
    same = ratchet("verify", "e.json.gz")
    assert (same.code, same.out[:11]) == (0, "Same. Hold:")
    assert ratchet("verify", "e.json.gz", "--json").json["same"] is True
    assert ratchet("verify", "rows.jsonl").code == 2


def test_an_evidence_file_that_was_changed_is_called_different(ratchet: Ratchet, tasks: Path) -> None:
    run(ratchet, "champion", "worse")
    ratchet("compare", "--evidence", "e.json")
    data = json.loads((tasks / "e.json").read_text())
    data["verdict"]["outcome"] = "ship"
    (tasks / "e.json").write_text(json.dumps(data))
    found = ratchet("verify", "e.json")
    assert found.code == 1
    assert "outcome: written 'ship', made again 'hold'" in found.out


def test_a_file_of_no_known_format_is_refused_before_anything_is_done(ratchet: Ratchet, tasks: Path) -> None:
    run(ratchet, "champion", "twin")
    assert ratchet("compare", "-o", "verdict.docx").code == 2


def test_arms_are_named_by_arm_run_or_both(ratchet: Ratchet, tasks: Path) -> None:
    run(ratchet, "champion", "twin", more=("--name", "first"))
    run(ratchet, "champion", "worse", more=("--name", "second", "--no-cache"))
    assert ratchet("compare", "first", "-c", "twin").code == 0
    assert ratchet("compare", "first", "-b", "twin", "-c", "second:worse").code == 1
    across = ratchet("compare", "first", "-b", "champion", "-c", "second:champion", "--json").json
    assert across["verdict"]["outcome"] == "ship"
    assert across["verdict"]["inputs"]["interleaved"] is False
    unknown = ratchet("compare", "first", "-c", "twinn")
    assert unknown.code == 2
    assert "Did you mean 'twin'?" in unknown.err


def test_several_candidates_are_judged_one_by_one_with_a_front(ratchet: Ratchet, tasks: Path) -> None:
    run(ratchet, "champion", "twin", "worse")
    found = ratchet("compare", "-o", "verdict.md", "--evidence", "e.json.gz")
    assert found.code == 1
    assert ratchet("verify", "e-twin.json.gz").code == 0
    assert "SHIP: " in found.out
    assert "HOLD: " in found.out
    assert "front" in found.out
    assert "candidates were tried against champion" in " ".join(found.out.split())
    assert {path.name for path in tasks.glob("verdict*")} == {"verdict-twin.md", "verdict-worse.md"}


def test_other_checks_are_marked_post_hoc(ratchet: Ratchet, tasks: Path) -> None:
    run(ratchet, "champion", "worse")
    found = ratchet("compare", "--check", "no_worse: exact_match, margin_pp: 40")
    assert found.code == 0
    assert "post hoc" in found.out
    wrong = ratchet("compare", "--check", "no_worse: exact_match, marginpp: 40")
    assert wrong.code == 2
    assert "Did you mean 'margin_pp'?" in wrong.err


def test_an_a_a_run_finds_no_difference_and_exits_0(ratchet: Ratchet, tasks: Path) -> None:
    found = ratchet("run", "sums", "--aa", "--no-cache")
    assert found.code == 0
    assert "No difference between champion and champion again" in " ".join(found.out.split())
    assert ratchet("compare", "--aa").code == 0
    assert ratchet("compare", "--aa", "-b", "champion", "-c", "champion again").code == 0


def test_an_a_a_of_arms_that_differ_exits_1(ratchet: Ratchet, tasks: Path) -> None:
    run(ratchet, "champion", "worse")
    assert ratchet("compare", "--aa", "-b", "champion", "-c", "worse").code == 1
    assert ratchet("compare", "--aa").code == 2


def test_power_speaks_of_the_tasks_own_checks(ratchet: Ratchet, tasks: Path) -> None:
    found = ratchet("power", "sums")
    assert found.code == 0
    assert found.out.startswith("exact_match: 300 examples can't see a drop under 4.54 to 6.42 points")
    assert ratchet("power", "sums", "-n", "40").code == 3
    run(ratchet, "champion", "worse")
    assert "(from the pilot)" in ratchet("power", "sums", "--pilot", "last").out
    assert ratchet("power", "sums", "--json").json["checks"][0]["needed_n"] == [248, 495]
