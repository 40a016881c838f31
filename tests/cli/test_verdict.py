"""What `run` and `compare` leave behind for `ratchet view`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from ratchet.cli import cli
from ratchet.stores.sqlite import SQLiteStore
from ratchet.verdicts import keeping
from ratchet.web import columns

TOPICS = ("billing", "account")
ANSWERS = """
import json

def good(row):
    return row["expected_topic"]

def bad(row):
    return "billing"

def slow(row):
    return "billing" if len(row["question"]) % 3 else row["expected_topic"]
"""


@pytest.fixture
def root(project: Path) -> Path:
    (project / "answering.py").write_text(ANSWERS, "utf-8")
    rows = (
        {
            "id": f"t-{i}",
            "question": f"{'refund' if i % 2 else 'password'} please, number {i}" + "!" * (i % 5),
            "expected_topic": TOPICS[i % 2],
            "expected": TOPICS[i % 2],
            "language": "de" if i % 4 == 1 else "en",
        }
        for i in range(60)
    )
    (project / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return project


def run(*targets: str) -> None:
    arms = [part for name in targets for part in ("--target", f"answering:{name}")]
    done = CliRunner().invoke(
        cli, ["run", "-d", "data.jsonl", *arms, "-s", "exact_match"], standalone_mode=False
    )
    assert done.exception is None, done.output


def test_a_run_of_two_arms_keeps_its_verdict_and_what_the_page_shows_of_it(root: Path) -> None:
    run("good", "bad")
    with SQLiteStore(".ratchet/ratchet.db", read_only=True) as store:
        (kept,) = keeping.kept(store)
        view = keeping.view_of(store, kept)
        assert kept.run_ids == (store.runs()[0].id,)
    assert (kept.baseline, kept.candidate, kept.n) == ("answering:good", "answering:bad", 60)
    assert view["tally"] == {"better": 0, "same": 30, "worse": 30}
    assert "30 of 30 (100 %), elsewhere 0 of 30 (0 %)" in {
        one["counts"] for one in view["common"]["findings"]
    }
    table = columns.read(".ratchet/ratchet.db", f"verdict-{kept.id}")
    assert table is not None
    assert len(table) == 60
    assert "number 7" in str(table.records([7], ["input"])[0]["input"])


def test_compare_keeps_it_too_and_the_same_comparison_once(root: Path) -> None:
    run("good", "bad")
    for _ in range(2):
        CliRunner().invoke(cli, ["compare"], standalone_mode=False)
    with SQLiteStore(".ratchet/ratchet.db", read_only=True) as store:
        assert len(keeping.kept(store)) == 1


def test_several_candidates_are_kept_with_each_other_and_written_beside_one_another(root: Path) -> None:
    run("good", "bad", "slow")
    CliRunner().invoke(cli, ["compare", "-o", "v.html"], standalone_mode=False)
    with SQLiteStore(".ratchet/ratchet.db", read_only=True) as store:
        found = keeping.kept(store)
        names = [[one["name"] for one in keeping.view_of(store, kept)["candidates"]] for kept in found]
    assert sorted(map(sorted, names)) == [["answering:bad", "answering:slow"]] * 2
    page = Path("v-answering-bad.html").read_text("utf-8")
    assert "answering:slow" in page
    assert 'class="chart scatter"' in page or "Candidates" in page


def test_the_page_written_from_the_store_holds_inputs_answers_and_times(root: Path) -> None:
    run("good", "bad")
    CliRunner().invoke(cli, ["compare", "-o", "v.html"], standalone_mode=False)
    page = Path("v.html").read_text("utf-8")
    assert "What the worst have in common" in page
    assert "refund please" in page


def test_recorded_results_of_files_are_not_kept(root: Path) -> None:
    for name, wrong in (("a", 2), ("b", 9)):
        text = "id,exact_match\n" + "".join(f"{i},{int(i >= wrong)}\n" for i in range(40))
        Path(f"{name}.csv").write_text(text, "utf-8")
    done = CliRunner().invoke(
        cli, ["compare", "a.csv", "b.csv", "--score", "exact_match"], standalone_mode=False
    )
    assert done.exception is None, done.output
    assert not Path(".ratchet").exists()


def test_help_loads_neither_the_page_nor_numbers() -> None:
    script = (
        "import sys\nfrom ratchet.cli import main\nsys.argv = ['ratchet', 'compare', '--help']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "assert not {'numpy', 'starlette', 'ratchet.web.verdict_pages'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
