"""The pytest plugin, in pytest processes of its own, on a project of two functions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from test_against import lay

pytest_plugins = ["pytester"]

PROJECT = """\
variants:
  champion: {target: 'rules.py:right'}
  copy: {target: 'rules.py:also_right'}
  broken: {target: 'rules.py:wrong'}
baseline: champion
tasks:
  ships: {dataset: rows.jsonl, variants: [champion, copy], scorers: [exact_match], checks: [{no_worse: exact_match, margin_pp: 10}]}
  holds: {dataset: rows.jsonl, variants: [champion, broken], scorers: [exact_match], checks: [{no_worse: exact_match, margin_pp: 10}]}
  crowd: {dataset: rows.jsonl, scorers: [exact_match], checks: [{no_worse: exact_match, margin_pp: 10}]}
"""
RULES = """\
from pathlib import Path

def _count():
    with Path(__file__).with_name("calls.txt").open("a") as file:
        file.write("x")

def right(row):
    _count()
    return row["n"]

def also_right(row):
    _count()
    return str(row["n"])

def wrong(row):
    _count()
    return "0"
"""
HEAD = "import pytest\nfrom ratchet.pytest_plugin import assert_passes, assert_ships\n"
SHIPS = (
    '@pytest.mark.ratchet("ships")\ndef test_ships(verdict):\n    assert verdict.outcome == "ship", verdict\n'
)
HOLDS = (
    '@pytest.mark.ratchet("holds")\ndef test_holds(verdict):\n    assert verdict.outcome == "ship", verdict\n'
)
OPEN = '@pytest.mark.ratchet("ships", limit=20)\ndef test_open(verdict):\n    assert_ships(verdict)\n'


@pytest.fixture
def folder(pytester: pytest.Pytester) -> Path:
    rows = ({"id": f"q{i}", "input": {"n": str(i)}, "expected": str(i)} for i in range(1, 201))
    (pytester.path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (pytester.path / "ratchet.yaml").write_text(PROJECT)
    (pytester.path / "rules.py").write_text(RULES)
    return pytester.path


def run(pytester: pytest.Pytester, tests: str, *args: str) -> pytest.RunResult:
    """A session with the plugin, whether or not its entry point is installed here."""
    pytester.makepyfile(test_models=HEAD + tests)
    return pytester.runpytest_subprocess("-p", "ratchet.pytest_plugin", "-p", "no:cacheprovider", *args)


def calls(folder: Path) -> int:
    return len((folder / "calls.txt").read_text())


def test_a_task_runs_once_however_many_tests_ask(pytester: pytest.Pytester, folder: Path) -> None:
    more = "@pytest.mark.ratchet('ships')\n@pytest.mark.parametrize('i', range(5))\n"
    more += "def test_more(verdict, ratchet_summary, i):\n    assert_passes(verdict, 'exact_match')\n    assert set(ratchet_summary.arms) == {'champion', 'copy'}\n"
    result = run(pytester, SHIPS + more)
    result.assert_outcomes(passed=6)
    assert calls(folder) == 400
    result.stdout.fnmatch_lines(["*= ratchet =*", "Ship: copy may replace champion*"])


def test_under_xdist_the_task_still_runs_once_and_every_worker_reads_it(
    pytester: pytest.Pytester, folder: Path
) -> None:
    many = "@pytest.mark.ratchet('ships')\n@pytest.mark.parametrize('i', range(6))\ndef test_many(verdict, i, worker_id):\n"
    many += "    open(f'seen-{worker_id}-{verdict.run_ids[0]}', 'w').close()\n    assert_ships(verdict)\n"
    result = run(pytester, many, "-n", "2", "--dist", "each")
    result.assert_outcomes(passed=12)
    assert calls(folder) == 400
    seen = [path.name.split("-", 2) for path in folder.glob("seen-*")]
    assert {worker for _, worker, _ in seen} == {"gw0", "gw1"}
    assert len({run_id for _, _, run_id in seen}) == 1
    result.stdout.fnmatch_lines(["Ship: copy may replace champion*"])


def test_a_failed_assertion_says_why_in_the_summary_line(pytester: pytest.Pytester, folder: Path) -> None:
    result = run(pytester, HOLDS, "-rf")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([
        "E   *AssertionError: Hold: broken should not replace champion: exact_match -100*",
        "E   *accuracy: exact_match, *failed; *n = 200*",
        "*'hold' == 'ship'*",
    ])  # fmt: skip
    result.stdout.no_fnmatch_line("E *Verdict(*task_id=*")


@pytest.mark.slow
@pytest.mark.parametrize(("policy", "outcome"), [("fail", "failed"), ("pass", "passed"), ("skip", "skipped")])
def test_the_policy_says_what_inconclusive_does(
    pytester: pytest.Pytester, folder: Path, policy: str, outcome: str
) -> None:
    pytester.makeini(f"[pytest]\nratchet_inconclusive = {policy}\n")
    result = run(pytester, OPEN, "-rs")
    result.assert_outcomes(**{outcome: 1})
    result.stdout.fnmatch_lines(["*Inconclusive: 20 examples don't show whether copy may replace champion*"])


@pytest.mark.slow
def test_no_policy_lets_a_hold_pass(pytester: pytest.Pytester, folder: Path) -> None:
    run(pytester, HOLDS, "--ratchet-inconclusive", "pass").assert_outcomes(failed=1)


def test_a_run_that_cannot_start_fails_each_test_with_the_reason_and_is_not_tried_again(
    pytester: pytest.Pytester, folder: Path
) -> None:
    tests = "@pytest.mark.ratchet('tikets')\n@pytest.mark.parametrize('i', [1, 2])\ndef test_it(verdict, i): pass\n"
    result = run(pytester, tests)
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(["*no task named 'tikets'*", "*Known: ships, holds, crowd*"])
    assert not (folder / "calls.txt").exists()


@pytest.mark.slow
def test_several_candidates_ask_which_and_share_one_run(pytester: pytest.Pytester, folder: Path) -> None:
    tests = "@pytest.mark.ratchet('crowd')\ndef test_which(verdict): pass\n"
    for name in ("copy", "broken"):
        tests += f"@pytest.mark.ratchet('crowd', candidate='{name}')\ndef test_{name}(verdict): assert_ships(verdict)\n"
    result = run(pytester, tests)
    result.assert_outcomes(errors=1, passed=1, failed=1)
    result.stdout.fnmatch_lines(["*which candidate? there are copy, broken*"])
    assert calls(folder) == 600


def test_a_fixture_without_the_marker_says_what_is_missing(pytester: pytest.Pytester, folder: Path) -> None:
    result = run(
        pytester,
        "def test_it(verdict): pass\n@pytest.mark.ratchet('ships', arm='x')\ndef test_wrong(verdict): pass\n",
    )
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(["*needs a task: @pytest.mark.ratchet*", "*got *'arm'*"])


def test_a_wrong_policy_is_refused_at_once(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nratchet_inconclusive = maybe\n")
    result = run(pytester, "def test_it(): pass\n")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*ratchet_inconclusive = 'maybe', expected pass, fail, skip*"])


def test_a_session_that_asks_for_no_verdict_loads_nothing_and_makes_nothing(
    pytester: pytest.Pytester,
) -> None:
    tests = "import sys\ndef test_it():\n    heavy = {'numpy', 'yaml', 'aiohttp', 'ratchet.projects'} & set(sys.modules)\n    assert not heavy\n"
    result = run(pytester, tests)
    result.assert_outcomes(passed=1)
    assert not (pytester.path / ".ratchet").exists()
    result.stdout.no_fnmatch_line("*= ratchet =*")


def test_installed_it_is_there_at_once_and_naming_it_as_well_registers_it_once(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = pytester.mkdir("site") / "somewhere-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: somewhere\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[pytest11]\nratchet.pytest_plugin = ratchet.pytest_plugin\n")
    monkeypatch.setenv("PYTHONPATH", str(info.parent))
    test = "def test_it(request): assert request.config.pluginmanager.has_plugin('ratchet.pytest_plugin')\n"
    pytester.makepyfile(test)
    pytester.runpytest_subprocess().assert_outcomes(passed=1)
    run(pytester, test).assert_outcomes(passed=2)


def test_nothing_that_ships_has_changed_skips(pytester: pytest.Pytester) -> None:
    lay(pytester.path)
    result = run(
        pytester, "@pytest.mark.ratchet('sums', against='HEAD')\ndef test_it(verdict): pass\n", "-rs"
    )
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*what sums ships is the same at HEAD and here*"])


@pytest.mark.slow
def test_a_revision_is_judged_against_the_working_tree(pytester: pytest.Pytester) -> None:
    lay(pytester.path)
    path = pytester.path / "ratchet.yaml"
    path.write_text("baseline: next\n" + path.read_text())
    tests = "@pytest.mark.ratchet('sums', against='HEAD')\ndef test_it(verdict): assert_ships(verdict)\n"
    result = run(pytester, tests)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E *AssertionError: Hold: head should not replace base*"])


def test_the_entry_point_has_the_name_of_the_module_so_that_naming_it_twice_registers_once() -> None:
    import tomllib

    root = Path(__file__).parents[1]
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"ratchet.pytest_plugin": "ratchet.pytest_plugin"}
    assert "pytest" not in " ".join(project["dependencies"])
