from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from ratchet import codec, datasets, projects, prompts, stores
from ratchet.cli.demo import demo
from ratchet.demo import folders, tour
from ratchet.errors import ConfigError
from ratchet.ports import Store
from ratchet.records import Run
from ratchet.simulated.answers import load_answers
from ratchet.stats.intervals import Interval
from ratchet.stats.means import t_interval


def ratchet(*arguments: str, at: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "80"}
    return subprocess.run(
        [sys.executable, "-m", "ratchet", *arguments],
        cwd=at, capture_output=True, text=True, timeout=100, check=False, env=environment,
    )  # fmt: skip


def test_laying_it_again_changes_nothing(tmp_path: Path) -> None:
    tour.prepare(tmp_path / "demo")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "demo").rglob("*")}
    tour.prepare(tmp_path / "demo")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "demo").rglob("*")} == before


def test_files_that_are_not_its_own_are_named_and_kept(tmp_path: Path) -> None:
    (tmp_path / "ratchet.yaml").write_text("project: mine\n")
    with pytest.raises(ConfigError, match=r"ratchet\.yaml"):
        tour.prepare(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["ratchet.yaml"]
    assert (tmp_path / "ratchet.yaml").read_text() == "project: mine\n"


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="file"):
        folders.lay(tmp_path / "file" / "demo", {"a.txt": b""})


def test_the_models_see_the_program_and_never_its_labels(tmp_path: Path) -> None:
    project = tour.prepare(tmp_path)
    job = projects.job(project, tour.TASK)
    key = load_answers(project.root / "answers.jsonl")
    prompt = prompts.load("prompts/review.yaml", root=project.root)
    for example in datasets.examples(job.task.dataset):
        assert set(example.input) == {"statement", "program"}
        messages = prompts.render(prompt, example.input)
        row = key.find(messages)
        assert row is not None
        assert row.answer["labels"] == example.expected
        assert all(set(wrong["labels"]) != set(example.expected) for wrong in row.wrong)
        assert example.input["program"] in messages[-1]["content"]
        assert codec.dumps(row.answer).decode() not in messages[-1]["content"]


def test_a_few_programs_go_over_http_and_through_the_reviewer(tmp_path: Path) -> None:
    project = tour.prepare(tmp_path)
    store = stores.open_store(project.store)
    try:
        run = tour.run(project, store, limit=3)
        traces = list(store.traces(run.id))
    finally:
        store.close()
    assert len(traces) == 3 * 3 * 3
    for trace in traces:
        assert trace.error is None
        if trace.arm == "reviewer":
            assert {"lex", "rules"} <= {span.name for span in trace.spans}
            assert trace.cost_usd == 0
        else:
            assert trace.model == f"{trace.arm}-simulated"
            assert trace.ttft_s is not None
            assert (trace.cost_usd or 0) > 0
            assert str(run.arms[trace.arm or ""].base_url).startswith("http://127.0.0.1:")


def test_with_json_the_command_prints_one_document_and_nothing_else(project: Path) -> None:
    done = CliRunner().invoke(demo, ["--limit", "2", "--json"], standalone_mode=False, catch_exceptions=False)
    assert done.return_value == 0, done.output
    printed = codec.parse(done.stdout)
    assert printed["folder"] == "ratchet-demo"
    assert {name: arm["rows"] for name, arm in printed["summary"]["arms"].items()} == {
        "champion": 6, "challenger": 6, "reviewer": 6,
    }  # fmt: skip
    assert (project / "ratchet-demo" / ".ratchet" / "ratchet.db").is_file()


def difference(run: Run, store: Store, arm: str, *, level: float) -> Interval:
    """Of labels.f1, against the champion; repeats averaged, problems as clusters."""
    rows = {row.id: row for row in store.rows(run.id)}
    values: dict[tuple[str | None, str | None], list[float]] = {}
    for score in store.scores(run.id):
        if score.name == "labels.f1":
            assert isinstance(score.value, float)
            row = rows[score.trace_id]
            values.setdefault((row.arm, row.example_id), []).append(score.value)
    groups = {row.example_id: row.group for row in rows.values()}
    pairs = [np.mean(values[arm, each]) - np.mean(values["champion", each]) for each in groups]
    return t_interval(pairs, groups=list(groups.values()), level=level)


@pytest.mark.slow
def test_the_whole_demo_ends_in_a_table_and_its_folder_runs_again_by_itself(tmp_path: Path) -> None:
    done = ratchet("demo", at=tmp_path)
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 80
    for word in (
        "champion",
        "challenger",
        "reviewer",
        "labels.f1",
        "F1 dry",
        "TTFT",
        "Worst rows",
        "simulated",
        "SHIP: challenger may replace champion",
        "HOLD: reviewer should not replace champion",
    ):
        assert word in done.stdout
    project = projects.load(tmp_path / "ratchet-demo" / "ratchet.yaml")
    store = stores.open_store(project.store)
    try:
        run = store.run(store.runs()[0].id)
        assert run is not None
        rows = list(store.rows(run.id))
        assert len(rows) == 248 * 3 * 3
        assert not any(row.error_kind for row in rows)
        assert sum(row.attempts - 1 for row in rows) >= 5
        low = difference(run, store, "challenger", level=0.9).low
        high = difference(run, store, "reviewer", level=0.9).high
    finally:
        store.close()
    assert low is not None
    assert low > -0.05
    assert high is not None
    assert high < -0.05
    again = ratchet("run", "--limit", "4", at=tmp_path / "ratchet-demo")
    assert again.returncode == 0, again.stderr
