"""What `ratchet run`'s options say: a task, its arms, and how to run them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ratchet.cli.options import run_named

if TYPE_CHECKING:
    from ratchet.ports import Store
    from ratchet.projects import Project
    from ratchet.records import Dataset, Run, Task, Variant
    from ratchet.runs import Options

_WITHOUT_PROJECT = {
    "models": "--model", "targets": "--target", "prompt": "--prompt", "scorers": "--scorer",
    "data_format": "--format", "input_column": "--input", "expected": "--expected", "id_column": "--id", "group": "--group",
}  # fmt: skip
"""Options that describe a run without ratchet.yaml."""
_COLUMNS = ("data_format", "input_column", "expected", "id_column", "group", "on_bad_row")


@dataclass(frozen=True, slots=True)
class Order:
    """A task, its arms, and how to run them."""

    task: Task
    arms: Mapping[str, Variant]
    options: Options


def order_of(
    project: Project | None, given: Mapping[str, Any], store: Store, *, as_json: bool
) -> Order | None:
    """What ratchet.yaml, the options or the run to go on with say; None where there is nothing to try, which is said.

    Raises:
        click.UsageError: Options that don't go together.
        RatchetError: Something written is wrong, or there is no such run.
    """
    run = store.run(run_named(store, given["resume"])) if given["resume"] not in (None, "last") else None
    if run is not None:
        given = {**given, "repeat": given["repeat"] or run.task.repeats}
    if given["against"]:
        return _from_revision(project, given, as_json=as_json)
    if project is not None and (run is None or run.task.name in project.file.tasks or given["task"]):
        _check_effective(project, given)
        return _from_project(project, given, run)
    if run is not None and not (given["dataset"] and (given["models"] or given["targets"])):
        return _as_made(given, run)
    return _from_options(given, run)


def _check_effective(project: Project, given: Mapping[str, Any]) -> None:
    """Refuse options that ratchet.yaml would let have no effect."""
    said = [option for name, option in _WITHOUT_PROJECT.items() if given[name]]
    if given["dataset"] or said:
        also = "leave --file out" if given["dataset"] else "add --dataset FILE"
        raise click.UsageError(
            f"{', '.join(said or ['--dataset'])}: describes a run without ratchet.yaml, but {project.path} says what to "
            f"run. To do without it, {also}; else write it there"
        )


def _from_project(project: Project, given: Mapping[str, Any], run: Run | None) -> Order:
    from ratchet import projects
    from ratchet.errors import UnknownNameError

    name = given["task"] or (run.task.name if run else None)
    job = projects.job(project, name, on_bad_row=given["on_bad_row"], on_problem=say_problem)
    arms = job.arms
    for wanted in given["only"]:
        if wanted not in arms:
            raise UnknownNameError("arm", wanted, arms)
    only = given["only"] or (list(arms) if run is None else [name for name in arms if name in run.arms])
    arms = projects.ready(project, {name: arm for name, arm in arms.items() if name in only} or arms)
    if given["aa"] or (run is not None and _is_aa(run)):
        arms = twice(arms, job.baseline)
    task = job.task.replace(repeats=given["repeat"] or job.task.repeats)
    baseline = job.baseline if job.baseline in arms else None
    return Order(task, _streamed(arms, given["stream"], run), _options(given, baseline, job))


def _from_revision(project: Project | None, given: Mapping[str, Any], *, as_json: bool) -> Order | None:
    """The arms `base` and `head`; None where what ships is the same in both, which is said."""
    if project is None or given["aa"] or len(given["only"]) > 1:
        raise click.UsageError(
            "--against tries one variant of ratchet.yaml: at most one --variant, and neither --dataset nor --aa"
        )
    from ratchet import against

    _check_effective(project, given)
    found = against.change(
        project, given["task"], given["against"],
        candidate=given["only"][0] if given["only"] else None,
        on_bad_row=given["on_bad_row"], on_problem=say_problem,
    )  # fmt: skip
    for note in found.notes:
        click.echo(f"Note: {note}", err=True)
    job = found.job
    if found.same:
        click.echo(
            f"No change: what {job.task.name} ships is the same at {given['against']} and here.", err=True
        )
        return None
    task = job.task.replace(repeats=given["repeat"] or job.task.repeats)
    return Order(task, _streamed(job.arms, given["stream"]), _options(given, job.baseline, job))


def _as_made(given: Mapping[str, Any], run: Run) -> Order:
    """A run of `--dataset` as it was made, with what the options say otherwise; `runs.plan` refuses what differs."""
    from ratchet import scores
    from ratchet.errors import UnknownNameError
    from ratchet.records import Variant

    if not given["dataset"] and any(given[name] for name in _COLUMNS):
        said = [_WITHOUT_PROJECT.get(name, "--on-bad-row") for name in _COLUMNS if given[name]]
        raise click.UsageError(
            f"{', '.join(said)}: says how --dataset is read, and {run.id} goes on with the examples it has. Leave it out, or "
            "start a new run"
        )
    # a function is looked at again: if its source has changed since, the run can't go on with it
    arms = {
        name: arm.replace(version=None) if (arm.version or "").startswith("source:") else arm
        for name, arm in run.arms.items()
    }
    for name in given["only"]:
        if name not in arms:
            raise UnknownNameError("arm", name, arms)
    named = [*given["models"], *given["targets"], *given["only"]]
    if named:
        asked = {name: Variant(model=name, prompt=given["prompt"]) for name in given["models"]}
        asked |= {name: Variant(target=name) for name in given["targets"]}
        arms = {name: arms.get(name) or asked[name] for name in named}
    if given["aa"] or _is_aa(run):
        arms = twice(arms, next(iter(arms)))
    if given["prompt"]:
        arms = {n: arm.replace(prompt=given["prompt"]) if arm.model else arm for n, arm in arms.items()}
    task = run.task.replace(repeats=given["repeat"])
    if given["scorers"]:
        task = task.replace(scorers=tuple(scores.resolve(name, root=Path.cwd()) for name in given["scorers"]))
    if given["dataset"]:
        task = task.replace(dataset=_dataset(given))
    return Order(task, _streamed(arms, given["stream"], run), _options(given, None, None))


def _from_options(given: Mapping[str, Any], run: Run | None) -> Order:
    from ratchet import scores
    from ratchet.records import Task, Variant

    if given["task"]:
        raise click.UsageError(
            f"{given['task']!r} names a task of ratchet.yaml, and --dataset does without one: leave one out"
        )
    if not given["models"] and not given["targets"]:
        raise click.UsageError(
            "--dataset needs at least one --model PROVIDER/MODEL or --target PKG.MODULE:FUNCTION"
        )
    arms = {model: Variant(model=model, prompt=given["prompt"]) for model in given["models"]}
    arms |= {target: Variant(target=target) for target in given["targets"]}
    if given["aa"] or (run is not None and _is_aa(run)):
        arms = twice(arms, next(iter(arms)))
    dataset = _dataset(given)
    scorers = tuple(scores.resolve(name, root=Path.cwd()) for name in given["scorers"])
    task = Task(name=dataset.name, dataset=dataset, scorers=scorers, repeats=given["repeat"] or 1)
    return Order(task, _streamed(arms, given["stream"], run), _options(given, None, None))


def _dataset(given: Mapping[str, Any]) -> Dataset:
    from ratchet import datasets

    columns = {
        "id": given["id_column"],
        "input": given["input_column"],
        "expected": given["expected"],
        "group": given["group"],
    }
    path = given["dataset"]
    return datasets.load(
        path, **columns, format=given["data_format"], on_bad_row=given["on_bad_row"] or "stop",
        name="standard input" if path == "-" else Path(path).stem,
        cache_folder=Path.cwd() / ".ratchet" / "stdin",
        on_problem=say_problem,
    )  # fmt: skip


def _is_aa(run: Run) -> bool:
    """Whether its second arm is the double of its first."""
    names = list(run.arms)
    return len(names) == 2 and names[1] == f"{names[0]} again"


def twice(arms: Mapping[str, Variant], name: str) -> dict[str, Variant]:
    """This arm and its double, which never shares an answer with it."""
    return {name: arms[name], f"{name} again": arms[name]}


def _streamed(arms: Mapping[str, Variant], stream: bool | None, run: Run | None = None) -> dict[str, Variant]:
    """The arms streamed or not as `--stream` says; where it doesn't, as in the run that goes on."""
    found: dict[str, Variant] = {}
    for name, arm in arms.items():
        before = run.arms.get(name) if run else None
        wanted = stream if stream is not None or before is None else before.stream
        found[name] = arm if arm.model is None or wanted is None else arm.replace(stream=wanted)
    return found


def say_problem(error: Exception) -> None:
    """A bad row that is skipped, said as it is met."""
    click.echo(f"Skipped: {error}", err=True)


def _options(given: Mapping[str, Any], baseline: str | None, job: Any) -> Options:
    from ratchet.budgets import Budget
    from ratchet.runs import Options

    budget = job.budget if job else Budget()
    changes = {
        "usd": given["budget_usd"],
        "tokens": given["budget_tokens"],
        "minutes": given["budget_minutes"],
    }
    budget = Budget(
        **{name: getattr(budget, name) if value is None else value for name, value in changes.items()}
    )
    resumed = given["resume"] is not None  # it keeps its seed, whatever ratchet.yaml says by now
    seed = given["seed"] if given["seed"] is not None or resumed or job is None else job.seed
    return Options(
        concurrency=given["concurrency"] or (job.concurrency if job else None) or 16,
        seed=seed,
        limit=given["limit"],
        sample=given["sample"],
        budget=budget,
        use_cache=not given["no_cache"],
        resume=given["resume"],
        retry_failed=given["retry_failed"],
        name=given["name"],
        baseline=baseline,
        stop_when_decided=given["stop_when_decided"],
        traffic=job.traffic if job else None,
    )
