"""What ships at a revision against what ships here, in real git repositories."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ratchet import against, projects
from ratchet.errors import ConfigError, PlanError
from ratchet.records import Prompt

PROJECT = """\
variants:
  current: {model: recorded/good.jsonl, prompt: prompts/ask.txt}
  next: {model: recorded/bad.jsonl, prompt: prompts/ask.txt}
tasks:
  sums: {dataset: {path: rows.jsonl, id: id}, scorers: [exact_match], checks: [{no_worse: exact_match, margin_pp: 10}]}
"""


def git(folder: Path, *arguments: str) -> str:
    command = [
        "git",
        "-c",
        "user.name=t",
        "-c",
        "user.email=t@example.org",
        "-c",
        "init.defaultBranch=main",
        *arguments,
    ]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def lay(folder: Path, count: int = 200) -> Path:
    """A project under git, in a folder of a repository."""
    rows = [{"id": f"q{i}", "input": f"{i}+0", "expected": str(i)} for i in range(1, count + 1)]
    files = {
        "ratchet.yaml": PROJECT,
        "prompts/ask.txt": "Add: {input}\n",
        "rows.jsonl": "".join(json.dumps(row) + "\n" for row in rows),
        "good.jsonl": "".join(json.dumps({"id": r["id"], "output": r["expected"]}) + "\n" for r in rows),
        "bad.jsonl": "".join(json.dumps({"id": r["id"], "output": "0"}) + "\n" for r in rows),
        ".gitignore": ".ratchet/\nrows.jsonl\n",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "first")
    return folder


@pytest.fixture
def repo(project: Path) -> Path:
    return lay(project)


def change(folder: Path, revision: str = "HEAD", candidate: str | None = None) -> against.Change:
    return against.change(projects.load(folder / "ratchet.yaml"), None, revision, candidate=candidate)


def words(found: against.Change, arm: str) -> str:
    prompt = found.job.arms[arm].prompt
    assert isinstance(prompt, Prompt)
    return prompt.messages[0]["content"]


def test_an_edited_prompt_is_tried_as_it_was_and_as_it_is(repo: Path) -> None:
    (repo / "prompts/ask.txt").write_text("Add carefully: {input}\n")
    found = change(repo)
    assert list(found.job.arms) == ["base", "head"]
    assert found.job.baseline == "base"
    assert "carefully" in words(found, "head")
    assert "carefully" not in words(found, "base")
    assert not found.same
    base = found.job.arms["base"].prompt
    assert isinstance(base, Prompt)
    assert base.path == "HEAD:prompts/ask.txt"


def test_a_new_baseline_is_tried_against_the_old_one(repo: Path) -> None:
    (repo / "ratchet.yaml").write_text("baseline: next\n" + PROJECT)
    found = change(repo)
    assert [arm.model for arm in found.job.arms.values()] == ["recorded/good.jsonl", "recorded/bad.jsonl"]


def test_a_named_variant_is_tried_against_the_old_baseline(repo: Path) -> None:
    assert change(repo, candidate="next").job.arms["head"].model == "recorded/bad.jsonl"


def test_a_change_of_anything_else_is_none(repo: Path) -> None:
    (repo / "README.md").write_text("words")
    assert change(repo).same


def test_data_that_git_does_not_hold_serve_both_arms(repo: Path) -> None:
    assert git(repo, "ls-files", "rows.jsonl") == ""
    assert change(repo).job.task.dataset.count == 200


def test_rules_that_change_together_with_what_they_judge_are_told(repo: Path) -> None:
    (repo / "ratchet.yaml").write_text(PROJECT.replace("margin_pp: 10", "margin_pp: 40"))
    (note,) = change(repo).notes
    assert note.startswith("checks of sums differ from those at HEAD")


def test_neither_the_working_tree_nor_the_index_is_touched(repo: Path) -> None:
    (repo / "prompts/ask.txt").write_text("staged {input}")
    git(repo, "add", "prompts/ask.txt")
    (repo / "prompts/ask.txt").write_text("edited {input}")
    before = git(repo, "status", "--porcelain")
    change(repo)
    assert git(repo, "status", "--porcelain") == before == "MM prompts/ask.txt"
    assert git(repo, "worktree", "list").count("\n") == 0


def test_an_unknown_revision_says_to_fetch_it(repo: Path) -> None:
    with pytest.raises(PlanError, match="git knows no revision 'mian' here; in a shallow clone fetch it"):
        change(repo, "mian")


def test_a_revision_is_never_an_option_of_git(repo: Path) -> None:
    with pytest.raises(PlanError, match="git knows no revision '--output=x'"):
        change(repo, "--output=x")
    assert not (repo / "x").exists()


def test_outside_of_git_it_says_so(project: Path) -> None:
    (project / "rows.jsonl").write_text('{"input": "1", "expected": "1"}\n')
    (project / "ratchet.yaml").write_text(PROJECT.replace(", id: id", ""))
    with pytest.raises(PlanError, match="git says: fatal: not a git repository"):
        change(project)


def test_an_error_in_the_old_project_names_the_revision(repo: Path) -> None:
    (repo / "ratchet.yaml").write_text("oops: 1\n")
    git(repo, "commit", "-qam", "broken")
    (repo / "ratchet.yaml").write_text(PROJECT)
    with pytest.raises(ConfigError, match=r"^HEAD:ratchet\.yaml:1.*oops"):
        change(repo)


def test_a_project_that_is_new_has_nothing_to_compare_with(repo: Path) -> None:
    git(repo, "rm", "-q", "--cached", "ratchet.yaml")
    git(repo, "commit", "-qm", "none")
    with pytest.raises(PlanError, match=r"there is no ratchet\.yaml at HEAD"):
        change(repo)


def test_a_function_whose_code_changed_is_refused_rather_than_tried_as_the_new_one(repo: Path) -> None:
    (repo / "ratchet.yaml").write_text(
        PROJECT.replace("model: recorded/good.jsonl", "target: 'adder.py:add'")
    )
    (repo / "adder.py").write_text("def add(row):\n    return '1'\n")
    git(repo, "add", ".")
    git(repo, "commit", "-qm", "function")
    assert change(repo).same
    (repo / "adder.py").write_text("def add(row):\n    return '2'\n")
    with pytest.raises(PlanError, match=r"current at HEAD is the function adder\.py:add.*\(adder\.py\)"):
        change(repo)


def test_a_project_in_a_folder_of_the_repository_is_found_also_within_a_hook(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "services").mkdir()
    lay(project / "services")
    (project / "services/.git").rename(project / ".git")
    git(project, "add", "-A")
    git(project, "commit", "-qm", "moved")
    (project / "services/prompts/ask.txt").write_text("Add carefully: {input}\n")
    monkeypatch.setenv("GIT_DIR", ".git")
    monkeypatch.setenv("GIT_INDEX_FILE", str(project / "nowhere"))
    found = change(project / "services")
    assert not found.same
    assert "carefully" not in words(found, "base")


def test_it_is_one_variant_and_a_project_or_wrong_use(repo: Path) -> None:
    for more in (["--aa"], ["-v", "current", "-v", "next"]):
        command = [sys.executable, "-m", "ratchet", "run", "--against", "HEAD", *more]
        done = subprocess.run(command, cwd=repo, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert "--against tries one variant of ratchet.yaml" in done.stderr
