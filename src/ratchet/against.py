"""What ships at a git revision against what ships in the working tree: the two arms of `ratchet run --against REF`."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import tempfile
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ratchet import codec, projects
from ratchet.errors import ConfigError, PlanError, UnknownNameError
from ratchet.projects import DatasetSection, Job, Project
from ratchet.records import Prompt, Variant

BASE, HEAD = "base", "head"
_OF_HOOKS = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX")


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A task with the arms `base` and `head`, and what else a reader should know."""

    job: Job
    commit: str
    """The revision, as 40 hex digits."""
    same: bool
    """Nothing that ships has changed: there is nothing to try."""
    notes: tuple[str, ...]
    """Rules and data that differ from those of the revision."""


def change(
    project: Project,
    task: str | None,
    revision: str,
    *,
    candidate: str | None = None,
    on_bad_row: str | None = None,
    on_problem: Callable[[Exception], None] | None = None,
) -> Change:
    """The task of the working tree with the baseline variant of `revision` as `base` and its own as `head`.

    Dataset, scorers and checks are the working tree's for both arms.

    Args:
        candidate: The variant that `head` is, instead of the working tree's baseline.

    Raises:
        PlanError: No git repository, no such revision, no such project or task in it, or `base` is a function whose
            code has changed since.
        ConfigError: The project at the revision can't be read; names its file as `REVISION:FILE`.
    """
    job = projects.job(project, task, on_bad_row=on_bad_row, on_problem=on_problem)
    chosen = candidate or job.baseline
    if chosen not in job.arms:
        raise UnknownNameError("arm", chosen, job.arms)
    name = job.task.name
    top = Path(_git(project.root, "rev-parse", "--show-toplevel")).resolve()
    commit = _commit(project.root, revision)
    inside = project.path.resolve().relative_to(top)
    with _checked_out(top, commit) as tree, _named(tree, revision):
        if not (tree / inside).is_file():
            raise PlanError(f"there is no {inside} at {revision}: nothing to compare with yet")
        before = projects.load(tree / inside)
        if name not in before.file.tasks:
            raise PlanError(f"there is no task {name} in {revision}:{inside}: nothing to compare with yet")
        old = projects.job(_on_data_of(before, project, job))
        base = _base(before, project, old, top, commit, revision)
        base = _at_home(base, tree, revision)
    head = projects.ready(project, {chosen: job.arms[chosen]})[chosen]
    extractions = {
        BASE: old.task.arm_extraction.get(old.baseline, old.task.extraction),
        HEAD: job.task.arm_extraction.get(chosen, job.task.extraction),
    }
    given = {arm: extraction for arm, extraction in extractions.items() if extraction is not None}
    alike = extractions[BASE] == extractions[HEAD]
    tried = job.task.replace(
        extraction=extractions[HEAD] if alike else None, arm_extraction={} if alike else given
    )
    return Change(
        job=dataclasses.replace(job, task=tried, arms={BASE: base, HEAD: head}, baseline=BASE),
        commit=commit,
        same=alike and codec.content_id(base) == codec.content_id(head),
        notes=tuple(_notes(before, project, job, top, commit, revision)),
    )


def _base(before: Project, project: Project, old: Job, top: Path, commit: str, revision: str) -> Variant:
    """The revision's baseline, ready: its prompt from the revision, its function from the working tree."""
    variant = old.arms[old.baseline]
    if variant.target is None:
        return projects.ready(before, {old.baseline: variant})[old.baseline]
    changed = _git(top, "diff", "--name-only", "--no-renames", commit, "--", "*.py").splitlines()
    if changed:
        raise PlanError(
            f"{old.baseline} at {revision} is the function {variant.target}, and Python files have changed since "
            f"({', '.join(changed[:3])}{'…' if len(changed) > 3 else ''}): one process can't hold both versions.\n"
            "  Run each revision in a worktree of its own with one --store, then: ratchet compare RUN:ARM RUN:ARM"
        )
    return projects.ready(project, {old.baseline: variant})[old.baseline]


def _on_data_of(before: Project, project: Project, job: Job) -> Project:
    """The revision's project, its task without rules and on the data at hand: its own may not be in git."""
    name = job.task.name
    given = project.file.tasks[name].dataset
    data = DatasetSection(path=given) if isinstance(given, str) else given
    data = dataclasses.replace(data, path=job.task.dataset.path, on_bad_row=job.task.dataset.on_bad_row)
    section = dataclasses.replace(before.file.tasks[name], dataset=data, scorers=[], checks=[])
    return dataclasses.replace(before, file=dataclasses.replace(before.file, tasks={name: section}))


def _at_home(variant: Variant, tree: Path, revision: str) -> Variant:
    """The variant with its prompt's path as `REVISION:PATH`: the folder it was read from is about to go."""
    prompt = variant.prompt
    if not isinstance(prompt, Prompt) or not prompt.path.startswith(str(tree)):
        return variant
    path = f"{revision}:{Path(prompt.path).relative_to(tree).as_posix()}"
    return variant.replace(prompt=prompt.replace(path=path))


def _notes(
    before: Project, project: Project, job: Job, top: Path, commit: str, revision: str
) -> Iterator[str]:
    name = job.task.name
    old, new = before.file.tasks[name], project.file.tasks[name]
    parts = [part for part in ("dataset", "scorers", "checks", "repeats") if getattr(old, part) != getattr(new, part)]  # fmt: skip
    if "dataset" not in parts and _differs(top, commit, Path(job.task.dataset.path)):
        parts.insert(0, "dataset")
    if parts:
        yield (
            f"{', '.join(parts)} of {name} differ from those at {revision}; both arms are judged by the new ones. "
            "Rules that change together with what they judge deserve a look."
        )


def _differs(top: Path, commit: str, path: Path) -> bool:
    if not path.resolve().is_relative_to(top):
        return False
    return bool(_git(top, "diff", "--name-only", commit, "--", str(path.resolve())))


# --- git ----------------------------------------------------------------------------------------------------


def _commit(folder: Path, revision: str) -> str:
    try:
        return _git(folder, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    except PlanError:
        raise PlanError(
            f"git knows no revision {revision!r} here; in a shallow clone fetch it first: git fetch origin {revision}"
        ) from None


@contextmanager
def _checked_out(top: Path, commit: str) -> Generator[Path]:
    """The files of this commit in a folder that goes again; neither the working tree nor the index is touched."""
    with tempfile.TemporaryDirectory(prefix="ratchet-") as made:
        folder = Path(made).resolve()
        tree = folder / "tree"
        tree.mkdir()
        index = {"GIT_INDEX_FILE": str(folder / "index")}
        _git(top, "-c", "core.sparseCheckout=false", "read-tree", commit, more=index)
        _git(top, f"--work-tree={tree}", "checkout-index", "--all", "--quiet", more=index)
        yield tree


@contextmanager
def _named(tree: Path, revision: str) -> Generator[None]:
    """Errors in this tree name the revision instead of a temporary folder."""
    try:
        yield
    except ConfigError as error:
        if error.file is None or not Path(error.file).is_relative_to(tree):
            raise
        file = f"{revision}:{Path(error.file).relative_to(tree).as_posix()}"
        message = error.message.replace(f"{tree}{os.sep}", "")
        raise ConfigError(message, file=file, line=error.line, key=error.key) from None


def _git(folder: Path, *arguments: str, more: Mapping[str, str] | None = None) -> str:
    """What git says, without its last line end.

    Raises:
        PlanError: There is no git, or it failed.
    """
    # within a hook git sets these, for the hook's own place
    own = {name: value for name, value in os.environ.items() if name not in _OF_HOOKS}
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True, text=True, encoding="utf-8", errors="replace",
            stdin=subprocess.DEVNULL, env={**own, **(more or {})}, check=False,
        )  # fmt: skip
    except FileNotFoundError:
        raise PlanError("--against reads another revision through git, which is not installed") from None
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise PlanError(f"--against: git says: {said[0] if said else f'exit status {done.returncode}'}")
    return done.stdout.rstrip("\n")
