from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ratchet import trackers
from ratchet.errors import MissingExtraError, UnknownNameError
from ratchet.records import Dataset, Run, Task, Variant

PLANTED = "planted-0123456789abcdef"
SUMMARY = {
    "accuracy": {"correctness": {"accuracy": 0.75, "note": "text"}},
    "rows": 4,
    "missing": None,
    "n": float("nan"),
}


def make_run() -> Run:
    variant = Variant(
        model="openai/gpt-4o-mini",
        params={"temperature": 0, "api_key": PLANTED, "max_tokens": 5},
        options={"headers": {"Authorization": f"Bearer {PLANTED}"}, "region": "eu"},
        base_url=f"https://user:{PLANTED}@example.org/v1",
    )
    task = Task(dataset=Dataset(id="d" * 32, count=4, name="tickets"), name="tickets")
    return Run(
        id="01900000-0000-7000-8000-000000000000",
        task=task,
        arms={"base: line": variant},
        baseline="base: line",
    )


def files(folder: Path) -> list[Path]:
    made: list[Path] = []
    for arm in ("one", "two"):
        (folder / arm).mkdir()
        made.append(folder / arm / "rows.csv")
        made[-1].write_text(f"index,arm\n0,{arm}\n")
    return made


def holds(folder: Path, text: str) -> list[str]:
    return [str(file) for file in folder.rglob("*") if file.is_file() and text.encode() in file.read_bytes()]


def test_numbers_are_taken_by_their_path_and_nothing_else() -> None:
    assert dict(trackers.numbers(SUMMARY)) == {"accuracy/correctness/accuracy": 0.75, "rows": 4.0}


def test_what_a_tracker_is_told_holds_no_key() -> None:
    told = json.dumps(trackers.config_of(make_run()))
    assert PLANTED not in told
    assert '"max_tokens": 5' in told
    assert '"region": "eu"' in told


def test_an_unknown_tracker_names_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'wandb'"):
        trackers.log_run("wandbb", make_run(), {})
    with pytest.raises(UnknownNameError, match="Known: wandb, mlflow"):
        trackers.check("comet")


@pytest.mark.parametrize("name", trackers.TRACKERS)
def test_a_missing_package_names_its_extra(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=rf"pip install 'ratchet-llm\[{name}\]'"):
        trackers.log_run(name, make_run(), SUMMARY)


# each tracker runs in a process of its own: both leave threads and warnings behind
_LOG = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_trackers import SUMMARY, files, make_run
from ratchet import trackers
made = files(Path("made")) if Path("made").mkdir() is None else []
print(trackers.log_run({name!r}, make_run(), SUMMARY, made))
"""


def logged(name: str, folder: Path, **environ: str) -> str:
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed: pip install 'ratchet-llm[{name}]'")
    code = _LOG.format(tests=str(Path(__file__).parent), name=name)
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**os.environ, "OPENAI_API_KEY": PLANTED, "HOME": str(folder), **environ},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert PLANTED not in done.stdout + done.stderr
    return done.stdout.strip().splitlines()[-1]


@pytest.mark.slow
def test_wandb_keeps_a_run_offline_without_an_account(tmp_path: Path) -> None:
    where = logged("wandb", tmp_path, WANDB_MODE="offline")
    assert "wandb" in where
    (kept,) = (tmp_path / "wandb").glob("offline-run-*/*.wandb")
    data = kept.read_bytes()
    assert b"accuracy" in data
    assert b"gpt-4o-mini" in data
    assert holds(tmp_path, PLANTED) == []


@pytest.mark.slow
def test_mlflow_keeps_metrics_config_and_both_arms_files(tmp_path: Path) -> None:
    where = logged("mlflow", tmp_path, MLFLOW_TRACKING_URI=(tmp_path / "kept").as_uri())
    assert where.startswith("file:")
    (metric,) = (tmp_path / "kept").rglob("metrics/accuracy/correctness/accuracy")
    assert metric.read_text().split()[1] == "0.75"
    assert {file.parent.name for file in (tmp_path / "kept").rglob("artifacts/*/rows.csv")} == {"one", "two"}
    assert holds(tmp_path, PLANTED) == []


@pytest.mark.slow
def test_mlflow_needs_no_setting(tmp_path: Path) -> None:
    where = logged("mlflow", tmp_path)
    assert " run " in where
    assert list(tmp_path.glob("ml*")) != []
