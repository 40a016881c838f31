"""`compare` and `score` on files of recorded results, from the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ratchet.cli import cli
from ratchet.errors import ConfigError, DatasetError, PlanError, UnknownNameError


def invoke(*words: object) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in words], standalone_mode=False)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    path = tmp_path / "results.csv"
    rows = [f"{arm},{n},{int(n % 10 != 0)},{n % 3}" for arm in ("old", "new") for n in range(400)]
    path.write_text("model,id,correct,wait\n" + "\n".join(rows) + "\n")
    return path


def test_equal_arms_ship_under_a_margin(results: Path) -> None:
    found = invoke(
        "compare", results, "--by", "model", "--score", "correct", "--check", "no_worse correct margin_pp=3"
    )
    assert found.return_value == 0, found.output
    assert "SHIP" in found.output


def test_the_baseline_can_be_named_and_is_else_the_first(results: Path) -> None:
    found = invoke("compare", results, "--by", "model", "--score", "correct", "-b", "new", "--json")
    verdict = json.loads(found.stdout)
    assert verdict["arms"] == {"baseline": "new", "candidate": "old"}
    assert (
        invoke("compare", results, "--by", "model", "--score", "correct", "-b", "nev").exception.__class__
        is UnknownNameError
    )


def test_less_of_a_metric_may_be_better(results: Path) -> None:
    text = results.read_text().replace("new,", "new,", 1)
    results.write_text(
        "\n".join(f"{line[:-1]}9" if line.startswith("new") else line for line in text.splitlines()) + "\n"
    )
    check = ("--check", "no_worse wait margin=1")
    worse = invoke(
        "compare", results, "--by", "model", "--score", "wait", "--lower-is-better", "wait", *check
    )
    better = invoke("compare", results, "--by", "model", "--score", "wait", *check)
    assert (worse.return_value, better.return_value) == (1, 0)
    unknown = invoke("compare", results, "--by", "model", "--score", "wait", "--lower-is-better", "wair")
    assert "Did you mean 'wait'" in str(unknown.exception)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    found = invoke("compare", tmp_path / "a.csv", tmp_path / "b.csv")
    assert isinstance(found.exception, DatasetError)
    assert "no such file" in str(found.exception)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--check", "no_worst correct"), "Did you mean 'no_worse'"),
        (("--dimension", "correct=speed"), "Known: cost, latency"),
        (("--where", "model"), "COLUMN=VALUE"),
        (("--scores", "a,b"), "expected one of both"),
        (("--measure", "pass"), "pass@K"),
    ],
)
def test_an_option_that_can_t_be_read_says_what_was_expected(
    results: Path, options: tuple[str, str], message: str
) -> None:
    found = invoke("compare", results, "--by", "model", "--score", "correct", *options)
    assert isinstance(found.exception, ConfigError)
    assert message in str(found.exception)


def test_options_for_files_without_a_file_are_wrong_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for command in ("compare", "score"):
        assert "no file was given" in str(invoke(command, "--by", "model").exception)


def test_help_loads_neither_numpy_nor_the_store() -> None:
    code = (
        "import sys\nfrom ratchet.cli import cli\n"
        "try: cli.main(['compare', '--help'], standalone_mode=False)\nexcept SystemExit: pass\n"
        "print('heavy', [m for m in ('numpy', 'ratchet.records', 'ratchet.tabular', 'aiohttp', 'yaml') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "heavy []" in found.stdout


@pytest.fixture
def judgements(tmp_path: Path) -> Path:
    (tmp_path / "qrels").write_text("q1 0 a 1\nq1 0 b 0\nq2 0 c 2\nq3 0 d 1\n")
    (tmp_path / "one.run").write_text("q1 Q0 a 1 2.0 one\nq1 Q0 b 2 1.0 one\nq2 Q0 x 1 1.0 one\n")
    (tmp_path / "two.run").write_text("q1 Q0 b 1 2.0 two\nq1 Q0 a 2 1.0 two\nq3 Q0 d 1 1.0 two\n")
    return tmp_path


def test_a_query_that_one_run_doesn_t_answer_counts_as_0_for_it(judgements: Path) -> None:
    from ratchet.tabular import Spec, rankings

    found = rankings.load(
        [judgements / "one.run", judgements / "two.run"], judgements / "qrels", Spec(), metrics=["map"]
    )
    assert found.examples == ("q1", "q2", "q3")
    assert found.arms["one"].columns["map"].values.tolist() == [1.0, 0.0, 0.0]
    assert found.arms["two"].columns["map"].values.tolist() == [0.5, 0.0, 1.0]
    assert "returned nothing for 1 of 3" in found.warnings[0]


def test_judged_queries_without_results_count_only_if_asked(judgements: Path) -> None:
    plain = invoke(
        "score", "--qrels", judgements / "qrels", "--run", judgements / "one.run", "--metric", "map", "--json"
    )
    whole = invoke(
        "score",
        "--qrels",
        judgements / "qrels",
        "--run",
        judgements / "one.run",
        "--metric",
        "map",
        "--complete",
        "--json",
    )
    assert json.loads(plain.stdout)["one"]["metrics"]["map"] == 0.5
    assert json.loads(whole.stdout)["one"]["metrics"]["map"] == pytest.approx(1 / 3)


def test_grades_below_the_level_are_not_relevant(judgements: Path) -> None:
    arguments = (
        "score",
        "--qrels",
        judgements / "qrels",
        "--run",
        judgements / "one.run",
        "--metric",
        "num_rel",
        "--json",
    )
    assert json.loads(invoke(*arguments).stdout)["one"]["metrics"]["num_rel"] == 2
    assert json.loads(invoke(*arguments, "--relevance-level", 2).stdout)["one"]["metrics"]["num_rel"] == 1


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("qrels", "q1 0 a\n", "has 3 fields, expected 4"),
        ("qrels", "q1 0 a x\n", "expected a whole number as grade"),
        ("qrels", "q1 0 a 1\nq1 0 a 0\n", "qrels:2: judges document 'a' of query 'q1' again"),
        ("one.run", "q1 Q0 a 1 nan t\n", "expected a finite number as score"),
        ("one.run", "q1 Q0 a 1 1 t\nq1 Q0 a 2 1 t\n", "again"),
        ("one.run", "q1 a 1\n", "has 3 fields, expected 6"),
    ],
)
def test_a_bad_line_of_judgements_or_results_names_its_place(
    judgements: Path, name: str, text: str, message: str
) -> None:
    (judgements / name).write_text(text)
    found = invoke("score", "--qrels", judgements / "qrels", "--run", judgements / "one.run")
    assert isinstance(found.exception, DatasetError)
    assert message in str(found.exception)


def test_a_run_without_a_judged_query_and_an_unknown_metric_are_refused(judgements: Path) -> None:
    (judgements / "one.run").write_text("q9 Q0 a 1 1 t\n")
    assert isinstance(
        invoke("score", "--qrels", judgements / "qrels", "--run", judgements / "one.run").exception, PlanError
    )
    found = invoke(
        "score", "--qrels", judgements / "qrels", "--run", judgements / "two.run", "--metric", "mapp"
    )
    assert "Did you mean 'map'" in str(found.exception)
